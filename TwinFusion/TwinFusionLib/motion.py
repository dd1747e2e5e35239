"""Rigid and affine motions as a few numbers in mm, with the derivative of the matrix by each of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

LEVER_MM = 100.0
"""Turns and stretches are counted in mm at this distance from the centre, so that all numbers are of one size."""

FREEDOMS = {"rigid": 6, "affine": 12}
_STRETCHES = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]


@dataclass(frozen=True, eq=False)
class Motion:
    """Motions near a base: x -> R (I + S) B (x - centre) + goal + t.

    The numbers of a motion are t (3), the rotation vector of R times the lever (3) and, where it is affine, the six
    entries xx yy zz xy xz yz of the symmetric S times the lever.

    Parameters
    ----------
    centre : array, shape (3,)
        Point of the moving image, RAS mm, that turns and stretches leave where it is.
    goal : array, shape (3,)
        Where the base takes it.
    base : array, shape (3, 3)
        B.
    """

    centre: np.ndarray
    goal: np.ndarray
    base: np.ndarray

    @classmethod
    def near(cls, matrix: np.ndarray, centre: np.ndarray) -> Motion:
        """Motions near a given one (4, 4), about a centre."""
        return cls(centre, matrix[:3, :3] @ centre + matrix[:3, 3], matrix[:3, :3])

    def matrices(self, numbers: np.ndarray) -> np.ndarray:
        """Matrices (n, 4, 4) of motions given by their numbers (n, 6) or (n, 12)."""
        numbers = np.atleast_2d(numbers)
        linear = Rotation.from_rotvec(numbers[:, 3:6] / LEVER_MM).as_matrix() @ _stretch(numbers) @ self.base
        matrices = np.tile(np.eye(4), (len(numbers), 1, 1))
        matrices[:, :3, :3] = linear
        matrices[:, :3, 3] = self.goal + numbers[:, :3] - linear @ self.centre
        return matrices

    def slope(self, numbers: np.ndarray, by_matrix: np.ndarray) -> np.ndarray:
        """Derivative by the numbers of one motion, from that by the upper three rows of its matrix (3, 4)."""
        by_shift = by_matrix[:, 3]
        by_linear = by_matrix[:, :3] - np.outer(by_shift, self.centre)
        rotation = Rotation.from_rotvec(numbers[3:6] / LEVER_MM).as_matrix()
        stretched = _stretch(numbers[None])[0] @ self.base
        turns = [np.sum(by_linear * (d @ stretched)) / LEVER_MM for d in _turn_slopes(numbers[3:6] / LEVER_MM)]
        stretches = []
        if len(numbers) == FREEDOMS["affine"]:
            by_stretch = rotation.T @ by_linear @ self.base.T
            by_stretch = by_stretch + by_stretch.T - np.diag(np.diag(by_stretch))
            stretches = [by_stretch[entry] / LEVER_MM for entry in _STRETCHES]
        return np.concatenate([by_shift, turns, stretches])


def _stretch(numbers: np.ndarray) -> np.ndarray:
    stretch = np.tile(np.eye(3), (len(numbers), 1, 1))
    if numbers.shape[1] == FREEDOMS["affine"]:
        for column, (row, other) in enumerate(_STRETCHES, 6):
            stretch[:, row, other] += numbers[:, column] / LEVER_MM
            if row != other:
                stretch[:, other, row] += numbers[:, column] / LEVER_MM
    return stretch


def _cross(v: np.ndarray) -> np.ndarray:
    return np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])


def _turn_slopes(vector: np.ndarray) -> list[np.ndarray]:
    """Derivatives of a rotation matrix by its rotation vector (Gallego, Yezzi 2015, J Math Imaging Vis 51:378)."""
    square = vector @ vector
    if square < 1e-16:
        return [_cross(axis) for axis in np.eye(3)]
    rotation = Rotation.from_rotvec(vector).as_matrix()
    return [
        (vector[n] * _cross(vector) + _cross(np.cross(vector, (np.eye(3) - rotation)[:, n]))) @ rotation / square
        for n in range(3)
    ]


def spread_rotations(count: int) -> np.ndarray:
    """Rotation matrices (count, 3, 3), the first the identity, spread evenly over all there are.

    Super-Fibonacci spirals on the unit quaternions (Alexa 2022, CVPR, p. 8291).
    """
    phi, psi = np.sqrt(2.0), 1.533751168755204288118041413
    s = np.arange(count) + 0.5
    t = s / count
    alpha, beta = 2 * np.pi * s / phi, 2 * np.pi * s / psi
    r, big = np.sqrt(t), np.sqrt(1 - t)
    quaternions = np.stack([r * np.sin(alpha), r * np.cos(alpha), big * np.sin(beta), big * np.cos(beta)], -1)
    rotations = Rotation.from_quat(quaternions)
    nearest = rotations.magnitude().argmin()
    return (rotations * rotations[nearest].inv()).as_matrix()[np.argsort(np.arange(count) != nearest, kind="stable")]
