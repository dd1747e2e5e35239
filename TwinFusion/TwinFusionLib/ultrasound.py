"""Ultrasound: speckle smoothed while edges stay, attenuation taken out, and the sector that the probe saw.

Speckle-reducing anisotropic diffusion: Yu & Acton 2002, IEEE Trans Image Process 11:1260. The diffusivity falls with
the instantaneous coefficient of variation q, the spread of a voxel's neighbours over their mean, where it exceeds that
of speckle. Here in 3-D with the voxel's spacing, and with the mean of two voxels' diffusivities between them, in place
of the one's on one side, so that a mirrored image gives the mirrored answer.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from TwinCore import Image, InvalidInput, Job

STEPS = 20
STEP = 0.5  # of the largest that keeps every value between those of its neighbours
SPECKLE_DECAY = 1 / 6  # of the speckle's own variation while it is smoothed (Yu & Acton, equation 37)
AROUND_MM = 8.0  # standard deviation of the surroundings that an echo is compared with
BRIGHT = np.float32(np.exp(0.2))  # a fifth of the range of grey levels
_EMPTY = 0.02  # share of the grid, below which nothing is outside the sector
_FAINT = 0.01  # of the range above the empty grey level: no echo yet
_NARROW = 0.03  # of the picture's edge: letters and scales
_PART = 0.04  # of all that is broad: less is no part of the sector
_FILLED, _WITHIN = 0.2, 0.85  # least share of the sector that shows echoes, and of the echoes that are in it


def without_speckle(image: Image, sector: np.ndarray | None = None, job: Job | None = None) -> Image:
    """Smooth speckle, and keep the edges between tissues.

    What is shown are logarithms of the echoes, so their exponential is what is diffused. Nothing flows across the edge
    of the sector.

    Parameters
    ----------
    image : Image
        Echo intensities as shown (B mode).
    sector : bool array, shape (k, j, i), optional
        What the probe saw; all without it.
    job : Job, optional

    Returns
    -------
    Image
        float32; as it was outside the sector.

    Raises
    ------
    InvalidInput
        If the image is constant within the sector.
    """
    job = job or Job()
    inside = np.ones(image.grid.shape, bool) if sector is None else sector
    low, high = np.percentile(image.array[inside], (0, 99.5))
    if not high > low:
        high = image.array[inside].max()
    if not high > low:
        raise InvalidInput(f"Image {image.name!r} is constant within its sector: there is nothing to be smoothed.")
    scale = float(high - low)
    echo = np.pad(np.exp((image.array - np.float32(low)) / np.float32(scale)).astype(np.float32), 1)
    open_ = np.pad(inside, 1).astype(np.float32)
    weights = ((image.grid.spacing.min() / image.grid.spacing) ** 2).astype(np.float32)[::-1]
    weights[np.array(image.grid.shape) == 1] = 0.0
    weights /= 2 * weights.sum()
    speckle = speckle_variation(echo, open_, weights)
    diffusivity, flowed = np.zeros_like(echo), echo.copy()
    for step in job.each(range(STEPS), "smoothing speckle"):
        limit = max(speckle * np.exp(-SPECKLE_DECAY * STEP * step), 1e-3)
        _diffusivity(echo, open_, weights, np.float32(limit**2), diffusivity)
        _flow(echo, open_, diffusivity, weights, np.float32(STEP), flowed)
        echo, flowed = flowed, echo
    smooth = np.log(np.maximum(echo[1:-1, 1:-1, 1:-1], 1e-6)) * np.float32(scale) + np.float32(low)
    return image.with_array(np.where(inside, smooth, image.array).astype(np.float32))


def without_attenuation(image: Image, sector: np.ndarray | None = None) -> Image:
    """Echoes against the mean of those around them, so that deep ones count like near ones.

    What is shown are logarithms of the echoes: depth and gain add something that changes slowly over the image.

    Parameters
    ----------
    image : Image
        Echo intensities as shown (B mode).
    sector : bool array, shape (k, j, i), optional
        What the probe saw; all without it.

    Returns
    -------
    Image
        float32; 0 outside the sector.
    """
    weight = np.ones(image.grid.shape, np.float32) if sector is None else sector.astype(np.float32)
    sigma = AROUND_MM / image.grid.spacing[::-1]
    share = np.maximum(ndimage.gaussian_filter(weight, sigma), 1e-3)
    around = ndimage.gaussian_filter(image.array * weight, sigma) / share
    return image.with_array(((image.array - around) * weight).astype(np.float32))


def speckle_variation(echo: np.ndarray, open_: np.ndarray, weights: np.ndarray) -> float:
    """The coefficient of variation of speckle: the median over bright voxels, for most of them show no edge.

    In the dark, speckle is cut off by the lowest grey level that is shown.
    """
    squared = np.zeros_like(echo)
    _variation(echo, open_, weights, squared)
    bright = squared[(echo > BRIGHT) & (squared > 0)]
    return float(np.sqrt(np.median(bright if bright.size else squared)))


def sector(image: Image) -> np.ndarray | None:
    """What the probe saw: the convex hull of the large connected parts of the image that are not empty.

    Letters and scales beside it are too small to count; shadows inside it belong to it.

    Returns
    -------
    bool array, shape (k, j, i), or None
        None if all of the grid was seen, or echoes are too few to tell.
    """
    shown = echoes(image)
    if shown.all():
        return None
    labels, count = ndimage.label(_broad(shown), np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    if count == 0:
        return None
    parts = (sizes > _PART * sizes.sum())[labels]
    hull = convex_hull(parts)
    if hull is None or hull.mean() > 1 - _EMPTY:
        return None
    within = np.count_nonzero(shown & hull)
    told = within > _FILLED * np.count_nonzero(hull) and within > _WITHIN * np.count_nonzero(shown)
    return hull if told else None


def echoes(image: Image) -> np.ndarray:
    """The voxels that are brighter than the empty ones around the sector; all of them where nothing is empty."""
    values, counts = np.unique(image.array.ravel()[:: max(image.grid.size // 1_000_000, 1)], return_counts=True)
    empty = values[counts.argmax()]
    if counts.max() < _EMPTY * counts.sum() or np.mean(image.array < empty) > 0.05:
        return np.ones(image.grid.shape, bool)
    return image.array > empty + _FAINT * (float(image.array.max()) - float(empty))


def _broad(shown: np.ndarray) -> np.ndarray:
    """What is broader in the plane than 3 % of the picture, holes filled; corners are kept.

    Gaps that are open to the outside stay: to close them would join letters and scales to the sector beside them.
    """
    reach = max(round(_NARROW / 2 * min(shown.shape[1:])), 1)
    square = np.ones((1, 3, 3), bool)
    whole = np.stack([ndimage.binary_fill_holes(plane) for plane in shown])
    core = ndimage.binary_erosion(whole, square, iterations=reach, border_value=1)
    return ndimage.binary_dilation(core, square, iterations=2 * reach, mask=whole)


def convex_hull(mask: np.ndarray) -> np.ndarray | None:
    """The voxels inside the convex hull of a mask's voxels; None if they lie on one line or, in 3-D, in one plane."""
    if mask.shape[0] == 1:
        flat = convex_hull(np.repeat(mask, 2, axis=0))
        return None if flat is None else flat[:1]
    rows = np.argwhere(mask.any(2))
    ends = mask[rows[:, 0], rows[:, 1]]
    first, last = ends.argmax(1), mask.shape[2] - 1 - ends[:, ::-1].argmax(1)
    try:
        planes = ConvexHull(np.concatenate([np.c_[rows, first], np.c_[rows, last]])).equations
    except (QhullError, ValueError):
        return None
    k, j = np.indices(mask.shape[:2])
    low, high = np.zeros(k.shape), np.full(k.shape, mask.shape[2] - 1.0)
    for along_k, along_j, along_i, offset in np.unique(planes.round(9), axis=0):
        room = 1e-6 - (along_k * k + along_j * j + offset)  # along_i * i may be up to this
        if along_i > 1e-9:
            high = np.minimum(high, room / along_i)
        elif along_i < -1e-9:
            low = np.maximum(low, room / along_i)
        else:
            high = np.where(room < 0, -1.0, high)
    i = np.arange(mask.shape[2])
    return (i >= low[..., None]) & (i <= high[..., None])


@njit(inline="always")
def _spread(echo, open_, weights, at, row, plane, one):
    """Mean of a voxel's neighbours and their variance; beyond the sector's edge a voxel is repeated."""
    centre = echo[at]
    mean, square = np.float32(0.0), np.float32(0.0)
    d = (echo[at - one] - centre) * open_[at - one]
    e = (echo[at + one] - centre) * open_[at + one]
    mean += weights[2] * (d + e)
    square += weights[2] * (d * d + e * e)
    d = (echo[at - row] - centre) * open_[at - row]
    e = (echo[at + row] - centre) * open_[at + row]
    mean += weights[1] * (d + e)
    square += weights[1] * (d * d + e * e)
    d = (echo[at - plane] - centre) * open_[at - plane]
    e = (echo[at + plane] - centre) * open_[at + plane]
    mean += weights[0] * (d + e)
    square += weights[0] * (d * d + e * e)
    return centre + mean, max(square - mean * mean, np.float32(0.0))


@njit(parallel=True, nogil=True, cache=True)
def _variation(echo3, open3, weights, out3):
    """Squared instantaneous coefficient of variation, 0 outside the sector."""
    depth, height, width = echo3.shape
    echo, open_, out = echo3.ravel(), open3.ravel(), out3.ravel()
    one, row, plane = np.uint64(1), np.uint64(width), np.uint64(width * height)
    for k in prange(1, depth - 1):
        for j in range(1, height - 1):
            start = np.uint64(k) * plane + np.uint64(j) * row
            for i in range(1, width - 1):
                at = start + np.uint64(i)
                mean, variance = _spread(echo, open_, weights, at, row, plane, one)
                out[at] = open_[at] * variance / (mean * mean)


@njit(parallel=True, nogil=True, cache=True)
def _diffusivity(echo3, open3, weights, limit, out3):
    """1 / (1 + (q^2 - l) / (l (1 + l))), at most 1, with l the squared variation of speckle; 0 outside the sector."""
    depth, height, width = echo3.shape
    echo, open_, out = echo3.ravel(), open3.ravel(), out3.ravel()
    one, row, plane = np.uint64(1), np.uint64(width), np.uint64(width * height)
    top, bottom = limit * (1 + limit), limit * limit
    for k in prange(1, depth - 1):
        for j in range(1, height - 1):
            start = np.uint64(k) * plane + np.uint64(j) * row
            for i in range(1, width - 1):
                at = start + np.uint64(i)
                mean, variance = _spread(echo, open_, weights, at, row, plane, one)
                square = mean * mean
                out[at] = open_[at] * min(top * square / (bottom * square + variance), np.float32(1.0))


@njit(parallel=True, nogil=True, cache=True)
def _flow(echo3, open3, c3, weights, step, out3):
    """One explicit step; what leaves a voxel enters its neighbour."""
    depth, height, width = echo3.shape
    echo, open_, c, out = echo3.ravel(), open3.ravel(), c3.ravel(), out3.ravel()
    one, row, plane = np.uint64(1), np.uint64(width), np.uint64(width * height)
    half = np.float32(0.5) * step
    for k in prange(1, depth - 1):
        for j in range(1, height - 1):
            start = np.uint64(k) * plane + np.uint64(j) * row
            for i in range(1, width - 1):
                at = start + np.uint64(i)
                centre, own = echo[at], c[at]
                flow = weights[2] * (
                    open_[at - one] * (own + c[at - one]) * (echo[at - one] - centre)
                    + open_[at + one] * (own + c[at + one]) * (echo[at + one] - centre)
                )
                flow += weights[1] * (
                    open_[at - row] * (own + c[at - row]) * (echo[at - row] - centre)
                    + open_[at + row] * (own + c[at + row]) * (echo[at + row] - centre)
                )
                flow += weights[0] * (
                    open_[at - plane] * (own + c[at - plane]) * (echo[at - plane] - centre)
                    + open_[at + plane] * (own + c[at + plane]) * (echo[at + plane] - centre)
                )
                out[at] = centre + half * open_[at] * flow
