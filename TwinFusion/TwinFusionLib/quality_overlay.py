"""Two registered images over each other, thinned, where both are seen: what all figures of a registration come from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from TwinCore import Grid, Image, InvalidInput, LinearTransform, bounding_box
from TwinCore.transform import Transform

from .filters import at_resolution
from .sampling import INTRINSIC_SIGMA_MM, Samples, Target, interpolate, to_bins

SIGMA_MM = 3.0
GRID_MM = 4.0
SAMPLES = 12000
LATTICE = 28
MARGIN_MM = 12.0
AIR_HU = -300.0
BODY_SHARE = 0.12
"""A voxel of an MR, PET or ultrasound belongs to the body from this share of the bright tissue's value upwards."""
FEWEST = 600
"""Points in the common view below which nothing is measured."""


@dataclass(frozen=True, eq=False)
class Overlay:
    """Two images in the frame of the fixed one, where both are seen.

    Parameters
    ----------
    fixed, moving : Image
        Smoothed, thinned and in continuous bins; each on its own grid.
    transform : Transform
        moving -> fixed.
    grid : Grid
        4 mm, along the fixed image's axes, over the body within the common field of view.
    seen : bool array, on the grid
        Whether a voxel lies in both images, and in their masks.
    bodies : pair of bool arrays, on the grid
        Where each image shows body rather than air.
    """

    fixed: Image
    moving: Image
    transform: Transform
    grid: Grid
    seen: np.ndarray
    bodies: tuple[np.ndarray, np.ndarray]

    @property
    def centre(self) -> np.ndarray:
        """Middle of the body in the common view, RAS mm."""
        return self.grid.to_ras(np.argwhere(self._matter()).mean(0)[::-1])

    def body_points(self, count: int = 200) -> np.ndarray:
        """Points (n, 3) spread over the body in the common view, RAS mm."""
        inside = np.argwhere(self._matter())
        return self.grid.to_ras(inside[:: max(len(inside) // count, 1), ::-1])

    def on_grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Both images' bins on the grid, -1 where they are not seen; float32."""
        points = voxel_points(self.grid)
        pair = values_at(self.fixed, points), values_at(self.moving, self.transform.pull(points))
        a, b = (np.where(self.seen, values.reshape(self.grid.shape), np.float32(-1)) for values in pair)
        return a, b

    def samples(self, seed: int) -> Samples:
        """Points of the common view drawn at random off every grid, with the bins of the moving image there."""
        points = self._drawn(seed)
        return _looked_at(points, values_at(self.moving, self.transform.pull(points)))

    def target(self) -> Target:
        """The fixed image, to interpolate in."""
        return Target(self.fixed.array, np.linalg.inv(self.fixed.grid.ijk_to_ras))

    def exchanged(self, seed: int) -> tuple[Samples, Target]:
        """`samples` of the fixed image, and as a `target` the moved one on the grid."""
        points = self._drawn(seed)
        moved = np.where(self.seen, self.on_grid()[1], np.float32(-1e4))
        return _looked_at(points, values_at(self.fixed, points)), Target(moved, np.linalg.inv(self.grid.ijk_to_ras))

    def _drawn(self, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        inside = np.argwhere(self.seen)
        chosen = inside[np.sort(rng.integers(0, len(inside), SAMPLES))]
        return self.grid.to_ras(chosen[:, ::-1] + rng.uniform(-0.5, 0.5, chosen.shape))

    def _matter(self) -> np.ndarray:
        both = (self.bodies[0] | self.bodies[1]) & self.seen
        return both if both.any() else self.seen


def lay_over(
    fixed: Image,
    moving: Image,
    transform: Transform,
    fixed_mask: np.ndarray | None = None,
    moving_mask: np.ndarray | None = None,
) -> Overlay | None:
    """Both images where both are seen; None if that is hardly anywhere.

    Parameters
    ----------
    fixed, moving : Image
    transform : Transform
        moving -> fixed.
    fixed_mask, moving_mask : bool array, optional
        What counts of each image, on its grid.
    """
    common = _common_view(fixed, moving, transform)
    if common is None:
        return None
    (fixed, fixed_mask), (moving, moving_mask) = (
        _cropped(image, mask, box) for image, mask, box in zip((fixed, moving), (fixed_mask, moving_mask), common)
    )
    images = [_smooth(image) for image in (fixed, moving)]
    if any(np.ptp(image.array) == 0 for image in images):
        return None
    grid = fixed.grid.with_spacing(np.minimum(GRID_MM, np.array(fixed.grid.shape[::-1]) * fixed.grid.spacing / 4))
    points = voxel_points(grid)
    there = points, transform.pull(points)
    seen = np.ones(grid.size, bool)
    bodies = []
    for image, mask, where, original in zip(images, (fixed_mask, moving_mask), there, (fixed, moving)):
        inside = _inside(image.grid, where)
        if mask is not None:
            inside &= _nearest(mask, original.grid, where)
        seen &= inside
        bodies.append((_nearest(body(image), image.grid, where) & inside).reshape(grid.shape))
    seen = seen.reshape(grid.shape)
    matter = (bodies[0] | bodies[1]) & seen
    if np.count_nonzero(seen) < FEWEST or not matter.any():
        return None
    low, high = bounding_box(matter, np.ceil(MARGIN_MM / grid.spacing[::-1]).astype(int))
    box = tuple(slice(a, b) for a, b in zip(low, high))
    bins = [image.with_array(to_bins(image.array)) for image in images]
    return Overlay(bins[0], bins[1], transform, grid.crop(low, high), seen[box], (bodies[0][box], bodies[1][box]))


def share_inside(fixed: Image, moving: Image, transform: Transform, moving_mask: np.ndarray | None = None) -> float:
    """Share of the moving image (of its mask) that comes to lie inside the fixed one."""
    if isinstance(transform, LinearTransform):
        points = _lattice(moving.grid)
        counted = np.ones(len(points), bool) if moving_mask is None else _nearest(moving_mask, moving.grid, points)
        if not counted.any():
            return 0.0
        return float(_inside(fixed.grid, transform.push(points[counted])).mean())
    # A deformation is known by its pull: how much of the moving image the fixed one's points come from.
    points = _lattice(fixed.grid)
    pulled = transform.pull(points)
    inside = _inside(moving.grid, pulled)
    share = 1.0 if moving_mask is None else max(float(moving_mask.mean()), 1e-6)
    if moving_mask is not None:
        inside[inside] = _nearest(moving_mask, moving.grid, pulled[inside])
    volume = inside.mean() * fixed.grid.size * fixed.grid.voxel_volume_ml
    return float(min(volume / (share * moving.grid.size * moving.grid.voxel_volume_ml), 1.0))


def body(image: Image) -> np.ndarray:
    """Where an image shows body rather than air, holes filled; bool array."""
    low, bright = np.percentile(image.array, (0.5, 95))
    if image.modality == "CT" and low < AIR_HU:
        mask = image.array > AIR_HU
    else:
        mask = image.array > low + BODY_SHARE * (bright - low)
    return ndimage.binary_fill_holes(mask)


def voxel_points(grid: Grid) -> np.ndarray:
    """Centres (n, 3) of a grid's voxels in RAS mm, in the order of its arrays."""
    return grid.to_ras(np.indices(grid.shape)[::-1].reshape(3, -1).T)


def values_at(image: Image, points: np.ndarray) -> np.ndarray:
    """Trilinear values (n,) of an image of bins at RAS points; -1 outside."""
    points = np.ascontiguousarray(points, float)
    return interpolate(points, image.array, np.linalg.inv(image.grid.ijk_to_ras)[:3])[0]


def _looked_at(points: np.ndarray, values: np.ndarray) -> Samples:
    kept = values >= 0
    return Samples(points[kept], np.rint(values[kept]).astype(np.uint64))


def _smooth(image: Image) -> Image:
    return at_resolution(image, SIGMA_MM, INTRINSIC_SIGMA_MM.get(image.modality, 0.0))


def _common_view(fixed: Image, moving: Image, transform: Transform):
    """Boxes (low, high in voxels k, j, i) of both images round what both show; None if they show nothing together."""
    points = _lattice(fixed.grid)
    pulled = transform.pull(points)
    inside = _inside(moving.grid, pulled)
    if not inside.any():
        return None
    boxes = []
    reach = np.linalg.norm(np.array(fixed.grid.shape[::-1]) * fixed.grid.spacing / LATTICE) + 2 * SIGMA_MM
    for image, where in ((fixed, points), (moving, pulled)):
        ijk = image.grid.to_ijk(where[inside])
        low = np.floor(ijk.min(0) - reach / image.grid.spacing).astype(int)[::-1]
        high = np.ceil(ijk.max(0) + reach / image.grid.spacing).astype(int)[::-1] + 1
        boxes.append((np.maximum(low, 0), np.minimum(high, image.grid.shape)))
    return boxes


def _cropped(image: Image, mask: np.ndarray | None, box) -> tuple[Image, np.ndarray | None]:
    if mask is not None and mask.shape != image.grid.shape:
        raise InvalidInput(f"The mask of image {image.name!r} is not on the image's grid.")
    part = tuple(slice(a, b) for a, b in zip(*box))
    return image.crop(*box), None if mask is None else mask[part]


def _lattice(grid: Grid) -> np.ndarray:
    """Points (n, 3) spread evenly over a grid's box."""
    steps = [np.linspace(0, n - 1, min(n, LATTICE)) for n in grid.shape[::-1]]
    return grid.to_ras(np.stack(np.meshgrid(*steps, indexing="ij"), -1).reshape(-1, 3))


def _inside(grid: Grid, points: np.ndarray) -> np.ndarray:
    ijk = grid.to_ijk(points)
    return np.all((ijk >= 0) & (ijk <= np.array(grid.shape[::-1]) - 1), axis=-1)


def _nearest(mask: np.ndarray, grid: Grid, points: np.ndarray) -> np.ndarray:
    """A mask on a grid, at points inside it."""
    ijk = np.clip(np.rint(grid.to_ijk(points)).astype(int), 0, np.array(grid.shape[::-1]) - 1)
    return mask[ijk[:, 2], ijk[:, 1], ijk[:, 0]]
