"""Rigid registration by mutual information, from any starting position.

Coarse to fine: tens of thousands of poses (a lattice of shifts over the whole overlap, several tilts) are tried on
strongly smoothed images; the best separate ones are followed by a direct search on finer and finer images. The last
level is repeated with other samples: the answer is the mean, and the disagreement tells how well the images pin it.
Images of one scanner session share their frame, so they are moved together and their measures are averaged.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from TwinCore import Image, InvalidInput, Job, LinearTransform, bounding_box

from .mutual_information import Channel, Samples, Target, mutual_information

LEVER_MM = 100.0
"""A rotation is counted in mm at this distance from the centre, so that shifts and turns are steps of one size."""

TILT_DEGREES = 25.0
LEAST_OVERLAP = 0.6
"""Poses with less than this share of the best possible overlap are not considered."""


@dataclass(frozen=True)
class Level:
    """One level of the search: smoothing, samples per image, and how many candidates leave it."""

    sigma_mm: float
    samples: int
    survivors: int


LATTICE = Level(10.0, 1500, 32)
LEVELS = (Level(8.0, 4000, 8), Level(5.0, 12000, 2))
FINAL = Level(3.0, 40000, 1)
REPEATS = 3


@dataclass(frozen=True, eq=False)
class RigidResult:
    """What a rigid registration found.

    Parameters
    ----------
    transform : LinearTransform
        Moves the moving images into the frame of the fixed one.
    nmi, nmi_before : float
        Normalised mutual information at the answer, and with the images' centres laid on each other.
    overlap : float
        Share of the moving images inside the fixed one.
    spread_mm : float
        Largest distance, over the corners of the region that matters, between answers from different samples.
    z_score : float
        How many standard deviations the answer's measure lies above that of poses 20 to 60 mm away.
    runner_up : float
        Measure of the best clearly different pose, as a share of the answer's gain over independence (NMI = 1).
    """

    transform: LinearTransform
    nmi: float
    nmi_before: float
    overlap: float
    spread_mm: float
    z_score: float
    runner_up: float


@dataclass(frozen=True, eq=False)
class _Measure:
    """NMI of poses: six numbers (shift in mm, rotation vector times the lever) about the moving images' centre."""

    channels: list[tuple[Samples, Target]]
    centre: np.ndarray
    shift: np.ndarray
    least_overlap: float = 0.0

    def matrices(self, poses: np.ndarray) -> np.ndarray:
        poses = np.atleast_2d(poses)
        matrices = np.tile(np.eye(4), (len(poses), 1, 1))
        matrices[:, :3, :3] = Rotation.from_rotvec(poses[:, 3:] / LEVER_MM).as_matrix()
        matrices[:, :3, 3] = self.centre + self.shift + poses[:, :3] - matrices[:, :3, :3] @ self.centre
        return matrices

    def __call__(self, poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        matrices = self.matrices(poses)
        both = [mutual_information(samples, onto, matrices) for samples, onto in self.channels]
        nmi, overlap = np.mean([b[0] for b in both], axis=0), np.mean([b[1] for b in both], axis=0)
        return np.where(overlap >= self.least_overlap, nmi, 0.0), overlap


def register_rigid(
    fixed: Image,
    moving: Sequence[Image],
    focus: Sequence[np.ndarray | None] | None = None,
    seed: int = 0,
    job: Job | None = None,
) -> RigidResult:
    """The rigid move of one or several images of one frame onto a fixed image of any modality.

    >>> result = register_rigid(pet, [t1, t2])                       # doctest: +SKIP
    >>> on_pet = resample(t1, pet.grid, result.transform)            # doctest: +SKIP

    Parameters
    ----------
    fixed : Image
    moving : sequence of Image
        Images that share a frame (one scanner session).
    focus : sequence of bool arrays or None, optional
        For each moving image, the region where the match matters most, on the image's grid.
    seed : int
        Of the random samples.
    job : Job, optional

    Returns
    -------
    RigidResult

    Raises
    ------
    InvalidInput
        If an image is constant, or has fewer than four voxels along an axis.

    Notes
    -----
    The measure is normalised mutual information (Studholme, Hill, Hawkes 1999, Pattern Recognition 32:71).
    """
    job = job or Job()
    focus = list(focus) if focus is not None else [None] * len(moving)
    for image in (fixed, *moving):
        if min(image.grid.shape) < 4:
            raise InvalidInput(
                f"Image {image.name!r} is only {min(image.grid.shape)} voxels thin: 3-D registration needs four."
            )
    centre = _centre(moving[0], focus[0])
    shift = fixed.grid.centre - moving[0].grid.centre

    def measures(level: Level, seeds: Sequence[int], least_overlap: float = 0.0) -> list[_Measure]:
        channels = [Channel.at_resolution(fixed, m, f, level.sigma_mm) for m, f in zip(moving, focus)]
        return [
            _Measure([(c.sample(level.samples, s), c.onto) for c in channels], centre, shift, least_overlap)
            for s in seeds
        ]

    search, refine, repeat = job.split(search=4, refinement=3, repeats=4)
    with search:
        candidates, least_overlap = _search(measures(LATTICE, [seed])[0], fixed, moving[0], search)
    with refine:
        for level in refine.each(LEVELS):
            here = measures(level, [seed], least_overlap)[0]
            candidates, scores = _compass(here, candidates, level.sigma_mm, refine)
            runner_up = _runner_up(candidates, scores)
            candidates = candidates[_separate(candidates, scores, level.survivors, level.sigma_mm)]
    with repeat:
        finest = measures(FINAL, [seed + n for n in range(REPEATS)], least_overlap)
        best = candidates[[_compass(finest[0], candidates, FINAL.sigma_mm, repeat)[1].argmax()]]
        answers = np.array([_climb(here, best, repeat) for here in repeat.each(finest)])
    pose = answers.mean(0)
    nmi, overlap = finest[0](pose)
    return RigidResult(
        LinearTransform(finest[0].matrices(pose)[0]),
        float(nmi[0]),
        float(finest[0](np.zeros(6))[0][0]),
        float(overlap[0]),
        _spread(finest[0].matrices(answers), moving[0], focus[0]),
        _z_score(finest[0], pose, seed),
        runner_up,
    )


def _centre(image: Image, focus: np.ndarray | None) -> np.ndarray:
    """Centre of rotation: the middle of what matters, so that shifts and turns are nearly independent there."""
    return image.grid.centre if focus is None else image.grid.to_ras(np.argwhere(focus).mean(0)[::-1])


def _extent(image: Image) -> np.ndarray:
    return np.ptp(image.grid.corners(), axis=0)


def _search(measure: _Measure, fixed: Image, moving: Image, job: Job) -> tuple[np.ndarray, float]:
    """Try a lattice of shifts, upright and tilted about each axis; the best separate poses and the overlap to keep."""
    step = 20.0
    reach = np.abs(_extent(fixed) - _extent(moving)) / 2 + 0.3 * np.minimum(_extent(fixed), _extent(moving))
    axes = [np.arange(-np.ceil(r / step), np.ceil(r / step) + 1) * step for r in reach]
    shifts = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    turn = np.deg2rad(TILT_DEGREES) * LEVER_MM
    turns = [np.zeros(3), *(sign * turn * axis for axis, sign in itertools.product(np.eye(3), (-1, 1)))]
    poses = np.concatenate([np.concatenate([shifts, np.tile(t, (len(shifts), 1))], 1) for t in turns])
    answers = [measure(chunk) for chunk in job.each(np.array_split(poses, max(len(poses) // 2000, 1)))]
    nmi, overlap = (np.concatenate(a) for a in zip(*answers))
    least_overlap = LEAST_OVERLAP * overlap.max()
    nmi[overlap < least_overlap] = 0.0
    return poses[_separate(poses, nmi, LATTICE.survivors, step)], least_overlap


def _separate(poses: np.ndarray, scores: np.ndarray, count: int, distance_mm: float) -> np.ndarray:
    """Indices of the best poses that are further than a distance from every better one."""
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        if scores[index] <= 0 or len(kept) == count:
            break
        if all(np.abs(poses[index] - poses[k]).max() > distance_mm for k in kept):
            kept.append(int(index))
    return np.array(kept, int)


def _runner_up(poses: np.ndarray, scores: np.ndarray) -> float:
    """Gain over independence (NMI = 1) of the best pose that is clearly another one, as a share of the best one's."""
    apart = _separate(poses, scores, 2, 25.0)
    return float((scores[apart[1]] - 1) / (scores[apart[0]] - 1)) if len(apart) == 2 and scores[apart[0]] > 1 else 0.0


def _compass(measure: _Measure, poses: np.ndarray, first_step_mm: float, job: Job) -> tuple[np.ndarray, np.ndarray]:
    """Follow all candidates uphill at once: the best of twelve steps along random axes, shortened where none helps."""
    rng = np.random.default_rng(0)
    poses, scores = poses.copy(), measure(poses)[0]
    steps = np.full(len(poses), first_step_mm)
    for _ in range(60):
        job.checkpoint()
        axes = np.linalg.qr(rng.standard_normal((6, 6)))[0]
        directions = np.concatenate([axes, -axes])
        trials = poses[:, None] + steps[:, None, None] * directions
        nmi = measure(trials.reshape(-1, 6))[0].reshape(len(poses), 12)
        best = nmi.argmax(1)
        better = nmi.max(1) > scores
        poses[better] = trials[better, best[better]]
        scores = np.where(better, nmi.max(1), scores)
        steps = np.where(better, steps, steps / 1.5)
        if steps.max() < 0.1:
            break
    return poses, scores


def _climb(measure: _Measure, start: np.ndarray, job: Job) -> np.ndarray:
    """The top of the measure near a starting pose, shape (1, 6)."""
    poses, _ = _compass(measure, start, FINAL.sigma_mm, job)
    options = {"xtol": 0.02, "ftol": 1e-7, "maxiter": 4}
    return minimize(lambda p: -measure(p)[0][0], poses[0], method="Powell", options=options).x


def _spread(matrices: np.ndarray, moving: Image, focus: np.ndarray | None) -> float:
    """Largest disagreement of several moves, in mm, at the corners of the region that matters."""
    box = moving.grid if focus is None else moving.grid.crop(*bounding_box(focus))
    points = np.array([LinearTransform(m).push(box.corners()) for m in matrices])
    return float(max(np.linalg.norm(a - b, axis=1).max() for a, b in itertools.combinations(points, 2)))


def _z_score(measure: _Measure, pose: np.ndarray, seed: int) -> float:
    """How far the pose's measure lies above that of 64 poses 20 to 60 mm away, in their standard deviations."""
    rng = np.random.default_rng(seed)
    moves = rng.standard_normal((64, 6))
    moves *= rng.uniform(20, 60, (64, 1)) / np.linalg.norm(moves, axis=1, keepdims=True)
    nmi = measure(np.concatenate([pose[None], pose + moves]))[0]
    others = nmi[1:][nmi[1:] > 0]
    return float((nmi[0] - others.mean()) / others.std()) if others.size > 8 else 0.0
