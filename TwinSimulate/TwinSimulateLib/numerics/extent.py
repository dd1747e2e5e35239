"""How far the region in which a density exceeds a threshold reaches, finer than a voxel."""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from scipy.spatial.distance import pdist

from .level_set import wave_phase

DIRECTIONS = 128


def extent(
    density: np.ndarray, threshold: float, axes_mm: np.ndarray, distance_mm: np.ndarray | None = None
) -> tuple[float, float]:
    """Largest diameter of {density >= threshold}, and the farthest that it reaches in a field of distances.

    The surface is where lines along the axes cross it: at the threshold's phase ln(u^-1/2 - 1), which the travelling
    wave makes linear in distance, or half-way to the next voxel where the tissue ends (density 0). The diameter is that
    of the points which lie outermost in 128 directions spread over the sphere.

    Parameters
    ----------
    density : array, shape (k, j, i)
    threshold : float
    axes_mm : array, shape (3, 3)
        Steps along k, j, i as columns, in mm.
    distance_mm : array, shape (k, j, i), optional
        Such as the distance to an outline.

    Returns
    -------
    diameter_mm, reach_mm : float
        Both 0 where the density is nowhere so high; the reach is at least 0.
    """
    axes_mm = np.asarray(axes_mm, float)
    aligned = _directions() @ (axes_mm / np.linalg.norm(axes_mm, axis=0))
    # A surface that faces a direction is crossed best by the lines along the axis nearest to it.
    nearest = np.abs(aligned).argmax(axis=1)
    signs = np.sign(np.take_along_axis(aligned, nearest[:, None], axis=1))
    upwards, starts = (_directions() * signs)[nearest.argsort()], np.searchsorted(np.sort(nearest), range(4))
    field = np.zeros((0, 0, 0)) if distance_mm is None else distance_mm
    heights, places, reaches = _outermost(density, threshold, field, axes_mm, upwards, starts)
    slab = heights.argmax(axis=0)
    found = np.take_along_axis(places, slab[None, ..., None], axis=0)[0][np.isfinite(heights.max(axis=0))]
    return float(pdist(found).max(initial=0.0)), float(reaches.max(initial=0.0))


@njit(parallel=True, nogil=True, cache=True)
def _outermost(density, threshold, field, axes_mm, upwards, starts):
    """For each slab k, way (up or down an axis) and direction: how far out the surface lies, and where; and its reach.

    The directions nearest to an axis are those from starts[axis] to starts[axis + 1].
    """
    shape, count = density.shape, len(upwards)
    heights, places = np.full((shape[0], 2, count), -np.inf), np.zeros((shape[0], 2, count, 3))
    reaches, level = np.zeros(shape[0]), wave_phase(threshold)
    for k in prange(shape[0]):
        for j in range(shape[1]):
            for i in range(shape[2]):
                if density[k, j, i] < threshold or _is_within(density, threshold, k, j, i):
                    continue
                for side in range(6):
                    axis, way = side // 2, side % 2
                    step = 1 - 2 * way
                    a, b, c = k + step * (axis == 0), j + step * (axis == 1), i + step * (axis == 2)
                    if not (0 <= a < shape[0] and 0 <= b < shape[1] and 0 <= c < shape[2]):
                        continue
                    if density[a, b, c] >= threshold:
                        continue
                    share = _share(density[k, j, i], density[a, b, c], level)
                    if field.size:
                        reaches[k] = max(reaches[k], (1.0 - share) * field[k, j, i] + share * field[a, b, c])
                    k0, j0, i0 = k + (a - k) * share, j + (b - j) * share, i + (c - i) * share
                    x = axes_mm[0, 0] * k0 + axes_mm[0, 1] * j0 + axes_mm[0, 2] * i0
                    y = axes_mm[1, 0] * k0 + axes_mm[1, 1] * j0 + axes_mm[1, 2] * i0
                    z = axes_mm[2, 0] * k0 + axes_mm[2, 1] * j0 + axes_mm[2, 2] * i0
                    for d in range(starts[axis], starts[axis + 1]):
                        height = step * (x * upwards[d, 0] + y * upwards[d, 1] + z * upwards[d, 2])
                        if height > heights[k, way, d]:
                            heights[k, way, d] = height
                            places[k, way, d, 0], places[k, way, d, 1], places[k, way, d, 2] = x, y, z
    return heights, places, reaches


@njit(inline="always")
def _is_within(density, threshold, k, j, i):
    """Whether all six neighbours are in the region too: so are most voxels, and they need no closer look."""
    if k == 0 or j == 0 or i == 0:
        return False
    if k == density.shape[0] - 1 or j == density.shape[1] - 1 or i == density.shape[2] - 1:
        return False
    least = min(density[k, j, i - 1], density[k, j, i + 1], density[k, j - 1, i], density[k, j + 1, i])
    return min(least, density[k - 1, j, i], density[k + 1, j, i]) >= threshold


@njit(inline="always")
def _share(within, beyond, level):
    """Where between two voxels the surface lies: half-way where the tissue ends."""
    if beyond <= 0.0:
        return 0.5
    near = wave_phase(within)
    return min(max((level - near) / max(wave_phase(beyond) - near, 1e-9), 0.0), 1.0)


def _directions() -> np.ndarray:
    """Unit vectors over half a sphere, by the golden angle."""
    n = np.arange(DIRECTIONS) + 0.5
    z, angle = n / DIRECTIONS, n * np.pi * (3.0 - np.sqrt(5.0))
    ring = np.sqrt(1.0 - z**2)
    return np.stack([ring * np.cos(angle), ring * np.sin(angle), z], axis=1)
