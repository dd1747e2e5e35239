"""Which schedules a search looks at: those that normal tissue bears as well as the standard one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from TwinCore import InvalidInput

from .fractionation import LATE_ALPHA_BETA_GY, same_effect_dose_gy
from .radiotherapy import HIGHEST_DOSE_GY, Schedule
from .treatment import Treatment

FRACTIONS = (3, 5, 8, 10, 15, 20, 25, 30, 35)
OBJECTIVES = {
    "burden": "the fewest viable cells expected at the last day",
    "nadir": "the fewest viable cells expected at the least, after treatment",
    "control": "the highest expected probability of tumour control",
}


@dataclass(frozen=True)
class SearchSpace:
    """Which schedules are looked at, and what normal tissue bears.

    Each has the highest dose a fraction, to 0.01 Gy, of which normal tissue takes no more effect than of the standard.

    Parameters
    ----------
    standard : Schedule
    fractions, a_week, start_days : sequences of int
        Every combination is looked at; start days that are left out are the standard's.
    alpha_beta_gy : float
        Of the normal tissue.
    sparing : float
        Dose of the normal tissue as a share of the prescribed one.
    organ : str, optional
        Tissue of the anatomy whose own sparing, by the anatomy's dose, takes the place of `sparing`.
    highest_dose_gy : float
        Of a fraction: the linear-quadratic model is doubtful much above the default.
    objective : str
        A key of `OBJECTIVES`.
    others : sequence of Treatment
        Courses that go with every schedule, such as surgery.
    """

    standard: Schedule
    fractions: Sequence[int] = FRACTIONS
    a_week: Sequence[int] = (5,)
    start_days: Sequence[int] = ()
    alpha_beta_gy: float = LATE_ALPHA_BETA_GY
    sparing: float = 1.0
    organ: str | None = None
    highest_dose_gy: float = 10.0
    objective: str = "burden"
    others: Sequence[Treatment] = ()

    def __post_init__(self):
        if not self.standard.fractions:
            raise InvalidInput("The search for a schedule starts from a standard one, such as '30 x 2 Gy'.")
        if self.objective not in OBJECTIVES:
            raise InvalidInput(f"There is no objective {self.objective!r}; there are: {', '.join(OBJECTIVES)}.")
        if not (0 < self.sparing <= 2 and 0 < self.alpha_beta_gy < math.inf):
            raise InvalidInput(
                f"Sparing must be above 0 and at most 2, and alpha/beta above 0 Gy, not {self.sparing} and "
                f"{self.alpha_beta_gy}."
            )
        if not 0 < self.highest_dose_gy <= HIGHEST_DOSE_GY:
            raise InvalidInput(f"The highest dose of a fraction is at most {HIGHEST_DOSE_GY:g} Gy.")

    def as_dict(self) -> dict[str, Any]:
        """All of it, for a record."""
        return {**asdict(self), "others": [course.as_dict() for course in self.others]}

    def candidates(self, sparing: float, last_day: float) -> list[Schedule]:
        """The standard, and every other schedule that normal tissue bears and that ends before the last day."""
        found = {self.standard.name: self.standard}
        for fractions in self.fractions:
            dose = same_effect_dose_gy(self.standard, fractions, self.alpha_beta_gy, sparing)
            rounded = math.floor(100.0 * dose + 1e-9) / 100.0
            if not 0 < rounded <= self.highest_dose_gy:
                continue
            for a_week in self.a_week:
                for start in self.start_days or (self.standard.start_day,):
                    schedule = Schedule.of(fractions, rounded, start, a_week)
                    found.setdefault(schedule.name, schedule)
        return [s for s in found.values() if s == self.standard or s.days[-1] < last_day]
