"""`Grid`: where the voxels of an array lie in the patient."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from .errors import InvalidInput

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Grid:
    """A regular, possibly oblique or flipped, lattice of voxels in RAS millimetres.

    >>> grid = Grid.isotropic((40, 50, 60), spacing_mm=2.0)
    >>> grid.to_ras([[0, 0, 0], [1, 0, 0]])
    array([[0., 0., 0.],
           [2., 0., 0.]])

    Parameters
    ----------
    shape : tuple of int
        Number of voxels along k, j, i: the shape of the arrays that live on this grid.
    ijk_to_ras : array, shape (4, 4)
        Maps the homogeneous voxel index (i, j, k, 1) of a voxel's centre to RAS, in mm.

    Raises
    ------
    InvalidInput
        If the shape is not three positive numbers, or the matrix is not finite, affine and invertible.
    """

    shape: tuple[int, int, int]
    ijk_to_ras: np.ndarray = field(repr=False)

    def __post_init__(self):
        shape = tuple(int(n) for n in self.shape)
        matrix = np.array(self.ijk_to_ras, dtype=np.float64)
        if len(shape) != 3 or min(shape) < 1:
            raise InvalidInput(f"A grid needs three positive dimensions (k, j, i), not {self.shape}.")
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or not np.array_equal(matrix[3], [0, 0, 0, 1]):
            raise InvalidInput("A grid's ijk_to_ras must be a finite 4x4 matrix whose last row is 0 0 0 1.")
        spacing = np.linalg.norm(matrix[:3, :3], axis=0)
        if spacing.min() == 0 or abs(np.linalg.det(matrix[:3, :3] / spacing)) < 1e-6:
            raise InvalidInput(
                "A grid's ijk_to_ras must be invertible: two of its axes are parallel, or one has no length."
            )
        matrix.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "ijk_to_ras", matrix)

    @classmethod
    def isotropic(cls, shape, spacing_mm: float = 1.0, origin_ras=(0.0, 0.0, 0.0)) -> Grid:
        """A grid along the RAS axes with equal spacing."""
        matrix = np.diag([spacing_mm] * 3 + [1.0])
        matrix[:3, 3] = origin_ras
        return cls(shape, matrix)

    @property
    def spacing(self) -> np.ndarray:
        """Voxel spacing along i, j, k, in mm."""
        return np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0)

    @property
    def direction(self) -> np.ndarray:
        """Unit vectors of the i, j, k axes in RAS, as columns."""
        return self.ijk_to_ras[:3, :3] / self.spacing

    @property
    def origin(self) -> np.ndarray:
        """RAS position of the centre of voxel (0, 0, 0), in mm."""
        return self.ijk_to_ras[:3, 3]

    @property
    def size(self) -> int:
        """Number of voxels."""
        return math.prod(self.shape)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel, in mL."""
        return float(abs(np.linalg.det(self.ijk_to_ras[:3, :3])) / 1000.0)

    @property
    def centre(self) -> np.ndarray:
        """RAS position of the middle of the grid, in mm."""
        return self.to_ras((np.array(self.shape[::-1]) - 1) / 2.0)

    @property
    def is_orthogonal(self) -> bool:
        """Whether the axes are at right angles, as every scanner's are."""
        return bool(np.allclose(self.direction.T @ self.direction, np.eye(3), atol=1e-4))

    def to_ras(self, ijk) -> np.ndarray:
        """RAS positions, in mm, of voxel indices (..., 3) in i, j, k order."""
        return np.asarray(ijk, float) @ self.ijk_to_ras[:3, :3].T + self.ijk_to_ras[:3, 3]

    def to_ijk(self, ras) -> np.ndarray:
        """Continuous voxel indices (..., 3) in i, j, k order of RAS positions in mm."""
        inverse = np.linalg.inv(self.ijk_to_ras)
        return np.asarray(ras, float) @ inverse[:3, :3].T + inverse[:3, 3]

    def corners(self) -> np.ndarray:
        """RAS positions of the centres of the eight corner voxels, shape (8, 3), in mm."""
        last = np.array(self.shape[::-1]) - 1
        return self.to_ras(np.array([[i, j, k] for k in (0, 1) for j in (0, 1) for i in (0, 1)]) * last)

    def same_as(self, other: Grid, tolerance_mm: float = 1e-3) -> bool:
        """Whether both grids have the same voxels at the same places, to a tolerance in mm."""
        return self.shape == other.shape and bool(np.allclose(self.corners(), other.corners(), atol=tolerance_mm))

    def crop(self, low, high) -> Grid:
        """The part of the grid from voxel index `low` up to, not including, `high`; both in k, j, i order."""
        low, high = np.asarray(low, int), np.asarray(high, int)
        if (low < 0).any() or (high > self.shape).any() or (high <= low).any():
            raise InvalidInput(f"Cannot crop a grid of shape {self.shape} to the voxels from {low} to {high}.")
        return Grid(tuple(high - low), self._moved(self.to_ras(low[::-1])))

    def with_spacing(self, spacing_mm) -> Grid:
        """The grid that covers the same box with another spacing (a number, or three along i, j, k), in mm."""
        spacing = np.broadcast_to(np.asarray(spacing_mm, float), 3)
        extent = np.array(self.shape[::-1]) * self.spacing
        size = np.maximum(np.round(extent / spacing), 1).astype(int)
        matrix = np.eye(4)
        matrix[:3, :3] = self.direction * spacing
        matrix[:3, 3] = self.centre - matrix[:3, :3] @ ((size - 1) / 2.0)
        return Grid(tuple(size[::-1]), matrix)

    def upright(self, spacing_mm, axes: str = "RAS") -> Grid:
        """The smallest grid along the patient's axes that covers all voxels' centres, from an outermost one on.

        Parameters
        ----------
        spacing_mm : float or three floats
            Along i, j and k.
        axes : str
            Where i, j and k point: one of R and L, one of A and P, and one of S and I, in any order.
        """
        directions = np.zeros((3, 3))
        for column, letter in enumerate(axes):
            row = next((n for n, pair in enumerate(("RL", "AP", "SI")) if letter in pair), None)
            if len(axes) != 3 or row is None or directions[row].any():
                raise InvalidInput(f"Axes are three letters such as RAS, not {axes!r}.")
            directions[row, column] = 1.0 if letter in "RAS" else -1.0
        along = self.corners() @ directions
        spacing = np.broadcast_to(np.asarray(spacing_mm, float), 3)
        size = np.ceil(np.ptp(along, axis=0) / spacing - 1e-4).astype(int) + 1
        matrix = np.eye(4)
        matrix[:3, :3] = directions * spacing
        matrix[:3, 3] = directions @ along.min(0)
        return Grid(tuple(size[::-1]), matrix)

    def _moved(self, origin) -> np.ndarray:
        matrix = self.ijk_to_ras.copy()
        matrix[:3, 3] = origin
        return matrix
