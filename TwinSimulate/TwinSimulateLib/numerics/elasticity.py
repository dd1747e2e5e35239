"""Small-strain linear elasticity on voxels: how tissue gives way to what grows in it.

Each voxel is a trilinear hexahedral finite element (Hughes 2000, The Finite Element Method, chapter 3), so that the
displacement lives on the voxels' corners and no mesh is made. Growth is an eigenstrain: a part that would, alone, grow
by a strain in all directions, pushes on what surrounds it. The equations are solved by conjugate gradients,
preconditioned with one V-cycle of geometric multigrid, whose smoother is a Chebyshev polynomial (Adams and others 2003,
Journal of Computational Physics 188:593).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from TwinCore import InvalidInput, Job

from .brick_kernels import CORNERS, apply, correct, gather_growth, invert_diagonal, modes, prolong, restrict

TOLERANCE = 1e-5
"""Of the forces that are left over, relative to those applied."""
MOST_ITERATIONS = 200
SMOOTHINGS = 3
COARSEST_SMOOTHINGS = 24
SMOOTHED_BAND = 8.0
"""The smoother acts on the upper part of the spectrum, from an eighth of the largest eigenvalue on."""
FEWEST_ELEMENTS = 4
"""Along an axis, on the coarsest level."""


class Elasticity:
    """The operator on one domain, whose edge is held: the skull round the brain.

    >>> domain = np.zeros((16, 16, 16), bool); domain[1:-1, 1:-1, 1:-1] = True
    >>> growth = np.zeros(domain.shape); growth[6:10, 6:10, 6:10] = 0.1
    >>> moved = Elasticity(domain, (1.0, 1.0, 1.0)).displacement(growth)
    >>> bool(moved[8, 8, 11, 0] > 0 > moved[8, 8, 4, 0])
    True

    Parameters
    ----------
    domain : bool array, shape (k, j, i)
        Voxels that tissue fills. Corners that touch another voxel, or the edge of the box, do not move.
    spacing_mm : three floats
        Voxel spacing along i, j, k, as `Grid.spacing` has it.
    relative_stiffness : array, shape (k, j, i), optional
        Young's modulus of each voxel relative to the others'; 1 everywhere if left out.
    poisson_ratio : float
        Of all tissue, from 0 to below 0.5.

    Raises
    ------
    InvalidInput
        If the domain has no corner that is free to move, a stiffness in it is not a positive, finite number, or
        Poisson's ratio is out of range: trilinear elements lock as it approaches 0.5.
    """

    def __init__(
        self,
        domain: np.ndarray,
        spacing_mm,
        relative_stiffness: np.ndarray | None = None,
        poisson_ratio: float = 0.45,
    ):
        domain = np.asarray(domain, bool)
        if not 0 <= poisson_ratio <= 0.49:
            raise InvalidInput(f"Poisson's ratio must be from 0 to 0.49, not {poisson_ratio}.")
        stiffness = np.ones(domain.shape) if relative_stiffness is None else np.asarray(relative_stiffness, float)
        inside = stiffness[domain]
        if not (np.isfinite(inside).all() and (inside > 0).all()):
            raise InvalidInput("The relative stiffness must be positive and finite in every voxel of the domain.")
        self._spacing = np.asarray(spacing_mm, float)[::-1]
        levels = _count_levels(domain.shape)
        padded = _padded(np.where(domain, stiffness, 0.0), 2**levels)
        self._shape = domain.shape
        self._levels = _levels(padded, self._spacing, poisson_ratio, levels)
        if not self._levels[0].free.any():
            raise InvalidInput("Nothing in the domain can move: it is nowhere more than one voxel thick.")
        self._by_growth = _forces_of_growth(self._spacing, poisson_ratio)

    def displacement(self, growth: np.ndarray, job: Job | None = None) -> np.ndarray:
        """How far each voxel's centre moves.

        Parameters
        ----------
        growth : array, shape (k, j, i)
            Strain by which each voxel would grow in every direction if nothing held it; what lies outside the domain
            does not count.
        job : Job, optional

        Returns
        -------
        array, shape (k, j, i, 3)
            In mm, along i, j, k.

        Raises
        ------
        InvalidInput
            If the iteration does not converge: the stiffness jumps too much from voxel to voxel.
        """
        return self.at_centres(self.solve(self.forces_of(growth), job))

    def forces_of(self, growth: np.ndarray) -> np.ndarray:
        """The forces with which a growth, as `displacement` takes it, pushes on the corners of the padded box."""
        finest = self._levels[0]
        padded = _padded(np.asarray(growth, float), 1, finest.stiffness.shape)
        forces = np.zeros((*finest.free.shape, 3))
        gather_growth(finest.stiffness * padded, self._by_growth, finest.free, forces)
        return forces

    def solve(
        self,
        forces: np.ndarray,
        job: Job | None = None,
        start: np.ndarray | None = None,
        tolerance: float = TOLERANCE,
    ) -> np.ndarray:
        """Displacement (k, j, i, 3) of the corners of the padded box from the forces there, along k, j, i.

        Forces are per unit of stiffness, in mm2, a force of 1 being that which holds a unit stress on 1 mm2. A
        displacement that is nearly right may be given as the `start`: fewer iterations are then needed.
        """
        job, finest = job or Job(), self._levels[0]
        residual = forces * finest.free[..., None]
        first = float(np.vdot(residual, residual)) ** 0.5
        moved = np.zeros_like(residual)
        if first == 0:
            return moved
        if start is not None:
            moved += start
            residual -= finest.apply(moved)
        direction, before = np.zeros_like(residual), 1.0
        for _ in range(MOST_ITERATIONS):
            if float(np.vdot(residual, residual)) ** 0.5 <= tolerance * first:
                return moved
            job.checkpoint()
            smooth = self._cycle(0, residual)
            now = float(np.vdot(residual, smooth))
            direction *= now / before
            direction += smooth
            pulled = finest.apply(direction)
            length = now / float(np.vdot(direction, pulled))
            moved += length * direction
            residual -= length * pulled
            before = now
        raise InvalidInput("The displacement of the tissue did not converge: its stiffness jumps too much.")

    def corner_positions(self) -> np.ndarray:
        """Places (k, j, i, 3) of the corners of the padded box, in mm along k, j, i from the first voxel's corner."""
        return (np.moveaxis(np.indices(self._levels[0].free.shape), 0, -1) - 1) * self._spacing

    def _cycle(self, number: int, residual: np.ndarray) -> np.ndarray:
        """One V-cycle from a displacement of zero: symmetric, so that it may precondition conjugate gradients."""
        level = self._levels[number]
        if number == len(self._levels) - 1:
            return level.smoothed(None, residual, COARSEST_SMOOTHINGS, 200.0)
        moved = level.smoothed(None, residual, SMOOTHINGS, SMOOTHED_BAND)
        coarser = self._levels[number + 1]
        below = np.zeros((*coarser.free.shape, 3))
        restrict(residual - level.apply(moved), coarser.free, below)
        prolong(self._cycle(number + 1, below), level.free, moved)
        return level.smoothed(moved, residual, SMOOTHINGS, SMOOTHED_BAND)

    def at_centres(self, corners: np.ndarray) -> np.ndarray:
        """Displacement (k, j, i, 3) of the voxels' centres from that of the corners, components turned to i, j, k."""
        return np.mean(self._around(corners), axis=0)[..., ::-1]

    def gradient(self, corners: np.ndarray) -> np.ndarray:
        """Derivatives (k, j, i, 3, 3) of the displacement at the voxels' centres: of component a along axis b, both of
        k, j, i, from the displacement of the corners."""
        slopes = _gradients(self._spacing, np.full(3, 0.5))
        return np.tensordot(np.array(self._around(corners)), slopes, (0, 0))

    def _around(self, corners: np.ndarray) -> list[np.ndarray]:
        """Values at the eight corners of each voxel."""
        k, j, i = self._shape
        return [corners[1 + a : 1 + a + k, 1 + b : 1 + b + j, 1 + c : 1 + c + i] for a, b, c in CORNERS]


@dataclass(eq=False)
class _Level:
    """One grid: stiffness of its elements (k, j, i), the element's matrix, and which corners are free to move."""

    stiffness: np.ndarray
    element: np.ndarray
    free: np.ndarray

    def __post_init__(self):
        self.inverse_diagonal = np.zeros((*self.free.shape, 3))
        invert_diagonal(self.stiffness, self.element, self.free, self.inverse_diagonal)
        self._modes = modes(self.element)
        self.largest = self._largest_eigenvalue()

    def apply(self, moved: np.ndarray) -> np.ndarray:
        """Forces that hold a displacement, where corners are free."""
        forces = np.zeros_like(moved)
        apply(self.stiffness, *self._modes, self.free, moved, forces)
        return forces

    def smoothed(self, moved: np.ndarray | None, forces: np.ndarray, times: int, band: float) -> np.ndarray:
        """Chebyshev iterations on the eigenvalues from `largest / band` to `largest` of the scaled operator; none of a
        displacement is one of zero."""
        high = self.largest
        low = high / band
        middle, reach = 0.5 * (high + low), 0.5 * (high - low)
        share, change = 1.0 / (2.0 * middle / reach), np.zeros_like(forces)
        if moved is None:
            moved, held = np.zeros_like(forces), change
        else:
            held = self.apply(moved)
        correct(moved, change, forces, held, self.inverse_diagonal, 0.0, 1.0 / middle)
        for _ in range(times - 1):
            following = 1.0 / (2.0 * middle / reach - share)
            held = self.apply(moved)
            correct(moved, change, forces, held, self.inverse_diagonal, following * share, 2.0 * following / reach)
            share = following
        return moved

    def _largest_eigenvalue(self) -> float:
        """Of the operator scaled by its diagonal, from above: a few power iterations and a tenth on top."""
        vector = np.random.default_rng(0).standard_normal((*self.free.shape, 3)) * self.free[..., None]
        value = 1.0
        for _ in range(12):
            vector = self.inverse_diagonal * self.apply(vector)
            value = float(np.linalg.norm(vector))
            if value == 0:
                return 1.0
            vector /= value
        return 1.1 * value


def _levels(stiffness: np.ndarray, spacing: np.ndarray, poisson_ratio: float, coarser: int) -> list[_Level]:
    """The grid and those of twice the spacing, four times and so on; a coarse element has its parts' mean stiffness."""
    free = _free_corners(stiffness)
    levels = []
    for number in range(coarser + 1):
        levels.append(_Level(stiffness, _element_matrix(spacing * 2**number, poisson_ratio), free))
        k, j, i = (n // 2 for n in stiffness.shape)
        if number < coarser:
            stiffness = stiffness.reshape(k, 2, j, 2, i, 2).mean(axis=(1, 3, 5))
            free = np.ascontiguousarray(free[::2, ::2, ::2])
    return levels


def _count_levels(shape) -> int:
    """How often the box may be halved."""
    return max(int(np.log2(max(min(shape) + 2, FEWEST_ELEMENTS) / FEWEST_ELEMENTS)), 0)


def _padded(values: np.ndarray, multiple: int, shape=None) -> np.ndarray:
    """A box with one voxel of nothing before it and at least one after it, its sides multiples of a number."""
    sides = shape or [-(-(n + 2) // multiple) * multiple for n in values.shape]
    return np.pad(values, [(1, side - n - 1) for n, side in zip(values.shape, sides)])


def _free_corners(stiffness: np.ndarray) -> np.ndarray:
    """Whether all eight elements round a corner are tissue; none at the box's own edge is free."""
    filled = stiffness > 0
    free = np.zeros(np.array(filled.shape) + 1, bool)
    free[1:-1, 1:-1, 1:-1] = True
    for a, b, c in CORNERS:
        free[1:-1, 1:-1, 1:-1] &= filled[a : a - 1 or None, b : b - 1 or None, c : c - 1 or None]
    return free


def _gradients(spacing: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Gradients (8, 3) along k, j, i, per mm, of the corners' trilinear functions at a place (0 to 1) in an element."""
    near = np.where(CORNERS == 1, at, 1 - at)
    slope = np.where(CORNERS == 1, 1.0, -1.0) / spacing
    return np.stack([slope[:, d] * np.delete(near, d, axis=1).prod(1) for d in range(3)], axis=1)


def _quadrature() -> np.ndarray:
    """Two Gauss points along each axis: exact for a trilinear element's stiffness."""
    return 0.5 + (CORNERS - 0.5) / np.sqrt(3.0)


def _element_matrix(spacing: np.ndarray, poisson_ratio: float) -> np.ndarray:
    """Stiffness (8, 3, 8, 3) of an element of unit Young's modulus, in mm."""
    first = poisson_ratio / ((1 + poisson_ratio) * (1 - 2 * poisson_ratio))
    shear = 1 / (2 * (1 + poisson_ratio))
    matrix = np.zeros((8, 3, 8, 3))
    for place in _quadrature():
        slope = _gradients(spacing, place)
        matrix += first * np.einsum("ap,bq->apbq", slope, slope)
        matrix += shear * np.einsum("aq,bp->apbq", slope, slope)
        matrix += shear * np.einsum("ar,br,pq->apbq", slope, slope, np.eye(3))
    return matrix * spacing.prod() / 8


def _forces_of_growth(spacing: np.ndarray, poisson_ratio: float) -> np.ndarray:
    """Forces (8, 3) on the corners of an element of unit Young's modulus that grows by a unit strain."""
    bulk = 1 / (1 - 2 * poisson_ratio)
    return bulk * sum(_gradients(spacing, place) for place in _quadrature()) * spacing.prod() / 8
