"""Two visits brought together half-way, so that neither is the standard of the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import expm, logm

from TwinCore import Grid, Image, InvalidInput, Job, LinearTransform

from .fused import onto_grid
from .linear import LinearResult, register_linear


@dataclass(frozen=True, eq=False)
class Midway:
    """Two images on one grid half-way between them.

    Parameters
    ----------
    first, second : Image
        On the common grid.
    moves : pair of LinearTransform
        Of each image to the middle; the first then the second's inverse is the whole way.
    forth, back : LinearResult
        The registrations of the first to the second, and of the second to the first.
    inconsistency_mm : float
        Largest distance, at the corners of the first image, between where the two registrations take it.
    """

    first: Image
    second: Image
    moves: tuple[LinearTransform, LinearTransform]
    forth: LinearResult
    back: LinearResult
    inconsistency_mm: float


def midway(
    first: Image,
    second: Image,
    motion: str = "rigid",
    spacing_mm: float | None = None,
    seed: int = 0,
    job: Job | None = None,
) -> Midway:
    """Bring two visits of a patient together without bias: each goes half of the way, and both are resampled once.

    Swapping the two gives the mirrored answer, to rounding.

    >>> both = midway(baseline, follow_up)                           # doctest: +SKIP
    >>> change = both.second.array - both.first.array                # doctest: +SKIP

    Parameters
    ----------
    first, second : Image
    motion : {"rigid", "affine"}
    spacing_mm : float, optional
        Edge of the common grid's cubic voxels; the edge of a cube of the images' mean voxel volume if left out.
    seed : int
    job : Job, optional

    Raises
    ------
    InvalidInput
        As `register_linear`; or if the motion between the two has no half (a turn by 180 degrees).

    Notes
    -----
    The half is the square root of the transform (Reuter, Rosas, Fischl 2010, NeuroImage 53:1181), here of the mean of
    both directions.
    """
    there, backwards, resampling = (job or Job()).split(first_to_second=4, second_to_first=4, resampling=1)
    with there:
        forth = register_linear(second, [first], motion, seed=seed, job=there)
    with backwards:
        back = register_linear(first, [second], motion, seed=seed, job=backwards)
    half = halved(forth.transform, back.transform)
    moves = half, half.inverse()
    with resampling:
        grid = common_grid(first.grid, second.grid, moves, spacing_mm)
        images = [onto_grid(image, grid, move) for image, move in zip((first, second), moves)]
    corners = first.grid.corners()
    gap = np.linalg.norm(back.transform.push(forth.transform.push(corners)) - corners, axis=1).max()
    return Midway(images[0], images[1], moves, forth, back, float(gap))


def halved(forth: LinearTransform, back: LinearTransform) -> LinearTransform:
    """Half of the mean of a move and of the inverse of the move that leads back.

    Raises
    ------
    InvalidInput
        If there is no real half.
    """
    gap = logm(back.matrix @ forth.matrix)  # near nothing, unless the two registrations disagree
    whole = logm(forth.matrix @ expm(-gap / 2))
    if np.iscomplexobj(whole) and np.abs(whole.imag).max() > 1e-6:
        raise InvalidInput("The two images are turned against each other by 180 degrees: there is no pose half-way.")
    return LinearTransform(expm(np.real(whole) / 2))


def common_grid(
    first: Grid, second: Grid, moves: tuple[LinearTransform, LinearTransform], spacing_mm: float | None = None
) -> Grid:
    """The grid along the RAS axes that holds both images where they meet."""
    edge = spacing_mm or float(np.cbrt(500 * (first.voxel_volume_ml + second.voxel_volume_ml)))
    corners = np.concatenate([move.push(grid.corners()) for grid, move in zip((first, second), moves)])
    low, high = corners.min(0), corners.max(0)
    size = np.maximum(np.ceil((high - low) / edge - 1e-6), 1).astype(int) + 1
    return Grid.isotropic(tuple(size[::-1]), edge, (low + high - (size - 1) * edge) / 2)
