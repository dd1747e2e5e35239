"""A made-up patient for the modules' self-tests: a body with a warm tumour, in CT and PET."""

from __future__ import annotations

import numpy as np

from TwinCore import Grid, Image, Segmentation
from TwinCore.scene import Twin
from TwinCore.units import HOUNSFIELD, SUV_BODY_WEIGHT

SHAPE = (28, 32, 36)
SPACING_MM = 4.0


def phantom_images() -> tuple[Image, Image, np.ndarray]:
    """CT in HU and PET in SUV on one grid, and the tumour's mask."""
    grid = Grid.isotropic(SHAPE, SPACING_MM)
    z, y, x = ((np.indices(SHAPE).T - np.array(SHAPE) / 2).T) * SPACING_MM
    body = (x / 62) ** 2 + (y / 52) ** 2 + (z / 70) ** 2 < 1
    bone = ((x - 30) / 9) ** 2 + ((y + 10) / 9) ** 2 < 1
    tumour = (x + 14) ** 2 + (y - 8) ** 2 + (z - 6) ** 2 < 15**2
    noise = np.random.default_rng(0).normal(0, 1, SHAPE)
    ct = np.where(body, 40.0, -1000.0) + np.where(bone & body, 700.0, 0.0) + np.where(tumour, 25.0, 0.0) + 8 * noise
    pet = np.where(body, 1.0, 0.0) + np.where(tumour, 7.0, 0.0) + np.abs(0.05 * noise)
    return (
        Image(ct.astype(np.float32), grid, "CT", HOUNSFIELD, 0.0, "CT"),
        Image(pet.astype(np.float32), grid, "PT", SUV_BODY_WEIGHT, 0.0, "PET"),
        tumour,
    )


def phantom_twin(scene=None) -> Twin:
    """A twin of the made-up patient, its CT as reference."""
    ct, pet, _ = phantom_images()
    twin = Twin.create("Phantom", scene)
    twin.add_image(ct, reference=True)
    twin.add_image(pet)
    return twin


def phantom_outlines() -> Segmentation:
    """The tumour as outlined on the CT."""
    ct, _, tumour = phantom_images()
    return Segmentation.from_masks(ct.grid, {"tumour": tumour}, {"tumour": ("SCT", "4147007", "Mass")})
