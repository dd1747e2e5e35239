"""Poses to begin a registration with: turns in all directions and shifts over the whole possible overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from TwinCore import Grid, Job

from .motion import LEVER_MM, spread_rotations
from .sampling import Samples, Target
from .scan import scan

TURNS = 1000
SHIFT_MM = 30.0
SHARE_OF_EXTENT = 0.3
"""How far the smaller image may stick out of the larger one, as a share of its extent."""

_POSES_AT_ONCE = 8000


def lattice(fixed: Grid, moving: Grid) -> np.ndarray:
    """Poses (n, 4, 4): every turn with every shift at which enough of the images may overlap."""
    extents = [np.ptp(grid.corners(), axis=0) for grid in (fixed, moving)]
    reach = np.abs(extents[0] - extents[1]) / 2 + SHARE_OF_EXTENT * np.minimum(*extents)
    axes = [np.linspace(-r, r, 2 * max(round(r / SHIFT_MM), 1) + 1) for r in reach]
    shifts = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    turns = spread_rotations(TURNS)
    poses = np.tile(np.eye(4), (len(turns), len(shifts), 1, 1))
    poses[..., :3, :3] = turns[:, None]
    poses[..., :3, 3] = (fixed.centre - turns @ moving.centre)[:, None] + shifts
    return poses.reshape(-1, 4, 4)


def scan_channels(
    channels: Sequence[tuple[Samples, Target]], poses: np.ndarray, job: Job
) -> tuple[np.ndarray, np.ndarray]:
    """NMI (n,) and overlap (n,) of poses, averaged over pairs of images."""
    answers = []
    for chunk in job.each(np.array_split(poses, max(len(poses) // _POSES_AT_ONCE, 1))):
        answers.append(np.mean([scan(samples, onto, chunk) for samples, onto in channels], axis=0))
    nmi, overlap = np.concatenate(answers, axis=1)
    return nmi, overlap


def separate(poses: np.ndarray, scores: np.ndarray, count: int, distance_mm: float, centre: np.ndarray) -> np.ndarray:
    """Indices of the best poses that are further than a distance from every better one, 100 mm from the centre."""
    points = centre + LEVER_MM * np.concatenate([np.eye(3), -np.eye(3)])
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        if scores[index] <= 0 or len(kept) == count:
            break
        if not kept or distances(poses[index], poses[kept], points).min() > distance_mm:
            kept.append(int(index))
    return np.array(kept, int)


def distances(some: np.ndarray, others: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Largest distance, over points, between where motions (..., 4, 4) take them, in mm."""
    difference = some - others
    moved = np.einsum("...ij,pj->...pi", difference[..., :3, :3], points) + difference[..., None, :3, 3]
    return np.linalg.norm(moved, axis=-1).max(-1)
