"""The measure of hundreds of thousands of poses, as cheaply as it can be had: where a search from anywhere begins.

Positions are rounded to the nearest voxel and intensities to a few bins. All shifts of one turn are whole voxels, so
that the samples are turned once, and a look is one sum of indices into a volume of bytes; an entropy is a sum over a
table of n log n. On images as smooth as those of the first level that is enough to tell good poses from bad ones; what
it finds is then followed by `climb`.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from .sampling import BINS, Samples, Target

SCAN_BINS = 16
_COLUMNS = SCAN_BINS + 1  # the last is of samples outside


def scan(samples: Samples, onto: Target, turns: np.ndarray, shifts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """NMI and overlap of every turn with every shift, roughly.

    Parameters
    ----------
    samples : Samples
    onto : Target
    turns : array, shape (n, 4, 4)
        Each maps RAS points of the sampled image to RAS points of the target image.
    shifts : int array, shape (m, 3)
        Whole voxels of the target image along i, j, k, that a turn is followed by.

    Returns
    -------
    nmi : array, shape (n, m)
        0 where nothing overlaps.
    overlap : array, shape (n, m)
        Share of the samples that fall inside the target image.
    """
    maps = (onto.ras_to_ijk @ turns)[:, :3].astype(np.float32)
    share = SCAN_BINS / BINS
    volume = np.where(onto.bins < 0, SCAN_BINS, np.minimum((onto.bins + 0.5) * share, SCAN_BINS - 1)).astype(np.uint8)
    beyond = np.abs(shifts).max(0) + 1  # a sample further out than this stays outside at every shift
    volume = np.pad(volume, [(2 * b, 2 * b) for b in beyond[::-1]], constant_values=SCAN_BINS)
    counts = np.arange(len(samples.bins) + 1)
    table = (counts * np.log(np.maximum(counts, 1))).astype(np.float32)
    rows = (samples.bins * share).astype(np.uint32) * np.uint32(_COLUMNS)
    points = np.ascontiguousarray(samples.points.T, np.float32)
    row, plane = volume.shape[2], volume.shape[1] * volume.shape[2]
    steps = (shifts @ np.array([1, row, plane])).astype(np.int64)
    return _scan(points, rows, volume.ravel(), volume.shape, maps, beyond.astype(np.int64), steps, table)


@njit(parallel=True, nogil=True, cache=True, fastmath=True)
def _scan(points, rows, volume, shape, maps, beyond, steps, table):
    nmi, overlap = np.zeros((maps.shape[0], steps.shape[0])), np.zeros((maps.shape[0], steps.shape[0]))
    count = points.shape[1]
    for turn in prange(maps.shape[0]):
        base = _turned(points, maps[turn], shape, beyond)
        joint = np.zeros((2, SCAN_BINS * _COLUMNS), np.uint32)
        for shift in range(steps.shape[0]):
            joint[:] = np.uint32(0)
            step = steps[shift]
            for n in range(0, count - 1, 2):  # two tables, so that one look need not wait for the other's count
                joint[0, rows[n] + volume[np.uint32(base[n] + step)]] += np.uint32(1)
                joint[1, rows[n + 1] + volume[np.uint32(base[n + 1] + step)]] += np.uint32(1)
            nmi[turn, shift], inside = _nmi_of_counts(joint[0] + joint[1], table)
            overlap[turn, shift] = inside / count
    return nmi, overlap


@njit(nogil=True, cache=True, fastmath=True)
def _turned(points, m, shape, beyond):
    """Places of the nearest voxels in the padded volume; what lies far outside is drawn in to where it still is."""
    base = np.empty(points.shape[1], np.int64)
    row, plane = shape[2], shape[1] * shape[2]
    half = np.float32(0.5)
    for n in range(points.shape[1]):
        x, y, z = points[0, n], points[1, n], points[2, n]
        i = int(np.floor(m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3] + half))
        j = int(np.floor(m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3] + half))
        k = int(np.floor(m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3] + half))
        i = min(max(i + 2 * beyond[0], beyond[0]), shape[2] - 1 - beyond[0])
        j = min(max(j + 2 * beyond[1], beyond[1]), shape[1] - 1 - beyond[1])
        k = min(max(k + 2 * beyond[2], beyond[2]), shape[0] - 1 - beyond[2])
        base[n] = k * plane + j * row + i
    return base


@njit(nogil=True, cache=True, fastmath=True)
def _nmi_of_counts(joint, table):
    """With n log n of counts: n H = n log n - sum of c log c, and the n of all entropies cancels."""
    both, each = np.float32(0.0), np.float32(0.0)
    columns = np.zeros(SCAN_BINS, np.uint32)
    inside = np.uint32(0)
    for a in range(SCAN_BINS):
        row = np.uint32(0)
        for b in range(SCAN_BINS):
            entry = joint[a * _COLUMNS + b]
            both += table[entry]
            row += entry
            columns[b] += entry
        each += table[row]
        inside += row
    for b in range(SCAN_BINS):
        each += table[columns[b]]
    whole = table[inside]
    return ((2 * whole - each) / (whole - both) if whole > both else np.float32(0.0)), inside
