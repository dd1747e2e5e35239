"""Uphill along the slope of a measure: many poses at once, each with its own quasi-Newton steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from TwinCore import Job

from .motion import along_steps, moved

SUFFICIENT = 1e-4
"""A step is taken if it brings at least this share of what the slope promised (Armijo)."""

STILL_MM = 2e-3
"""A pose is at the top when its step is shorter."""

Slope = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def climb(
    slope: Slope, poses: np.ndarray, centre: np.ndarray, freedoms: int, rounds: int, longest_mm: float, job: Job
) -> np.ndarray:
    """Follow poses uphill, all at once.

    Parameters
    ----------
    slope : callable
        From poses (n, 4, 4) to their measures (n,) and slopes by the poses' upper three rows (n, 3, 4).
    poses : array, shape (n, 4, 4)
    centre : array, shape (3,)
        Of turns and stretches, RAS mm of the moving image.
    freedoms : int
        6 or 12.
    rounds : int
        Most measurements of each pose.
    longest_mm : float
        Longest step.
    job : Job

    Returns
    -------
    array, shape (n, 4, 4)
        None is lower than where it began.

    Notes
    -----
    BFGS with backtracking (Nocedal, Wright 2006, Numerical Optimization, chapter 6); the slope is taken anew at each
    pose, as steps are turns from where it stands.
    """
    poses = poses.copy()
    value, by_pose = slope(poses)
    uphill = along_steps(poses, by_pose, centre, freedoms)
    steep = np.maximum(np.linalg.norm(uphill, axis=1), 1e-12)
    curved = np.tile(np.eye(freedoms), (len(poses), 1, 1)) * (longest_mm / 2 / steep)[:, None, None]
    fresh, share = np.ones(len(poses), bool), np.ones(len(poses))
    moving = np.arange(len(poses))
    for _ in range(rounds):
        job.checkpoint()
        steps = _capped(np.einsum("nab,nb->na", curved[moving], uphill[moving]), longest_mm) * share[moving, None]
        moving, steps = _restless(moving, steps)
        if not len(moving):
            break
        trials = moved(poses[moving], steps, centre)
        reached, by_pose = slope(trials)
        there = along_steps(trials, by_pose, centre, freedoms)
        promised = (steps * uphill[moving]).sum(1)
        taken = reached > value[moving] + SUFFICIENT * promised
        bend = 0.5 * promised / np.maximum(promised - (reached - value[moving]), 1e-15)  # top of the parabola
        share[moving] = np.where(taken, 1.0, share[moving] * np.clip(bend, 0.1, 0.5))
        on, to = moving[taken], trials[taken]
        curved[on] = _updated(curved[on], steps[taken], uphill[on] - there[taken], fresh[on])
        poses[on], value[on], uphill[on], fresh[on] = to, reached[taken], there[taken], False
    return poses


def _capped(steps: np.ndarray, longest: float) -> np.ndarray:
    return steps * np.minimum(longest / np.maximum(np.linalg.norm(steps, axis=1, keepdims=True), 1e-12), 1.0)


def _restless(moving: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    far = np.linalg.norm(steps, axis=1) > STILL_MM
    return moving[far], steps[far]


def _updated(curved: np.ndarray, step: np.ndarray, flatter: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    """Inverse curvature after steps that made the slope flatter; unchanged where the way bends upwards."""
    gain = (step * flatter).sum(1)
    usable = gain > 1e-12
    scale = np.where(fresh & usable, gain / np.maximum((flatter**2).sum(1), 1e-30), 1.0)
    base = np.where((fresh & usable)[:, None, None], np.eye(step.shape[1]) * scale[:, None, None], curved)
    weight = np.where(usable, 1.0 / np.where(usable, gain, 1.0), 0.0)[:, None, None]
    left = np.eye(step.shape[1]) - weight * step[:, :, None] * flatter[:, None, :]
    return left @ base @ left.transpose(0, 2, 1) + weight * step[:, :, None] * step[:, None, :]
