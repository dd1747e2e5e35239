"""What a treatment is: one course of radiotherapy, chemotherapy or surgery, or several together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from TwinCore import InvalidInput

SENSITIVITIES = ("alpha", "alpha_beta", "drug_efficacy")
"""Parameters of a tumour that only a treatment shows."""


class Treatment(ABC):
    """A treatment with a name; a single course is a treatment of its own.

    Attributes
    ----------
    name : str
        As tables and reports call it, and as `treatment_text.parse` reads it.
    sensitivities : tuple of str
        Those of `SENSITIVITIES` that a single course depends on.
    """

    name: str
    sensitivities: ClassVar[tuple[str, ...]] = ()

    @property
    def courses(self) -> tuple[Treatment, ...]:
        """The single courses that it is made of."""
        return (self,)

    @property
    @abstractmethod
    def days(self) -> tuple[float, ...]:
        """Days from the reference scan on which something is done, ascending."""

    @abstractmethod
    def survival(self, member: Mapping[str, float]) -> float:
        """Share of the cells that survive it all, where dose and drug are as prescribed, with no growth between."""

    @property
    def total_gy(self) -> float:
        """Prescribed dose of radiation."""
        return 0.0

    def bed_gy(self, alpha_beta_gy: float) -> float:
        """Biologically effective dose of the radiation, in Gy; courses add up."""
        return 0.0

    def eqd2_gy(self, alpha_beta_gy: float) -> float:
        """Dose in 2 Gy fractions with the same biologically effective dose, in Gy."""
        return self.bed_gy(alpha_beta_gy) / (1.0 + 2.0 / alpha_beta_gy)

    @property
    def is_none(self) -> bool:
        """Whether nothing is done."""
        return not self.days

    def as_dict(self) -> dict[str, Any]:
        """All that it is, for a record."""
        whole: Any = self
        return asdict(whole)

    def without_effect(self, until_day: float) -> list[str]:
        """The sensitivities of which the treatment tells nothing until a day, no course of theirs having begun."""
        begun = [course for course in self.courses if any(day < until_day for day in course.days)]
        told = {name for course in begun for name in course.sensitivities}
        return [name for name in SENSITIVITIES if name not in told]


@dataclass(frozen=True)
class Combination(Treatment):
    """Several courses, each with its own days.

    >>> both = Combination("surgery, then radiotherapy", (Surgery.of(0), Schedule.of(30, 2.0, 28)))

    Parameters
    ----------
    name : str
    parts : tuple of Treatment

    Raises
    ------
    InvalidInput
        If there are no parts.
    """

    name: str
    parts: tuple[Treatment, ...]

    def __post_init__(self):
        if not self.parts:
            raise InvalidInput(f"Treatment {self.name!r} has no courses.")

    @property
    def courses(self) -> tuple[Treatment, ...]:
        return tuple(course for part in self.parts for course in part.courses)

    @property
    def days(self) -> tuple[float, ...]:
        return tuple(sorted({day for part in self.parts for day in part.days}))

    def survival(self, member: Mapping[str, float]) -> float:
        left = 1.0
        for part in self.parts:
            left *= part.survival(member)
        return left

    @property
    def total_gy(self) -> float:
        return sum(part.total_gy for part in self.parts)

    def bed_gy(self, alpha_beta_gy: float) -> float:
        return sum(part.bed_gy(alpha_beta_gy) for part in self.parts)
