"""Poses to begin a registration with: turns in all directions and shifts over the whole possible overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from TwinCore import Grid, Job

from .motion import LEVER_MM, spread_rotations
from .sampling import Samples, Target
from .scan import scan

TURNS = 1000
SHIFT_MM = 25.0
REFINED = 1000
"""So many of the best poses of the lattice are looked at again with shifts by a third of its step."""
SHARE_OF_EXTENT = 0.3
"""How far the smaller image may stick out of the larger one, as a share of its extent."""
LEAST_OVERLAP = 0.6
"""Poses with less than this share of the best possible overlap are not considered."""

_TURNS_AT_ONCE = 50


def first_poses(
    channels: Sequence[tuple[Samples, Target]], fixed: Grid, moving: Grid, shift_mm: float, job: Job
) -> tuple[np.ndarray, np.ndarray, float]:
    """Poses that speak for themselves among all turns and shifts.

    Parameters
    ----------
    channels : sequence of (Samples, Target)
        Pairs of images that move together; the targets are on the fixed grid.
    fixed, moving : Grid
    shift_mm : float
        Between the shifts that are tried.
    job : Job

    Returns
    -------
    poses : array, shape (n, 4, 4)
    evidence : array, shape (n,)
    least_overlap : float
        What an answer must have.
    """
    whole, again = job.split(lattice=9, neighbours=1)
    with whole:
        turns, shifts = lattice(fixed, moving, shift_mm)
        poses, nmi, overlap = scan_lattice(channels, turns, shifts, whole)
    least_overlap = LEAST_OVERLAP * overlap.max()
    best = np.argsort(-evidence(nmi, overlap, least_overlap).ravel(), kind="stable")[:REFINED]
    with again:
        third = np.maximum(np.rint(shift_mm / 3 / fixed.spacing), 1).astype(int)
        beside = _meshed([np.array([-n, 0, n]) for n in third])
        poses, nmi, overlap = scan_lattice(channels, poses.reshape(-1, 4, 4)[best], beside, again)
    found = evidence(nmi, overlap, least_overlap)
    top = found.argmax(1)[:, None]
    poses = np.take_along_axis(poses, top[..., None, None], 1)[:, 0]
    return poses, np.take_along_axis(found, top, 1)[:, 0], least_overlap


def evidence(nmi: np.ndarray, overlap: np.ndarray, least_overlap: float = 0.0) -> np.ndarray:
    """What speaks for poses: the gain over independence (NMI = 1) times the share of samples that it rests on.

    As the logarithm of a likelihood ratio is the number of samples times their mutual information: a good match of a
    small part of the images is easily had by chance. 0 below the least overlap.
    """
    return np.where(overlap >= least_overlap, (nmi - 1) * overlap, 0.0)


def lattice(fixed: Grid, moving: Grid, shift_mm: float = SHIFT_MM) -> tuple[np.ndarray, np.ndarray]:
    """Turns (n, 4, 4) that lay the images' centres on each other, and shifts (m, 3) in whole voxels of the fixed grid.

    The shifts, about `shift_mm` apart along the fixed image's axes, reach as far as enough of the images may overlap.
    """
    axes = fixed.direction
    extents = [np.ptp(grid.corners() @ axes, axis=0) for grid in (fixed, moving)]
    reach = np.abs(extents[0] - extents[1]) / 2 + SHARE_OF_EXTENT * np.minimum(*extents)
    steps = np.maximum(np.rint(shift_mm / fixed.spacing), 1).astype(int)
    most = np.maximum(np.rint(reach / (steps * fixed.spacing)), 1).astype(int)
    rotations = spread_rotations(TURNS)
    turns = np.tile(np.eye(4), (len(rotations), 1, 1))
    turns[:, :3, :3] = rotations
    turns[:, :3, 3] = fixed.centre - rotations @ moving.centre
    return turns, _meshed([step * np.arange(-n, n + 1) for step, n in zip(steps, most)])


def _meshed(axes: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)


def scan_lattice(
    channels: Sequence[tuple[Samples, Target]], turns: np.ndarray, shifts: np.ndarray, job: Job
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every turn with every shift: poses (n, m, 4, 4), their NMI and overlap (n, m), averaged over pairs of images."""
    answers = []
    for some in job.each(np.array_split(turns, max(len(turns) // _TURNS_AT_ONCE, 1))):
        answers.append(np.mean([scan(samples, onto, some, shifts) for samples, onto in channels], axis=0))
    nmi, overlap = np.concatenate(answers, axis=1)
    poses = np.repeat(turns[:, None], len(shifts), axis=1)
    poses[..., :3, 3] += shifts @ np.linalg.inv(channels[0][1].ras_to_ijk)[:3, :3].T
    return poses, nmi, overlap


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
