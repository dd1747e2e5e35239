"""`Synthesiser`: endless training images from a few label maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from scipy import ndimage
from scipy.spatial.transform import Rotation

from TwinCore import Image, InvalidInput, bounding_box

from .contrast import Contrast, random_contrast
from .recipe import SPACING_MM, Recipe
from .spread import along_axes, between_samples, blurred_samples, smooth_spread

GAP_LABEL = 1
"""What recipes call voxels without a label that lie inside the body: air, or what nobody outlined."""

TURN_DEG, STRETCH, SHEAR = 15.0, 0.15, 0.08
BEND_SPACING_MM, BEND_MM = 24.0, 5.0
"""Spacing of the coefficients of a random bend, and the largest standard deviation of its length."""

STRIPPED = 0.1
"""Share of the images from which all but the brain is taken away, as tools before ours may have done."""

OFTEN_CENTRAL = 0.8
"""Share of the images that show a part of the brain; the others show any part of the head."""

PSF = 0.425
"""Standard deviation of a slice profile by the slice's thickness: a Gaussian as wide at half its height."""


@dataclass(frozen=True, eq=False)
class Sample:
    """A training image, from 0 to about 1, and the true class at the middle of each of its voxels; both (k, j, i)."""

    image: np.ndarray
    classes: np.ndarray
    kind: str
    spacing_mm: tuple[float, float, float]


class Synthesiser:
    """Training images from label maps of whole heads or bodies.

    >>> recipe = read_recipe("brain")                                     # doctest: +SKIP
    >>> make = Synthesiser(recipe, [read_volume(path) for path in paths])  # doctest: +SKIP
    >>> make(seed=7).image.shape                                          # doctest: +SKIP
    (128, 128, 128)

    Parameters
    ----------
    recipe : Recipe
    label_maps : sequence of Image
        At least one, in numbers that the recipe knows.
    shape : tuple of int
        Voxels of the images along k, j, i (superior, anterior, right); a random part of the body is shown.
    spacing_mm : float
        Of the images; a voxel of more than 1 mm shows the mean of several places within it.
    kinds : dict of str to float, optional
        Shares of the contrasts; `contrast.KINDS` if none.

    Raises
    ------
    InvalidInput
        If there is no label map, or one holds labels that the recipe does not know.
    """

    def __init__(
        self,
        recipe: Recipe,
        label_maps: Sequence[Image],
        shape: tuple[int, int, int] = (128, 128, 128),
        spacing_mm: float = 1.0,
        kinds: dict[str, float] | None = None,
    ):
        if not label_maps:
            raise InvalidInput("There is no label map to make images from.")
        self.recipe, self.shape, self.spacing_mm, self.kinds = recipe, shape, spacing_mm, kinds
        gap = next((n for n, s in enumerate(recipe.structures) if GAP_LABEL in s.labels), 0)
        self._maps = [_with_gaps(recipe.structures_of(m).array, gap) for m in label_maps]
        self._boxes = [[bounding_box(m > 0), _bulk(recipe.brain[m])] for m in self._maps]

    def __call__(self, seed: int | Sequence[int]) -> Sample:
        """The training image of a seed: the same seed, the same image."""
        rng = np.random.default_rng(seed)
        which = int(rng.integers(len(self._maps)))
        contrast = random_contrast(self.recipe, rng, self.kinds)
        mean, deviation = contrast.mean.copy(), contrast.deviation.copy()
        shown = np.arange(len(mean), dtype=np.uint8)
        if rng.random() < STRIPPED:
            shown *= self.recipe.brain
            mean, deviation = mean[shown], deviation[shown]
        matrix, offset, bend_k, bend_j, bend_i = self._shaped(which, rng)
        places = self._places()
        image, structures = _rendered(self._maps[which], matrix, offset, bend_k, bend_j, bend_i, places, mean)
        structures = shown[structures]
        image += deviation[structures] * _noise(self.shape, rng)
        image, spacing = _acquired(image, self.spacing_mm, contrast, rng)
        image = _shown(image, contrast)
        image, truth = _cut(image, self.recipe.class_of[structures], rng)
        return Sample(image, truth, contrast.kind, spacing)

    def _places(self) -> np.ndarray:
        """Where within a voxel it is looked at besides its middle: four corners of a cube, no two on one edge."""
        if self.spacing_mm <= SPACING_MM:
            return np.zeros((0, 3), np.float32)
        return np.array([(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)], np.float32) / 4

    def _shaped(self, which: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """A part of a head, turned, stretched, bent and often mirrored, all at random.

        A matrix and an offset from the image's voxels to those of the map, and a bend along k, j and i on top.
        """
        by_voxel = self.spacing_mm / SPACING_MM
        half = (np.array(self.shape, np.float32) - 1) / 2
        matrix = Rotation.from_rotvec(np.deg2rad(TURN_DEG) * rng.uniform(-1, 1, 3)).as_matrix() * by_voxel
        matrix = matrix @ (np.diag(1 + STRETCH * rng.uniform(-1, 1, 3)) + SHEAR * rng.uniform(-1, 1, (3, 3)))
        matrix[:, 2] *= rng.choice([-1, 1])
        low, high = self._boxes[which][int(rng.random() < OFTEN_CENTRAL)]
        room = np.maximum((high - low) / 2 - 0.6 * half * by_voxel, 0)
        centre = (low + high) / 2 + room * rng.uniform(-1, 1, 3)
        coarse = [max(int(np.ceil(n * self.spacing_mm / BEND_SPACING_MM)) + 3, 4) for n in self.shape]
        spread = [smooth_spread(c, n) for c, n in zip(coarse, self.shape)]
        length = rng.uniform(0, BEND_MM) / SPACING_MM
        bend = [along_axes(length * rng.standard_normal(coarse, np.float32), spread) for _ in range(3)]
        return matrix.astype(np.float32), (centre - matrix @ half).astype(np.float32), *bend


def _with_gaps(structures: np.ndarray, gap: int) -> np.ndarray:
    """Voxels outside every structure but inside the body become gaps."""
    inside = ndimage.binary_fill_holes(structures > 0)
    return np.where(inside & (structures == 0), np.uint8(gap), structures)


def _bulk(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last voxel along each axis, but for the outermost hundredths of a mask."""
    low, high = np.percentile(np.argwhere(mask[::2, ::2, ::2]) * 2, (1, 99), axis=0)
    return low, high


def _noise(shape, rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal(shape, np.float32)


def _acquired(
    image: np.ndarray, voxel_mm: float, contrast: Contrast, rng: np.random.Generator
) -> tuple[np.ndarray, tuple]:
    """What a scanner makes of tissue: a receive field and ghosts (MR), slices of some thickness, noise."""
    spacing = np.maximum(_random_spacing(rng), voxel_mm)
    steps = spacing / voxel_mm
    blur = np.maximum(PSF * steps * rng.uniform(0.8, 1.2), rng.uniform(0.25, 0.7))
    if contrast.kind != "CT":
        image = image * _receive_field(image.shape, rng)
        if rng.random() < 0.2:
            image = _ghosted(image, rng)
    down = [blurred_samples(n, step, sigma) for n, step, sigma in zip(image.shape, steps, blur)]
    coarse = along_axes(image, down)
    level = rng.uniform(2, 15) if contrast.kind == "CT" else rng.uniform(0, 0.06)
    coarse += np.float32(level) * _noise(coarse.shape, rng)
    if contrast.kind != "CT":
        np.abs(coarse, out=coarse)  # a magnitude image's noise does not go below zero
    up = [between_samples(c, n) for c, n in zip(coarse.shape, image.shape)]
    return along_axes(coarse, up), tuple(float(s) for s in spacing[::-1])


def _random_spacing(rng: np.random.Generator) -> np.ndarray:
    """Voxel spacing along k, j, i in mm: fine, coarse all round, or thick slices."""
    kind, spacing = rng.random(), np.full(3, SPACING_MM)
    if kind < 0.2:
        spacing[:] = rng.uniform(1.0, 2.2)
    elif kind < 0.4:
        spacing[rng.integers(3)] = rng.uniform(1.5, 6.0)
    return spacing


def _receive_field(shape, rng: np.random.Generator) -> np.ndarray:
    coarse = rng.integers(4, 7, 3)
    strength = rng.uniform(0, 0.4)
    field = along_axes(
        strength * rng.standard_normal(coarse, np.float32), [smooth_spread(c, n) for c, n in zip(coarse, shape)]
    )
    return np.exp(field, out=field)


def _ghosted(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Motion repeats an MR image faintly, shifted along the phase direction."""
    axis, shift = int(rng.integers(3)), int(rng.integers(6, 40))
    ghost = np.roll(image, shift, axis) + np.roll(image, -shift, axis)
    return image + np.float32(rng.uniform(0.01, 0.06)) * ghost


def _shown(image: np.ndarray, contrast: Contrast) -> np.ndarray:
    """Values from 0 to 1 within the window, or from the lowest to the 99.5th percentile."""
    low, high = contrast.window
    if not np.isfinite(high):
        low, high = np.percentile(image[::3, ::3, ::3], (0.5, 99.5))
    image = np.clip((image - np.float32(low)) * np.float32(1 / max(high - low, 1e-6)), 0, 1.5)
    return image ** np.float32(contrast.gamma)


def _cut(image: np.ndarray, classes: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Now and then the field of view ends inside the body: nothing is seen, and nothing is asked, beyond."""
    if rng.random() < 0.2:
        axis, depth = int(rng.integers(3)), int(rng.integers(1, image.shape[0] // 4))
        beyond = [slice(None)] * 3
        beyond[axis] = slice(0, depth) if rng.random() < 0.5 else slice(-depth, None)
        image, classes = image.copy(), classes.copy()
        image[tuple(beyond)], classes[tuple(beyond)] = 0, 0
    return image, classes


@njit(parallel=True, nogil=True, cache=True, fastmath=True)
def _rendered(structures, matrix, offset, bend_k, bend_j, bend_i, places, mean):
    """Mean brightness of the places within each voxel, and the structure at its middle."""
    depth, height, width = bend_k.shape
    shape = structures.shape
    image = np.empty((depth, height, width), np.float32)
    middle = np.empty((depth, height, width), np.uint8)
    share = np.float32(1.0 / (1 + len(places)))
    shifts = places @ matrix.T
    for k in prange(depth):
        for j in range(height):
            for i in range(width):
                at_k = matrix[0, 0] * k + matrix[0, 1] * j + matrix[0, 2] * i + offset[0] + bend_k[k, j, i]
                at_j = matrix[1, 0] * k + matrix[1, 1] * j + matrix[1, 2] * i + offset[1] + bend_j[k, j, i]
                at_i = matrix[2, 0] * k + matrix[2, 1] * j + matrix[2, 2] * i + offset[2] + bend_i[k, j, i]
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
