"""How much more readily tumour cells spread along nerve fibres than across them, from diffusion MR."""

from __future__ import annotations

import numpy as np

from TwinCore import Grid, Image, InvalidInput, resample

MOST_RATIO = 5.0
"""Largest over smallest diffusivity of a tensor: white matter has about as much, and up to here every step of the
solver goes to one of the 26 neighbours where voxels are cubes."""
_PLACES = np.array([[0, 1, 2], [1, 3, 4], [2, 4, 5]])


def fibre_tensor(image: Image, grid: Grid) -> np.ndarray:
    """Tensors of mean diffusivity 1 along a grid's axes, shape (k, j, i, 3, 3), as `ReactionDiffusion` takes them.

    Cells are taken to spread as water does, in proportion (Jbabdi and others 2005, Magnetic Resonance in Medicine
    54:616); eigenvalues are raised to a fifth of the largest, and where nothing was measured all directions are alike.

    Parameters
    ----------
    image : Image
        Diffusion tensors in RAS, channels xx, xy, xz, yy, yz, zz, in any unit.
    grid : Grid

    Raises
    ------
    InvalidInput
        If the image has not six channels.
    """
    if image.array.ndim != 4 or image.array.shape[3] != 6:
        raise InvalidInput(
            f"The diffusion tensor {image.name!r} must have six channels (xx, xy, xz, yy, yz, zz), not an array of "
            f"shape {image.array.shape}."
        )
    there = np.nan_to_num(resample(image, grid).array.astype(float), posinf=0.0, neginf=0.0)
    axes = grid.direction[:, ::-1]
    values, frames = np.linalg.eigh(axes.T @ there[..., _PLACES] @ axes)
    largest = values[..., -1:]
    values = np.where(largest > 0, np.maximum(values, largest / MOST_RATIO), 1.0)
    values /= values.mean(axis=-1, keepdims=True)
    return (frames * values[..., None, :]) @ np.swapaxes(frames, -1, -2)
