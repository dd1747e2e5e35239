"""Fractionated radiotherapy: schedules, and the linear-quadratic model of the cells that survive them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from TwinCore import InvalidInput

from .treatment import Treatment

MOST_FRACTIONS = 100
HIGHEST_DOSE_GY = 40.0
WEEKS = {
    1: (0,),
    2: (0, 3),
    3: (0, 2, 4),
    4: (0, 1, 3, 4),
    5: (0, 1, 2, 3, 4),
    6: (0, 1, 2, 3, 4, 5),
    7: (0, 1, 2, 3, 4, 5, 6),
    10: (0, 0.25, 1, 1.25, 2, 2.25, 3, 3.25, 4, 4.25),
}
"""Days of the week, from Monday, of so many fractions a week; ten are two a weekday, six hours apart."""
TEXT = re.compile(r"(\d+) x (\d+(?:\.\d+)?) Gy(?: (\d+) a week)?(?: from day (\d+))?")


@dataclass(frozen=True)
class Schedule(Treatment):
    """A course of equal fractions, unless told otherwise one a weekday from a Monday on, as clinics treat.

    >>> Schedule.of(6, 2.0, start_day=3).days
    (3, 4, 5, 6, 7, 10)

    Parameters
    ----------
    name : str
        As tables and reports name it.
    fractions : int
        Number of fractions; 0 is no treatment.
    dose_gy : float
        Dose of one fraction, in Gy.
    start_day : int
        Days from the reference scan to the first fraction, a Monday.
    a_week : int
        Fractions a week: a key of `WEEKS`.

    Raises
    ------
    InvalidInput
        If a number is not possible.
    """

    sensitivities = "alpha", "alpha_beta"

    name: str
    fractions: int = 0
    dose_gy: float = 0.0
    start_day: int = 0
    a_week: int = 5

    def __post_init__(self):
        if self.fractions != int(self.fractions) or not 0 <= self.fractions <= MOST_FRACTIONS:
            raise InvalidInput(
                f"Schedule {self.name!r}: the number of fractions must be from 0 to {MOST_FRACTIONS}, not "
                f"{self.fractions}."
            )
        if self.fractions and not 0 < self.dose_gy <= HIGHEST_DOSE_GY:
            raise InvalidInput(
                f"Schedule {self.name!r}: the dose of a fraction must be above 0 and at most {HIGHEST_DOSE_GY:g} "
                f"Gy, not {self.dose_gy}."
            )
        if self.start_day != int(self.start_day) or self.start_day < 0:
            raise InvalidInput(
                f"Schedule {self.name!r}: the first fraction is on a whole day from 0 on, not {self.start_day}."
            )
        if self.a_week not in WEEKS:
            raise InvalidInput(
                f"Schedule {self.name!r}: fractions a week can be {', '.join(map(str, WEEKS))}, not {self.a_week}."
            )

    @classmethod
    def of(cls, fractions: int, dose_gy: float, start_day: int = 0, a_week: int = 5) -> Schedule:
        """The schedule with the name that clinicians use, such as "25 x 2 Gy from day 14"."""
        weekly = "" if a_week == 5 else f" {a_week} a week"
        start = f" from day {start_day}" if start_day else ""
        return cls(f"{fractions} x {dose_gy:g} Gy{weekly}{start}", fractions, dose_gy, start_day, a_week)

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """The schedule that a text names: "none", "25 x 2 Gy", "68 x 1.2 Gy 10 a week" or "5 x 6 Gy from day 14"."""
        if text == NO_TREATMENT.name:
            return NO_TREATMENT
        match = TEXT.fullmatch(text)
        if match is None:
            raise InvalidInput(
                f"Scenario {text!r} is not understood: write 'none', '25 x 2 Gy' or '5 x 6 Gy from day 14'."
            )
        fractions, dose_gy, a_week, start_day = match.groups()
        return cls(text, int(fractions), float(dose_gy), int(start_day or 0), int(a_week or 5))

    @property
    def days(self) -> tuple[float, ...]:
        """Day of each fraction."""
        week = WEEKS[self.a_week]
        return tuple(self.start_day + n // len(week) * 7 + week[n % len(week)] for n in range(self.fractions))

    @property
    def total_gy(self) -> float:
        return self.fractions * self.dose_gy

    def survival(self, member: Mapping[str, float]) -> float:
        return float(survival(self.dose_gy, member["alpha"], member["alpha_beta"]) ** self.fractions)

    def bed_gy(self, alpha_beta_gy: float) -> float:
        """Biologically effective dose n d (1 + d / (alpha/beta)), in Gy."""
        return float(bed_gy(self.total_gy, max(self.fractions, 1), alpha_beta_gy))


NO_TREATMENT = Schedule("none")
SCENARIOS = (NO_TREATMENT, Schedule.of(25, 2.0), Schedule.of(5, 6.0))
"""What a comparison asks unless told otherwise."""


def bed_gy(dose_gy, fractions: int, alpha_beta_gy: float):
    """Biologically effective dose, in Gy, of total doses given in equal fractions: a number, or an array of voxels."""
    return dose_gy * (1.0 + dose_gy / (fractions * alpha_beta_gy))


def eqd2_gy(dose_gy, fractions: int, alpha_beta_gy: float):
    """Dose in 2 Gy fractions, in Gy, with the biologically effective dose of total doses given in equal fractions."""
    return bed_gy(dose_gy, fractions, alpha_beta_gy) / (1.0 + 2.0 / alpha_beta_gy)


def survival(dose_gy, alpha: float, alpha_beta_gy: float):
    """Fraction of cells that survive one fraction: exp(-alpha d - beta d^2), alpha per Gy, alpha/beta in Gy.

    The dose is a number, or an array of voxels.
    """
    return np.exp(-alpha * dose_gy * (1.0 + dose_gy / alpha_beta_gy))
