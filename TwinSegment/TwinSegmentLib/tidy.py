"""Tidying segments: gaps closed, islands left out, holes filled, each in the box of the segment alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from TwinCore.errors import InvalidInput
from TwinCore.grid import Grid
from TwinCore.image import bounding_box
from TwinCore.job import Job
from TwinCore.segmentation import Segmentation

MOST_CLOSED_MM = 50.0


@dataclass(frozen=True)
class Tidy:
    """What is done to a segment, in this order.

    Parameters
    ----------
    close_mm : float
        Gaps and notches into which no ball of this radius fits are closed; 0 closes none.
    keep_largest : bool
        Only the largest part that hangs together by voxels' faces is kept.
    fill_holes : bool
        What is enclosed on all sides is filled.
    """

    close_mm: float = 0.0
    keep_largest: bool = False
    fill_holes: bool = False

    def __post_init__(self):
        if not 0 <= self.close_mm <= MOST_CLOSED_MM:
            raise InvalidInput(f"Gaps can be closed by a radius of 0 to {MOST_CLOSED_MM:g} mm, not {self.close_mm:g}.")


def tidied(mask: np.ndarray, grid: Grid, tidy: Tidy) -> np.ndarray:
    """A segment's mask as `Tidy` says; an empty one stays empty.

    >>> mask = np.array([1, 0, 1, 1, 0, 0, 1], bool).reshape(1, 1, 7)
    >>> tidied(mask, Grid.isotropic(mask.shape), Tidy(close_mm=1.0, keep_largest=True)).astype(int).ravel()
    array([1, 1, 1, 1, 0, 0, 0])

    Parameters
    ----------
    mask : bool array, shape (k, j, i)
    grid : Grid
        Distances are in its mm, along whatever axes it has.
    tidy : Tidy

    Returns
    -------
    bool array, shape (k, j, i)
    """
    if not mask.any():
        return mask.copy()
    reach = np.ceil(tidy.close_mm / grid.spacing[::-1]).astype(int) + 1
    low, high = bounding_box(mask)
    box = tuple(slice(a, b) for a, b in zip(low, high))
    # Closing looks as far as its radius beyond the segment, also where the grid ends; it adds nothing outside its box.
    part = np.pad(mask[box], [(r, r) for r in reach])
    if tidy.close_mm:
        part = _closed(part, tidy.close_mm, grid)
    if tidy.keep_largest:
        labels, _ = ndimage.label(part)
        part = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    if tidy.fill_holes:
        part = ndimage.binary_fill_holes(part)
    result = np.zeros_like(mask)
    result[box] = part[tuple(slice(r, n - r) for r, n in zip(reach, part.shape))]
    return result


def tidied_segments(segmentation: Segmentation, tidy: Tidy, job: Job | None = None) -> Segmentation:
    """Every segment as `Tidy` says, in turn; what one gains was in no segment."""
    layers = [layer.copy() for layer in segmentation.layers]
    free = np.logical_and.reduce([layer == 0 for layer in layers]) if layers else np.zeros(0, bool)
    for segment in (job or Job()).each(segmentation.segments):
        before = segmentation.mask(segment.name)
        after = tidied(before, segmentation.grid, tidy) & (before | free)
        layers[segment.layer][before] = 0
        layers[segment.layer][after] = segment.value
        free &= ~after
    return replace(segmentation, layers=tuple(layers))


def _closed(mask: np.ndarray, radius_mm: float, grid: Grid) -> np.ndarray:
    """Dilated, then eroded, by a ball, by exact distances between voxels' centres."""
    sampling = grid.spacing[::-1]
    near = ndimage.distance_transform_edt(~mask, sampling=sampling) <= radius_mm
    return mask | (ndimage.distance_transform_edt(near, sampling=sampling) > radius_mm)
