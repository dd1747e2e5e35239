"""Runs of the tumour growth model: one member through one schedule, and an ensemble through several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from TwinCore import InvalidInput, Job
from TwinCore.transform import GridTransform

from .model import Observation
from .numerics.discretisation import discretisation_error
from .numerics.level_set import voxels_above
from .radiotherapy import Schedule, survival
from .tumour_stage import Stage, Stages

SMALLEST_ML = 1e-3


@dataclass(frozen=True, eq=False)
class Run:
    """One member through one schedule.

    Parameters
    ----------
    volume_ml : array, shape (times, thresholds)
    burden_ml : array, shape (times,)
    densities : list of array
        At the last time, or at every time where they were asked for.
    stage : Stage
        Where they live.
    moves : list of GridTransform or None
        How the tissue has moved by the time of each density, if it does.
    """

    volume_ml: np.ndarray
    burden_ml: np.ndarray
    densities: list[np.ndarray]
    stage: Stage
    moves: list[GridTransform | None]


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Many members through one schedule.

    Parameters
    ----------
    schedule : Schedule
    times_days : array, shape (times,)
    volume_ml, burden_ml : arrays, shape (members, times)
    mean_density, probability : arrays, shape (k, j, i)
        At the last time on the anatomy's grid; the second is the share of members with u at or above the threshold.
    """

    schedule: Schedule
    times_days: np.ndarray
    volume_ml: np.ndarray
    burden_ml: np.ndarray
    mean_density: np.ndarray
    probability: np.ndarray

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
    schedule: Schedule,
    times_days: np.ndarray,
    thresholds: Sequence[float],
    job: Job,
    keep: bool = False,
) -> Run:
    """One run on the stage of a planned spacing, again on a wider one if the tumour reaches the edge of its box."""
    run = _advance(stages.stage(spacing_mm), member, schedule, times_days, thresholds, job, keep)
    while run.stage.is_reached(run.densities[-1]):
        run = _advance(stages.widen(spacing_mm), member, schedule, times_days, thresholds, job, keep)
    return run


def run_ensemble(
    stages: Stages,
    members: Sequence[Mapping[str, float]],
    schedules: Sequence[Schedule],
    times_days: np.ndarray,
    job: Job,
) -> list[Ensemble]:
    """All members through all schedules."""
    spacings = stages.plan(members, float(times_days[-1]), job)
    volume = np.zeros((len(schedules), len(members), times_days.size))
    burden = np.zeros_like(volume)
    sums: list[dict[Stage, np.ndarray]] = [{} for _ in schedules]
    for m in job.each(range(len(members)), "members of the ensemble"):
        threshold = members[m]["detection_threshold"]
        for s, schedule in enumerate(schedules):
            run = run_member(stages, spacings[m], members[m], schedule, times_days, (threshold,), job)
            volume[s, m], burden[s, m] = run.volume_ml[:, 0], run.burden_ml
            density = run.densities[-1]
            both = np.stack([density, density >= threshold])
            sums[s][run.stage] = sums[s].get(run.stage, 0) + both
    answers = []
    for s, schedule in enumerate(schedules):
        both = np.zeros((2, *stages.grid.shape), np.float32)
        for stage, total in sums[s].items():
            both += [stages.on_anatomy(part, stage) for part in total / len(members)]
        answers.append(Ensemble(schedule, times_days, volume[s], burden[s], both[0], both[1]))
    return answers


def volume_error(
    stages: Stages, member: Mapping[str, float], schedule: Schedule, times_days: np.ndarray, job: Job
) -> tuple[float, float]:
    """How wrong the member's volume is for its grid's sake, as a share of its largest, and the grid's spacing."""
    (spacing,) = stages.plan([member], float(times_days[-1]), job)

    def volumes(spacing_mm):
        stages.prepare(spacing_mm, stages.stage(spacing).margin_mm)
        threshold = member["detection_threshold"]
        return run_member(stages, spacing_mm, member, schedule, times_days, (threshold,), job).volume_ml[:, 0]

    return discretisation_error(volumes, spacing), spacing


def observed_volumes(
    stages: Stages,
    spacing_mm: float,
    member: Mapping[str, float],
    observations: Sequence[Observation],
    schedule: Schedule,
    job: Job,
) -> np.ndarray:
    """What the member would show at each observation, in mL; at least SMALLEST_ML, so that it has a logarithm."""
    times = checked_times(sorted({o.time_days for o in observations}))
    levels = [member["detection_threshold"] if o.threshold is None else o.threshold for o in observations]
    thresholds = sorted(set(levels))
    run = run_member(stages, spacing_mm, member, schedule, times, thresholds, job)
    seen = [
        run.volume_ml[np.searchsorted(times, o.time_days), thresholds.index(level)]
        for o, level in zip(observations, levels)
    ]
    return np.maximum(seen, SMALLEST_ML)


def _advance(
    stage: Stage,
    member: Mapping[str, float],
    schedule: Schedule,
    times_days: np.ndarray,
    thresholds: Sequence[float],
    job: Job,
    keep: bool,
) -> Run:
    diffusivity, rate = member["diffusivity"], member["proliferation_rate"]
    spared = survival(schedule.dose_gy, member["alpha"], member["alpha_beta"])
    equation, voxel_ml = stage.growing(member), stage.grid.voxel_volume_ml
    state = equation.state(stage.start(diffusivity, rate, member["detection_threshold"]))
    volume, burden, kept, now = np.zeros((times_days.size, len(thresholds))), np.zeros(times_days.size), [], 0.0
    moves: list[GridTransform | None] = []
    fractions = [day for day in schedule.days if day <= times_days[-1]]
    for time in sorted({*times_days.tolist(), *fractions}):
        state = equation.advance_state(state, diffusivity, rate, time - now, job)
        now = time
        for n in np.flatnonzero(times_days == time):
            seen = [voxels_above(equation, state, threshold) for threshold in thresholds]
            volume[n], burden[n] = [above * voxel_ml for above, _ in seen], seen[0][1] * voxel_ml
            if keep or n == times_days.size - 1:
                kept.append(equation.density(state))
                moves.append(equation.transform)
        if time in fractions:
            state *= state.dtype.type(spared)
    return Run(volume, burden, kept, stage, moves)


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
