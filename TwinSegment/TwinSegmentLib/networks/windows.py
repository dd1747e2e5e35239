"""Scores of a whole volume from windows: none over background, and each stitched in once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from numba import njit, prange

from TwinCore import Job

Run = Callable[[np.ndarray, Job], np.ndarray]
"""From a window (channels, k, j, i), and a job to be cancelled, to scores (classes, k, j, i)."""

CERTAIN = 100.0
"""Score of the background where nothing was looked at: no other class is left a share.

Of classes that overlap, which have no background, each has its negative."""

EDGE_SIGMA = 0.125
"""Width of a window's Gaussian weight, as a share of the window: its middle counts most."""


def window_starts(
    shape: Sequence[int], size: Sequence[int], overlap: float, inside: np.ndarray | None = None
) -> list[tuple[int, ...]]:
    """First voxels (k, j, i) of the windows over a volume, the last ones ending with it.

    Parameters
    ----------
    shape, size : three ints
        Of the volume and of a window; along no axis is the window longer.
    overlap : float
        Share of a window that its neighbour covers too, below 1.
    inside : bool array, shape (k, j, i), optional
        Windows that hold none of it are left out.
    """
    along = []
    for length, edge in zip(shape, size):
        step = max(int(edge * (1 - overlap)), 1)
        count = 1 + int(np.ceil(max(length - edge, 0) / step))
        along.append(sorted({min(n * step, length - edge) for n in range(count)}))
    starts = list(product(*along))
    if inside is None:
        return starts
    return [s for s in starts if inside[tuple(slice(a, a + e) for a, e in zip(s, size))].any()]


def window_weight(size: Sequence[int]) -> np.ndarray:
    """Weight (k, j, i) of a window's scores, float32, nowhere below a thousandth of the middle's."""
    sides = [np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (EDGE_SIGMA * n)) ** 2) for n in size]
    weight = sides[0][:, None, None] * sides[1][:, None] * sides[2]
    return np.maximum(weight / weight.max(), 1e-3).astype(np.float32)


def windowed(
    run: Run,
    image: np.ndarray,
    classes: int,
    size: Sequence[int],
    overlap: float = 0.25,
    inside: np.ndarray | None = None,
    job: Job | None = None,
    overlapping: bool = False,
) -> np.ndarray:
    """Scores (k, j, i, classes), float32, of an image (channels, k, j, i).

    Where windows overlap their weighted mean counts. Voxels that no window reached are certainly of the first class,
    the background, or of no class where classes overlap.

    Parameters
    ----------
    run : callable
    image : array, shape (channels, k, j, i), float32
        At least as large as a window.
    classes : int
    size : three ints
        Of a window along k, j, i.
    overlap : float
    inside : bool array, shape (k, j, i), optional
        What matters: windows without any of it are skipped.
    job : Job, optional
    overlapping : bool
        Whether classes overlap, and none is the background.
    """
    job, shape = job or Job(), image.shape[1:]
    scores = np.zeros((*shape, classes), np.float32)
    weights = np.zeros(shape, np.float32)
    weight = window_weight(size)
    for start in job.each(window_starts(shape, size, overlap, inside), "windows"):
        box = tuple(slice(a, a + n) for a, n in zip(start, size))
        _add(scores, weights, run(image[(slice(None), *box)], job), weight, np.array(start))
    elsewhere = np.full(classes, -CERTAIN if overlapping else 0.0, np.float32)
    if not overlapping:
        elsewhere[0] = CERTAIN
    _divide(scores, weights, elsewhere)
    return scores


@njit(parallel=True, nogil=True, cache=True, fastmath=True)
def _add(scores, weights, window, weight, start):
    classes, depth, height, width = window.shape
    for k in prange(depth):
        for j in range(height):
            row = scores[start[0] + k, start[1] + j]
            for c in range(classes):
                for i in range(width):
                    row[start[2] + i, c] += weight[k, j, i] * window[c, k, j, i]
            for i in range(width):
                weights[start[0] + k, start[1] + j, start[2] + i] += weight[k, j, i]


@njit(parallel=True, nogil=True, cache=True, fastmath=True)
def _divide(scores, weights, elsewhere):
    depth, height, width, classes = scores.shape
    for k in prange(depth):
        for j in range(height):
            for i in range(width):
                weight = weights[k, j, i]
                if weight > 0:
                    for c in range(classes):
                        scores[k, j, i, c] /= weight
                else:
                    scores[k, j, i] = elsewhere
