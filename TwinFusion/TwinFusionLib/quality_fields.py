"""What can be told from transforms alone: folding, and a map of how unsure they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from TwinCore import Grid, Image, InvalidInput
from TwinCore.transform import GridTransform, Transform, parts

from .deformable_jacobian import jacobian_determinant


def folding(transform: Transform) -> tuple[float, float]:
    """Least local change of volume over a transform's deformations, and the largest share of voxels that fold.

    (nan, nan) for a linear transform.
    """
    bends = [part for part in parts(transform) if isinstance(part, GridTransform)]
    volumes = [jacobian_determinant(bend).array for bend in bends]
    if not volumes:
        return float("nan"), float("nan")
    return min(float(v.min()) for v in volumes), max(float((v <= 0).mean()) for v in volumes)


def largest_disagreement(transforms: Sequence[Transform], points: np.ndarray) -> float:
    """Largest distance in mm, over points (n, 3) of the fixed frame, between what two of the transforms show there."""
    seen = np.stack([transform.pull(points) for transform in transforms])
    return float(np.linalg.norm(seen[:, None] - seen[None], axis=-1).max())


def uncertainty_map(transforms: Sequence[Transform], grid: Grid) -> Image:
    """Where repeated answers disagree: the root of the summed variances of the three coordinates, in mm.

    Parameters
    ----------
    transforms : sequence of Transform
        Two or more answers to the same question, all into one frame.
    grid : Grid
        In that frame.

    Returns
    -------
    Image
        float32, in mm.

    Raises
    ------
    InvalidInput
        If there are fewer than two transforms.
    """
    if len(transforms) < 2:
        raise InvalidInput("A map of uncertainty needs two or more repeated registrations.")
    points = grid.to_ras(np.moveaxis(np.indices(grid.shape)[::-1], 0, -1))
    seen = np.stack([transform.pull(points) for transform in transforms])
    spread = np.sqrt(((seen - seen.mean(0)) ** 2).sum(-1).sum(0) / (len(seen) - 1))
    return Image(spread.astype(np.float32), grid, unit="mm", name="uncertainty")
