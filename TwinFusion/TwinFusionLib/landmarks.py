"""Points that belong together in two images: where a registration starts, and a term of its measure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from TwinCore import InvalidInput


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Points that belong together, RAS mm, shape (n, 3) each."""

    fixed: np.ndarray
    moving: np.ndarray

    SCALE_MM = 10.0
    WEIGHT = 0.1

    def term(self, poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """-WEIGHT * (rms distance / SCALE_MM)^2 of poses, and its derivatives by their upper three rows."""
        points = np.c_[self.moving, np.ones(len(self.moving))]
        miss = points @ poses[:, :3].transpose(0, 2, 1) - self.fixed
        scale = self.WEIGHT / self.SCALE_MM**2 / len(points)
        return -scale * (miss**2).sum((1, 2)), -2 * scale * miss.transpose(0, 2, 1) @ points


def check_landmarks(fixed, moving) -> Landmarks:
    """Landmarks as arrays; `InvalidInput` if they are not pairs of points, fewer than three, or on one line."""
    fixed, moving = np.asarray(fixed, float), np.asarray(moving, float)
    if fixed.shape != moving.shape or fixed.ndim != 2 or fixed.shape[1] != 3 or len(fixed) < 3:
        raise InvalidInput(
            f"Landmarks must be three or more pairs of RAS points, not {fixed.shape} with {moving.shape}."
        )
    for points, whose in ((fixed, "fixed"), (moving, "moving")):
        if not np.isfinite(points).all() or np.linalg.svd(points - points.mean(0), compute_uv=False)[1] < 1.0:
            raise InvalidInput(f"The landmarks of the {whose} image lie on one line: no turn about it can be found.")
    return Landmarks(fixed, moving)


def fit_points(moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """The rigid motion (4, 4) that brings points closest to others (Arun, Huang, Blostein 1987, IEEE PAMI 9:698)."""
    u, _, vt = np.linalg.svd((moving - moving.mean(0)).T @ (fixed - fixed.mean(0)))
    matrix = np.eye(4)
    matrix[:3, :3] = vt.T @ np.diag([1, 1, np.sign(np.linalg.det(vt.T @ u.T))]) @ u.T
    matrix[:3, 3] = fixed.mean(0) - matrix[:3, :3] @ moving.mean(0)
    return matrix
