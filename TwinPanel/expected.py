"""What a run is expected to take, in words beside the button that starts it."""

from __future__ import annotations

from slicer.i18n import tr as _

from TwinCore.expectation import Expectation
from TwinCore.guard import available_memory


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
