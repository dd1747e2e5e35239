"""Mass effect: how a tumour that grows pushes the tissue round it aside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_closing, binary_fill_holes

from TwinCore import Grid, Image, InvalidInput, Job, bounding_box, resample
from TwinCore.transform import GridTransform
from TwinCore.units import MILLIMETRE

from .numerics.elasticity import Elasticity
from .numerics.hat_weights import HatWeights

SPACING_MM = 3.0
"""Of the grid on which the displacement is found: it is smooth, and its effort falls with the cube of the spacing."""

FILLED = 0.5
"""Share of a coarse voxel that must lie in the domain."""

POISSON_RATIO = 0.45
FLUID_SHARE = 0.1
"""Stiffness of fluid beside that of the softest tissue: it gives way, as ventricles do, and carries the push across."""

GAP_MM = 9.0
"""Half the width of the gaps between tissues, such as sulci, that are taken for fluid; what tissue encloses is too."""

TOLERANCE = 1e-4
LEAST_VOLUME = 0.1
"""Of a voxel, relative to that at first: beyond it small strains are out of the question."""


@dataclass(frozen=True, eq=False)
class Deformation:
    """How the tissue has been moved, at each coarse voxel where it lay at first.

    Parameters
    ----------
    displacement_mm : array, shape (k, j, i, 3)
        Along i, j, k.
    volume : array, shape (k, j, i)
        Relative to that at first.
    inverse_stretch : array, shape (k, j, i, 3, 3)
        Along k, j, i: what turns lengths now into lengths at first, but for a rotation.
    stress_kpa : array, shape (k, j, i)
        Von Mises stress.
    """

    displacement_mm: np.ndarray
    volume: np.ndarray
    inverse_stretch: np.ndarray
    stress_kpa: np.ndarray


class TissueMechanics:
    """What surrounds a tumour, and how it gives way: all that lies within the held edge of the tissue, fluid too.

    Parameters
    ----------
    grid : Grid
    tissues : mapping of str to array, shape (k, j, i)
        Fractions (0 to 1) of each voxel; where they leave gaps or holes there is fluid.
    stiffness_kpa : mapping of str to float
        Young's modulus of each tissue.

    Attributes
    ----------
    grid : Grid
        Of 3 mm, or the anatomy's own spacing where that is wider.
    """

    def __init__(self, grid: Grid, tissues: Mapping[str, np.ndarray], stiffness_kpa: Mapping[str, float]):
        coarse = grid.with_spacing(np.maximum(grid.spacing, SPACING_MM))
        averaged = HatWeights(grid, coarse)
        cover, weighted = np.zeros(coarse.shape), np.zeros(coarse.shape)
        for name, fraction in tissues.items():
            part = averaged.to_coarse(np.asarray(fraction, np.float32))
            cover += part
            weighted += stiffness_kpa[name] * part
        inside = _enclosed(cover >= FILLED, coarse.spacing)
        low, high = bounding_box(inside, margin=1)
        box = tuple(slice(a, b) for a, b in zip(low, high))
        self.grid = coarse.crop(low, high)
        soft = FLUID_SHARE * min(stiffness_kpa.values())
        cover, weighted = np.clip(cover[box], 0, 1), weighted[box]
        self._stiffness_kpa = np.maximum(weighted + soft * (1 - cover), soft)
        self._inside = inside[box]
        self._elasticity = Elasticity(self._inside, self.grid.spacing, self._stiffness_kpa, POISSON_RATIO)

    @property
    def at_rest(self) -> np.ndarray:
        """Displacement of the corners of the coarse voxels, as `push` gives it, if nothing grows."""
        return np.zeros_like(self._elasticity.corner_positions())

    def push(self, growth: np.ndarray, job: Job, start: np.ndarray | None = None) -> np.ndarray:
        """Where a growth moves the corners of the coarse voxels, for `deformation`; nearly there from a `start`.

        Parameters
        ----------
        growth : array, shape (k, j, i)
            Strain by which each coarse voxel would grow in every direction if nothing held it.
        """
        return self._elasticity.solve(self._elasticity.forces_of(growth), job, start, TOLERANCE)

    def volume(self, corners: np.ndarray) -> np.ndarray:
        """Volume (k, j, i) of the coarse voxels after a push, relative to that before."""
        return np.linalg.det(self._elasticity.gradient(corners) + np.eye(3))

    def deformation(self, corners: np.ndarray) -> Deformation:
        """What a push has done; `InvalidInput` if the tissue would fold."""
        gradient = self._elasticity.gradient(corners)[self._inside]
        placed = gradient + np.eye(3)
        volume = np.linalg.det(placed)
        if volume.min() < LEAST_VOLUME:
            raise InvalidInput(
                f"The tumour presses tissue to {100 * max(volume.min(), 0):.0f} % of its volume, which small strains "
                f"cannot tell: a smaller 'mass_effect_strain' is needed."
            )
        squares, axes = np.linalg.eigh(np.swapaxes(placed, -1, -2) @ placed)
        inverse_stretch = (axes / np.sqrt(squares)[..., None, :]) @ np.swapaxes(axes, -1, -2)
        strain = 0.5 * (gradient + np.swapaxes(gradient, -1, -2))
        strain -= np.trace(strain, axis1=-2, axis2=-1)[..., None, None] / 3.0 * np.eye(3)
        shear_kpa = self._stiffness_kpa[self._inside] / (2 * (1 + POISSON_RATIO))
        stress_kpa = shear_kpa * np.sqrt(6.0 * (strain**2).sum((-2, -1)))

        def everywhere(values: np.ndarray, outside: np.ndarray | float) -> np.ndarray:
            whole = np.empty((*self.grid.shape, *values.shape[1:]))
            whole[...] = outside
            whole[self._inside] = values
            return whole

        return Deformation(
            self._elasticity.at_centres(corners),
            everywhere(volume, 1.0),
            everywhere(inverse_stretch, np.eye(3)),
            everywhere(stress_kpa, 0.0),
        )

    def transform(self, deformation: Deformation) -> GridTransform:
        """The move of the tissue from where it lay at first: `resample` with it shows an image as it is deformed."""
        return _move(deformation.displacement_mm, self.grid)


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
    return _move(equation.displacement(strain * averaged(density), job), coarse)


def displacement(move: GridTransform, grid: Grid, time_days: float) -> Image:
    """How far the tissue at each voxel has come, in mm."""
    length = np.linalg.norm(move.displacement_mm, axis=-1).astype(np.float32)
    shift = resample(Image(length, move.grid), grid)
    return Image(shift.array, grid, unit=MILLIMETRE, time=time_days, name="displacement")


def _move(along_axes: np.ndarray, grid: Grid) -> GridTransform:
    """The transform that pulls back what a displacement (k, j, i, 3), along i, j, k, pushes; refused where it folds."""
    there = GridTransform((along_axes @ grid.direction.T).astype(np.float32), grid)
    points = grid.to_ras(np.moveaxis(np.indices(grid.shape), 0, -1)[..., ::-1])
    return GridTransform((there.push(points) - points).astype(np.float32), grid)


def _enclosed(tissue: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Tissue with the fluid in its gaps and holes."""
    steps = max(1, int(round(GAP_MM / float(spacing.min()))))
    room = np.pad(tissue, steps + 1)
    closed = binary_fill_holes(binary_closing(room, iterations=steps))
    return closed[(slice(steps + 1, -steps - 1),) * 3]
