"""`Job`: progress, cancellation, warnings and timing of a computation, with no user interface in it.

A job is a stack of parts. The computation reports into the part that it was handed and never knows how deep it is;
whoever started the job sees one number between 0 and 1.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass, field
from typing import TypeVar

from .errors import JobCancelled

Item = TypeVar("Item")


@dataclass(frozen=True)
class Progress:
    """One report: how far the whole job is (0 to 1), where it is (names, outermost first), seconds since its start."""

    fraction: float
    path: tuple[str, ...]
    message: str
    seconds: float

    @property
    def remaining_seconds(self) -> float | None:
        """Time to go if it goes on as so far; None while too little has been done to tell."""
        return self.seconds * (1 - self.fraction) / self.fraction if self.fraction > 0.02 else None


@dataclass
class _Shared:
    """What all parts of one job have in common."""

    observer: Callable[[Progress], object] | None
    cancelled: threading.Event = field(default_factory=threading.Event)
    warnings: list[tuple[tuple[str, ...], str]] = field(default_factory=list)
    seconds: dict[tuple[str, ...], float] = field(default_factory=dict)
    start: float = field(default_factory=time.perf_counter)


class Job:
    """A running computation, or one part of it.

    >>> def work(job):
    ...     fuse, simulate = job.split(Fusion=1, Simulation=3)
    ...     with fuse:
    ...         fuse.report(0.5, "half-way through the first quarter")
    ...     with simulate:
    ...         return [day for day in simulate.each(range(3))]
    >>> work(Job())
    [0, 1, 2]

    Parameters
    ----------
    observer : callable, optional
        Called with a `Progress` at every report, on the thread that computes.
    """

    def __init__(self, observer: Callable[[Progress], object] | None = None):
        self._shared = _Shared(observer)
        self._low, self._high = 0.0, 1.0
        self.path: tuple[str, ...] = ()
        self._entered = 0.0

    def split(self, **weights: float) -> list[Job]:
        """Parts of this job, one a keyword in order, each taking a share of it in proportion to its weight.

        Each part is a `Job` and a context: leaving it marks it done and records its time under its name.
        """
        total = sum(weights.values())
        parts, low = [], self._low
        for name, weight in weights.items():
            part = Job.__new__(Job)
            part._shared, part._entered = self._shared, 0.0
            part.path = (*self.path, name.replace("_", " "))
            part._low = low
            part._high = low = low + weight / total * (self._high - self._low)
            parts.append(part)
        return parts

    def each(self, items: Iterable[Item], message: str = "") -> Iterator[Item]:
        """Go through items, reporting progress and stopping at a cancellation before each one."""
        if not isinstance(items, Sized):
            items = list(items)
        for done, item in enumerate(items):
            self.report(done / len(items), message)
            yield item
        self.report(1.0, message)

    def report(self, fraction: float, message: str = "") -> None:
        """Say how far this part is, from 0 to 1; raises `JobCancelled` once the job is cancelled."""
        self.checkpoint()
        if self._shared.observer is not None:
            whole = self._low + min(max(fraction, 0.0), 1.0) * (self._high - self._low)
            self._shared.observer(Progress(whole, self.path, message, self.elapsed_seconds))

    def checkpoint(self) -> None:
        """Raise `JobCancelled` if the job was cancelled: call it where stopping is safe, ten times a second or more."""
        if self._shared.cancelled.is_set():
            raise JobCancelled("Cancelled: nothing was written.")

    def cancel(self) -> None:
        """Ask the whole job to stop at its next checkpoint; may be called from any thread."""
        self._shared.cancelled.set()

    @property
    def is_cancelled(self) -> bool:
        return self._shared.cancelled.is_set()

    def warn(self, message: str) -> None:
        """Record something the user should know about the result, once."""
        if message not in self.warnings:
            self._shared.warnings.append((self.path, message))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What this part and the parts of it have warned of."""
        return tuple(dict.fromkeys(message for path, message in self._shared.warnings if self._holds(path)))

    @property
    def seconds(self) -> dict[str, float]:
        """Wall time of each finished part of this one, keyed by its path joined with " / "."""
        return {" / ".join(path): spent for path, spent in self._shared.seconds.items() if self._holds(path)}

    def _holds(self, path: tuple[str, ...]) -> bool:
        return path[: len(self.path)] == self.path

    @property
    def elapsed_seconds(self) -> float:
        """Wall time since the job was made."""
        return time.perf_counter() - self._shared.start

    def __enter__(self) -> Job:
        self._entered = time.perf_counter()
        self.report(0.0)
        return self

    def __exit__(self, kind, *_) -> None:
        if kind is None:
            self._shared.seconds[self.path] = time.perf_counter() - self._entered
            self.report(1.0)
