"""How far the region in which a density exceeds a threshold reaches, finer than a voxel."""

from __future__ import annotations

from itertools import product

import numpy as np

from TwinCore import bounding_box

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
    inside = density >= threshold
    if not inside.any():
        return 0.0, 0.0
    low, high = bounding_box(inside, 1)
    box = tuple(slice(a, b) for a, b in zip(low, high))
    axes_mm, directions = np.asarray(axes_mm, float), _directions()
    aligned = directions @ (axes_mm / np.linalg.norm(axes_mm, axis=0))
    outermost, reach = [np.zeros((0, 3))], 0.0
    for axis, way in product(range(3), (1, -1)):
        field = None if distance_mm is None else distance_mm[box]
        points, distances = _crossings(density[box], inside[box], threshold, axis, way, field)
        # A surface that faces a direction is crossed best by the lines along the axis nearest to it.
        facing = np.abs(aligned).argmax(axis=1) == axis
        towards = directions[facing] * (way * np.sign(aligned[facing, axis]))[:, None]
        if len(points) and len(towards):
            places = points @ axes_mm.T
            outermost.append(places[np.unique((places @ towards.T).argmax(axis=0))])
            reach = max(reach, float(distances.max()))
    found = np.concatenate(outermost)
    apart = np.linalg.norm(found[:, None] - found[None], axis=2)
    return float(apart.max(initial=0.0)), reach


def _crossings(
    density: np.ndarray, inside: np.ndarray, threshold: float, axis: int, way: int, field: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Points where lines along an axis leave the region upwards (way 1) or downwards (-1), in indices along k, j, i,
    and the field there (0 without one)."""
    before, after = [slice(None)] * 3, [slice(None)] * 3
    before[axis], after[axis] = slice(None, -1), slice(1, None)
    inner, outer = (tuple(before), tuple(after)) if way > 0 else (tuple(after), tuple(before))
    at = np.nonzero(inside[inner] & ~inside[outer])
    within, beyond = density[inner][at].astype(float), density[outer][at].astype(float)
    near, far, level = _phase(within), _phase(beyond), _phase(np.asarray(threshold))
    share = np.where(beyond > 0, np.clip((level - near) / np.maximum(far - near, 1e-9), 0.0, 1.0), 0.5)
    where = np.stack(at, axis=1).astype(float)
    where[:, axis] += share if way > 0 else 1.0 - share
    if field is None:
        return where, np.zeros(len(share))
    return where, (1.0 - share) * field[inner][at] + share * field[outer][at]


def _phase(u: np.ndarray) -> np.ndarray:
    return np.log(1.0 / np.sqrt(np.clip(u, 1e-12, 0.999999)) - 1.0)


def _directions() -> np.ndarray:
    """Unit vectors over half a sphere, by the golden angle."""
    n = np.arange(DIRECTIONS) + 0.5
    z, angle = n / DIRECTIONS, n * np.pi * (3.0 - np.sqrt(5.0))
    ring = np.sqrt(1.0 - z**2)
    return np.stack([ring * np.cos(angle), ring * np.sin(angle), z], axis=1)
