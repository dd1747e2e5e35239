"""Exact Euclidean distances on voxels, one axis after the other (Felzenszwalb and Huttenlocher 2012, Theory of
Computing 8:415): in parallel, as the distance to an outline would otherwise take longer than the run from there."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from TwinCore import bounding_box

_FAR = 1e12
"""Squared distance where there is nothing to be near to, as far as the first axes know."""


def signed_distance(mask: np.ndarray, spacing_kji: np.ndarray) -> np.ndarray:
    """Distance to a mask's outline, half-way between the voxels on its sides; negative inside.

    Parameters
    ----------
    mask : bool array, shape (k, j, i)
        With a voxel set; what lies beyond the box counts as outside.
    spacing_kji : three floats
        In mm.

    Returns
    -------
    float32 array, shape (k, j, i)
        In mm.

    Raises
    ------
    InvalidInput
        If no voxel of the mask is set.
    """
    spacing = np.asarray(spacing_kji, float)
    low, high = bounding_box(mask)
    half = 0.5 * spacing.min()
    distance = _distance(mask, spacing) - half
    box = tuple(slice(a, b) for a, b in zip(low, high))
    inside = _distance(~np.pad(mask[box], 1), spacing)[1:-1, 1:-1, 1:-1]
    distance[box] = np.where(mask[box], half - inside, distance[box])
    return distance.astype(np.float32)


def _distance(mask: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Distance between the centres of each voxel and of the nearest one that is set."""
    squared = np.where(mask, 0.0, _FAR)
    for axis in range(3):
        _near_along(np.moveaxis(squared, axis, 1), spacing[axis])
    return np.sqrt(squared)


@njit(parallel=True, nogil=True, cache=True)
def _near_along(squared, spacing):
    """Along the middle axis, in place: the lower envelope of the parabolas that rise from each voxel's value."""
    slabs, length, lines = squared.shape
    for s in prange(slabs):
        values, nearest, starts = np.empty(length), np.empty(length, np.int64), np.empty(length + 1)
        for m in range(lines):
            for n in range(length):
                values[n] = squared[s, n, m]
            _envelope(values, spacing * spacing, nearest, starts)
            part = 0
            for n in range(length):
                while starts[part + 1] < n:
                    part += 1
                away = spacing * (n - nearest[part])
                squared[s, n, m] = values[nearest[part]] + away * away


@njit(cache=True)
def _envelope(values, scale, nearest, starts):
    """Which parabolas make up the envelope, in `nearest`, and from where on each does, in `starts`."""
    parts = 0
    nearest[0], starts[0], starts[1] = 0, -math.inf, math.inf
    for n in range(1, values.size):
        while True:
            at = nearest[parts]
            start = ((values[n] - values[at]) / scale + (n * n - at * at)) / (2.0 * (n - at))
            if start > starts[parts]:
                break
            parts -= 1
        parts += 1
        nearest[parts], starts[parts], starts[parts + 1] = n, start, math.inf
