"""Scores of a whole volume from windows: none over background, and each stitched in once."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from itertools import product

import numpy as np
from numba import njit, prange

from TwinCore import Job, bounding_box

Run = Callable[[Sequence[np.ndarray], Job], Generator[np.ndarray, None, None]]
"""From windows (channels, k, j, i), and a job to be cancelled, to the scores (classes, k, j, i) of each in turn."""

CERTAIN = 100.0
"""Score of the background where nothing was looked at: no other class is left a share.

Of classes that overlap, which have no background, each has its negative."""

MARGIN = 4
"""Voxels round a body that windows cover as well."""

MOST_SHORTER = 0.25
"""Share by which a window may be shorter than the one that a network was made for, to see what is round a voxel."""

EDGE_SIGMA = 0.125
"""Width of a window's Gaussian weight, as a share of the window: its middle counts most."""


def window_starts(shape: Sequence[int], size: Sequence[int], overlap: float) -> list[tuple[int, ...]]:
    """First voxels (k, j, i) of the windows over a volume, the last ones ending with it.

    Parameters
    ----------
    shape, size : three ints
        Of the volume and of a window; along no axis is the window longer.
    overlap : float
        Share of a window that its neighbour covers too, below 1.
    """
    along = []
    for length, edge in zip(shape, size):
        step = max(int(edge * (1 - overlap)), 1)
        along.append(sorted({min(n * step, length - edge) for n in range(_count(length, edge, overlap))}))
    return list(product(*along))


def fitted_windows(
    inside: np.ndarray, size: Sequence[int], overlap: float, freedom: float = 0.0, multiple: int = 1
) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Size and first voxels (k, j, i) of the windows that cover a body with the fewest voxels.

    Parameters
    ----------
    inside : bool array, shape (k, j, i)
        The body; windows that hold none of it are left out.
    size : three ints
        Of the window that the network was made for; along no axis is it longer than the volume.
    overlap : float
        Least share of a window that its neighbour covers too, below 1.
    freedom : float
        Share by which windows may be longer than that along each axis; they are shorter by a quarter at most.
    multiple : int
        Of which their lengths are one, where they differ from `size`.
    """
    if not inside.any():
        return tuple(size), []
    edges, along = [], []
    for first, last, edge, length in zip(*bounding_box(inside, MARGIN), size, inside.shape):
        shortest, longest = edge * (1 - min(freedom, MOST_SHORTER)), min(edge * (1 + freedom), length)
        edges_tried = {edge, *(n for n in range(multiple, length + 1, multiple) if shortest <= n <= longest)}
        # Of windows with as few voxels, those nearest to what the network was made for.
        count, edge = min(
            ((_count(last - first, n, overlap), n) for n in edges_tried),
            key=lambda one: (one[0] * one[1], abs(one[1] - edge), one[1]),
        )
        begin = int(np.clip((first + last - max(edge, last - first)) // 2, 0, length - edge))
        end = max(begin, last - edge)
        edges.append(edge)
        along.append([round(begin + (end - begin) * n / max(count - 1, 1)) for n in range(count)])
    starts = [s for s in product(*along) if inside[tuple(slice(a, a + e) for a, e in zip(s, edges))].any()]
    return tuple(edges), starts


def _count(length: int, edge: int, overlap: float) -> int:
    """How many windows cover a length."""
    return 1 + int(np.ceil(max(length - edge, 0) / max(int(edge * (1 - overlap)), 1)))


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
    starts: Sequence[tuple[int, ...]],
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
    starts : sequence of three ints
        First voxels (k, j, i) of the windows.
    job : Job, optional
    overlapping : bool
        Whether classes overlap, and none is the background.
    """
    job, (depth, height, width) = job or Job(), image.shape[1:]
    planes = np.zeros((depth, classes, height, width), np.float32)
    weights = np.zeros((depth, height, width), np.float32)
    weight = window_weight(size)
    windows = [image[(slice(None), *(slice(a, a + n) for a, n in zip(start, size)))] for start in starts]
    if windows:
        with closing(run(windows, job)) as found:
            for start, window in zip(job.each(starts, "windows"), found):
                _add(planes, weights, window, weight, np.array(start))
    elsewhere = np.full(classes, -CERTAIN if overlapping else 0.0, np.float32)
    if not overlapping:
        elsewhere[0] = CERTAIN
    _divide(planes, weights, elsewhere)
    return planes.reshape(depth, height, width, classes)


@njit(parallel=True, nogil=True, cache=True, fastmath=True)
def _add(planes, weights, window, weight, start):
    """Add a window (classes, k, j, i) to planes (k, classes, j, i), a row of voxels at a time: the quick way."""
    classes, depth, height, width = window.shape
    for k in prange(depth):
        for j in range(height):
            a, b, c = start[0] + k, start[1] + j, start[2]
            row = weight[k, j]
            for n in range(classes):
                into, source = planes[a, n, b, c : c + width], window[n, k, j]
                for i in range(width):
                    into[i] += row[i] * source[i]
            into = weights[a, b, c : c + width]
            for i in range(width):
                into[i] += row[i]


@njit(parallel=True, nogil=True, cache=True, fastmath=True)
def _divide(planes, weights, elsewhere):
    """The weighted means, and each plane in place from (classes, j, i) to (j, i, classes)."""
    depth, classes, height, width = planes.shape
    for k in prange(depth):
        sums = planes[k].copy()
        scores = planes[k].reshape(height, width, classes)
        for j in range(height):
            for i in range(width):
                weight = weights[k, j, i]
                if weight > 0:
                    for c in range(classes):
                        scores[j, i, c] = sums[c, j, i] / weight
                else:
                    scores[j, i] = elsewhere
