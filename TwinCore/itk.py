"""Conversions between `Image` (RAS, k j i arrays) and SimpleITK images (LPS): the only place where LPS exists."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from .errors import InvalidInput
from .grid import LPS_FROM_RAS, Grid
from .image import Image


def grid_onto_sitk(image: sitk.Image, grid: Grid) -> sitk.Image:
    """Give a SimpleITK image the geometry of a grid; returns the same image.

    Raises
    ------
    InvalidInput
        If the grid is sheared: ITK has no geometry for it.
    """
    if not grid.is_orthogonal:
        raise InvalidInput(
            "The image's axes are not at right angles (a sheared or tilted-gantry grid): "
            "resample it to a regular grid first."
        )
    lps = LPS_FROM_RAS @ grid.ijk_to_ras
    image.SetSpacing(grid.spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection(_orthonormal(lps[:3, :3] / grid.spacing).ravel().tolist())
    return image


def to_sitk(image: Image) -> sitk.Image:
    """The image for SimpleITK, its values copied; booleans become uint8, channels a vector image."""
    array = image.array.astype(np.uint8) if image.array.dtype == bool else image.array
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    return grid_onto_sitk(sitk.GetImageFromArray(array, isVector=array.ndim == 4), image.grid)


def grid_of(image: sitk.Image) -> Grid:
    """The grid of a three-dimensional SimpleITK image."""
    if image.GetDimension() != 3:
        raise InvalidInput(f"A volume must have three dimensions, this one has {image.GetDimension()}.")
    lps = np.eye(4)
    lps[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    lps[:3, 3] = image.GetOrigin()
    return Grid(image.GetSize()[::-1], LPS_FROM_RAS @ lps)


def from_sitk(image: sitk.Image, **fields) -> Image:
    """The SimpleITK image as an `Image`, its values copied; `fields` are those of `Image` (modality, unit ...)."""
    return Image(sitk.GetArrayFromImage(image), grid_of(image), **fields)


def _orthonormal(direction: np.ndarray) -> np.ndarray:
    """The nearest exactly orthonormal matrix: ITK refuses the rounding that a file's header leaves."""
    u, _, v = np.linalg.svd(direction)
    return u @ v
