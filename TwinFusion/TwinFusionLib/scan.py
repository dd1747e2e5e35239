"""The measure of tens of thousands of poses, as cheaply as it can be had: where a search from anywhere begins.

Positions are rounded to the nearest voxel and intensities to a few bins, so that a sample costs one look into a volume
of bytes, and an entropy a sum over a table of n log n. On images as smooth as those of the first level that is enough
to tell good poses from bad ones; what it finds is then followed by `climb`.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from .sampling import BINS, Samples, Target

SCAN_BINS = 16
_OUTSIDE = 255


def scan(samples: Samples, onto: Target, poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """NMI and overlap of many poses, roughly.

    Parameters
    ----------
    samples : Samples
    onto : Target
    poses : array, shape (n, 4, 4)
        Each maps RAS points of the sampled image to RAS points of the target image.

    Returns
    -------
    nmi : array, shape (n,)
        0 where nothing overlaps.
    overlap : array, shape (n,)
        Share of the samples that fall inside the target image.
    """
    maps = (onto.ras_to_ijk @ poses)[:, :3]
    maps[:, :, 3] += 0.5  # rounding is then cutting off
    share = SCAN_BINS / BINS
    volume = np.where(onto.bins < 0, _OUTSIDE, np.minimum((onto.bins + 0.5) * share, SCAN_BINS - 1)).astype(np.uint8)
    rows = (samples.bins * share).astype(np.uint8)
    counts = np.arange(len(rows) + 1)
    table = (counts * np.log(np.maximum(counts, 1))).astype(np.float32)
    points = np.ascontiguousarray(samples.points.T, np.float32)
    return _scan(points, rows, volume.ravel(), volume.shape, maps.astype(np.float32), table)


@njit(parallel=True, nogil=True, cache=True, fastmath=True)
def _scan(points, rows, volume, shape, maps, table):
    depth, height, width = shape
    row, plane = np.uint32(width), np.uint32(width * height)
    wide, high, deep = np.float32(width), np.float32(height), np.float32(depth)
    count = points.shape[1]
    nmi, overlap = np.zeros(maps.shape[0]), np.zeros(maps.shape[0])
    for pose in prange(maps.shape[0]):
        m = maps[pose]
        joint = np.zeros(SCAN_BINS * SCAN_BINS, np.uint32)
        inside = 0
        for n in range(count):
            x, y, z = points[0, n], points[1, n], points[2, n]
            i = m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]
            j = m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]
            k = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
            if i < 0 or j < 0 or k < 0 or i >= wide or j >= high or k >= deep:
                continue
            value = volume[np.uint32(k) * plane + np.uint32(j) * row + np.uint32(i)]
            if value == _OUTSIDE:
                continue
            joint[np.uint32(rows[n]) * np.uint32(SCAN_BINS) + value] += np.uint32(1)
            inside += 1
        nmi[pose], overlap[pose] = _nmi_of_counts(joint, inside, table), inside / count
    return nmi, overlap


@njit(nogil=True, cache=True, fastmath=True)
def _nmi_of_counts(joint, inside, table):
    """With n log n of counts: n H = n log n - sum of c log c, and the n of all entropies cancels."""
    both, each = np.float32(0.0), np.float32(0.0)
    for entry in range(SCAN_BINS * SCAN_BINS):
        both += table[joint[entry]]
    for a in range(SCAN_BINS):
        row, column = np.uint32(0), np.uint32(0)
        for b in range(SCAN_BINS):
            row += joint[a * SCAN_BINS + b]
            column += joint[b * SCAN_BINS + a]
        each += table[row] + table[column]
    whole = table[inside]
    return (2 * whole - each) / (whole - both) if whole > both else 0.0
