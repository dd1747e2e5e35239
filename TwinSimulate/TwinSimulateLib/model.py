"""The vocabulary of every physiology model: what it is given, what it answers, and its four verbs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from scipy.stats import norm

from TwinCore import Grid, Image, InvalidInput, Job, MissingInput, Parameter, Quantity, Table
from TwinCore.transform import Transform

from .declared import Requirement
from .inference.discrepancy import Discrepancy
from .inference.ensemble import band, normal_draws


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A patient's tissues on one grid, and images in its frame.

    Parameters
    ----------
    grid : Grid
    tissues : mapping of str to array, shape (k, j, i)
        Masks, or the fraction of each voxel (0 to 1) that is the tissue.
    images : mapping of str to Image
        In the same frame, on any grid.
    """

    grid: Grid
    tissues: Mapping[str, np.ndarray]
    images: Mapping[str, Image] = field(default_factory=dict)

    def __post_init__(self):
        for name, tissue in self.tissues.items():
            if tissue.shape != self.grid.shape:
                raise InvalidInput(
                    f"Tissue {name!r} has shape {tissue.shape}: it must be on the anatomy's grid, {self.grid.shape}."
                )

    def tissue(self, name: str) -> np.ndarray:
        """A tissue's array; `MissingInput` names those there are."""
        if name not in self.tissues:
            raise MissingInput(f"The model needs the segment {name!r}; there are: {', '.join(self.tissues) or 'none'}.")
        return self.tissues[name]


@dataclass(frozen=True, eq=False)
class Curve:
    """A quantity over time; of an ensemble, its median, its bands and its members.

    Parameters
    ----------
    times_days : array, shape (n,)
    values : array, shape (n,)
    unit : str
    members : array, shape (members, n), optional
    """

    times_days: np.ndarray
    values: np.ndarray
    unit: str
    members: np.ndarray | None = None

    @classmethod
    def of_members(cls, times_days: np.ndarray, members: np.ndarray, unit: str) -> Curve:
        return cls(times_days, np.median(members, axis=0), unit, members)

    def band(self, percent: float) -> np.ndarray:
        """Lower and upper bound over time, shape (2, n), of the central `percent` of the members."""
        return band(self._members(), percent)

    def median_member(self) -> int:
        """The member whose last value is nearest the median."""
        last = self._members()[:, -1]
        return int(np.abs(last - np.median(last)).argmin())

    def _members(self) -> np.ndarray:
        if self.members is None:
            raise InvalidInput("A single run has no band: ask a prediction for it.")
        return self.members


@dataclass(frozen=True)
class Estimate(Quantity):
    """A median with its 50 % and 90 % intervals."""

    interval_50: tuple[float, float]
    interval_90: tuple[float, float]

    @classmethod
    def of_members(cls, members: np.ndarray, unit: str) -> Estimate:
        fifty, ninety = band(members, 50.0), band(members, 90.0)
        return cls(
            float(np.median(members)), unit, (float(fifty[0]), float(fifty[1])), (float(ninety[0]), float(ninety[1]))
        )

    def as_dict(self) -> dict[str, Any]:
        return {**super().as_dict(), "interval_50": list(self.interval_50), "interval_90": list(self.interval_90)}


@dataclass(frozen=True, eq=False)
class Result:
    """What a model says: fields on the anatomy's grid, curves over time, and numbers, each with its unit; and moves of
    the anatomy, by name, if it moves."""

    fields: Mapping[str, Image]
    curves: Mapping[str, Curve]
    numbers: Mapping[str, Quantity]
    transforms: Mapping[str, Transform] = field(default_factory=dict)


@dataclass(frozen=True)
class Observation:
    """A number measured on the patient.

    Parameters
    ----------
    quantity : str
        A curve of the model, such as "volume".
    time_days : float
        From the reference scan.
    value : float
        In the curve's unit.
    log_sd : float
        Standard deviation of the measurement's logarithm: 0.1 is about 10 %.
    threshold : float, optional
        Density at which the outline was drawn, if not where the model's own is.
    """

    quantity: str
    time_days: float
    value: float
    log_sd: float
    threshold: float | None = None


@dataclass(frozen=True, eq=False)
class Posterior:
    """What is believed of the uncertain parameters: Gaussian in their logarithms. A prior is one too.

    Parameters
    ----------
    parameters : tuple of Parameter
        The uncertain ones, in the order of the arrays.
    log_mean : array, shape (n,)
    log_covariance : array, shape (n, n)
    fit : Table, optional
        Observed and fitted values.
    held_out : Table, optional
        The last visit's values beside their prediction from the visits before it.
    discrepancy : Discrepancy, optional
        How the observations depart from the fit, and by how much their noise was widened for it.
    """

    parameters: tuple[Parameter, ...]
    log_mean: np.ndarray
    log_covariance: np.ndarray
    fit: Table | None = None
    held_out: Table | None = None
    discrepancy: Discrepancy | None = None

    @classmethod
    def prior(cls, parameters: Sequence[Parameter]) -> Posterior:
        """What is believed before any data of the patient."""
        uncertain = [(p, p.prior) for p in parameters if p.prior is not None]
        return cls(
            tuple(p for p, _ in uncertain),
            np.array([prior.log_mean for _, prior in uncertain]),
            np.diag([prior.log_sd**2 for _, prior in uncertain]),
        )

    @property
    def map(self) -> dict[str, float]:
        """The most probable values, by name (the mode in the logarithms)."""
        return self._named(self.log_mean)

    def interval(self, name: str, percent: float = 90.0) -> tuple[float, float]:
        """The central interval of a parameter, in its own unit."""
        n = [p.name for p in self.parameters].index(name)
        reach = norm.ppf(0.5 + percent / 200.0) * np.sqrt(self.log_covariance[n, n])
        return float(np.exp(self.log_mean[n] - reach)), float(np.exp(self.log_mean[n] + reach))

    def samples(self, members: int, seed: int) -> list[dict[str, float]]:
        """Seeded draws by name, held within each parameter's bounds."""
        root = np.linalg.cholesky(self.log_covariance + 1e-12 * np.eye(self.log_mean.size))
        return [self._named(self.log_mean + root @ z) for z in normal_draws(members, self.log_mean.size, seed)]

    def _named(self, logs: np.ndarray) -> dict[str, float]:
        return {p.name: float(np.clip(np.exp(value), p.low, p.high)) for p, value in zip(self.parameters, logs)}


@dataclass(frozen=True, eq=False)
class Comparison:
    """Scenarios side by side: a table with differences to the first, and each scenario's whole prediction."""

    table: Table
    predictions: Mapping[str, Result]


class Model(ABC):
    """A physiology model: one class, four verbs, found through `registry.find`.

    Attributes
    ----------
    name, title : str
        As code and as readers call it.
    presets : mapping of str to str
        Name and one-line description of each set of parameters.
    parameters : tuple of Parameter
        Declared once; panels, files and reports are made from them.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    presets: ClassVar[Mapping[str, str]]
    parameters: tuple[Parameter, ...]

    @abstractmethod
    def requires(self) -> tuple[Requirement, ...]:
        """The segments and images that the model needs."""

    @abstractmethod
    def simulate(
        self, anatomy: Anatomy, parameters: Mapping[str, float], times_days: Sequence[float], job: Job
    ) -> Result:
        """One run with given parameters; those left out take their defaults."""

    @abstractmethod
    def calibrate(
        self, anatomy: Anatomy, observations: Sequence[Observation], job: Job, *, prior: Posterior | None = None
    ) -> Posterior:
        """What the observations say of the parameters, with their priors or with the posterior of earlier visits."""

    @abstractmethod
    def predict(self, anatomy: Anatomy, posterior: Posterior, times_days: Sequence[float], job: Job) -> Result:
        """An ensemble drawn from the posterior, as medians with 50 % and 90 % bands."""

    @abstractmethod
    def compare(
        self, anatomy: Anatomy, posterior: Posterior, scenarios: Sequence[Any], times_days: Sequence[float], job: Job
    ) -> Comparison:
        """The same members under each scenario, the first being what the others are compared with."""
