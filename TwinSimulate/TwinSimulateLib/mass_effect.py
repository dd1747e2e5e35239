"""Mass effect: how a tumour that grows pushes the tissue round it aside."""

from __future__ import annotations

import numpy as np

from TwinCore import Grid, Image, Job, resample
from TwinCore.transform import GridTransform

from .numerics.elasticity import Elasticity

SPACING_MM = 3.0
"""Of the grid on which the displacement is found: it is smooth, and its effort falls with the cube of the spacing."""

FILLED = 0.5
"""Share of a coarse voxel that must lie in the domain."""


def mass_effect(
    density: np.ndarray,
    domain: np.ndarray,
    grid: Grid,
    strain: float,
    relative_stiffness: np.ndarray | None = None,
    job: Job | None = None,
) -> GridTransform:
    """The move of the tissue from where it lies without the tumour to where the tumour has pushed it.

    Each voxel would, alone, grow by `strain` times its density of tumour cells in every direction; what surrounds it
    holds it back, and the edge of the domain does not move (Hogea and others 2008, Journal of Mathematical Biology
    56:793, couple growth and displacement by the gradient of the density, of which this is the divergence form).

    Parameters
    ----------
    density : array, shape (k, j, i)
        Of tumour cells, 0 to 1.
    domain : bool array, shape (k, j, i)
        What may move: all that lies within the skull, fluid too.
    grid : Grid
    strain : float
        At full density; 0.1 makes a free tumour a third larger.
    relative_stiffness : array, shape (k, j, i), optional
        Young's modulus of each voxel relative to the others': fluid, which drains away, is soft.
    job : Job, optional

    Returns
    -------
    GridTransform
        `resample` with it shows an image of the undisturbed tissue as the tumour deforms it.

    Raises
    ------
    InvalidInput
        As `Elasticity` does, and if the tissue would fold, which a smaller strain avoids.
    """
    coarse = grid.with_spacing(np.maximum(grid.spacing, SPACING_MM))

    def averaged(values: np.ndarray) -> np.ndarray:
        blurred = Image(values.astype(np.float32), grid)
        return resample(blurred, coarse).array.astype(float)

    inside = averaged(domain) >= FILLED
    stiffness = None
    if relative_stiffness is not None:
        stiffness = np.where(inside, np.maximum(averaged(relative_stiffness), relative_stiffness[domain].min()), 1.0)
    equation = Elasticity(inside, coarse.spacing, stiffness)
    along_axes = equation.displacement(strain * averaged(density), job)
    there = GridTransform((along_axes @ coarse.direction.T).astype(np.float32), coarse)
    points = coarse.to_ras(np.moveaxis(np.indices(coarse.shape), 0, -1)[..., ::-1])
    return GridTransform((there.push(points) - points).astype(np.float32), coarse)
