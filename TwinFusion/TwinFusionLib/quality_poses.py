"""How a pose stands out among others: mutual information at poses near and far, and where a climb from them ends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from TwinCore import Job

from .climb import Slope, climb
from .mutual_information import mutual_information, mutual_information_slope
from .quality_overlay import Overlay
from .sampling import Samples, Target

FAR, NEAR = 192, 192
FAR_MM, NEAR_MM = (5.0, 60.0), (3.0, 8.0)
STARTS, START_MM, START_DEGREES = 4, 15.0, 8.0
ROUNDS, LONGEST_MM = 25, 8.0
LEAST_SHARE = 0.3
"""Poses that leave less of the samples inside the fixed image are not counted."""


@dataclass(frozen=True)
class Standing:
    """How a pose stands out.

    Parameters
    ----------
    nmi : float
        Normalised mutual information at the pose.
    z_score, local_z : float
        Its distance, in standard deviations, from the mean at poses 5 to 60 mm or degrees, and 3 to 8 mm, away.
    drift_mm : float
        Mean distance over the body to the top of the measure, climbed from the pose.
    consistency_mm : float
        The median of the same for climbs from poses 15 mm and 8 degrees away.
    inverse_consistency_mm : float
        Mean distance over the body between points and where the climb there, and another one back in which the fixed
        image moves, take them.
    mirrored : float
        Gain (NMI - 1) of the best pose of the image mirrored left to right near the pose, as a share of its own top's.
    """

    nmi: float
    z_score: float
    local_z: float
    drift_mm: float
    consistency_mm: float
    inverse_consistency_mm: float
    mirrored: float


def standing(overlay: Overlay, seed: int, job: Job) -> Standing:
    """Measure how the pose of an overlay stands out among others."""
    samples, onto, centre = overlay.samples(seed), overlay.target(), overlay.centre
    rng = np.random.default_rng(seed)
    poses = np.concatenate([np.eye(4)[None], _perturbed(rng, FAR, FAR_MM, centre), _near(rng, centre)])
    nmi, share = mutual_information(samples, onto, poses)
    far, near = (nmi[part][share[part] > LEAST_SHARE] for part in (slice(1, FAR + 1), slice(FAR + 1, None)))
    points = overlay.body_points()
    mirror = np.diag([-1.0, 1, 1, 1])
    mirror[0, 3] = 2 * centre[0]
    starts = np.concatenate([np.eye(4)[None], mirror[None], _starts(rng, centre)])
    tops = climb(_slope(samples, onto), starts, centre, 6, ROUNDS, LONGEST_MM, job)
    back = climb(_slope(*overlay.exchanged(seed)), np.eye(4)[None], centre, 6, ROUNDS, LONGEST_MM, job)[0]
    gains = mutual_information(samples, onto, tops[:2])[0] - 1
    drift, _, *returns = (_mean_shift(top, points) for top in tops)
    return Standing(
        float(nmi[0]),
        _z(nmi[0], far),
        _z(nmi[0], near),
        drift,
        float(np.median(returns)),
        _mean_shift(back @ tops[0], points),
        float(gains[1] / gains[0]) if gains[0] > 0 else 1.0,
    )


def _slope(samples: Samples, onto: Target) -> Slope:
    def slope(tried: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value, _, by_pose, _ = mutual_information_slope(samples, onto, tried)
        return value, by_pose

    return slope


def about(centre: np.ndarray, turns: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Motions (n, 4, 4): turns (rotation vectors, radians) about a centre, then shifts in mm."""
    poses = np.tile(np.eye(4), (len(turns), 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(turns).as_matrix()
    poses[:, :3, 3] = centre + shifts - poses[:, :3, :3] @ centre
    return poses


def _directions(rng: np.random.Generator, count: int) -> np.ndarray:
    vectors = rng.standard_normal((count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _perturbed(rng: np.random.Generator, count: int, range_mm: tuple[float, float], centre: np.ndarray) -> np.ndarray:
    """Motions by a distance that is shared between a shift in mm and a turn in degrees."""
    distance, angle = rng.uniform(*range_mm, (count, 1)), rng.uniform(0, np.pi / 2, (count, 1))
    shifts = distance * np.cos(angle) * _directions(rng, count)
    turns = np.deg2rad(distance * np.sin(angle)) * _directions(rng, count)
    return about(centre, turns, shifts)


def _near(rng: np.random.Generator, centre: np.ndarray) -> np.ndarray:
    return _perturbed(rng, NEAR, NEAR_MM, centre)


def _starts(rng: np.random.Generator, centre: np.ndarray) -> np.ndarray:
    shifts, turns = START_MM * _directions(rng, STARTS), np.deg2rad(START_DEGREES) * _directions(rng, STARTS)
    return about(centre, turns, shifts)


def _z(value: float, others: np.ndarray) -> float:
    if len(others) < 8 or others.std() == 0:
        return float("nan")
    return float((value - others.mean()) / others.std())


def _mean_shift(pose: np.ndarray, points: np.ndarray) -> float:
    return float(np.linalg.norm(points @ pose[:3, :3].T + pose[:3, 3] - points, axis=1).mean())
