"""Barriers thinner than a voxel, such as the falx, as closed faces between voxels."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import affine_transform

from TwinCore import Grid


def closed_faces(barrier: np.ndarray, source: Grid, grid: Grid) -> np.ndarray:
    """Which faces of a grid's voxels a barrier closes, shape (3, k, j, i): those to the next voxel along k, j, i.

    A face is closed if the line between the two voxels' centres meets the barrier. A barrier that parts its own grid's
    voxels from face to face thus parts those of any coarser grid with the same axes.

    Parameters
    ----------
    barrier : bool array, on `source`
    source, grid : Grid
    """
    to_source = np.linalg.inv(source.ijk_to_ras) @ grid.ijk_to_ras
    matrix, offset = to_source[:3, :3][::-1, ::-1], to_source[:3, 3][::-1]
    closed = np.zeros((3, *grid.shape), bool)
    for axis in range(3):
        across = matrix[:, axis]
        samples = 2 * int(np.ceil(np.abs(across).max())) + 1
        for t in np.linspace(0.0, 1.0, samples):
            # the outermost centres of a coarser grid may lie half a voxel beyond the source's
            place = offset + t * across
            met = affine_transform(barrier.astype(np.uint8), matrix, place, grid.shape, order=0, mode="nearest")
            closed[axis] |= met.astype(bool)
    return closed


def distance_round(distance_mm: np.ndarray, domain: np.ndarray, closed: np.ndarray, spacing_mm: float) -> np.ndarray:
    """A straight distance, raised to what the way round barriers takes at least; infinite where there is no way.

    A way of n voxels from face to face is at least n / sqrt(3) voxels long, and the outline may be within one voxel of
    the way's first: nothing changes where the way is free.

    Parameters
    ----------
    distance_mm : array, shape (k, j, i)
        Negative or zero inside the shape that it is measured from.
    domain : bool array, shape (k, j, i)
    closed : bool array, shape (3, k, j, i)
    spacing_mm : float
    """
    ways = []
    for axis in range(3):
        lower, upper = (
            tuple(slice(*ends) if a == axis else slice(None) for a in range(3)) for ends in ((-1,), (1, None))
        )
        ways.append((lower, upper, (domain & ~closed[axis])[lower] & domain[upper]))
    reached = domain & (distance_mm <= 0)
    front, steps, round_mm = reached, 0, np.where(reached, distance_mm, np.inf)
    while front.any():
        steps += 1
        grown = np.zeros_like(reached)
        for lower, upper, is_open in ways:
            grown[upper] |= front[lower] & is_open
            grown[lower] |= front[upper] & is_open
        front = grown & ~reached
        reached = reached | front
        round_mm[front] = np.maximum(distance_mm[front], spacing_mm * (steps / np.sqrt(3.0) - 1.0))
    return round_mm
