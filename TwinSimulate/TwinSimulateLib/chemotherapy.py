"""Chemotherapy: doses of a drug that decay, each killing cells in proportion to its concentration."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from TwinCore import InvalidInput

from .treatment import Treatment

MOST_DOSES = 400
NOTHING = 1e-3
"""Share of a dose's effect that may be still to come when it is no longer followed day by day."""
TEXT = re.compile(
    r"([a-z]+) (\d+(?:\.\d+)?) mg/m2 (?:(\d+) days|(\d+)/(\d+) days x (\d+))(?: from day (\d+))?",
)


@dataclass(frozen=True)
class Drug:
    """A cytotoxic drug.

    Parameters
    ----------
    standard_mg_m2 : float
        Dose that `drug_efficacy` is about.
    half_life_days : float
        Of its concentration.
    source : str
    """

    standard_mg_m2: float
    half_life_days: float
    source: str


DRUGS = {
    "temozolomide": Drug(
        75.0,
        2.1 / 24,
        "Half-life in plasma 2.1 h: Ostermann et al., Clinical Cancer Research 10 (2004) 3728; 75 mg/m2 is the daily "
        "dose with radiotherapy of the prescribing information",
    ),
    "doxorubicin": Drug(
        60.0,
        30.0 / 24,
        "60 mg/m2 is the dose of the prescribing information (four times every 21 days, with cyclophosphamide), and "
        "30 h about the middle of its terminal half-life of 20 to 48 h (section 12.3)",
    ),
    "paclitaxel": Drug(
        175.0,
        20.2 / 24,
        "Half-life 20.2 h after 175 mg/m2 in 3 h, and the dose: prescribing information",
    ),
}


@dataclass(frozen=True)
class Chemotherapy(Treatment):
    """Cycles of daily doses of one drug.

    A dose at time s multiplies cells by exp(-drug_efficacy (1 - 2^(-(t - s) / half-life)) dose / standard dose) by
    time t: log-kill at a rate proportional to the concentration, over all time `drug_efficacy` a standard dose.

    >>> Chemotherapy.of("temozolomide", 150.0, 5, 28, 6).days[:7]
    (0, 1, 2, 3, 4, 28, 29)

    Parameters
    ----------
    name : str
    drug : str
        A key of `DRUGS`.
    dose_mg_m2 : float
        Of one day, per body surface.
    days_on : int
        Days in a row with a dose.
    cycle_days : int
        Length of a cycle.
    cycles : int
    start_day : int
        Days from the reference scan to the first dose.

    Raises
    ------
    InvalidInput
        If the drug is not known, or a number is not possible.
    """

    sensitivities = ("drug_efficacy",)

    name: str
    drug: str
    dose_mg_m2: float
    days_on: int = 1
    cycle_days: int = 28
    cycles: int = 1
    start_day: int = 0

    def __post_init__(self):
        if self.drug not in DRUGS:
            raise InvalidInput(
                f"Treatment {self.name!r}: there is no drug {self.drug!r}; there are: {', '.join(DRUGS)}."
            )
        if not (math.isfinite(self.dose_mg_m2) and self.dose_mg_m2 > 0):
            raise InvalidInput(f"Treatment {self.name!r}: a dose must be above 0 mg/m2, not {self.dose_mg_m2}.")
        if not (1 <= self.days_on <= self.cycle_days and self.cycles >= 1 and self.start_day >= 0):
            raise InvalidInput(
                f"Treatment {self.name!r}: a cycle has one day with a dose at least, and no more than it has days."
            )
        if self.days_on * self.cycles > MOST_DOSES:
            raise InvalidInput(f"Treatment {self.name!r}: at most {MOST_DOSES} doses can be given.")

    @classmethod
    def of(
        cls, drug: str, dose_mg_m2: float, days_on: int, cycle_days: int = 0, cycles: int = 1, start_day: int = 0
    ) -> Chemotherapy:
        """The chemotherapy with its name, such as "temozolomide 150 mg/m2 5/28 days x 6 from day 98"."""
        pattern = f"{days_on} days" if cycles == 1 else f"{days_on}/{cycle_days} days x {cycles}"
        start = f" from day {start_day}" if start_day else ""
        name = f"{drug} {dose_mg_m2:g} mg/m2 {pattern}{start}"
        return cls(name, drug, dose_mg_m2, days_on, max(cycle_days, days_on), cycles, start_day)

    @classmethod
    def parse(cls, text: str) -> Chemotherapy | None:
        """The course that a text names, such as "temozolomide 75 mg/m2 42 days from day 28"; None if it names none."""
        match = TEXT.fullmatch(text)
        if match is None:
            return None
        drug, dose, days, days_on, cycle_days, cycles, start = match.groups()
        on = int(days or days_on)
        return cls(text, drug, float(dose), on, int(cycle_days or on), int(cycles or 1), int(start or 0))

    @property
    def days(self) -> tuple[float, ...]:
        """Day of each dose."""
        cycles = range(self.start_day, self.start_day + self.cycles * self.cycle_days, self.cycle_days)
        return tuple(first + day for first in cycles for day in range(self.days_on))

    @property
    def relative_dose(self) -> float:
        """One dose as a multiple of the standard one."""
        return self.dose_mg_m2 / DRUGS[self.drug].standard_mg_m2

    @property
    def effect_days(self) -> tuple[float, ...]:
        """Whole days on which a dose is given or still acts: between them its effect is nearly all one way."""
        after = math.ceil(DRUGS[self.drug].half_life_days * -math.log2(NOTHING))
        return tuple(sorted({day + more for day in self.days for more in range(after + 1)}))

    def acted(self, day: float) -> float:
        """Effect of all doses until a day, in standard doses; one given on that very day has not acted yet."""
        half_life = DRUGS[self.drug].half_life_days
        shares = (1.0 - 2.0 ** (-(day - given) / half_life) for given in self.days if given < day)
        return self.relative_dose * sum(shares)

    def delay_days(self, start: float, end: float) -> float:
        """Mean time from `start` at which the effect between two days comes, no dose being given between."""
        decay = math.log(2.0) / DRUGS[self.drug].half_life_days
        lost = math.exp(-decay * (end - start))
        return 1.0 / decay - (end - start) * lost / (1.0 - lost)

    def survival(self, member: Mapping[str, float]) -> float:
        return math.exp(-efficacy_of(member, self) * self.relative_dose * len(self.days))


def efficacy_of(member: Mapping[str, float], treatment: Treatment) -> float:
    """The member's `drug_efficacy`; `InvalidInput` if the tumour's preset knows none."""
    if "drug_efficacy" not in member:
        raise InvalidInput(f"Treatment {treatment.name!r}: no efficacy of a drug is known for this tumour's preset.")
    return member["drug_efficacy"]


def temozolomide(radiotherapy: tuple[float, ...], start_day: int = 0, cycles: int = 6) -> tuple[Chemotherapy, ...]:
    """The usual regimen of the prescribing information.

    75 mg/m2 a day from the first to the last of the days of radiotherapy, and four weeks later cycles of five days in
    28, the first of 150 and the others of 200 mg/m2 a day; without radiotherapy only these, from a day on.
    """
    courses = []
    if radiotherapy:
        first, last = int(min(radiotherapy)), int(max(radiotherapy))
        courses.append(Chemotherapy.of("temozolomide", 75.0, last - first + 1, start_day=first))
        start_day = last + 1 + 28
    courses.append(Chemotherapy.of("temozolomide", 150.0, 5, start_day=start_day))
    if cycles > 1:
        courses.append(Chemotherapy.of("temozolomide", 200.0, 5, 28, cycles - 1, start_day + 28))
    return tuple(courses)


REGIMENS = {"temozolomide": temozolomide}
"""What a drug's name alone stands for in the text of a treatment."""
