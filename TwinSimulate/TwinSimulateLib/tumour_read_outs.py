"""What a run of the growth model would show at each observation, beside what was seen and how uncertain that is.

**Voxels that err together.** An error with standard deviation s and correlation rho(r) has, for whatever varies slowly
against rho, the effect of independent errors of variance s^2 V / v on voxels of v mm3, V being the integral of rho: a
volume V holds one observation. For exp(-r^2 / (2 l^2)) it is (2 pi)^(3/2) l^3. That variance is the largest eigenvalue
of the voxels' covariance (its spectrum at frequency zero, and rho's spectrum falls from there), so the covariance that
a fit then states is never below the true one of its estimate: intervals are honest, though not the shortest.

**Outlines** are compared as masks: the part of each voxel within, blurred. The noise of a voxel is such that all of
them together say of a growth of the whole outline what the volume's `log_sd` says.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.special import ndtr

from TwinCore import Grid, Image, InvalidInput, Job, resample
from TwinCore.units import MILLILITRE, NO_UNIT

from .area_average import area_average
from .cellularity import NOISE_SD
from .model import Observation
from .numerics.level_set import share_above
from .treatment import Treatment
from .tumour_observations import Cellularity, ImageObservation, Outline, TumourObservation, VoxelMap
from .tumour_run import SMALLEST_ML, checked_times, run_member
from .tumour_stage import Stage, Stages

BLUR_MM = 1.0
"""How far a drawn outline is locally off; both outlines are blurred by it, or by a voxel where that is more."""
LEAST_SEEN = 0.5
"""Share of the tumour at the reference scan that an image must have in its field of view."""
SPAN_PERCENTILES = (99.0, 1.0)
"""Of an uptake: what lies between them is taken for densities from 0 to 1."""


@dataclass(frozen=True, eq=False)
class Visit:
    """A member's tumour on the day of an observation.

    Parameters
    ----------
    member : mapping of str to float
    volume_ml : mapping of float to float
        By threshold.
    density : array, shape (k, j, i)
    stage : Stage
    """

    member: Mapping[str, float]
    volume_ml: Mapping[float, float]
    density: np.ndarray
    stage: Stage


class ReadOut(ABC):
    """An observation as a calibration takes it.

    Attributes
    ----------
    observation : Observation or ImageObservation
    observed, sd : arrays, shape (m,)
    effective : float
        How many independent observations the m data amount to.
    unit : str
        Of `number`.
    """

    observation: TumourObservation
    observed: np.ndarray
    sd: np.ndarray
    effective: float
    unit: str = NO_UNIT

    @abstractmethod
    def shown(self, visit: Visit) -> np.ndarray:
        """What would be seen without noise, shape (m,)."""

    def number(self, data: np.ndarray) -> float:
        """The data in a word: their mean, unless said otherwise."""
        return float(data.mean())

    def with_noise(self, number: np.ndarray, deviates: np.ndarray) -> np.ndarray:
        """Numbers with what measurement adds, from standard-normal deviates."""
        return number + deviates * self._number_sd()

    def residual(self, fitted: np.ndarray) -> float:
        """Observed less fitted number, in standard deviations of the measurement."""
        return (self.number(self.observed) - self.number(fitted)) / self._number_sd()

    def _number_sd(self) -> float:
        return float(np.sqrt((self.sd**2).sum())) / self.sd.size


class _Volume(ReadOut):
    """Whose number is a volume, with log-normal noise."""

    unit = MILLILITRE

    def __init__(self, observation: Observation | Outline):
        self.observation, self._log_sd = observation, observation.log_sd

    def with_noise(self, number: np.ndarray, deviates: np.ndarray) -> np.ndarray:
        return number * np.exp(deviates * self._log_sd)

    def residual(self, fitted: np.ndarray) -> float:
        return math.log(self.number(self.observed) / max(self.number(fitted), SMALLEST_ML)) / self._log_sd


class VolumeReadOut(_Volume):
    """A volume, by its logarithm."""

    def __init__(self, observation: Observation):
        super().__init__(observation)
        self.effective = 1.0
        self.observed, self.sd = np.log([observation.value]), np.array([observation.log_sd])

    def shown(self, visit: Visit) -> np.ndarray:
        level = threshold_of(self.observation, visit.member)
        return np.log([max(visit.volume_ml[level], SMALLEST_ML)])

    def number(self, data: np.ndarray) -> float:
        return float(np.exp(data[0]))


class MapReadOut(ReadOut):
    """A voxel map, averaged over the voxels of the stage where it is known and there is tissue."""

    def __init__(self, observation: VoxelMap, stage: Stage):
        self.observation, self._grid = observation, stage.grid
        values, known = averaged(observation, stage)
        self._known = known & stage.equation.domain
        if not self._known.any():
            raise _misplaced(observation)
        self.observed = values[self._known].astype(float)
        self._noise = self._noise_sd(observation)
        voxel_mm3 = 1000.0 * stage.grid.voxel_volume_ml
        together_mm3 = (2.0 * math.pi) ** 1.5 * observation.correlation_mm**3
        together_mm3 = max(together_mm3, 1000.0 * observation.image.grid.voxel_volume_ml)
        self.sd = np.full(self.observed.size, self._noise * math.sqrt(together_mm3 / voxel_mm3))
        self.effective = self.observed.size * min(voxel_mm3 / together_mm3, 1.0)

    @abstractmethod
    def _noise_sd(self, observation: VoxelMap) -> float:
        """Of a voxel of the image."""

    def _density(self, visit: Visit) -> np.ndarray:
        return on_grid(visit.density, visit.stage.grid, self._grid)[self._known].astype(float)


class CellularityReadOut(MapReadOut):
    """The density, with the noise that the ends of its scale cut off."""

    def __init__(self, observation: Cellularity, stage: Stage):
        super().__init__(observation, stage)
        # What the ends cut off does not add to the residuals.
        self.effective *= float(cut_off_variance(self.observed, self._noise).mean()) / self._noise**2

    def shown(self, visit: Visit) -> np.ndarray:
        return cut_off_mean(self._density(visit), self._noise)

    def _noise_sd(self, observation: VoxelMap) -> float:
        return NOISE_SD if observation.noise_sd is None else observation.noise_sd


class UptakeReadOut(MapReadOut):
    """Offset and gain times the density, both fitted."""

    def shown(self, visit: Visit) -> np.ndarray:
        density = self._density(visit)
        apart = density - density.mean()
        gain = max(apart @ self.observed, 0.0) / max(apart @ apart, 1e-12)
        return self.observed.mean() + gain * apart

    def _noise_sd(self, observation: VoxelMap) -> float:
        if observation.noise_sd is not None:
            return observation.noise_sd
        return NOISE_SD * float(np.subtract(*np.percentile(self.observed, SPAN_PERCENTILES)))


class OutlineReadOut(_Volume):
    """The part of each voxel within the outline, blurred."""

    def __init__(self, observation: Outline, stage: Stage):
        super().__init__(observation)
        self._grid, self._domain = stage.grid, stage.equation.domain
        values, _ = averaged(observation, stage)
        within = np.where(self._domain, values, 0.0)
        if not (within[stage.distance_mm <= 0] > 0).any():
            raise _misplaced(observation)
        self._voxel_ml = stage.grid.voxel_volume_ml
        self._blur = np.maximum(BLUR_MM / stage.grid.spacing[::-1], 1.0)
        blurred = gaussian_filter(within, self._blur, mode="constant")
        slope = np.sqrt(sum(part**2 for part in np.gradient(blurred, *stage.grid.spacing[::-1])))
        area_mm2 = 1000.0 * self._voxel_ml * float(slope.sum())
        # Displaced as a whole by x mm, the outline's voxels change by slope x, and its volume by area x.
        displacement_mm = 1000.0 * self._voxel_ml * float(within.sum()) * observation.log_sd / area_mm2
        self.observed = blurred[self._domain].astype(float)
        self.sd = np.full(self.observed.size, math.sqrt(float((slope**2).sum())) * displacement_mm)
        self.effective = max((BLUR_MM / displacement_mm) ** 2, 1.0)

    def shown(self, visit: Visit) -> np.ndarray:
        level = threshold_of(self.observation, visit.member)
        share = share_above(visit.stage.equation, visit.density, level)
        share = on_grid(share, visit.stage.grid, self._grid)
        return gaussian_filter(share, self._blur, mode="constant")[self._domain].astype(float)

    def number(self, data: np.ndarray) -> float:
        return float(data.sum()) * self._voxel_ml


READ_OUTS = {"cellularity": CellularityReadOut, "uptake": UptakeReadOut, "outline": OutlineReadOut}


def read_outs(observations: Sequence[TumourObservation], stage: Stage) -> list[ReadOut]:
    """Each observation as a calibration on this stage takes it; `InvalidInput` if one is not where the tumour is."""
    return [
        READ_OUTS[o.quantity](o, stage) if isinstance(o, ImageObservation) else VolumeReadOut(o) for o in observations
    ]


def shown(
    stages: Stages,
    spacing_mm: float,
    member: Mapping[str, float],
    outs: Sequence[ReadOut],
    treatment: Treatment,
    job: Job,
) -> list[np.ndarray]:
    """What the member would show at each observation, from one run."""
    times = checked_times(sorted({out.observation.time_days for out in outs}))
    levels = {threshold_of(out.observation, member) for out in outs if isinstance(out, VolumeReadOut)}
    thresholds = sorted(levels | {member["detection_threshold"]})
    pictured = any(not isinstance(out, VolumeReadOut) for out in outs)
    run = run_member(stages, spacing_mm, member, treatment, times, thresholds, job, keep=pictured)
    answers = []
    for out in outs:
        n = int(np.searchsorted(times, out.observation.time_days))
        volumes = dict(zip(thresholds, run.volume_ml[n].tolist()))
        answers.append(out.shown(Visit(member, volumes, run.densities[n if pictured else -1], run.stage)))
    return answers


def cut_off_mean(density: np.ndarray, noise_sd: float) -> np.ndarray:
    """Mean of density plus Gaussian noise, cut off at 0 and 1: a map has no other values."""
    low, high = -density / noise_sd, (1.0 - density) / noise_sd
    return density * (ndtr(high) - ndtr(low)) + noise_sd * (_bell(low) - _bell(high)) + ndtr(-high)


def cut_off_variance(density: np.ndarray, noise_sd: float) -> np.ndarray:
    """The variance of the same."""
    low, high = -density / noise_sd, (1.0 - density) / noise_sd
    square = (density**2 + noise_sd**2) * (ndtr(high) - ndtr(low)) + ndtr(-high)
    square += 2.0 * noise_sd * density * (_bell(low) - _bell(high))
    square += noise_sd**2 * (low * _bell(low) - high * _bell(high))
    return square - cut_off_mean(density, noise_sd) ** 2


def averaged(observation: ImageObservation, stage: Stage) -> tuple[np.ndarray, np.ndarray]:
    """`area_average` of its image on a stage.

    Raises
    ------
    InvalidInput
        If half of the tumour at the reference scan is outside the image's field of view.
    """
    seen = area_average(Image(np.ones(observation.image.grid.shape, np.float32), observation.image.grid), stage.grid)[1]
    if seen[stage.distance_mm <= 0].mean() < LEAST_SEEN:
        raise _misplaced(observation)
    return area_average(observation.image, stage.grid)


def on_grid(values: np.ndarray, source: Grid, grid: Grid) -> np.ndarray:
    """Values of a stage on the grid that the observations were laid on: the same one, unless it was widened since."""
    return values if source.same_as(grid) else resample(Image(values, source), grid).array


def threshold_of(observation: TumourObservation, member: Mapping[str, float]) -> float:
    """Density at which an observation was outlined, if not the model's own."""
    given = getattr(observation, "threshold", None)
    return member["detection_threshold"] if given is None else given


def _bell(x: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * x**2) / math.sqrt(2.0 * math.pi)


def _misplaced(observation: ImageObservation) -> InvalidInput:
    return InvalidInput(
        f"Observation of {observation.quantity}, image {observation.image.name!r}: it does not meet the tumour of the "
        "reference scan; it must be in the frame of that scan (registered to it)."
    )
