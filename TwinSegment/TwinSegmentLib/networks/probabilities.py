"""Class probabilities of voxels, and what is decided from them: labels, uncertainty, volumes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from TwinCore import Grid

LEAST_SHARE = np.float32(0.05)


@dataclass(frozen=True, eq=False)
class Probabilities:
    """Probabilities (k, j, i, classes) of classes on a grid, float32.

    They sum to 1 at each voxel, unless classes overlap, each with a probability of its own.
    """

    array: np.ndarray
    grid: Grid
    overlapping: bool = False

    def onto(self, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
        """The likeliest class and the uncertainty at the voxels of another grid, linear between voxels.

        Returns
        -------
        labels : uint8 or uint16 array, shape (k, j, i)
            0, the background, outside.
        entropy : float32 array, shape (k, j, i)
            From 0, certain, to 1, all classes equally likely.
        """
        to_voxels = np.linalg.inv(self.grid.ijk_to_ras) @ grid.ijk_to_ras
        labels, entropy = _decided(self.array, grid.shape, to_voxels[:3].astype(np.float64))
        return labels.astype(np.uint8 if self.array.shape[-1] <= 256 else np.uint16), entropy

    def masks_onto(self, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
        """Where each of overlapping classes is likelier than not, and the uncertainty, on another grid.

        Returns
        -------
        masks : bool array, shape (classes, k, j, i)
            False outside.
        entropy : float32 array, shape (k, j, i)
            Summed over the classes, of each being there or not, as a share of the largest there can be: from 0, certain
            of all, to 1, undecided about all.
        """
        to_voxels = np.linalg.inv(self.grid.ijk_to_ras) @ grid.ijk_to_ras
        return _decided_apart(self.array, grid.shape, to_voxels[:3].astype(np.float64))

    @property
    def doubtful_ml(self) -> np.ndarray:
        """For each class how much of its volume is in doubt, in mL: the sum of p (1 - p) where p exceeds 5 %."""
        return doubtful_voxels(self.array) * self.grid.voxel_volume_ml


@njit(parallel=True, nogil=True, cache=True, fastmath=True)
def softmax(scores, temperature):
    """Turn scores (k, j, i, classes) into probabilities, in place."""
    depth, height, width, classes = scores.shape
    by = np.float32(1.0 / temperature)
    for k in prange(depth):
        for j in range(height):
            for i in range(width):
                voxel = scores[k, j, i]
                top = voxel[0]
                for c in range(1, classes):
                    top = max(top, voxel[c])
                total = np.float32(0.0)
                for c in range(classes):
                    voxel[c] = np.exp((voxel[c] - top) * by)
                    total += voxel[c]
                for c in range(classes):
                    voxel[c] /= total


@njit(parallel=True, nogil=True, cache=True, fastmath=True)
def sigmoid(scores, temperature):
    """Turn scores (k, j, i, classes) into probabilities of classes that overlap, in place."""
    depth, height, width, classes = scores.shape
    by = np.float32(1.0 / temperature)
    for k in prange(depth):
        for j in range(height):
            for i in range(width):
                for c in range(classes):
                    scores[k, j, i, c] = np.float32(1.0) / (np.float32(1.0) + np.exp(-scores[k, j, i, c] * by))


def doubtful_voxels(probabilities: np.ndarray) -> np.ndarray:
    """Sums (classes,) of p (1 - p) over voxels (k, j, i, classes); tails, which add up over the background, are not."""
    return _doubts(probabilities).sum(0)


@njit(parallel=True, nogil=True, cache=True, fastmath=True)
def _doubts(probabilities):
    depth, height, width, classes = probabilities.shape
    sums = np.zeros((depth, classes))
    for k in prange(depth):
        for j in range(height):
            for i in range(width):
                for c in range(classes):
                    p = probabilities[k, j, i, c]
                    if p > LEAST_SHARE:
                        sums[k, c] += p * (1 - p)
    return sums


@njit(nogil=True, cache=True, fastmath=True)
def _interpolated(probabilities, m, k, j, i, mixed):
    """Put the probabilities at a voxel of another grid, linear between voxels, into `mixed`; False outside."""
    last_k, last_j, last_i, classes = probabilities.shape
    x = m[0, 0] * i + m[0, 1] * j + m[0, 2] * k + m[0, 3]
    y = m[1, 0] * i + m[1, 1] * j + m[1, 2] * k + m[1, 3]
    z = m[2, 0] * i + m[2, 1] * j + m[2, 2] * k + m[2, 3]
    if x < -0.5 or y < -0.5 or z < -0.5 or x > last_i - 0.5 or y > last_j - 0.5 or z > last_k - 0.5:
        return False
    x, y, z = min(max(x, 0.0), last_i - 1.0), min(max(y, 0.0), last_j - 1.0), min(max(z, 0.0), last_k - 1.0)
    i0, j0, k0 = int(x), int(y), int(z)
    i1, j1, k1 = min(i0 + 1, last_i - 1), min(j0 + 1, last_j - 1), min(k0 + 1, last_k - 1)
    a, b, c = np.float32(x - i0), np.float32(y - j0), np.float32(z - k0)
    mixed[:] = 0
    for corner in range(8):
        kk, jj, ii = k1 if corner & 4 else k0, j1 if corner & 2 else j0, i1 if corner & 1 else i0
        weight = (c if corner & 4 else 1 - c) * (b if corner & 2 else 1 - b) * (a if corner & 1 else 1 - a)
        if weight > 0:
            for n in range(classes):
                mixed[n] += weight * probabilities[kk, jj, ii, n]
    return True


@njit(parallel=True, nogil=True, cache=True, fastmath=True)
def _decided_apart(probabilities, shape, m):
    depth, height, width = shape
    classes = probabilities.shape[3]
    masks, entropy = np.zeros((classes, depth, height, width), np.bool_), np.zeros(shape, np.float32)
    most = np.float32(classes * np.log(2.0))
    for k in prange(depth):
        mixed = np.empty(classes, np.float32)
        for j in range(height):
            for i in range(width):
                if not _interpolated(probabilities, m, k, j, i, mixed):
                    continue
                total = np.float32(0.0)
                for n in range(classes):
                    masks[n, k, j, i] = mixed[n] > 0.5
                    for p in (mixed[n], np.float32(1) - mixed[n]):
                        if p > 1e-6:
                            total -= p * np.log(p)
                entropy[k, j, i] = total / most
    return masks, entropy


@njit(parallel=True, nogil=True, cache=True, fastmath=True)
def _decided(probabilities, shape, m):
    depth, height, width = shape
    classes = probabilities.shape[3]
    labels, entropy = np.zeros(shape, np.uint16), np.zeros(shape, np.float32)
    most = np.float32(np.log(max(classes, 2)))
    for k in prange(depth):
        mixed = np.empty(classes, np.float32)
        for j in range(height):
            for i in range(width):
                if not _interpolated(probabilities, m, k, j, i, mixed):
                    continue
                best, total = 0, np.float32(0.0)
                for n in range(classes):
                    if mixed[n] > mixed[best]:
                        best = n
                    if mixed[n] > 1e-6:
                        total -= mixed[n] * np.log(mixed[n])
                labels[k, j, i] = best
                entropy[k, j, i] = total / most
    return labels, entropy
