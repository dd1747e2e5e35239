"""What a similarity is measured on: voxels drawn from one image, and the other image to interpolate them in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from TwinCore import Image, InvalidInput

from .filters import at_resolution

BINS = 32

INTRINSIC_SIGMA_MM = {"PT": 3.0}
"""Blur that the modality itself brings, as a Gaussian's standard deviation: PET resolves about 7 mm (FWHM)."""

CHUNKS = 16
"""Samples are summed in this many parts, so that the answer does not depend on the number of threads."""

_KNOT_SAMPLES = 200_000


@dataclass(frozen=True, eq=False)
class Samples:
    """Positions drawn from an image: RAS points (n, 3) in mm and the intensity there as a bin (n,)."""

    points: np.ndarray
    bins: np.ndarray


@dataclass(frozen=True, eq=False)
class Target:
    """The image that is interpolated: its intensities as continuous bins, -1e4 where masked out, and RAS to voxels."""

    bins: np.ndarray
    ras_to_ijk: np.ndarray


@dataclass(frozen=True, eq=False)
class Channel:
    """A pair of images at one resolution: the binned moving image with its focus and mask, and what it is matched with.

    `focus` and `mask` are bool arrays on the grid of the full image, or None.
    """

    moving: Image
    focus: np.ndarray | None
    onto: Target
    mask: np.ndarray | None = None
    original: Image | None = None

    @classmethod
    def at_resolution(
        cls,
        fixed: Image,
        moving: Image,
        focus: np.ndarray | None,
        sigma_mm: float,
        fixed_mask: np.ndarray | None = None,
        moving_mask: np.ndarray | None = None,
    ) -> Channel:
        """Smooth, thin and bin both images; masks and focus are on the grids of the images given."""
        coarse = binned(fixed, sigma_mm)
        onto = coarse.array
        if fixed_mask is not None:
            onto = np.where(_nearest(fixed_mask, fixed, coarse.grid.to_ras(_indices(coarse))), onto, np.float32(-1e4))
        target = Target(np.ascontiguousarray(onto, np.float32), np.linalg.inv(coarse.grid.ijk_to_ras))
        return cls(binned(moving, sigma_mm), focus, target, moving_mask, moving)

    def sample(self, count: int, seed: int) -> Samples:
        """Draw voxels of the moving image at random, moved by up to half a voxel so that no grid can fit another.

        Half of them lie in the focus, where there is one; all of them in the mask.
        """
        rng = np.random.default_rng(seed)
        image, original = self.moving, self.original or self.moving

        def draw(region: np.ndarray | None, number: int) -> np.ndarray:
            if region is None:
                chosen = np.sort(rng.integers(0, image.grid.size, number))
                ijk = np.stack(np.unravel_index(chosen, image.grid.shape)[::-1], -1)
                inside = np.array(image.grid.shape[::-1]) - 1
                return image.grid.to_ras(np.clip(ijk + rng.uniform(-0.5, 0.5, ijk.shape), 0, inside))
            inside = np.flatnonzero(region)
            chosen = np.sort(inside[rng.integers(0, inside.size, number)])
            ijk = np.stack(np.unravel_index(chosen, original.grid.shape)[::-1], -1)
            return original.grid.to_ras(ijk + rng.uniform(-0.5, 0.5, ijk.shape))

        points = draw(self.mask, count if self.focus is None else count // 2)
        if self.focus is not None:
            focus = self.focus if self.mask is None else self.focus & self.mask
            points = np.concatenate([draw(focus, count // 2), points])
        values, _ = interpolate(points, image.array, np.linalg.inv(image.grid.ijk_to_ras)[:3])
        inside = values >= 0
        return Samples(points[inside], np.rint(values[inside]).astype(np.uint64))


def binned(image: Image, sigma_mm: float) -> Image:
    """The image at a resolution (a Gaussian's standard deviation in mm; its own blur counts), in continuous bins."""
    smooth = at_resolution(image, sigma_mm, INTRINSIC_SIGMA_MM.get(image.modality, 0.0))
    return smooth.with_array(to_bins(smooth.array))


def to_bins(values: np.ndarray) -> np.ndarray:
    """Intensities as continuous bins 0 to BINS - 1 that hold equally many voxels each, background apart.

    Equal counts make the measure the same for an MR in arbitrary units and for a PET whose hot spots span three
    decades. The background (below the image's mean, where the histogram peaks) gets the lowest eighth of the bins.

    Raises
    ------
    InvalidInput
        If the image is constant.
    """
    flat = np.ascontiguousarray(values, np.float32).ravel()
    some = flat[:: max(flat.size // _KNOT_SAMPLES, 1)]
    low, high = np.percentile(some, (0.1, 99.9))
    if not high > low:
        some = flat
        low, high = flat.min(), flat.max()
    if not high > low:
        raise InvalidInput("A constant image cannot be registered: it shows nothing that could be matched.")
    threshold = some.mean()
    background, body = some[some <= threshold], some[some > threshold]
    share = BINS // 8
    knots = np.concatenate(
        [np.quantile(background, np.linspace(0, 1, share + 1))[:-1], np.quantile(body, np.linspace(0, 1, BINS - share))]
    )
    knots, position = np.unique(knots, return_index=True)
    return _piecewise_linear(flat, knots.astype(np.float32), position.astype(np.float32)).reshape(values.shape)


def _indices(image: Image) -> np.ndarray:
    return np.stack(np.indices(image.grid.shape)[::-1], -1)


def _nearest(mask: np.ndarray, image: Image, points: np.ndarray) -> np.ndarray:
    """A mask on an image's grid, at points inside it."""
    ijk = np.rint(image.grid.to_ijk(points)).astype(int)
    i, j, k = np.moveaxis(np.clip(ijk, 0, np.array(image.grid.shape[::-1]) - 1), -1, 0)
    return mask[k, j, i]


@njit(parallel=True, nogil=True, cache=True)
def _piecewise_linear(values, knots, position):
    out = np.empty(values.shape, np.float32)
    last = len(knots) - 1
    slopes = np.empty(last, np.float32)
    for n in range(last):
        slopes[n] = (position[n + 1] - position[n]) / (knots[n + 1] - knots[n])
    for n in prange(values.shape[0]):
        value = min(max(values[n], knots[0]), knots[last])
        low, high = 0, last
        while high - low > 1:
            middle = (low + high) // 2
            if knots[middle] <= value:
                low = middle
            else:
                high = middle
        out[n] = position[low] + (value - knots[low]) * slopes[low]
    return out


def interpolate(points: np.ndarray, volume: np.ndarray, to_voxels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Trilinear values (n,) of a volume at RAS points, -1 outside, and their slopes (n, 3) per voxel along i, j, k."""
    return _interpolate(points, volume.ravel(), volume.shape, np.ascontiguousarray(to_voxels))


@njit(parallel=True, nogil=True, cache=True, fastmath=True)
def _interpolate(points, volume, shape, m):
    """Indices are flat and unsigned: numba then leaves out the wrapping of negative ones."""
    depth, height, width = shape
    row, plane, one = np.uint64(width), np.uint64(width * height), np.uint64(1)
    count = points.shape[0]
    values, slopes = np.empty(count, np.float32), np.empty((count, 3), np.float32)
    for n in prange(count):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        i = m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]
        j = m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]
        k = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
        if i < 0 or j < 0 or k < 0 or i > width - 1 or j > height - 1 or k > depth - 1:
            values[n] = -1.0
            slopes[n, :] = 0.0
            continue
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
        values[n] = near + c * (far - near)
        along_near = (v001 - v000) + b * ((v011 - v010) - (v001 - v000))
        along_far = (v101 - v100) + b * ((v111 - v110) - (v101 - v100))
        slopes[n, 0] = along_near + c * (along_far - along_near)
        slopes[n, 1] = (r01 - r00) + c * ((r11 - r10) - (r01 - r00))
        slopes[n, 2] = far - near
    return values, slopes
