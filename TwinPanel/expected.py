"""What a run is expected to take, in words beside the button that starts it."""

from __future__ import annotations

import math
from dataclasses import replace

import qt
from slicer.i18n import tr as _

from TwinCore.expectation import Expectation
from TwinCore.guard import available_memory

SHORTEST_S = 2.0
"""A run below this says little of the machine's pace."""
SLOWEST = 50.0


class Pace:
    """How many times as long as the libraries expect a module's runs take on this machine, from those there were.

    It is kept in Slicer's settings, as the machine's and not the patient's.

    Parameters
    ----------
    module : str
    """

    def __init__(self, module: str):
        self._key = f"DigitalTwin/{module}/pace"

    @property
    def factor(self) -> float:
        try:
            factor = float(qt.QSettings().value(self._key, 1.0))
        except (TypeError, ValueError):
            return 1.0
        return factor if 1 / SLOWEST <= factor <= SLOWEST else 1.0

    def applied(self, expectation: Expectation) -> Expectation:
        """The expectation at this machine's pace."""
        seconds = expectation.seconds
        return expectation if seconds is None else replace(expectation, seconds=seconds * self.factor)

    def learn(self, expectation: Expectation, seconds: float) -> None:
        """Go half-way, in ratio, to what a run has taken; `expectation` is what the library said of it."""
        if expectation.seconds is None or max(seconds, expectation.seconds) < SHORTEST_S:
            return
        taken = seconds / max(expectation.seconds, 1e-3)
        factor = min(max(math.sqrt(self.factor * taken), 1 / SLOWEST), SLOWEST)
        qt.QSettings().setValue(self._key, factor)


def expected_in_words(expectation: Expectation) -> str:
    """One sentence on time and memory.

    >>> expected_in_words(Expectation(95.0, 1.4e9))             # doctest: +SKIP
    'Takes about 2 min and up to 1.4 GB of memory; 6 GB are free.'
    """
    seconds, memory, free = expectation.seconds, expectation.memory_bytes, available_memory()
    time = _("an unknown time") if seconds is None else duration(seconds)
    if memory is None:
        return _("Takes {time}; how much memory is not known.").format(time=time)
    words = _("Takes {time} and up to {memory} of memory.").format(time=time, memory=size(memory))
    if free is None:
        return words
    if expectation.fits:
        return words[:-1] + _("; {free} are free.").format(free=size(free))
    advice = _("Only {free} are free: close other programs, or choose a smaller region or a coarser grid.")
    return f"{words} {advice.format(free=size(free))}"


def duration(seconds: float) -> str:
    """About how long, with no more digits than an estimate deserves."""
    if seconds < 10:
        return _("a few seconds")
    if seconds < 90:
        return _("about {n} s").format(n=round(seconds / 10) * 10)
    if seconds < 90 * 60:
        return _("about {n} min").format(n=round(seconds / 60))
    return _("about {n} h").format(n=round(seconds / 3600))


def size(count: float) -> str:
    """Bytes in MB or GB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"
