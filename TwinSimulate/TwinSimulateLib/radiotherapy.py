"""Fractionated radiotherapy: schedules, and the linear-quadratic model of the cells that survive them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from TwinCore import InvalidInput

MOST_FRACTIONS = 100
HIGHEST_DOSE_GY = 40.0


@dataclass(frozen=True)
class Schedule:
    """A course of equal fractions, one a weekday from a Monday on, as clinics treat.

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

    Raises
    ------
    InvalidInput
        If a number is not possible.
    """

    name: str
    fractions: int = 0
    dose_gy: float = 0.0
    start_day: int = 0

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

    @classmethod
    def of(cls, fractions: int, dose_gy: float, start_day: int = 0) -> Schedule:
        """The schedule with the name that clinicians use, such as "25 x 2 Gy"."""
        return cls(f"{fractions} x {dose_gy:g} Gy", fractions, dose_gy, start_day)

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """The schedule that a text names: "none", "25 x 2 Gy", or "5 x 6 Gy from day 14"."""
        if text == NO_TREATMENT.name:
            return NO_TREATMENT
        match = re.fullmatch(r"(\d+) x (\d+(?:\.\d+)?) Gy(?: from day (\d+))?", text)
        if match is None:
            raise InvalidInput(
                f"Scenario {text!r} is not understood: write 'none', '25 x 2 Gy' or '5 x 6 Gy from day 14'."
            )
        fractions, dose_gy, start_day = match.groups()
        return cls(text, int(fractions), float(dose_gy), int(start_day or 0))

    @property
    def days(self) -> tuple[int, ...]:
        """Day of each fraction: five days on, two off."""
        return tuple(self.start_day + fraction // 5 * 7 + fraction % 5 for fraction in range(self.fractions))

    @property
    def total_gy(self) -> float:
        return self.fractions * self.dose_gy

    def survival(self, alpha: float, alpha_beta_gy: float) -> float:
        """Fraction of cells that survive the whole course."""
        return float(survival(self.dose_gy, alpha, alpha_beta_gy) ** self.fractions)

    def bed_gy(self, alpha_beta_gy: float) -> float:
        """Biologically effective dose n d (1 + d / (alpha/beta)), in Gy."""
        return float(bed_gy(self.total_gy, max(self.fractions, 1), alpha_beta_gy))

    def eqd2_gy(self, alpha_beta_gy: float) -> float:
        """Dose in 2 Gy fractions with the same biologically effective dose, in Gy."""
        return float(eqd2_gy(self.total_gy, max(self.fractions, 1), alpha_beta_gy))


NO_TREATMENT = Schedule("none")
SCENARIOS = (NO_TREATMENT, Schedule.of(25, 2.0), Schedule.of(5, 6.0))
"""What a comparison asks unless told otherwise."""


def bed_gy(dose_gy, fractions: int, alpha_beta_gy: float):
    """Biologically effective dose, in Gy, of total doses given in equal fractions: a number, or an array of voxels."""
    return dose_gy * (1.0 + dose_gy / (fractions * alpha_beta_gy))


def eqd2_gy(dose_gy, fractions: int, alpha_beta_gy: float):
    """Dose in 2 Gy fractions, in Gy, with the biologically effective dose of total doses given in equal fractions."""
    return bed_gy(dose_gy, fractions, alpha_beta_gy) / (1.0 + 2.0 / alpha_beta_gy)


def survival(dose_gy: float, alpha: float, alpha_beta_gy: float) -> float:
    """Fraction of cells that survive one fraction: exp(-alpha d - beta d^2), alpha per Gy, alpha/beta in Gy."""
    return float(np.exp(-alpha * dose_gy * (1.0 + dose_gy / alpha_beta_gy)))
