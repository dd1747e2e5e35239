"""Rigid and affine registration by normalised mutual information, from any starting position.

Coarse to fine: tens of thousands of poses (turns in all directions, shifts over the whole possible overlap) are tried
on strongly smoothed images; the best separate ones are followed uphill on finer and finer images, and fewer are left
at each level. The last level is repeated with other samples: the answer is the mean, and the disagreement tells how
well the images pin it. Images of one scanner session share their frame, so they are moved together and their measures
are averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from TwinCore import Image, InvalidInput, Job, LinearTransform, bounding_box

from .motion import FREEDOMS, LEVER_MM, Motion, spread_rotations
from .mutual_information import mutual_information, mutual_information_slope
from .sampling import Channel, Samples, Target

LEAST_OVERLAP = 0.6
"""Poses with less than this share of the best possible overlap are not considered."""


@dataclass(frozen=True)
class Level:
    """One level of the search: smoothing, samples per image, steps uphill, and how many candidates leave it."""

    sigma_mm: float
    samples: int
    steps: int
    survivors: int


TURNS = 600
SHIFT_MM = 30.0
LATTICE = Level(12.0, 700, 0, 48)
LEVELS = (Level(8.0, 3000, 12, 10), Level(5.0, 8000, 15, 3), Level(3.0, 20000, 20, 1))
FINAL = Level(1.5, 60000, 30, 1)
REPEATS = 3


@dataclass(frozen=True, eq=False)
class LinearResult:
    """What a rigid or affine registration found.

    Parameters
    ----------
    transform : LinearTransform
        Moves the moving images into the frame of the fixed one.
    repeats : tuple of LinearTransform
        The answers from different samples, whose mean the transform is.
    nmi, nmi_before : float
        Normalised mutual information at the answer, and with the images' centres laid on each other.
    overlap : float
        Share of the moving images inside the fixed one.
    spread_mm : float
        Largest distance, over the corners of the region that matters, between the repeated answers.
    runner_up : float
        Measure of the best clearly different pose, as a share of the answer's gain over independence (NMI = 1).
    """

    transform: LinearTransform
    repeats: tuple[LinearTransform, ...]
    nmi: float
    nmi_before: float
    overlap: float
    spread_mm: float
    runner_up: float


@dataclass(frozen=True, eq=False)
class Pair:
    """A fixed image and the moving ones of one frame, with all that tells what matters in them."""

    fixed: Image
    moving: Sequence[Image]
    focus: Sequence[np.ndarray | None]
    fixed_mask: np.ndarray | None
    moving_masks: Sequence[np.ndarray | None]

    def channels(self, sigma_mm: float) -> list[Channel]:
        return [
            Channel.at_resolution(self.fixed, image, focus, sigma_mm, self.fixed_mask, mask)
            for image, focus, mask in zip(self.moving, self.focus, self.moving_masks)
        ]

    @property
    def centre(self) -> np.ndarray:
        """Centre of turns: the middle of what matters, so that shifts and turns are nearly independent there."""
        region, grid = self.focus[0] if self.focus[0] is not None else self.moving_masks[0], self.moving[0].grid
        return grid.centre if region is None else grid.to_ras(np.argwhere(region).mean(0)[::-1])

    def corners(self) -> np.ndarray:
        """Corners of the region that matters, RAS mm of the moving images."""
        region, grid = self.focus[0], self.moving[0].grid
        return (grid if region is None else grid.crop(*bounding_box(region))).corners()


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Points that belong together, RAS mm, shape (n, 3) each: a term of the measure beside the images."""

    fixed: np.ndarray
    moving: np.ndarray

    SCALE_MM = 10.0
    WEIGHT = 0.1

    def term(self, pose: np.ndarray) -> tuple[float, np.ndarray]:
        """-WEIGHT * (rms distance / SCALE_MM)^2, and its derivative by the pose's upper three rows."""
        points = np.c_[self.moving, np.ones(len(self.moving))]
        miss = points @ pose[:3].T - self.fixed
        scale = self.WEIGHT / self.SCALE_MM**2 / len(points)
        return -scale * float((miss**2).sum()), -2 * scale * miss.T @ points


@dataclass(frozen=True, eq=False)
class _Measure:
    """The images' measure of a pose, averaged over the channels, with the landmarks' term where there are any."""

    channels: list[tuple[Samples, Target]]
    landmarks: Landmarks | None

    def __call__(self, matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        both = [mutual_information(samples, onto, matrices) for samples, onto in self.channels]
        return np.mean([b[0] for b in both], axis=0), np.mean([b[1] for b in both], axis=0)

    def slope(self, matrix: np.ndarray) -> tuple[float, np.ndarray]:
        each = [mutual_information_slope(samples, onto, matrix) for samples, onto in self.channels]
        value, slope = float(np.mean([e[0] for e in each])), np.mean([e[2] for e in each], axis=0)
        if self.landmarks is not None:
            term, by_matrix = self.landmarks.term(matrix)
            value, slope = value + term, slope + by_matrix
        return value, slope

    def climb(self, start: np.ndarray, centre: np.ndarray, freedom: int, steps: int, job: Job) -> np.ndarray:
        """The top of the measure near a starting pose (4, 4)."""
        motion = Motion.near(start, centre)

        def descent(numbers: np.ndarray) -> tuple[float, np.ndarray]:
            job.checkpoint()
            value, slope = self.slope(motion.matrices(numbers)[0])
            return -value, -motion.slope(numbers, slope)

        options = {"maxiter": steps, "maxfun": 2 * steps, "ftol": 1e-8, "gtol": 1e-7}
        return motion.matrices(minimize(descent, np.zeros(freedom), jac=True, method="L-BFGS-B", options=options).x)[0]


def register_linear(
    fixed: Image,
    moving: Sequence[Image],
    motion: str = "rigid",
    *,
    focus: Sequence[np.ndarray | None] | None = None,
    fixed_mask: np.ndarray | None = None,
    moving_masks: Sequence[np.ndarray | None] | None = None,
    landmarks: tuple[np.ndarray, np.ndarray] | None = None,
    start: LinearTransform | None = None,
    seed: int = 0,
    job: Job | None = None,
) -> LinearResult:
    """The rigid or affine move of one or several images of one frame onto a fixed image of any modality.

    >>> result = register_linear(pet, [t1, t2])                      # doctest: +SKIP
    >>> on_pet = resample(t1, pet.grid, result.transform)            # doctest: +SKIP

    Parameters
    ----------
    fixed : Image
    moving : sequence of Image
        Images that share a frame (one scanner session).
    motion : {"rigid", "affine"}
    focus : sequence of bool arrays or None, optional
        For each moving image, the region where the match matters most, on the image's grid.
    fixed_mask, moving_masks : bool array, sequence of bool arrays or None, optional
        What counts of each image, on its grid: the voxels outside are not looked at.
    landmarks : pair of arrays, shape (n, 3), optional
        Points of the fixed and of the moving images, RAS mm, that belong together: where the search starts, and a term
        of the measure.
    start : LinearTransform, optional
        Where to begin; without it (and without landmarks) all poses are tried.
    seed : int
        Of the random samples.
    job : Job, optional

    Returns
    -------
    LinearResult

    Raises
    ------
    InvalidInput
        If an image is constant or thinner than four voxels, a mask is empty or does not fit, the landmarks are fewer
        than three or lie on a line, or the images do not overlap where the search is to begin.

    Notes
    -----
    The measure is normalised mutual information (Studholme, Hill, Hawkes 1999, Pattern Recognition 32:71), climbed with
    L-BFGS along its analytic derivative.
    """
    job = job or Job()
    nothing = [None] * len(moving)
    pair = Pair(fixed, moving, list(focus or nothing), fixed_mask, list(moving_masks or nothing))
    _check(pair, motion)
    points = None if landmarks is None else check_landmarks(*landmarks)
    if start is None and points is not None:
        start = LinearTransform(fit_points(points.moving, points.fixed))
    search, refine, repeat = job.split(search=4, refinement=3, repeats=3)
    with search:
        candidates, least_overlap = _starts(pair, points, start, seed, search)
    runner_up = 0.0
    levels = LEVELS if start is None else LEVELS[1:]
    with refine:
        for level in refine.each(levels):
            measure = _measures(pair, points, level, [seed])[0]
            candidates = np.array([measure.climb(c, pair.centre, 6, level.steps, refine) for c in candidates])
            scores, overlap = measure(candidates)
            scores[overlap < least_overlap] = 0.0
            if not scores.any():
                raise InvalidInput(f"{_names(pair)}: the images do not overlap where the search begins.")
            runner_up = max(runner_up, _runner_up(pair, candidates, scores)) if len(candidates) > 1 else runner_up
            candidates = candidates[_separate(pair, candidates, scores, level.survivors, level.sigma_mm)]
    with repeat:
        finest = _measures(pair, points, FINAL, [seed + n for n in range(REPEATS)])
        first = candidates[0]
        if motion == "affine":
            first = _measures(pair, points, LEVELS[-1], [seed])[0].climb(first, pair.centre, 12, FINAL.steps, repeat)
        answers = np.array(
            [m.climb(first, pair.centre, FREEDOMS[motion], FINAL.steps, repeat) for m in repeat.each(finest)]
        )
    mean = mean_motion(answers, pair.centre, motion)
    (nmi, before), (overlap, _) = finest[0](np.array([mean, _centred(pair)]))
    repeats = tuple(LinearTransform(a) for a in answers)
    spread = _distances(answers[:, None], answers[None], pair.corners()).max()
    return LinearResult(
        LinearTransform(mean), repeats, float(nmi), float(before), float(overlap), float(spread), runner_up
    )


def _measures(pair: Pair, landmarks: Landmarks | None, level: Level, seeds: Sequence[int]) -> list[_Measure]:
    channels = pair.channels(level.sigma_mm)
    return [_Measure([(c.sample(level.samples, s), c.onto) for c in channels], landmarks) for s in seeds]


def _names(pair: Pair) -> str:
    return f"{', '.join(repr(image.name) for image in pair.moving)} to {pair.fixed.name!r}"


def _check(pair: Pair, motion: str) -> None:
    if motion not in FREEDOMS:
        raise InvalidInput(f"A motion is one of {', '.join(FREEDOMS)}, not {motion!r}.")
    for image in (pair.fixed, *pair.moving):
        if min(image.grid.shape) < 4:
            raise InvalidInput(
                f"Image {image.name!r} is only {min(image.grid.shape)} voxels thin: 3-D registration needs four."
            )
    for image, mask in [(pair.fixed, pair.fixed_mask), *zip(pair.moving, pair.moving_masks)]:
        if mask is not None and (mask.shape != image.grid.shape or not mask.any()):
            raise InvalidInput(f"The mask of image {image.name!r} is empty, or is not on the image's grid.")
    for image, mask in zip(pair.moving, pair.focus):
        if mask is not None and (mask.shape != image.grid.shape or not mask.any()):
            raise InvalidInput(f"The focus on image {image.name!r} is empty, or is not on the image's grid.")


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


def _centred(pair: Pair) -> np.ndarray:
    """The motion that only lays the images' centres on each other."""
    matrix = np.eye(4)
    matrix[:3, 3] = pair.fixed.grid.centre - pair.moving[0].grid.centre
    return matrix


def _starts(
    pair: Pair, landmarks: Landmarks | None, start: LinearTransform | None, seed: int, job: Job
) -> tuple[np.ndarray, float]:
    """Poses to begin with, best first, and the least overlap that an answer must have."""
    if start is not None:
        return start.matrix[None], 1e-3
    measure = _measures(pair, landmarks, LATTICE, [seed])[0]
    extents = [np.ptp(image.grid.corners(), axis=0) for image in (pair.fixed, pair.moving[0])]
    reach = np.abs(extents[0] - extents[1]) / 2 + 0.3 * np.minimum(*extents)
    axes = [np.arange(-np.ceil(r / SHIFT_MM), np.ceil(r / SHIFT_MM) + 1) * SHIFT_MM for r in reach]
    shifts = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    turns, middle = spread_rotations(TURNS), pair.moving[0].grid.centre
    poses = np.tile(np.eye(4), (len(turns), len(shifts), 1, 1))
    poses[..., :3, :3] = turns[:, None]
    poses[..., :3, 3] = (pair.fixed.grid.centre - turns @ middle)[:, None] + shifts
    poses = poses.reshape(-1, 4, 4)
    answers = [measure(chunk) for chunk in job.each(np.array_split(poses, max(len(poses) // 4000, 1)))]
    nmi, overlap = (np.concatenate(a) for a in zip(*answers))
    least_overlap = LEAST_OVERLAP * overlap.max()
    nmi[overlap < least_overlap] = 0.0
    return poses[_separate(pair, poses, nmi, LATTICE.survivors, SHIFT_MM)], least_overlap


def _distances(some: np.ndarray, others: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Largest distance, over points, between where motions (..., 4, 4) take them, in mm."""
    difference = some - others
    moved = np.einsum("...ij,pj->...pi", difference[..., :3, :3], points) + difference[..., None, :3, 3]
    return np.linalg.norm(moved, axis=-1).max(-1)


def _separate(pair: Pair, poses: np.ndarray, scores: np.ndarray, count: int, distance_mm: float) -> np.ndarray:
    """Indices of the best poses that are further than a distance from every better one, at 100 mm from the centre."""
    points = pair.centre + LEVER_MM * np.concatenate([np.eye(3), -np.eye(3)])
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        if scores[index] <= 0 or len(kept) == count:
            break
        if not kept or _distances(poses[index], poses[kept], points).min() > distance_mm:
            kept.append(int(index))
    return np.array(kept, int)


def _runner_up(pair: Pair, poses: np.ndarray, scores: np.ndarray) -> float:
    """Gain over independence (NMI = 1) of the best pose that is clearly another one, as a share of the best one's."""
    apart = _separate(pair, poses, scores, 2, 25.0)
    return float((scores[apart[1]] - 1) / (scores[apart[0]] - 1)) if len(apart) == 2 and scores[apart[0]] > 1 else 0.0


def mean_motion(answers: np.ndarray, centre: np.ndarray, motion: str) -> np.ndarray:
    """The mean (4, 4) of motions that are close to each other; rigid again where they are."""
    mean = answers.mean(0)
    if motion == "rigid":
        goal = mean[:3, :3] @ centre + mean[:3, 3]
        u, _, vt = np.linalg.svd(mean[:3, :3])
        mean[:3, :3] = u @ vt
        mean[:3, 3] = goal - mean[:3, :3] @ centre
    return mean
