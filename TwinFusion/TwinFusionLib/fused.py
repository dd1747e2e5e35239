"""The common grid, and images on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from TwinCore import Grid, Image, InvalidInput, Job, resample
from TwinCore.transform import Transform

from .ct_values import AIR_HU, without_padding

FILL = {"CT": AIR_HU}
"""Value outside an image's field of view: air for CT, nothing for the others."""

MOST_VOXELS = 2**30


def fused_grid(grid: Grid, region_ras_mm: Sequence[Sequence[float]] | None = None, spacing_mm: float = 0.0) -> Grid:
    """The reference's grid, cut to a region, at a chosen resolution.

    Parameters
    ----------
    grid : Grid
        Of the reference.
    region_ras_mm : array, shape (2, 3), optional
        Lowest and highest RAS corner.
    spacing_mm : float
        Edge of its cubic voxels; 0 leaves the reference's own.

    Raises
    ------
    InvalidInput
        If the region holds no voxel, or so fine a grid would have over a thousand million voxels.
    """
    grid = region_grid(grid, region_ras_mm)
    if not spacing_mm:
        return grid
    if not np.isfinite(spacing_mm) or spacing_mm < 0:
        raise InvalidInput(f"The spacing of fused images is {spacing_mm} mm: it must be positive, or 0.")
    voxels = np.prod(np.array(grid.shape[::-1]) * grid.spacing / spacing_mm)
    if voxels > MOST_VOXELS:
        raise InvalidInput(
            f"Fused images at {spacing_mm:g} mm would have {voxels / 1e6:,.0f} million voxels each: "
            "choose a larger spacing, or a region."
        )
    return grid.with_spacing(spacing_mm)


def region_grid(grid: Grid, region_ras_mm: Sequence[Sequence[float]] | None) -> Grid:
    """The part of a grid whose voxel centres lie in a box given by its lowest and highest RAS corner.

    Raises
    ------
    InvalidInput
        If the box is not two points, or holds no voxel.
    """
    if region_ras_mm is None:
        return grid
    box = np.asarray(region_ras_mm, float)
    if box.shape != (2, 3) or not np.isfinite(box).all() or (box[0] >= box[1]).any():
        raise InvalidInput("A region must be two RAS points in mm, the lowest corner and the highest.")
    plane = grid.to_ras(np.moveaxis(np.indices((1, *grid.shape[1:]))[::-1, 0], 0, -1))  # a plane at a time: less memory
    low, high = box[0] - 1e-3, box[1] + 1e-3
    up = grid.ijk_to_ras[:3, 2]
    inside = np.array([((plane + k * up >= low) & (plane + k * up <= high)).all(-1) for k in range(grid.shape[0])])
    if not inside.any():
        spanned = grid.corners().min(0).round(), grid.corners().max(0).round()
        raise InvalidInput(f"The region holds no voxel of the reference, which spans {spanned[0]} to {spanned[1]} mm.")
    occupied = np.argwhere(inside)
    return grid.crop(occupied.min(0), occupied.max(0) + 1)


def fuse(images: Sequence[Image], moves: Mapping[str, Transform], grid: Grid, job: Job) -> list[Image]:
    """Every image on a grid of the reference frame, through its move where it has one."""
    return [onto_grid(image, grid, moves.get(image.name)) for image in job.each(images)]


def onto_grid(image: Image, grid: Grid, move: Transform | None = None) -> Image:
    """An image on a grid, with `FILL` beyond its own grid and, in a CT, where the scanner did not see within it."""
    if image.modality == "CT":
        image = without_padding(image)  # before it is resampled, or it would be mixed with the air beside it
    return resample(image, grid, move, fill=FILL.get(image.modality, 0.0))
