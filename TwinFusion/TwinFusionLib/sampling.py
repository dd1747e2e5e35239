"""What a similarity is measured on: voxels drawn from one image, and the other image to interpolate them in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit, prange
from scipy.ndimage import binary_dilation, binary_fill_holes, distance_transform_edt

from TwinCore import Grid, Image, InvalidInput

BINS = 32

INTRINSIC_SIGMA_MM = {"PT": 3.0}
"""Blur that the modality itself brings, as a Gaussian's standard deviation: PET resolves about 7 mm (FWHM)."""

CHUNKS = 8
"""Samples are summed in this many parts, so that the answer does not depend on the number of threads."""

FADED, MOST_FADED = 2.0, 0.25
"""Samples count less within so many voxels of the target's border or its mask's, down to nothing on it: they leave
gradually. In thin targets it is this share of their thickness, from either side."""

DEEP_MM = 20.0
LEAST_DEEP = 0.1

_KNOT_SAMPLES = 200_000
_CELLS = 16384


@dataclass(frozen=True, eq=False)
class Samples:
    """Positions drawn from an image: RAS points (n, 3) in mm and the intensity there as a bin (n,)."""

    points: np.ndarray
    bins: np.ndarray


@dataclass(frozen=True, eq=False)
class Target:
    """The image that is interpolated.

    Parameters
    ----------
    bins : array, shape (k, j, i)
        Its intensities as continuous bins, -1e4 where masked out.
    ras_to_ijk : array, shape (4, 4)
    counts : float32 array, shape (k, j, i), optional
        How much each voxel counts, where there is a mask: 0 outside, rising to 1 within it.
    """

    bins: np.ndarray
    ras_to_ijk: np.ndarray
    counts: np.ndarray | None = None

    @classmethod
    def of(cls, smooth: Image, image: Image, mask: np.ndarray | None) -> Target:
        """Of a smoothed image; the mask is on the grid of the image that it was made from.

        A value is masked out where one of the eight voxels that it is interpolated from is: the mask is widened by one
        voxel, so that this takes nothing away from it.
        """
        bins, ras_to_ijk = to_bins(smooth.array), np.linalg.inv(smooth.grid.ijk_to_ras)
        counted = None if mask is None else _nearest(mask, image, smooth.grid.to_ras(_indices(smooth)))
        if counted is None or counted.all():
            return cls(bins, ras_to_ijk)
        bins[~binary_dilation(counted, np.ones((3, 3, 3), bool))] = -1e4
        near = np.minimum(distance_transform_edt(counted) / FADED, 1)
        return cls(bins, ras_to_ijk, (near * near * (3 - 2 * near)).astype(np.float32))

    def seen(self, points: np.ndarray, to_voxels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """`interpolate_at` in the target, with its mask: values, slopes, shares and their slopes."""
        values, slopes, shares, leaving = interpolate_at(points, self.bins, to_voxels)
        if self.counts is not None:
            counts, fading = interpolate_at(points, self.counts, to_voxels)[:2]
            counts = np.maximum(counts, 0)  # -1 outside
            leaving = leaving * counts[..., None] + shares[..., None] * fading
            shares = shares * counts
        return values, slopes, shares, leaving


@dataclass(frozen=True, eq=False)
class Region:
    """Voxels of a grid, not necessarily that of the image in which they are looked at; all of them without a mask."""

    grid: Grid
    mask: np.ndarray | None = None

    @cached_property
    def _inside(self) -> np.ndarray | None:
        return None if self.mask is None else np.flatnonzero(self.mask)

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """RAS points (count, 3) in the order of memory, off the grid by up to half a voxel, lest grids fit."""
        inside = self._inside
        chosen = np.sort(rng.integers(0, self.grid.size if inside is None else inside.size, count))
        chosen = chosen if inside is None else inside[chosen]
        ijk = np.stack(np.unravel_index(chosen, self.grid.shape)[::-1], -1)
        last = np.array(self.grid.shape[::-1]) - 1
        return self.grid.to_ras(np.clip(ijk + rng.uniform(-0.5, 0.5, ijk.shape), 0, last))


def sample(image: Image, region: Region, focus: Region | None, count: int, seed: int) -> Samples:
    """Look at an image at random points of a region, half of them in the focus where there is one."""
    rng = np.random.default_rng(seed)
    points = region.draw(count if focus is None else count // 2, rng)
    if focus is not None:
        points = np.concatenate([focus.draw(count // 2, rng), points])
    values, _ = interpolate(points, image.array, np.linalg.inv(image.grid.ijk_to_ras)[:3])
    return Samples(points, np.rint(to_bins(values, image.array)).astype(np.uint64))


def depths(image: Image) -> Region | None:
    """Where an image shows what lies more than 10 mm inside the body; None where that is hardly anything.

    Skin and the edge of the field of view make the strongest edges of an image and the least trustworthy ones: what
    a modality shows there differs between front and back, and pulls a match by tenths of a millimetre.
    """
    body = binary_fill_holes(image.array > image.array.mean())
    depth = distance_transform_edt(np.pad(body, 1), sampling=image.grid.spacing[::-1])[1:-1, 1:-1, 1:-1]
    deep = depth > DEEP_MM
    return Region(image.grid, deep) if deep.sum() > LEAST_DEEP * body.sum() else None


def to_bins(values: np.ndarray, among: np.ndarray | None = None) -> np.ndarray:
    """Intensities as continuous bins 0 to BINS - 1 that hold equally many voxels each, background apart.

    The bins are those of the values themselves, or of others among which they are (an image of which they are samples).

    Equal counts make the measure the same for an MR in arbitrary units and for a PET whose hot spots span three
    decades. The background (below the image's mean, where the histogram peaks) gets the lowest eighth of the bins.

    Raises
    ------
    InvalidInput
        If the image is constant.
    """
    flat = np.ascontiguousarray(values, np.float32).ravel()
    others = flat if among is None else np.asarray(among, np.float32).ravel()
    some = others[:: max(others.size // _KNOT_SAMPLES, 1)]
    low, high = np.percentile(some, (0.1, 99.9))
    if not high > low:
        some = others
        low, high = some.min(), some.max()
    if not high > low:
        raise InvalidInput("A constant image cannot be registered: it shows nothing that could be matched.")
    threshold = some.mean()
    background, body = some[some <= threshold], some[some > threshold]
    share = BINS // 8
    knots = np.concatenate(
        [np.quantile(background, np.linspace(0, 1, share + 1))[:-1], np.quantile(body, np.linspace(0, 1, BINS - share))]
    )
    knots, position = np.unique(knots, return_index=True)
    table = np.interp(np.linspace(knots[0], knots[-1], _CELLS), knots, position).astype(np.float32)
    return _tabulated(flat, np.float32(knots[0]), np.float32(knots[-1]), table).reshape(values.shape)


def _indices(image: Image) -> np.ndarray:
    return np.moveaxis(np.indices(image.grid.shape)[::-1], 0, -1)


def _nearest(mask: np.ndarray, image: Image, points: np.ndarray) -> np.ndarray:
    """A mask on an image's grid, at points inside it."""
    ijk = np.rint(image.grid.to_ijk(points)).astype(int)
    i, j, k = np.moveaxis(np.clip(ijk, 0, np.array(image.grid.shape[::-1]) - 1), -1, 0)
    return mask[k, j, i]


@njit(parallel=True, nogil=True, cache=True, fastmath=True)
def _tabulated(values, low, high, table):
    """Values through a function that is tabulated from low to high, linearly between."""
    out = np.empty(values.shape, np.float32)
    by_cell = np.float32(len(table) - 1) / (high - low)
    for n in prange(values.shape[0]):
        x = (min(max(values[n], low), high) - low) * by_cell
        cell = min(int(x), len(table) - 2)
        out[n] = table[cell] + (x - np.float32(cell)) * (table[cell + 1] - table[cell])
    return out


def interpolate(points: np.ndarray, volume: np.ndarray, to_voxels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`interpolate_at` through one map (3, 4): values (n,) and slopes (n, 3)."""
    values, slopes, *_ = interpolate_at(points, volume, to_voxels[None])
    return values[0], slopes[0]


def interpolate_at(
    points: np.ndarray, volume: np.ndarray, to_voxels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Trilinear values of a volume at points seen through several maps, and their slopes.

    Parameters
    ----------
    points : array, shape (n, 3)
        RAS mm.
    volume : array, shape (k, j, i)
    to_voxels : array, shape (maps, 3, 4)
        From RAS to the volume's i, j, k.

    Returns
    -------
    values : array, shape (maps, n)
        -1 outside.
    slopes : array, shape (maps, n, 3)
        Per voxel along i, j, k.
    shares : array, shape (maps, n)
        How much each point counts: 1 inside, fading to 0 on the border.
    share_slopes : array, shape (maps, n, 3)
    """
    return _interpolate(points, volume.ravel(), volume.shape, np.ascontiguousarray(to_voxels))


@njit(nogil=True, cache=True, fastmath=True)
def _fading(position, last):
    """How much a sample counts by its position along an axis that ends at the last voxel, and the slope of this."""
    width = min(FADED, MOST_FADED * last)
    near = min(position, last - position) / width
    if near >= 1:
        return 1.0, 0.0
    if near <= 0:
        return 0.0, 0.0
    slope = 6 * near * (1 - near) / width
    return near * near * (3 - 2 * near), slope if position < last - position else -slope


@njit(parallel=True, nogil=True, cache=True, fastmath=True)
def _interpolate(points, volume, shape, maps):
    """Indices are flat and unsigned: numba then leaves out the wrapping of negative ones."""
    depth, height, width = shape
    row, plane, one = np.uint64(width), np.uint64(width * height), np.uint64(1)
    count = points.shape[0]
    all_values = np.empty((maps.shape[0], count), np.float32)
    all_slopes = np.empty((maps.shape[0], count, 3), np.float32)
    all_shares = np.empty((maps.shape[0], count), np.float32)
    all_leaving = np.zeros((maps.shape[0], count, 3), np.float32)
    for task in prange(CHUNKS * maps.shape[0]):
        part, pose = task // maps.shape[0], task % maps.shape[0]
        m, values, slopes = maps[pose], all_values[pose], all_slopes[pose]
        shares, leaving = all_shares[pose], all_leaving[pose]
        for n in range(part * count // CHUNKS, (part + 1) * count // CHUNKS):
            x, y, z = points[n, 0], points[n, 1], points[n, 2]
            i = m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]
            j = m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]
            k = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
            if i < 0 or j < 0 or k < 0 or i > width - 1 or j > height - 1 or k > depth - 1:
                values[n] = -1.0
                slopes[n, :] = 0.0
                shares[n] = 0.0
                continue
            share_i, slope_i = _fading(i, width - 1)
            share_j, slope_j = _fading(j, height - 1)
            share_k, slope_k = _fading(k, depth - 1)
            shares[n] = share_i * share_j * share_k
            leaving[n, 0] = slope_i * share_j * share_k
            leaving[n, 1] = share_i * slope_j * share_k
            leaving[n, 2] = share_i * share_j * slope_k
            i0, j0, k0 = min(int(i), width - 2), min(int(j), height - 2), min(int(k), depth - 2)
            a, b, c = np.float32(i - i0), np.float32(j - j0), np.float32(k - k0)
            at = np.uint64(k0) * plane + np.uint64(j0) * row + np.uint64(i0)
            v000, v001 = volume[at], volume[at + one]
            v010, v011 = volume[at + row], volume[at + row + one]
            at += plane
            v100, v101 = volume[at], volume[at + one]
            v110, v111 = volume[at + row], volume[at + row + one]
            r00, r01 = v000 + a * (v001 - v000), v010 + a * (v011 - v010)
            r10, r11 = v100 + a * (v101 - v100), v110 + a * (v111 - v110)
            near, far = r00 + b * (r01 - r00), r10 + b * (r11 - r10)
            along_near = (v001 - v000) + b * ((v011 - v010) - (v001 - v000))
            along_far = (v101 - v100) + b * ((v111 - v110) - (v101 - v100))
            values[n] = near + c * (far - near)
            slopes[n, 0] = along_near + c * (along_far - along_near)
            slopes[n, 1] = (r01 - r00) + c * ((r11 - r10) - (r01 - r00))
            slopes[n, 2] = far - near
    return all_values, all_slopes, all_shares, all_leaving
