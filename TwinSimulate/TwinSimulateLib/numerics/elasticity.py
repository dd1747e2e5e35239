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
from numba import njit, prange

from TwinCore import InvalidInput, Job

TOLERANCE = 1e-5
"""Of the forces that are left over, relative to those applied."""
MOST_ITERATIONS = 200
SMOOTHINGS = 3
COARSEST_SMOOTHINGS = 24
SMOOTHED_BAND = 8.0
"""The smoother acts on the upper part of the spectrum, from an eighth of the largest eigenvalue on."""
FEWEST_ELEMENTS = 4
"""Along an axis, on the coarsest level."""

_CORNERS = np.array([(k, j, i) for k in (0, 1) for j in (0, 1) for i in (0, 1)])


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
        _gather_growth(finest.stiffness * padded, self._by_growth, finest.free, forces)
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
        _restrict(residual - level.apply(moved), coarser.free, below)
        _prolong(self._cycle(number + 1, below), level.free, moved)
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
        return [corners[1 + a : 1 + a + k, 1 + b : 1 + b + j, 1 + c : 1 + c + i] for a, b, c in _CORNERS]


@dataclass(eq=False)
class _Level:
    """One grid: stiffness of its elements (k, j, i), the element's matrix, and which corners are free to move."""

    stiffness: np.ndarray
    element: np.ndarray
    free: np.ndarray

    def __post_init__(self):
        self.inverse_diagonal = np.zeros((*self.free.shape, 3))
        _invert_diagonal(self.stiffness, self.element, self.free, self.inverse_diagonal)
        self._modes = _modes(self.element)
        self.largest = self._largest_eigenvalue()

    def apply(self, moved: np.ndarray) -> np.ndarray:
        """Forces that hold a displacement, where corners are free."""
        forces = np.zeros_like(moved)
        _apply(self.stiffness, *self._modes, self.free, moved, forces)
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
        _correct(moved, change, forces, held, self.inverse_diagonal, 0.0, 1.0 / middle)
        for _ in range(times - 1):
            following = 1.0 / (2.0 * middle / reach - share)
            held = self.apply(moved)
            _correct(moved, change, forces, held, self.inverse_diagonal, following * share, 2.0 * following / reach)
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
    for a, b, c in _CORNERS:
        free[1:-1, 1:-1, 1:-1] &= filled[a : a - 1 or None, b : b - 1 or None, c : c - 1 or None]
    return free


def _gradients(spacing: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Gradients (8, 3) along k, j, i, per mm, of the corners' trilinear functions at a place (0 to 1) in an element."""
    near = np.where(_CORNERS == 1, at, 1 - at)
    slope = np.where(_CORNERS == 1, 1.0, -1.0) / spacing
    return np.stack([slope[:, d] * np.delete(near, d, axis=1).prod(1) for d in range(3)], axis=1)


def _quadrature() -> np.ndarray:
    """Two Gauss points along each axis: exact for a trilinear element's stiffness."""
    return 0.5 + (_CORNERS - 0.5) / np.sqrt(3.0)


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


def _modes(element: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The element's matrix between sums and differences of its corners' values: rows, columns and the 45 that matter.

    Mode m of a component is the sum over the corners with a minus sign for each axis in m along which a corner is the
    lower one; strains and their gradients are single modes, so that few of them act on one another.
    """
    signs = np.array([np.where(mode == 1, 2 * _CORNERS - 1, 1).prod(1) for mode in _CORNERS], float)
    matrix = np.einsum("ma,apbq,nb->mpnq", signs, element, signs).reshape(24, 24) / 64
    rows, columns = np.nonzero(np.abs(matrix) > 1e-12 * np.abs(matrix).max())
    return rows, columns, matrix[rows, columns]


@njit(parallel=True, nogil=True, cache=True)
def _apply(stiffness, rows, columns, values, free, moved, forces):
    """Forces on the free corners: every second slab of elements at a time, so that no two add to the same corners."""
    depth = stiffness.shape[0]
    for parity in range(2):
        for half in prange((depth - parity + 1) // 2):
            _add_slab(2 * half + parity, stiffness, rows, columns, values, moved, forces)
    for k in prange(free.shape[0]):
        for j in range(free.shape[1]):
            for i in range(free.shape[2]):
                if not free[k, j, i]:
                    for p in range(3):
                        forces[k, j, i, p] = 0.0


@njit(nogil=True, cache=True, fastmath=True)
def _add_slab(k, stiffness, rows, columns, values, moved, forces):
    """Forces of the elements (k, :, :), a row of them at a time."""
    width = stiffness.shape[2]
    modes, held = np.empty((24, width)), np.empty((24, width))
    for j in range(stiffness.shape[1]):
        begin, end = 0, width
        while begin < end and stiffness[k, j, begin] == 0:
            begin += 1
        while end > begin and stiffness[k, j, end - 1] == 0:
            end -= 1
        if begin == end:
            continue
        for p in range(3):
            for i in range(begin, end):
                _to_modes(moved, modes, k, j, i, p)
        held[:, begin:end] = 0.0
        for n in range(values.size):
            value, into, of = values[n], held[rows[n]], modes[columns[n]]
            for i in range(begin, end):
                into[i] += value * of[i]
        for p in range(3):
            for i in range(begin, end):
                _from_modes(forces, held, stiffness[k, j, i], k, j, i, p)


@njit(inline="always")
def _to_modes(moved, modes, k, j, i, p):
    """One component's sums and differences: along i, then j, then k."""
    s0, d0 = moved[k, j, i + 1, p] + moved[k, j, i, p], moved[k, j, i + 1, p] - moved[k, j, i, p]
    s1, d1 = moved[k, j + 1, i + 1, p] + moved[k, j + 1, i, p], moved[k, j + 1, i + 1, p] - moved[k, j + 1, i, p]
    ss, sd, ds, dd = s1 + s0, d1 + d0, s1 - s0, d1 - d0
    s0, d0 = moved[k + 1, j, i + 1, p] + moved[k + 1, j, i, p], moved[k + 1, j, i + 1, p] - moved[k + 1, j, i, p]
    s1 = moved[k + 1, j + 1, i + 1, p] + moved[k + 1, j + 1, i, p]
    d1 = moved[k + 1, j + 1, i + 1, p] - moved[k + 1, j + 1, i, p]
    modes[p, i], modes[3 + p, i] = s1 + s0 + ss, d1 + d0 + sd
    modes[6 + p, i], modes[9 + p, i] = s1 - s0 + ds, d1 - d0 + dd
    modes[12 + p, i], modes[15 + p, i] = s1 + s0 - ss, d1 + d0 - sd
    modes[18 + p, i], modes[21 + p, i] = s1 - s0 - ds, d1 - d0 - dd


@njit(inline="always")
def _from_modes(forces, held, stiff, k, j, i, p):
    """The transpose of `_to_modes`, added to the forces."""
    for a in range(2):
        up = 1.0 if a else -1.0
        ss, sd = held[p, i] + up * held[12 + p, i], held[3 + p, i] + up * held[15 + p, i]
        ds, dd = held[6 + p, i] + up * held[18 + p, i], held[9 + p, i] + up * held[21 + p, i]
        forces[k + a, j, i, p] += stiff * (ss - ds - sd + dd)
        forces[k + a, j, i + 1, p] += stiff * (ss - ds + sd - dd)
        forces[k + a, j + 1, i, p] += stiff * (ss + ds - sd - dd)
        forces[k + a, j + 1, i + 1, p] += stiff * (ss + ds + sd + dd)


@njit(parallel=True, nogil=True, cache=True)
def _correct(moved, change, forces, held, inverse_diagonal, kept, gain):
    """One Chebyshev iteration: change = kept change + gain (forces - held) / diagonal, and moved += change."""
    for k in prange(moved.shape[0]):
        for j in range(moved.shape[1]):
            for i in range(moved.shape[2]):
                for p in range(3):
                    left = forces[k, j, i, p] - held[k, j, i, p]
                    change[k, j, i, p] = kept * change[k, j, i, p] + gain * inverse_diagonal[k, j, i, p] * left
                    moved[k, j, i, p] += change[k, j, i, p]


@njit(parallel=True, nogil=True, cache=True)
def _invert_diagonal(stiffness, element, free, inverse):
    depth, height, width = free.shape
    for k in prange(1, depth - 1):
        for j in range(1, height - 1):
            for i in range(1, width - 1):
                if free[k, j, i]:
                    for p in range(3):
                        total = 0.0
                        for e in range(8):
                            stiff = stiffness[k - 1 + (e >> 2), j - 1 + ((e >> 1) & 1), i - 1 + (e & 1)]
                            total += stiff * element[7 - e, p, 7 - e, p]
                        inverse[k, j, i, p] = 1.0 / total


@njit(parallel=True, nogil=True, cache=True)
def _gather_growth(grown, by_growth, free, forces):
    depth, height, width = free.shape
    for k in prange(1, depth - 1):
        for j in range(1, height - 1):
            for i in range(1, width - 1):
                if free[k, j, i]:
                    for e in range(8):
                        part = grown[k - 1 + (e >> 2), j - 1 + ((e >> 1) & 1), i - 1 + (e & 1)]
                        for p in range(3):
                            forces[k, j, i, p] += part * by_growth[7 - e, p]


@njit(parallel=True, nogil=True, cache=True)
def _restrict(fine, free, coarse):
    """The transpose of `_prolong`: each coarse corner collects from the 27 fine ones round it."""
    depth, height, width = free.shape
    for k in prange(1, depth - 1):
        for j in range(1, height - 1):
            for i in range(1, width - 1):
                if free[k, j, i]:
                    for a in range(-1, 2):
                        for b in range(-1, 2):
                            for c in range(-1, 2):
                                weight = 0.5 ** (abs(a) + abs(b) + abs(c))
                                for p in range(3):
                                    coarse[k, j, i, p] += weight * fine[2 * k + a, 2 * j + b, 2 * i + c, p]


@njit(parallel=True, nogil=True, cache=True)
def _prolong(coarse, free, fine):
    """Add a coarse displacement to a fine one, linear between coarse corners."""
    depth, height, width = free.shape
    for k in prange(1, depth - 1):
        for j in range(1, height - 1):
            for i in range(1, width - 1):
                if free[k, j, i]:
                    for e in range(8):
                        a, b, c = (e >> 2) & (k & 1), ((e >> 1) & 1) & (j & 1), (e & 1) & (i & 1)
                        if a != e >> 2 or b != (e >> 1) & 1 or c != e & 1:
                            continue
                        weight = 0.5 ** ((k & 1) + (j & 1) + (i & 1))
                        for p in range(3):
                            fine[k, j, i, p] += weight * coarse[k // 2 + a, j // 2 + b, i // 2 + c, p]
