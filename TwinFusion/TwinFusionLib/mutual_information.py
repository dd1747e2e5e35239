"""Normalised mutual information of two images, for many poses at once or with its derivative at one.

NMI(A, B) = (H(A) + H(B)) / H(A, B), from the joint histogram of the voxels sampled in one image and interpolated in
the other (Studholme, Hill, Hawkes 1999, Pattern Recognition 32:71): 1 for unrelated images, larger the more one
explains the other, and steady where the overlap changes. The derivative takes the interpolated value into the
histogram through a cubic B-spline (Thevenaz, Unser 2000, IEEE TIP 9:2083).
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from .sampling import BINS, CHUNKS, Samples, Target


def mutual_information(samples: Samples, onto: Target, poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """NMI and overlap of many poses.

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
    to_voxels = np.ascontiguousarray((onto.ras_to_ijk @ poses)[:, :3])
    return _nmi_of_poses(samples.points, samples.bins, onto.bins, to_voxels)


def mutual_information_slope(
    samples: Samples, onto: Target, poses: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """NMI and overlap of many poses, and their derivatives.

    As `mutual_information`, but smooth: samples that near the border of the target, or of its mask, fade out. If they
    left in steps, a climb along the slope would be caught on these.

    Returns
    -------
    nmi, overlap : array, shape (n,)
    nmi_slopes, overlap_slopes : array, shape (n, 3, 4)
        Derivatives by the upper three rows of each pose.
    """
    to_voxels = np.ascontiguousarray((onto.ras_to_ijk @ poses)[:, :3])
    values, slopes, shares, leaving = onto.seen(samples.points, to_voxels)
    joint = _spline_histograms(values, shares, samples.bins)
    inside = joint.sum((1, 2))
    seen = np.maximum(inside, 1e-9)
    joint /= seen[:, None, None]
    nmi, weights = _nmi_and_weights(joint)
    weights -= (weights * joint).sum((1, 2))[:, None, None]
    sums = _weighted_slopes(values, slopes, shares, leaving, samples.bins, samples.points, weights)
    nmi_slopes, overlap_slopes = np.einsum("ab,nsac->snbc", onto.ras_to_ijk[:3, :3], sums)
    count = len(samples.points)
    return nmi, inside / count, nmi_slopes / seen[:, None, None], overlap_slopes / count


def _nmi_and_weights(joint: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """NMI (n,) of joint distributions (n, rows, columns), and its derivative by each of their entries."""
    rows, columns = joint.sum(2), joint.sum(1)
    log_joint, log_columns = _log(joint), _log(columns)
    both = -(joint * log_joint).sum((1, 2))
    each = -(rows * _log(rows)).sum(1) - (columns * log_columns).sum(1)
    both_safe = np.maximum(both, 1e-9)
    nmi = np.where(both > 0, each / both_safe, 0.0)
    above, below = each[:, None, None], both_safe[:, None, None]
    weights = (above * log_joint - below * (_log(rows)[:, :, None] + log_columns[:, None, :])) / below**2
    return nmi, np.where(both[:, None, None] > 0, weights, 0.0)


def _log(values: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(values, 1e-12))


@njit(nogil=True, cache=True, fastmath=True)
def _spline(fraction, weights):
    """Cubic B-spline weights of the four bins round a value that lies a fraction past the second of them."""
    rest = 1 - fraction
    weights[0] = rest * rest * rest / 6
    weights[1] = (4 - 6 * fraction * fraction + 3 * fraction * fraction * fraction) / 6
    weights[2] = (4 - 6 * rest * rest + 3 * rest * rest * rest) / 6
    weights[3] = fraction * fraction * fraction / 6


@njit(parallel=True, nogil=True, cache=True, fastmath=True)
def _spline_histograms(values, shares, bins):
    """Joint histograms (poses, BINS, BINS + 3) of values (poses, n), each counted by its share."""
    poses, count = values.shape
    parts = np.zeros((CHUNKS, poses, BINS, BINS + 3))
    for task in prange(CHUNKS * poses):
        part, pose = task // poses, task % poses
        weights = np.empty(4)
        joint = parts[part, pose]
        for n in range(part * count // CHUNKS, (part + 1) * count // CHUNKS):
            value = values[pose, n]
            if value < 0:
                continue
            low = np.uint64(value)
            _spline(value - low, weights)
            for t in range(4):
                joint[bins[n], low + np.uint64(t)] += shares[pose, n] * weights[t]
    return parts.sum(0)


@njit(parallel=True, nogil=True, cache=True, fastmath=True)
def _weighted_slopes(values, slopes, shares, leaving, bins, points, weights):
    """Sums (poses, 2, 3, 4) over the samples of the NMI's change per voxel, and of their share's, times (point, 1)."""
    poses, count = values.shape
    parts = np.zeros((CHUNKS, poses, 2, 3, 4))
    for task in prange(CHUNKS * poses):
        part, pose = task // poses, task % poses
        total = parts[part, pose]
        spline = np.empty(4)
        for n in range(part * count // CHUNKS, (part + 1) * count // CHUNKS):
            value, share = values[pose, n], shares[pose, n]
            if value < 0:
                continue
            low = np.uint64(value)
            fraction = value - low
            rest = 1 - fraction
            row = weights[pose, bins[n]]
            force = share * (
                -rest * rest / 2 * row[low]
                + (-2 * fraction + 1.5 * fraction * fraction) * row[low + np.uint64(1)]
                + (2 * rest - 1.5 * rest * rest) * row[low + np.uint64(2)]
                + fraction * fraction / 2 * row[low + np.uint64(3)]
            )
            for axis in range(3):
                push = force * slopes[pose, n, axis]
                total[0, axis, 0] += push * points[n, 0]
                total[0, axis, 1] += push * points[n, 1]
                total[0, axis, 2] += push * points[n, 2]
                total[0, axis, 3] += push
            if share < 1:
                _spline(fraction, spline)
                worth = 0.0
                for t in range(4):
                    worth += row[low + np.uint64(t)] * spline[t]
                for axis in range(3):
                    for c in range(4):
                        by = leaving[pose, n, axis] * (points[n, c] if c < 3 else 1.0)
                        total[0, axis, c] += worth * by
                        total[1, axis, c] += by
    return parts.sum(0)


@njit(parallel=True, nogil=True, cache=True)
def _nmi_of_poses(points, bins, volume, to_voxels):
    poses = to_voxels.shape[0]
    nmi, overlap = np.zeros(poses), np.zeros(poses)
    for pose in prange(poses):
        joint, inside = _joint_histogram(points, bins, volume.ravel(), volume.shape, to_voxels[pose])
        nmi[pose], overlap[pose] = _normalised(joint), inside / points.shape[0]
    return nmi, overlap


@njit(nogil=True, cache=True, fastmath=True)
def _joint_histogram(points, bins, volume, shape, m):
    """Joint histogram by trilinear interpolation; each sample is shared between the two bins beside its value.

    Indices are flat and unsigned: numba then leaves out the wrapping of negative ones.
    """
    depth, height, width = shape
    row, plane = np.uint64(width), np.uint64(width * height)
    joint = np.zeros((BINS, BINS + 1))
    one = np.uint64(1)
    inside = 0
    for n in range(points.shape[0]):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        i = m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]
        j = m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]
        k = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
        if i < 0 or j < 0 or k < 0 or i > width - 1.001 or j > height - 1.001 or k > depth - 1.001:
            continue
        i0, j0, k0 = np.uint64(i), np.uint64(j), np.uint64(k)
        a, b, c = i - i0, j - j0, k - k0
        at = k0 * plane + j0 * row + i0
        near = (volume[at] * (1 - a) + volume[at + one] * a) * (1 - b)
        near += (volume[at + row] * (1 - a) + volume[at + row + one] * a) * b
        at += plane
        far = (volume[at] * (1 - a) + volume[at + one] * a) * (1 - b)
        far += (volume[at + row] * (1 - a) + volume[at + row + one] * a) * b
        value = near * (1 - c) + far * c
        if value < 0:  # masked out
            continue
        inside += 1
        low = np.uint64(value)
        joint[bins[n], low] += 1 - (value - low)
        joint[bins[n], low + one] += value - low
    return joint, inside


@njit(nogil=True, cache=True)
def _normalised(joint):
    total = joint.sum()
    if total == 0:
        return 0.0
    rows, columns, both = 0.0, 0.0, 0.0
    for a in range(joint.shape[0]):
        mass = joint[a].sum()
        if mass > 0:
            rows -= mass / total * np.log(mass / total)
        for b in range(joint.shape[1]):
            if joint[a, b] > 0:
                both -= joint[a, b] / total * np.log(joint[a, b] / total)
    for b in range(joint.shape[1]):
        mass = joint[:, b].sum()
        if mass > 0:
            columns -= mass / total * np.log(mass / total)
    return (rows + columns) / both if both > 0 else 0.0
