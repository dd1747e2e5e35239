"""Correcting a segment with clicks: a place that belongs to it and was missed, or one that does not and was taken.

Near a click what was segmented is open to question, elsewhere it stands. A questioned voxel goes to the side that a
random walker from it reaches first, who on the way stops now and then at the side whose brightness is likelier.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from TwinCore import Image, InvalidInput, Job

from .random_walker import random_walk

REACH_MM = 15.0
EDGE = 1.0
"""Steps in brightness of this many times the noise are edges: measured, docs/segmentation.md."""
STOPS = 0.1
"""How readily the walker stops at what the brightness says, beside walking on to a neighbour like itself."""
BINS, BIN_SIGMA = 64, 2.0

Points = Sequence[Sequence[float]]


def corrected(
    image: Image,
    mask: np.ndarray,
    inside_ras_mm: Points = (),
    outside_ras_mm: Points = (),
    reach_mm: float = REACH_MM,
    job: Job | None = None,
) -> np.ndarray:
    """The segment with what clicks or scribbles say of it.

    >>> liver = corrected(ct, liver, inside_ras_mm=[(-80, 20, 110)])          # doctest: +SKIP

    Parameters
    ----------
    image : Image
        Whose edges the segment follows.
    mask : bool array, shape (k, j, i)
        On the image's grid.
    inside_ras_mm, outside_ras_mm : sequences of three floats
        Points that belong to the segment, and that do not; a scribble is many of them.
    reach_mm : float
        How far from a point anything may change: about the size of the error.
    job : Job, optional

    Returns
    -------
    bool array, shape (k, j, i)

    Raises
    ------
    InvalidInput
        If there is no point, one lies outside the image, or two in one voxel contradict each other.
    """
    job, spacing = job or Job(), image.grid.spacing[::-1]
    ins, outs = _voxels(image, inside_ras_mm), _voxels(image, outside_ras_mm)
    if not len(ins) + len(outs):
        raise InvalidInput("There is nothing to correct by: click on what was missed, or on what does not belong.")
    if {tuple(p) for p in ins} & {tuple(p) for p in outs}:
        raise InvalidInput("One voxel is clicked both as inside and as outside.")
    points, reach = np.concatenate([ins, outs]), np.ceil(reach_mm / spacing).astype(int) + 2
    low = np.maximum(points.min(0) - reach, 0)
    box = tuple(slice(a, b) for a, b in zip(low, np.minimum(points.max(0) + reach + 1, mask.shape)))
    result = np.array(mask, bool)
    segment, ins, outs = result[box].copy(), ins - low, outs - low
    missed = ~segment & (_distance(segment.shape, ins, spacing) <= reach_mm)
    taken = segment & (_distance(segment.shape, outs, spacing) <= reach_mm)
    segment[tuple(ins.T)], segment[tuple(outs.T)] = True, False
    open_to_question = missed | taken
    open_to_question[tuple(np.concatenate([ins, outs]).T)] = False
    job.checkpoint()
    values, certain = np.asarray(image.array[box], np.float32), ~open_to_question
    likely = _likelihood(values, segment, certain)
    inside = random_walk(values, spacing, certain & segment, certain & ~segment, EDGE, likely, STOPS)
    result[box] = inside > 0.5
    return result


def _likelihood(values: np.ndarray, segment: np.ndarray, certain: np.ndarray) -> np.ndarray:
    """Probability of the segment by brightness alone, both sides being as likely beforehand."""
    low, high = np.percentile(values, (1, 99))
    bins = np.clip((values - low) * (BINS / max(high - low, 1e-6)), 0, BINS - 1).astype(int)

    def density(where: np.ndarray) -> np.ndarray:
        counts = ndimage.gaussian_filter1d(np.bincount(bins[where], minlength=BINS).astype(float), BIN_SIGMA)
        return counts / max(counts.sum(), 1.0) + 1e-3 / BINS

    inside, outside = density(certain & segment), density(certain & ~segment)
    return (inside / (inside + outside))[bins]


def _distance(shape, points: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Distance of each voxel to the nearest of some points, in mm; infinite if there is none."""
    if not len(points):
        return np.full(shape, np.inf)
    away = np.ones(shape, bool)
    away[tuple(points.T)] = False
    return ndimage.distance_transform_edt(away, sampling=spacing)


def _voxels(image: Image, points_ras_mm: Points) -> np.ndarray:
    """Voxels (n, 3) along k, j, i of points; `InvalidInput` if one is outside."""
    if not len(points_ras_mm):
        return np.zeros((0, 3), int)
    voxels = np.rint(image.grid.to_ijk(np.asarray(points_ras_mm, float))).astype(int)[:, ::-1]
    if (voxels < 0).any() or (voxels >= image.grid.shape).any():
        raise InvalidInput(f"A click lies outside {image.name!r}.")
    return voxels
