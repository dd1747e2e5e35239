"""Linear maps along the three axes of a volume: smooth random fields, blur, coarser sampling and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Matrices = Sequence[np.ndarray]
"""One matrix (out, in) for each of the axes k, j, i."""


def along_axes(volume: np.ndarray, matrices: Matrices) -> np.ndarray:
    """A volume (k, j, i), float32, with a matrix applied along each axis; the one that shrinks most comes first."""
    for axis in sorted(range(3), key=lambda a: matrices[a].shape[0] / matrices[a].shape[1]):
        matrix = matrices[axis]
        if axis == 0:
            flat = matrix @ volume.reshape(volume.shape[0], -1)
            volume = flat.reshape(-1, *volume.shape[1:])
        elif axis == 1:
            volume = np.matmul(matrix, volume)
        else:
            volume = volume @ matrix.T
    return volume


def smooth_spread(count: int, out: int) -> np.ndarray:
    """Cubic B-spline values at `out` places from `count` coefficients, the first and last ones outside."""
    at = np.linspace(1, count - 2, out)
    distance = np.abs(at[:, None] - np.arange(count))
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.maximum(2 - distance, 0) ** 3 / 6
    return np.where(distance < 1, near, far).astype(np.float32)


def blurred_samples(count: int, step: float, sigma: float) -> np.ndarray:
    """Samples every `step` voxels of a line of `count` voxels seen through a Gaussian of that width, in voxels."""
    places = max(round(count / step), 1)
    at = (np.arange(places) + 0.5) * count / places - 0.5
    if sigma < 0.05 and places == count:
        return np.eye(count, dtype=np.float32)
    weights = np.exp(-0.5 * ((at[:, None] - np.arange(count)) / max(sigma, 0.2)) ** 2)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def between_samples(places: int, count: int) -> np.ndarray:
    """Back from samples to `count` voxels: linear between samples, as they are beyond the outermost."""
    at = np.clip((np.arange(count) + 0.5) * places / count - 0.5, 0, places - 1)
    low = np.minimum(at.astype(int), max(places - 2, 0))
    matrix = np.zeros((count, places), np.float32)
    matrix[np.arange(count), low] = 1 - (at - low)
    if places > 1:
        matrix[np.arange(count), low + 1] = at - low
    return matrix
