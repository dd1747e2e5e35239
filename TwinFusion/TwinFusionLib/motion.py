"""Rigid and affine motions: small steps from a pose as a few numbers in mm, and the measure's slope along them."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

LEVER_MM = 100.0
"""Turns and stretches are counted in mm at this distance from the centre, so that all numbers are of one size."""

FREEDOMS = {"rigid": 6, "affine": 12}
_STRETCHES = np.array([(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)])


def moved(poses: np.ndarray, steps: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Poses after a step each: x -> R (I + S) L (x - centre) + g + t, where the pose was L (x - centre) + g.

    Parameters
    ----------
    poses : array, shape (n, 4, 4)
    steps : array, shape (n, 6) or (n, 12)
        t (3), the rotation vector of R times the lever (3) and, where it is affine, the entries xx yy zz xy xz yz of
        the symmetric S times the lever; mm.
    centre : array, shape (3,)
        Point of the moving image, RAS mm, that turns and stretches leave where the pose takes it.

    Returns
    -------
    array, shape (n, 4, 4)
    """
    linear = poses[:, :3, :3]
    goal = linear @ centre + poses[:, :3, 3]
    if steps.shape[1] == FREEDOMS["affine"]:
        stretch = np.tile(np.eye(3), (len(steps), 1, 1))
        row, column = _STRETCHES.T
        stretch[:, row, column] += steps[:, 6:] / LEVER_MM
        stretch[:, column[3:], row[3:]] += steps[:, 9:] / LEVER_MM
        linear = stretch @ linear
    answer = poses.copy()
    answer[:, :3, :3] = Rotation.from_rotvec(steps[:, 3:6] / LEVER_MM).as_matrix() @ linear
    answer[:, :3, 3] = goal + steps[:, :3] - answer[:, :3, :3] @ centre
    return answer


def along_steps(poses: np.ndarray, by_pose: np.ndarray, centre: np.ndarray, freedoms: int) -> np.ndarray:
    """Slopes by a step's numbers (n, freedoms), at no step, from those by the poses' upper three rows (n, 3, 4)."""
    by_shift = by_pose[:, :, 3]
    by_linear = by_pose[:, :, :3] - by_shift[:, :, None] * centre
    by_left = by_linear @ poses[:, :3, :3].transpose(0, 2, 1)  # by a matrix that multiplies L from the left
    turns = np.stack([by_left[:, (n + 2) % 3, (n + 1) % 3] - by_left[:, (n + 1) % 3, (n + 2) % 3] for n in range(3)], 1)
    row, column = _STRETCHES.T
    stretches = by_left[:, row, column] + np.where(row == column, 0.0, by_left[:, column, row])
    return np.concatenate([by_shift, turns / LEVER_MM, stretches / LEVER_MM], 1)[:, :freedoms]


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
