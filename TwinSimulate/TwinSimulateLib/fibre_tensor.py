"""How much more readily tumour cells spread along nerve fibres than across them, from diffusion MR."""

from __future__ import annotations

import numpy as np

from TwinCore import Grid, Image, InvalidInput, resample
from TwinCore.tensor import matrices

MOST_RATIO = 5.0
"""Largest over smallest diffusivity of a tensor: white matter has about as much, and up to here every step of the
solver goes to one of the 26 neighbours where voxels are cubes."""
LEAST_RATIO = 0.01
"""Smallest over largest eigenvalue that water has at least, in most of any tissue."""


def fibre_tensor(image: Image, grid: Grid) -> np.ndarray:
    """Tensors of mean diffusivity 1 along a grid's axes, shape (k, j, i, 3, 3), as `ReactionDiffusion` takes them.

    Cells are taken to spread as water does, in proportion (Jbabdi and others 2005, Magnetic Resonance in Medicine
    54:616); eigenvalues are raised to a fifth of the largest, and where nothing was measured all directions are alike.

    Parameters
    ----------
    image : Image
        Diffusion tensors in RAS, in any unit: channels xx, xy, xz, yy, yz, zz, or all nine by rows.
    grid : Grid

    Raises
    ------
    InvalidInput
        If the image has neither six nor nine channels, or they are not such tensors: in most voxels where something was
        measured the smallest eigenvalue is not above a hundredth of the largest.
    """
    there = np.nan_to_num(matrices(resample(image, grid)), posinf=0.0, neginf=0.0)
    axes = grid.direction[:, ::-1]
    values, frames = np.linalg.eigh(axes.T @ there @ axes)
    largest = values[..., -1:]
    measured = there.any(axis=(-2, -1))
    wrong = measured & (values[..., 0] <= LEAST_RATIO * largest[..., 0])
    if 2 * np.count_nonzero(wrong) > np.count_nonzero(measured):
        raise InvalidInput(
            f"{image.name or 'The image'}: most of its voxels are no diffusion tensors. Are the six channels xx, "
            "xy, xz, yy, yz, zz, in this order?"
        )
    values = np.where(largest > 0, np.maximum(values, largest / MOST_RATIO), 1.0)
    values /= values.mean(axis=-1, keepdims=True)
    return (frames * values[..., None, :]) @ np.swapaxes(frames, -1, -2)
