"""How far the region in which a density exceeds a threshold reaches, finer than a voxel."""

from __future__ import annotations

import numpy as np

DIRECTIONS = 128


def extent(
    density: np.ndarray, threshold: float, axes_mm: np.ndarray, distance_mm: np.ndarray | None = None
) -> tuple[float, float]:
    """Largest diameter of {density >= threshold}, and the farthest that it reaches in a field of distances.

    The surface is where lines along the axes cross it: at the threshold's phase ln(u^-1/2 - 1), which the travelling
    wave makes linear in distance, or half-way to the next voxel where the tissue ends (density 0). The diameter is that
    of the points which lie outermost in 128 directions spread over the sphere.

    Parameters
    ----------
    density : array, shape (k, j, i)
    threshold : float
    axes_mm : array, shape (3, 3)
        Steps along k, j, i as columns, in mm.
    distance_mm : array, shape (k, j, i), optional
        Such as the distance to an outline.

    Returns
    -------
    diameter_mm, reach_mm : float
        Both 0 where the density is nowhere so high; the reach is at least 0.
    """
    points, distances = _surface(density, threshold, distance_mm)
    if not len(points):
        return 0.0, 0.0
    places = points @ np.asarray(axes_mm, float).T
    along = places @ _directions().T
    outermost = places[np.unique([along.argmax(axis=0), along.argmin(axis=0)])]
    apart = np.linalg.norm(outermost[:, None] - outermost[None], axis=2)
    return float(apart.max()), max(float(distances.max()), 0.0)


def _surface(density: np.ndarray, threshold: float, field: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Points on the surface, in indices along k, j, i, and the field there (0 without one)."""
    inside, level = density >= threshold, _phase(np.asarray(threshold))
    points, values = [], []
    for axis in range(3):
        before, after = [slice(None)] * 3, [slice(None)] * 3
        before[axis], after[axis] = slice(None, -1), slice(1, None)
        for inner, outer, way in ((tuple(before), tuple(after), 1), (tuple(after), tuple(before), -1)):
            at = np.nonzero(inside[inner] & ~inside[outer])
            within, beyond = density[inner][at].astype(float), density[outer][at].astype(float)
            near, far = _phase(within), _phase(beyond)
            share = np.where(beyond > 0, np.clip((level - near) / np.maximum(far - near, 1e-9), 0.0, 1.0), 0.5)
            where = np.stack(at, axis=1).astype(float)
            where[:, axis] += share if way > 0 else 1.0 - share
            points.append(where)
            if field is None:
                values.append(np.zeros(len(share)))
            else:
                values.append((1.0 - share) * field[inner][at] + share * field[outer][at])
    return np.concatenate(points), np.concatenate(values)


def _phase(u: np.ndarray) -> np.ndarray:
    return np.log(1.0 / np.sqrt(np.clip(u, 1e-12, 0.999999)) - 1.0)


def _directions() -> np.ndarray:
    """Unit vectors over half a sphere, by the golden angle."""
    n = np.arange(DIRECTIONS) + 0.5
    z, angle = n / DIRECTIONS, n * np.pi * (3.0 - np.sqrt(5.0))
    ring = np.sqrt(1.0 - z**2)
    return np.stack([ring * np.cos(angle), ring * np.sin(angle), z], axis=1)
