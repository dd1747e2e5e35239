"""Surgery: the tumour, or part of it, is cut out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from TwinCore import InvalidInput

from .treatment import Treatment

WIDEST_MM = 50.0
TEXT = re.compile(r"surgery(?: day (\d+))?(?: margin (\d+(?:\.\d+)?) mm)?(?: extent (\d+(?:\.\d+)?) %)?")


@dataclass(frozen=True)
class Surgery(Treatment):
    """A resection: no cell is left in the cavity, and none crosses it afterwards.

    The cavity is the anatomy's tissue "resection" where there is one and nothing else is asked; otherwise the outlined
    tumour with a margin, or its inner part.

    >>> Surgery.of(3, margin_mm=5.0).name
    'surgery day 3 margin 5 mm'

    Parameters
    ----------
    name : str
    day : int
        From the reference scan.
    margin_mm : float, optional
        Cut out round the outline, too.
    extent : float
        Share of the outlined volume that is cut out, from the inside to an even rim: extent of resection.

    Raises
    ------
    InvalidInput
        If a number is not possible, or part of the tumour is to be left and a margin taken.
    """

    name: str
    day: int = 0
    margin_mm: float | None = None
    extent: float = 1.0

    def __post_init__(self):
        if self.day != int(self.day) or self.day < 0:
            raise InvalidInput(f"Treatment {self.name!r}: surgery is on a whole day from 0 on, not {self.day}.")
        if self.margin_mm is not None and not 0 <= self.margin_mm <= WIDEST_MM:
            raise InvalidInput(
                f"Treatment {self.name!r}: the margin of surgery is from 0 to {WIDEST_MM:g} mm, not {self.margin_mm}."
            )
        if not 0 < self.extent <= 1:
            raise InvalidInput(
                f"Treatment {self.name!r}: the extent of surgery is above 0 and at most 100 %, not "
                f"{100 * self.extent:g} %."
            )
        if self.extent < 1 and self.margin_mm:
            raise InvalidInput(f"Treatment {self.name!r}: surgery that leaves part of the tumour has no margin.")

    @classmethod
    def of(cls, day: int = 0, margin_mm: float | None = None, extent: float = 1.0) -> Surgery:
        """The surgery with its name."""
        words = f"surgery day {day}"
        words += "" if margin_mm is None else f" margin {margin_mm:g} mm"
        return cls(words + ("" if extent == 1 else f" extent {100 * extent:g} %"), day, margin_mm, extent)

    @classmethod
    def parse(cls, text: str) -> Surgery | None:
        """The surgery that a text names, such as "surgery day 0 margin 5 mm" or "surgery extent 90 %"; None if none."""
        match = TEXT.fullmatch(text)
        if match is None:
            return None
        day, margin, extent = match.groups()
        return cls(
            text,
            int(day or 0),
            None if margin is None else float(margin),
            1.0 if extent is None else float(extent) / 100,
        )

    @property
    def days(self) -> tuple[float, ...]:
        return (self.day,)

    def survival(self, member: Mapping[str, float]) -> float:
        """Of the cells that are not cut out: all."""
        return 1.0
