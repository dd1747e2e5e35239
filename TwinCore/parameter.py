"""`Parameter` and `Choice`: the one declaration of a method's number or word, from which panels and files are made."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .errors import InvalidInput


@dataclass(frozen=True)
class LogNormal:
    """Prior of a positive quantity: median, and the factor that reaches from the median to the 95th percentile."""

    median: float
    factor_95: float

    @property
    def log_mean(self) -> float:
        return math.log(self.median)

    @property
    def log_sd(self) -> float:
        return math.log(self.factor_95) / 1.6448536269514722

    def sample(self, normal: np.ndarray) -> np.ndarray:
        """Values for standard-normal deviates."""
        return np.exp(self.log_mean + self.log_sd * normal)


@dataclass(frozen=True)
class Parameter:
    """One number of a model, declared once.

    Parameters
    ----------
    name : str
        The field's own word, as code, case files and results use it.
    symbol : str
        As the equations write it.
    unit : str
        UCUM.
    default : float
    low, high : float
        Bounds outside which a value is refused.
    meaning : str
        One sentence for a reader.
    source : str
        Where the default and the prior come from.
    prior : LogNormal, optional
        What is believed before any data of the patient; none for a number that is known or chosen.
    lowest_means : str
        What the lowest value stands for, where it is no amount: "by preset".
    asked : bool
        False for one that the model finds in the images, and that nobody can set.
    """

    name: str
    symbol: str
    unit: str
    default: float
    low: float
    high: float
    meaning: str
    source: str
    prior: LogNormal | None = None
    lowest_means: str = ""
    asked: bool = True

    def check(self, value: float) -> float:
        """The value, if it is a number within the bounds; `InvalidInput` otherwise."""
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float, np.number))
            or not self.low <= float(value) <= self.high
        ):
            raise InvalidInput(
                f"Parameter {self.name!r} is {value!r}: it must be a number from {self.low:g} to {self.high:g} "
                f"{self.unit}."
            )
        return float(value)

    def at(self, value: float) -> Parameter:
        """The parameter with another default, and its prior about that, as wide as before."""
        prior = None if self.prior is None else replace(self.prior, median=self.check(value))
        return replace(self, default=self.check(value), prior=prior)


@dataclass(frozen=True)
class Choice:
    """One word to be chosen among several, declared once.

    Parameters
    ----------
    name : str
    default : str
    options : mapping of str to str
        What can be chosen, each with what it means.
    meaning : str
        One sentence for a reader.
    """

    name: str
    default: str
    options: Mapping[str, str]
    meaning: str

    def check(self, value: str) -> str:
        """The value, if it is one of the options; `InvalidInput` lists them otherwise."""
        if value not in self.options:
            raise InvalidInput(
                f"{self.name.capitalize()} {value!r} is not known; there are: {', '.join(self.options)}."
            )
        return value


def complete(declared: Iterable[Parameter | Choice], given: Mapping[str, Any]) -> dict[str, Any]:
    """Given values, checked, with the defaults of those not given; `InvalidInput` names an unknown one."""
    by_name = {p.name: p for p in declared}
    unknown = sorted(set(given) - set(by_name))
    if unknown:
        raise InvalidInput(f"Unknown parameter {', '.join(map(repr, unknown))}; there are: {', '.join(by_name)}.")
    return {name: p.check(given.get(name, p.default)) for name, p in by_name.items()}
