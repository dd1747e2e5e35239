"""Random views of label maps: which part of a head is seen, and how it is turned, stretched, bent and mirrored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from scipy import ndimage
from scipy.spatial.transform import Rotation

from TwinCore import Image, bounding_box

from .recipe import SPACING_MM, Recipe
from .spread import along_axes, smooth_spread

GAP_LABEL = 1
"""What recipes call voxels without a label that lie inside the body: air, or what nobody outlined."""

TURN_DEG, STRETCH, SHEAR = 15.0, 0.15, 0.08
BEND_SPACING_MM, BEND_MM = 24.0, 5.0
"""Spacing of the coefficients of a random bend, and the largest standard deviation of its length."""

OFTEN_CENTRAL = 0.8
"""Share of the images that show a part of the brain; the others show any part of the head."""


@dataclass(frozen=True, eq=False)
class View:
    """From the voxels (k, j, i) of an image to those of a map: a matrix, an offset, and a bend on top, per voxel."""

    matrix: np.ndarray
    offset: np.ndarray
    bend: tuple[np.ndarray, np.ndarray, np.ndarray]


class Views:
    """Label maps as structures of a recipe, seen in images of one shape and spacing.

    Parameters
    ----------
    recipe : Recipe
    label_maps : sequence of Image
    shape : tuple of int
        Voxels of the images along k, j, i.
    spacing_mm : float
    """

    def __init__(self, recipe: Recipe, label_maps: Sequence[Image], shape: tuple[int, int, int], spacing_mm: float):
        self.shape, self.by_voxel = shape, spacing_mm / SPACING_MM
        gap = next((n for n, s in enumerate(recipe.structures) if GAP_LABEL in s.labels), 0)
        structures = [recipe.structures_of(label_map) for label_map in label_maps]
        self.grids = [one.grid for one in structures]
        self.maps = [_with_gaps(one.array, gap) for one in structures]
        self._boxes = [[bounding_box(m > 0), _bulk(recipe.brain[m])] for m in self.maps]

    def random(self, which: int, rng: np.random.Generator) -> View:
        """A part of a head, turned, stretched, bent and often mirrored, all at random."""
        half = (np.array(self.shape, np.float32) - 1) / 2
        matrix = Rotation.from_rotvec(np.deg2rad(TURN_DEG) * rng.uniform(-1, 1, 3)).as_matrix() * self.by_voxel
        matrix = matrix @ (np.diag(1 + STRETCH * rng.uniform(-1, 1, 3)) + SHEAR * rng.uniform(-1, 1, (3, 3)))
        matrix[:, 2] *= rng.choice([-1, 1])
        low, high = self._boxes[which][int(rng.random() < OFTEN_CENTRAL)]
        room = np.maximum((high - low) / 2 - 0.6 * half * self.by_voxel, 0)
        centre = (low + high) / 2 + room * rng.uniform(-1, 1, 3)
        spacing_mm = self.by_voxel * SPACING_MM
        coarse = [max(int(np.ceil(n * spacing_mm / BEND_SPACING_MM)) + 3, 4) for n in self.shape]
        spread = [smooth_spread(c, n) for c, n in zip(coarse, self.shape)]
        length = rng.uniform(0, BEND_MM) / SPACING_MM
        bend = [along_axes(length * rng.standard_normal(coarse, np.float32), spread) for _ in range(3)]
        return View(matrix.astype(np.float32), (centre - matrix @ half).astype(np.float32), (bend[0], bend[1], bend[2]))

    def straight(self, which: int) -> View:
        """The middle of a brain as it is."""
        half = (np.array(self.shape, np.float32) - 1) / 2
        low, high = self._boxes[which][1]
        none = np.zeros(self.shape, np.float32)
        matrix = np.eye(3, dtype=np.float32) * np.float32(self.by_voxel)
        return View(matrix, ((low + high) / 2 - matrix @ half).astype(np.float32), (none, none, none))

    def rendered(self, which: int, view: View, brightness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The mean brightness within each voxel, by its structures, and the structure at its middle (uint8)."""
        return _rendered(self.maps[which], view.matrix, view.offset, *view.bend, self._places(), brightness)

    def looked_up(self, volume: np.ndarray, view: View, outside: float) -> np.ndarray:
        """The mean of a volume on a map's grid within each voxel; `outside` beyond it."""
        return _looked_up(volume, view.matrix, view.offset, *view.bend, self._places(), np.float32(outside))

    def _places(self) -> np.ndarray:
        """Where within a voxel it is looked at besides its middle: four corners of a cube, no two on one edge."""
        if self.by_voxel <= 1:
            return np.zeros((0, 3), np.float32)
        return np.array([(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)], np.float32) / 4


def _with_gaps(structures: np.ndarray, gap: int) -> np.ndarray:
    """Voxels outside every structure but inside the body become gaps."""
    inside = ndimage.binary_fill_holes(structures > 0)
    return np.where(inside & (structures == 0), np.uint8(gap), structures)


def _bulk(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last voxel along each axis, but for the outermost hundredths of a mask."""
    low, high = np.percentile(np.argwhere(mask[::2, ::2, ::2]) * 2, (1, 99), axis=0)
    return low, high


@njit(nogil=True, cache=True, fastmath=True)
def _along(matrix, axis, k, j, i, offset):
    """Where a voxel of an image lies along an axis of the map, but for the bend."""
    return matrix[axis, 0] * k + matrix[axis, 1] * j + matrix[axis, 2] * i + offset[axis]


@njit(parallel=True, nogil=True, cache=True, fastmath=True)
def _rendered(structures, matrix, offset, bend_k, bend_j, bend_i, places, mean):
    depth, height, width = bend_k.shape
    shape = structures.shape
    image = np.empty((depth, height, width), np.float32)
    middle = np.empty((depth, height, width), np.uint8)
    share = np.float32(1.0 / (1 + len(places)))
    shifts = places @ matrix.T
    for k in prange(depth):
        for j in range(height):
            for i in range(width):
                at_k = _along(matrix, 0, k, j, i, offset) + bend_k[k, j, i]
                at_j = _along(matrix, 1, k, j, i, offset) + bend_j[k, j, i]
                at_i = _along(matrix, 2, k, j, i, offset) + bend_i[k, j, i]
                here = _nearest(structures, shape, at_k, at_j, at_i)
                bright = mean[here]
                for p in range(len(places)):
                    there = _nearest(structures, shape, at_k + shifts[p, 0], at_j + shifts[p, 1], at_i + shifts[p, 2])
                    bright += mean[there]
                image[k, j, i] = bright * share
                middle[k, j, i] = here
    return image, middle


@njit(nogil=True, cache=True, fastmath=True)
def _nearest(structures, shape, k, j, i):
    """The structure at a place in voxels; background from outside the map."""
    if k < -0.5 or j < -0.5 or i < -0.5:
        return np.uint8(0)
    near_k, near_j, near_i = int(k + 0.5), int(j + 0.5), int(i + 0.5)
    if near_k >= shape[0] or near_j >= shape[1] or near_i >= shape[2]:
        return np.uint8(0)
    return structures[near_k, near_j, near_i]


@njit(parallel=True, nogil=True, cache=True, fastmath=True)
def _looked_up(volume, matrix, offset, bend_k, bend_j, bend_i, places, outside):
    depth, height, width = bend_k.shape
    image = np.empty((depth, height, width), np.float32)
    share = np.float32(1.0 / (1 + len(places)))
    shifts = places @ matrix.T
    for k in prange(depth):
        for j in range(height):
            for i in range(width):
                at_k = _along(matrix, 0, k, j, i, offset) + bend_k[k, j, i]
                at_j = _along(matrix, 1, k, j, i, offset) + bend_j[k, j, i]
                at_i = _along(matrix, 2, k, j, i, offset) + bend_i[k, j, i]
                bright = _between(volume, at_k, at_j, at_i, outside)
                for p in range(len(places)):
                    bright += _between(volume, at_k + shifts[p, 0], at_j + shifts[p, 1], at_i + shifts[p, 2], outside)
                image[k, j, i] = bright * share
    return image


@njit(nogil=True, cache=True, fastmath=True)
def _between(volume, k, j, i, outside):
    """Trilinear between the eight voxels round a place."""
    depth, height, width = volume.shape
    if not (0 <= k <= depth - 1 and 0 <= j <= height - 1 and 0 <= i <= width - 1):
        return outside
    a, b, c = min(int(k), depth - 2), min(int(j), height - 2), min(int(i), width - 2)
    u, v, w = np.float32(k - a), np.float32(j - b), np.float32(i - c)
    one = np.float32(1)
    near = (volume[a, b, c] * (one - w) + volume[a, b, c + 1] * w) * (one - v)
    near += (volume[a, b + 1, c] * (one - w) + volume[a, b + 1, c + 1] * w) * v
    far = (volume[a + 1, b, c] * (one - w) + volume[a + 1, b, c + 1] * w) * (one - v)
    far += (volume[a + 1, b + 1, c] * (one - w) + volume[a + 1, b + 1, c + 1] * w) * v
    return near * (one - u) + far * u
