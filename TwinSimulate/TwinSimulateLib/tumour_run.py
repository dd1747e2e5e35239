"""Runs of the tumour growth model: one member under one treatment, and an ensemble under several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from TwinCore import InvalidInput, Job
from TwinCore.transform import GridTransform

from .model import Observation
from .numerics.discretisation import discretisation_error
from .numerics.extent import extent
from .numerics.level_set import voxels_above
from .treatment import Treatment
from .tumour_stage import Stage, Stages
from .tumour_treated import TreatedTumour

SMALLEST_ML = 1e-3


@dataclass(frozen=True, eq=False)
class Run:
    """One member under one treatment.

    Parameters
    ----------
    volume_ml : array, shape (times, thresholds)
    burden_ml : array, shape (times,)
    least_burden_ml : float
        Smallest after anything that was done, or at the last time.
    diameter_mm, reach_mm : arrays, shape (times,)
        Largest diameter at the first threshold, and how far beyond the outline it is reached; 0 if not asked for.
    densities : list of array
        At the last time, or at every time where they were asked for.
    stage : Stage
        Where they live.
    moves : list of GridTransform or None
        How the tissue has moved by the time of each density, if it does.
    """

    volume_ml: np.ndarray
    burden_ml: np.ndarray
    least_burden_ml: float
    diameter_mm: np.ndarray
    reach_mm: np.ndarray
    densities: list[np.ndarray]
    stage: Stage
    moves: list[GridTransform | None]


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Many members under one treatment.

    Parameters
    ----------
    treatment : Treatment
    times_days : array, shape (times,)
    volume_ml, burden_ml, diameter_mm, reach_mm : arrays, shape (members, times)
    least_burden_ml : array, shape (members,)
    stages : Stages
    sums : mapping of Stage to array, shape (2, k, j, i)
        Over the members on each stage: the density at the last time, and whether it is at or above the threshold.
    """

    treatment: Treatment
    times_days: np.ndarray
    volume_ml: np.ndarray
    burden_ml: np.ndarray
    diameter_mm: np.ndarray
    reach_mm: np.ndarray
    least_burden_ml: np.ndarray
    stages: Stages
    sums: Mapping[Stage, np.ndarray]

    @property
    def mean_density(self) -> np.ndarray:
        """At the last time on the anatomy's grid, shape (k, j, i)."""
        return self._mean(0)

    @property
    def probability(self) -> np.ndarray:
        """Share of the members at or above the threshold at the last time on the anatomy's grid, shape (k, j, i)."""
        return self._mean(1)

    def _mean(self, which: int) -> np.ndarray:
        whole = np.zeros(self.stages.grid.shape, np.float32)
        for stage, total in self.sums.items():
            whole += self.stages.on_anatomy(total[which] / len(self.volume_ml), stage)
        return whole

    @property
    def days_to_regrow(self) -> np.ndarray:
        """Day on which each member's volume is back at its start; 0 if it never fell, infinite if not back."""
        return np.array([_regrowth(self.times_days, volume) for volume in self.volume_ml])


def checked_times(times_days: Sequence[float]) -> np.ndarray:
    """The times as an array that starts at day 0; `InvalidInput` unless they are ascending from there."""
    times = np.asarray(list(times_days), float)
    if times.size == 0 or not np.isfinite(times).all() or times[0] < 0 or (np.diff(times) <= 0).any():
        raise InvalidInput("Times must be ascending days from the reference scan (0 or later), at least one.")
    return times if times[0] == 0 else np.concatenate([[0.0], times])


def run_member(
    stages: Stages,
    spacing_mm: float,
    member: Mapping[str, float],
    treatment: Treatment,
    times_days: np.ndarray,
    thresholds: Sequence[float],
    job: Job,
    keep: bool = False,
    reaching: bool = False,
) -> Run:
    """One run on the stage of a planned spacing, again on a wider one if the tumour reaches the edge of its box."""
    asked = member, treatment, times_days, thresholds, job, keep, reaching
    run = _advance(stages, stages.stage(spacing_mm), *asked)
    while run.stage.is_reached(run.densities[-1]):
        run = _advance(stages, stages.widen(spacing_mm), *asked)
    return run


def run_ensemble(
    stages: Stages,
    members: Sequence[Mapping[str, float]],
    treatments: Sequence[Treatment],
    times_days: np.ndarray,
    job: Job,
) -> list[Ensemble]:
    """All members under all treatments."""
    spacings = stages.plan(members, float(times_days[-1]), job)
    curves = np.zeros((4, len(treatments), len(members), times_days.size))
    least = np.zeros((len(treatments), len(members)))
    sums: list[dict[Stage, np.ndarray]] = [{} for _ in treatments]
    for m in job.each(range(len(members)), "members of the ensemble"):
        threshold = members[m]["detection_threshold"]
        for t, treatment in enumerate(treatments):
            run = run_member(stages, spacings[m], members[m], treatment, times_days, (threshold,), job, reaching=True)
            curves[:, t, m] = run.volume_ml[:, 0], run.burden_ml, run.diameter_mm, run.reach_mm
            least[t, m] = run.least_burden_ml
            density = run.densities[-1]
            both = np.stack([density, density >= threshold])
            sums[t][run.stage] = sums[t].get(run.stage, 0) + both
    answers = []
    for t, treatment in enumerate(treatments):
        volume, burden, diameter, reach = curves[:, t]
        answers.append(Ensemble(treatment, times_days, volume, burden, diameter, reach, least[t], stages, sums[t]))
    return answers


def volume_error(
    stages: Stages, member: Mapping[str, float], treatment: Treatment, times_days: np.ndarray, job: Job
) -> tuple[float, float]:
    """How wrong the member's volume is for its grid's sake, as a share of its largest, and the grid's spacing."""
    (spacing,) = stages.plan([member], float(times_days[-1]), job)

    def volumes(spacing_mm):
        stages.prepare(spacing_mm, stages.stage(spacing).margin_mm)
        threshold = member["detection_threshold"]
        return run_member(stages, spacing_mm, member, treatment, times_days, (threshold,), job).volume_ml[:, 0]

    return discretisation_error(volumes, spacing), spacing


def observed_volumes(
    stages: Stages,
    spacing_mm: float,
    member: Mapping[str, float],
    observations: Sequence[Observation],
    treatment: Treatment,
    job: Job,
) -> np.ndarray:
    """What the member would show at each observation, in mL; at least SMALLEST_ML, so that it has a logarithm."""
    times = checked_times(sorted({o.time_days for o in observations}))
    levels = [member["detection_threshold"] if o.threshold is None else o.threshold for o in observations]
    thresholds = sorted(set(levels))
    run = run_member(stages, spacing_mm, member, treatment, times, thresholds, job)
    seen = [
        run.volume_ml[np.searchsorted(times, o.time_days), thresholds.index(level)]
        for o, level in zip(observations, levels)
    ]
    return np.maximum(seen, SMALLEST_ML)


def _advance(
    stages: Stages,
    stage: Stage,
    member: Mapping[str, float],
    treatment: Treatment,
    times_days: np.ndarray,
    thresholds: Sequence[float],
    job: Job,
    keep: bool,
    reaching: bool,
) -> Run:
    tumour, grid = TreatedTumour(stages.maps.on(stage), member, treatment), stage.grid
    volume, burden = np.zeros((times_days.size, len(thresholds))), np.zeros(times_days.size)
    diameter, reach = np.zeros(times_days.size), np.zeros(times_days.size)
    kept, moves, least = [], [], np.inf
    for time in sorted({*times_days.tolist(), *tumour.stops(times_days[-1])}):
        tumour.grow(time, job)
        for n in np.flatnonzero(times_days == time):
            seen = [voxels_above(tumour.equation, tumour.state, threshold) for threshold in thresholds]
            volume[n] = [above * grid.voxel_volume_ml for above, _ in seen]
            burden[n] = seen[0][1] * grid.voxel_volume_ml
            wanted = keep or n == times_days.size - 1
            if not (wanted or reaching):
                continue
            density = tumour.density()
            if reaching:
                axes = grid.ijk_to_ras[:3, 2::-1]
                diameter[n], reach[n] = extent(density, thresholds[0], axes, stage.distance_mm)
            if wanted:
                kept.append(density)
                moves.append(tumour.equation.transform)
        if tumour.treat() or time == times_days[-1]:
            least = min(least, tumour.burden_ml)
    return Run(volume, burden, least, diameter, reach, kept, stage, moves)


def _regrowth(times_days: np.ndarray, volume: np.ndarray) -> float:
    below = volume < volume[0] * (1 - 1e-6)
    if not below.any():
        return 0.0
    lowest = int(volume.argmin())
    back = np.flatnonzero(volume[lowest:] >= volume[0])
    if back.size == 0:
        return np.inf
    after = lowest + int(back[0])
    share = (volume[0] - volume[after - 1]) / (volume[after] - volume[after - 1])
    return float(times_days[after - 1] + share * (times_days[after] - times_days[after - 1]))
