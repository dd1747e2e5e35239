"""Contrast uptake over time (DCE-MR) as maps, and as the delivery of a drug to each part of a tumour."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from TwinCore import Grid, Image, InvalidInput, resample
from TwinCore.units import NO_UNIT

EARLY_MIN = 2.5
"""Minutes after the contrast agent at which the early phase is looked for, where breast cancers are near their peak."""

NO_SIGNAL = 0.05
"""Share of the brightest percentile before contrast below which a voxel is air, whose ratios would be noise."""

LEAST_ENHANCEMENT = 0.2
"""Of the early and the last phase: below it their ratio would be noise."""

MINUTE, PER_MINUTE = "min", "/min"


def enhancement_maps(phases: Sequence[Image], times_min: Sequence[float], arrival_min: float = 0.0) -> dict[str, Image]:
    """What the signal does after the contrast agent, from two phases on.

    Enhancement is E(t) = S(t) / S0 - 1, S0 being the mean of the phases up to the agent's arrival. The early phase is
    the one nearest to 2.5 minutes after it.

    Parameters
    ----------
    phases : sequence of Image
        On one grid, in one frame: patients move, so register them first if they did.
    times_min : sequence of float
        Of each phase, ascending, in minutes.
    arrival_min : float
        When the contrast agent came; the phases up to then are those before contrast.

    Returns
    -------
    dict of str to Image
        "relative_enhancement", the largest E; "wash_in", E of the early phase over the time since the arrival (/min);
        "initial_area", the integral of E from the arrival to the early phase (min); and, if there is a phase after
        that, "wash_out", the fall of E per minute from the early to the last phase (negative where it still rises),
        and "signal_enhancement_ratio", E early over E last (Li and others 2008, Radiology 248:79; above 1 it washes
        out; 0 where either is below 0.2). Zero where there is no signal.

    Raises
    ------
    InvalidInput
        If the phases are not on one grid, or the times do not fit.
    """
    times, signal = _checked(phases, times_min)
    before = times <= arrival_min
    if not before.any() or before.all():
        raise InvalidInput(
            f"There must be a phase before the contrast agent came (at {arrival_min:g} min) and one after it."
        )
    baseline = signal[before].mean(0)
    seen = baseline > NO_SIGNAL * np.percentile(baseline, 99)
    enhancement = np.where(seen, signal[~before] / np.where(seen, baseline, 1.0) - 1.0, 0.0)
    after = times[~before] - arrival_min
    early = int(np.abs(after - EARLY_MIN).argmin())
    upto = np.concatenate([np.zeros((1, *baseline.shape)), enhancement[: early + 1]])
    maps = {
        "relative_enhancement": (enhancement.max(0), NO_UNIT),
        "wash_in": (enhancement[early] / after[early], PER_MINUTE),
        "initial_area": (np.trapezoid(upto, np.concatenate([[0.0], after[: early + 1]]), axis=0), MINUTE),
    }
    if early < after.size - 1:
        first, last = enhancement[early], enhancement[-1]
        rises = np.minimum(first, last) >= LEAST_ENHANCEMENT
        maps["wash_out"] = (first - last) / (after[-1] - after[early]), PER_MINUTE
        maps["signal_enhancement_ratio"] = np.where(rises, first / np.where(rises, last, 1.0), 0.0), NO_UNIT
    return {
        name: Image(values.astype(np.float32), phases[0].grid, unit=unit, name=name)
        for name, (values, unit) in maps.items()
    }


def drug_delivery(uptake: Image, tumour: np.ndarray, grid: Grid) -> Image:
    """How much of a drug each voxel is reached by, relative to the tumour's mean, from what contrast agent reached it.

    Jarrett and others 2018, Physics in Medicine and Biology 63:105015, give a breast tumour's drugs where the contrast
    agent went; here they go in proportion to it.

    Parameters
    ----------
    uptake : Image
        Such as "initial_area", or Ktrans; below 0 it counts as 0.
    tumour : bool array, shape of `grid`
    grid : Grid
        Of the answer: that of the tumour's segmentation.

    Returns
    -------
    Image
        "drug_delivery", without a unit and with mean 1 in the tumour: what a model of growth takes under that name.

    Raises
    ------
    InvalidInput
        If the tumour is empty, no agent reached it, or the uptake is not finite there.
    """
    if tumour.shape != grid.shape or not tumour.any():
        raise InvalidInput("Drug delivery needs a tumour that is not empty, on the grid of the answer.")
    reached = np.maximum(resample(uptake, grid).array, 0.0)
    mean = float(reached[tumour].mean())
    if not np.isfinite(mean) or mean <= 0:
        raise InvalidInput(f"{uptake.name or 'The uptake'}: no contrast agent reached the tumour, or not all is known.")
    return Image((reached / mean).astype(np.float32), grid, unit=NO_UNIT, name="drug_delivery")


def _checked(phases: Sequence[Image], times_min: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    times = np.asarray(list(times_min), float)
    if len(phases) < 2 or times.size != len(phases):
        raise InvalidInput(f"{len(phases)} phases and {times.size} times: two phases or more need one time each.")
    if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise InvalidInput("The times of the phases must be ascending, in minutes.")
    for phase in phases:
        if phase.array.ndim != 3 or not phase.grid.same_as(phases[0].grid):
            raise InvalidInput(f"Phase {phase.name!r} is not on the grid of the first.")
        if not np.isfinite(phase.array).all():
            raise InvalidInput(f"Phase {phase.name!r} has values that are not finite.")
    return times, np.stack([phase.array.astype(np.float32) for phase in phases])
