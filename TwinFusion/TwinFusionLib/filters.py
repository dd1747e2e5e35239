"""Smoothing and thinning of volumes, in numba: what every level of a registration starts with."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numba import njit, prange

from TwinCore import Grid, Image

TRUNCATE = 3.5
"""Where the Gaussian is cut off, in standard deviations."""

SAMPLES_PER_SIGMA = 1.25
"""A smoothed volume keeps this many voxels per standard deviation: less would alias, more would cost for nothing."""


def gaussian(array: np.ndarray, sigma, stride=(1, 1, 1)) -> np.ndarray:
    """Gaussian smoothing, with the borders repeated outwards, of which only every n-th voxel is computed and kept.

    Parameters
    ----------
    array : array, shape (k, j, i)
    sigma : float or three floats
        Standard deviation along k, j, i in voxels; 0 leaves an axis as it is.
    stride : three ints
        Step of the voxels kept along k, j, i, from voxel 0.

    Returns
    -------
    float32 array, shape (ceil(k / stride), ...)
    """
    array = np.ascontiguousarray(array, np.float32)
    weights = [_weights(s) for s in np.broadcast_to(np.asarray(sigma, float), 3)]
    if all(len(w) == 1 for w in weights):
        return array[tuple(slice(None, None, s) for s in stride)].copy()
    planes = _smooth_planes(array, weights[1], weights[2], stride[1], stride[2])
    return _smooth_depth(planes, weights[0], stride[0])


def at_resolution(image: Image, sigma_mm: float, own_sigma_mm: float = 0.0) -> Image:
    """The image smoothed to a resolution, on a grid just fine enough for it.

    Parameters
    ----------
    image : Image
        One channel.
    sigma_mm : float
        Standard deviation of the Gaussian that the answer is blurred by.
    own_sigma_mm : float
        Blur that the image has already.

    Returns
    -------
    Image
        float32; its first voxel is the image's, and its spacing a multiple of the image's.
    """
    spacing = image.grid.spacing
    sigma = np.sqrt(max(sigma_mm**2 - own_sigma_mm**2, 0.0)) / spacing
    sigma[sigma < 0.3] = 0.0
    stride = np.maximum(np.floor(sigma_mm / SAMPLES_PER_SIGMA / spacing), 1).astype(int)
    stride[sigma == 0] = 1
    stride = np.maximum(np.minimum(stride, (np.array(image.grid.shape[::-1]) - 1) // 3), 1)
    array = gaussian(image.array, sigma[::-1], tuple(int(s) for s in stride[::-1]))
    matrix = image.grid.ijk_to_ras.copy()
    matrix[:3, :3] *= stride
    return Image(array, Grid(array.shape, matrix), image.modality, image.unit, image.time, image.name)


def pyramid(image: Image, sigmas_mm: Iterable[float], own_sigma_mm: float = 0.0) -> dict[float, Image]:
    """The image at several resolutions, by their standard deviation: each is made from the next finer one."""
    levels: dict[float, Image] = {}
    for sigma in sorted(sigmas_mm):
        image = at_resolution(image, sigma, own_sigma_mm)
        own_sigma_mm = max(own_sigma_mm, sigma)
        levels[sigma] = image
    return levels


def _weights(sigma: float) -> np.ndarray:
    if sigma <= 0:
        return np.ones(1, np.float32)
    reach = max(int(TRUNCATE * sigma + 0.5), 1)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return (weights / weights.sum()).astype(np.float32)


@njit(parallel=True, nogil=True, cache=True, fastmath=True)
def _smooth_planes(array, along_j, along_i, stride_j, stride_i):
    """Both axes of a plane while it is in the cache."""
    depth, height, width = array.shape
    rows, columns = (height + stride_j - 1) // stride_j, (width + stride_i - 1) // stride_i
    reach_j, reach_i = len(along_j) // 2, len(along_i) // 2
    out = np.empty((depth, rows, columns), np.float32)
    for k in prange(depth):
        plane = array[k]
        row = np.empty(width + 2 * reach_i, np.float32)
        centre = row[reach_i : reach_i + width]
        smooth = np.empty(width, np.float32)
        for r in range(rows):
            centre[:] = 0.0
            for t in range(len(along_j)):
                j = min(max(r * stride_j + t - reach_j, 0), height - 1)
                weight, source = along_j[t], plane[j]
                for i in range(width):
                    centre[i] += weight * source[i]
            row[:reach_i] = centre[0]
            row[reach_i + width :] = centre[width - 1]
            if stride_i == 1:
                smooth[:] = 0.0
                for t in range(len(along_i)):
                    weight = along_i[t]
                    shifted = row[t : t + width]
                    for i in range(width):
                        smooth[i] += weight * shifted[i]
                out[k, r, :] = smooth
            else:
                for c in range(columns):
                    total = np.float32(0.0)
                    for t in range(len(along_i)):
                        total += along_i[t] * row[c * stride_i + t]
                    out[k, r, c] = total
    return out


@njit(parallel=True, nogil=True, cache=True, fastmath=True)
def _smooth_depth(array, along_k, stride_k):
    depth, height, width = array.shape
    reach = len(along_k) // 2
    out = np.empty(((depth + stride_k - 1) // stride_k, height, width), np.float32)
    for r in prange(out.shape[0]):
        for j in range(height):
            target = out[r, j]
            target[:] = 0.0
            for t in range(len(along_k)):
                source = array[min(max(r * stride_k + t - reach, 0), depth - 1), j]
                weight = along_k[t]
                for i in range(width):
                    target[i] += weight * source[i]
    return out
