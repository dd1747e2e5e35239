"""What a run is expected to take, told before it starts."""

from __future__ import annotations

from dataclasses import dataclass

from .guard import available_memory


@dataclass(frozen=True)
class Expectation:
    """About how long a run takes on two cores, and the memory that it needs at most; None where it is not known.

    >>> Expectation(8.0, 1e21).fits
    False
    """

    seconds: float | None = None
    memory_bytes: float | None = None

    @property
    def fits(self) -> bool:
        """Whether the memory that is free now will do, as far as can be told."""
        free = available_memory()
        return free is None or self.memory_bytes is None or self.memory_bytes <= free
