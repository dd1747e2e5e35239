"""The slow change of brightness that coils leave in MR: found and divided out by N4.

Tustison et al. 2010, IEEE Trans Med Imaging 29:1310, in its ITK implementation: the field is a smooth B-spline, and the
histogram of the image without it as sharp as can be.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from TwinCore import Grid, Image, InvalidInput, Job
from TwinCore.itk import grid_onto_sitk, to_sitk

from .intensity import foreground

SPACING_MM = 5.0
MOST_VOXELS = 50_000
ITERATIONS = (100, 100, 100)
CONVERGENCE = 7e-4
"""Of the field, in its coefficient of variation; smaller lets the field take up the tissue's own differences."""


class Unbiased(NamedTuple):
    """An image without its bias field, and the field that it was divided by (float32, mean 1 in the foreground)."""

    image: Image
    field: Image


def without_bias(image: Image, mask: np.ndarray | None = None, job: Job | None = None) -> Unbiased:
    """Divide an MR image by its bias field.

    >>> without_bias(t2).image                                         # doctest: +SKIP

    Parameters
    ----------
    image : Image
        One channel.
    mask : bool array, shape (k, j, i), optional
        Where the field is fitted; the foreground without it. Voxels that are not above 0 are left out.
    job : Job, optional

    Returns
    -------
    Unbiased

    Raises
    ------
    InvalidInput
        If the image has no foreground.
    """
    job = job or Job()
    inside = foreground(image) if mask is None else mask
    every = _thinning(image.grid)
    coarse = image.with_array(image.array[every].astype(np.float32), grid=_thinned(image.grid, every))
    coarse_mask = inside[every] & (coarse.array > 0)
    if np.count_nonzero(coarse_mask) < 100:
        raise InvalidInput(f"Image {image.name!r}: too little of it is above its background to find a bias field.")
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(ITERATIONS)
    n4.SetConvergenceThreshold(CONVERGENCE)
    n4.AddCommand(sitk.sitkIterationEvent, lambda: n4.Abort() if job.is_cancelled else None)
    try:
        n4.Execute(to_sitk(coarse), to_sitk(coarse.with_array(coarse_mask)))
    except RuntimeError:
        job.checkpoint()  # it stopped because it was told to
        raise
    finally:
        n4.RemoveAllCommands()  # they hold the filter, and it them
    job.checkpoint()
    whole = grid_onto_sitk(sitk.Image(image.grid.shape[::-1], sitk.sitkUInt8), image.grid)
    logarithm = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(whole)).astype(np.float32)
    field = np.exp(logarithm - logarithm[inside].mean())
    return Unbiased(image.with_array((image.array / field).astype(np.float32)), image.with_array(field, unit="1"))


def _thinning(grid: Grid) -> tuple[slice, ...]:
    """Every n-th voxel, about 5 mm apart or as many as are enough: not smoothed, so that the histogram stays sharp."""
    extent = np.prod(grid.spacing * grid.shape[::-1])
    step = max(SPACING_MM, (extent / MOST_VOXELS) ** (1 / 3))
    return tuple(slice(None, None, int(n)) for n in np.maximum(np.round(step / grid.spacing[::-1]), 1))


def _thinned(grid: Grid, every: tuple[slice, ...]) -> Grid:
    matrix = grid.ijk_to_ras.copy()
    matrix[:3, :3] *= [one.step for one in every[::-1]]
    return Grid(np.empty(grid.shape, bool)[every].shape, matrix)
