"""An image averaged over the voxels of a coarser grid, where it is known."""

from __future__ import annotations

import numpy as np

from TwinCore import Grid, Image, resample

LEAST_KNOWN = 0.5
MOST_PARTS = 6
"""Parts of a voxel along an edge over which a finer image is averaged, at most."""


def area_average(image: Image, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """The mean over each voxel of a grid, and where at least half of the voxel is known.

    Parameters
    ----------
    image : Image
        One channel; not a number where nothing is known.
    grid : Grid
        In the image's frame; a finer one is interpolated linearly.

    Returns
    -------
    values : array, shape (k, j, i)
        0 where nothing is known.
    known : bool array, shape (k, j, i)
    """
    parts = np.ceil(grid.spacing / image.grid.spacing.min() - 0.1).clip(1, MOST_PARTS).astype(int)
    fine = grid.with_spacing(grid.spacing / parts)
    known = np.isfinite(image.array)

    def averaged(values):
        carried = resample(Image(values.astype(np.float32), image.grid), fine).array
        k, j, i = grid.shape
        return carried.reshape(k, parts[2], j, parts[1], i, parts[0]).mean(axis=(1, 3, 5))

    share = averaged(known)
    return averaged(np.where(known, image.array, 0.0)) / np.maximum(share, 1e-6), share >= LEAST_KNOWN
