"""What a scanner makes of tissue, and how the image is shown."""

from __future__ import annotations

import numpy as np

from .recipe import SPACING_MM
from .spread import along_axes, between_samples, blurred_samples, smooth_spread

PSF = 0.425
"""Standard deviation of a slice profile by the slice's thickness: a Gaussian as wide at half its height."""


def acquired(
    image: np.ndarray, voxel_mm: float, is_ct: bool, rng: np.random.Generator
) -> tuple[np.ndarray, tuple[float, ...]]:
    """The image with a receive field and ghosts (MR), slices of some thickness, and noise; and its spacing in mm."""
    spacing = np.maximum(_random_spacing(rng), voxel_mm)
    steps = spacing / voxel_mm
    blur = np.maximum(PSF * steps * rng.uniform(0.8, 1.2), rng.uniform(0.25, 0.7))
    if not is_ct:
        image = image * _receive_field(image.shape, rng)
        if rng.random() < 0.2:
            image = _ghosted(image, rng)
    down = [blurred_samples(n, step, sigma) for n, step, sigma in zip(image.shape, steps, blur)]
    coarse = along_axes(image, down)
    level = rng.uniform(2, 15) if is_ct else rng.uniform(0, 0.06)
    coarse += np.float32(level) * rng.standard_normal(coarse.shape, np.float32)
    if not is_ct:
        np.abs(coarse, out=coarse)  # a magnitude image's noise does not go below zero
    up = [between_samples(c, n) for c, n in zip(coarse.shape, image.shape)]
    return along_axes(coarse, up), tuple(float(s) for s in spacing[::-1])


def shown(image: np.ndarray, window: tuple[float, float], gamma: float) -> np.ndarray:
    """Values from 0 to 1 within the window, or from the lowest to the 99.5th percentile if it has no end."""
    low, high = window
    if not np.isfinite(high):
        low, high = np.percentile(image[::3, ::3, ::3], (0.5, 99.5))
    image = np.clip((image - np.float32(low)) * np.float32(1 / max(high - low, 1e-6)), 0, 1.5)
    return image ** np.float32(gamma)


def cut(image: np.ndarray, classes: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Now and then the field of view ends inside the body: nothing is seen, and nothing is asked, beyond."""
    if rng.random() < 0.2:
        axis, depth = int(rng.integers(3)), int(rng.integers(1, image.shape[0] // 4))
        beyond = [slice(None)] * 3
        beyond[axis] = slice(0, depth) if rng.random() < 0.5 else slice(-depth, None)
        image, classes = image.copy(), classes.copy()
        image[tuple(beyond)], classes[tuple(beyond)] = 0, 0
    return image, classes


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
