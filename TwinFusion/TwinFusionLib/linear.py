"""Rigid and affine registration by normalised mutual information, from any starting position.

Coarse to fine: tens of thousands of poses (turns in all directions, shifts over the whole possible overlap) are tried
on strongly smoothed images; the best separate ones are followed uphill on finer and finer images, and fewer are left
at each level. The last level is repeated with other samples: the answer is the mean, and the disagreement tells how
well the images pin it. Images of one scanner session share their frame, so they are moved together and their measures
are averaged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from TwinCore import Image, InvalidInput, Job, LinearTransform, bounding_box

from .climb import climb
from .filters import pyramid
from .landmarks import Landmarks, check_landmarks, fit_points
from .motion import FREEDOMS
from .mutual_information import mutual_information, mutual_information_slope
from .sampling import INTRINSIC_SIGMA_MM, Region, Samples, Target, depths, sample
from .search import SHIFT_MM, distances, evidence, first_poses, separate

FIRST_APART = 1.5
"""Of the lattice's poses, those are followed that lie this many of its steps apart: nearer ones climb one hill, and a
broad wrong one would leave no place for a narrow right one."""

STRETCHED_MM = 6.0
"""Affine motions are looked for on images no coarser than this; before that only rigid ones."""

APART_MM = 25.0
"""Poses further apart than this, 100 mm from the centre, are clearly different ones."""


@dataclass(frozen=True)
class Level:
    """One level of the search: smoothing, samples per image, most steps uphill, and how many candidates leave it."""

    sigma_mm: float
    samples: int
    steps: int
    survivors: int


LATTICE = Level(12.0, 700, 0, 96)
LEVELS = (Level(8.0, 3000, 15, 20), Level(5.0, 8000, 20, 4), Level(3.0, 20000, 25, 1))
FINAL = Level(1.0, 120000, 40, 1)
HEAD_MM, LEAST_SCALE = 180.0, 0.4
"""The levels are those for images of this extent; smaller images are smoothed less, down to this share of it."""
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
        Measure of the best clearly different pose, as a share of the answer's.
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

    @cached_property
    def scale(self) -> float:
        """Extent of the smallest image by that of a head, at most 1."""
        grids = [image.grid for image in (self.fixed, *self.moving)]
        extent = min(np.cbrt(1000 * grid.size * grid.voxel_volume_ml) for grid in grids)
        return float(np.clip(extent / HEAD_MM, LEAST_SCALE, 1.0))

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """From the first, on which all poses are tried, to the last, fit for the images' size and own blur."""
        least = max(FINAL.sigma_mm, *(INTRINSIC_SIGMA_MM.get(i.modality, 0.0) for i in (self.fixed, *self.moving)))
        levels = (LATTICE, *LEVELS, FINAL)
        return tuple(replace(level, sigma_mm=max(self.scale * level.sigma_mm, least)) for level in levels)

    @cached_property
    def smoothed(self) -> list[Mapping[float, Image]]:
        """The fixed image, and then the moving ones, at the resolution of every level."""
        sigmas = [level.sigma_mm for level in self.levels]
        images = (self.fixed, *self.moving)
        return [pyramid(image, sigmas, INTRINSIC_SIGMA_MM.get(image.modality, 0.0)) for image in images]

    @cached_property
    def regions(self) -> list[tuple[Region, Region | None]]:
        """Of each moving image, where it is looked at, and where half of the looks go: the focus, or the depths."""
        regions = []
        for image, mask, focus, levels in zip(self.moving, self.moving_masks, self.focus, self.smoothed[1:]):
            if focus is not None:
                half: Region | None = Region(image.grid, focus if mask is None else focus & mask)
            else:
                half = depths(levels[self.levels[2].sigma_mm]) if mask is None else None
            regions.append((Region(image.grid, mask), half))
        return regions

    def channels(self, level: Level, seeds: Sequence[int]) -> list[list[tuple[Samples, Target]]]:
        """For each seed and moving image, what was sampled in it and what that is compared with."""
        fixed, *moving = (levels[level.sigma_mm] for levels in self.smoothed)
        target = Target.of(fixed, self.fixed, self.fixed_mask)
        return [
            [
                (sample(image, region, half, level.samples, seed), target)
                for image, (region, half) in zip(moving, self.regions)
            ]
            for seed in seeds
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
class Measure:
    """The evidence for poses, averaged over the channels, with the landmarks' term where there are any.

    Close to the answer the overlap is left out: it draws the images further onto each other than they belong. Not of
    images as blurred as PET, which hold their place less well without it.
    """

    channels: list[tuple[Samples, Target]]
    landmarks: Landmarks | None
    close: bool = False

    def nmi(self, poses: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """NMI (n,), overlap (n,; samples near the border count less) and their slopes (n, 3, 4)."""
        each = [mutual_information_slope(samples, onto, poses) for samples, onto in self.channels]
        nmi, overlap, slopes, by_overlap = (np.mean(part, axis=0) for part in zip(*each))
        return nmi, overlap, slopes, by_overlap

    def inside(self, poses: np.ndarray) -> np.ndarray:
        """Share of the samples (n,) that fall inside the target, to its very border."""
        return np.mean([mutual_information(samples, onto, poses)[1] for samples, onto in self.channels], axis=0)

    def __call__(self, poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Measure (n,) and its slopes (n, 3, 4)."""
        nmi, overlap, slopes, by_overlap = self.nmi(poses)
        if self.close:
            overlap, by_overlap = np.ones_like(overlap), np.zeros_like(by_overlap)
        value = evidence(nmi, overlap)
        slopes = slopes * overlap[:, None, None] + by_overlap * (nmi - 1)[:, None, None]
        if self.landmarks is not None:
            term, by_pose = self.landmarks.term(poses)
            value, slopes = value + term, slopes + by_pose
        return value, slopes

    def climb(self, pair: Pair, poses: np.ndarray, motion: str, level: Level, job: Job) -> np.ndarray:
        freedoms = FREEDOMS[motion] if level.sigma_mm < STRETCHED_MM * pair.scale else FREEDOMS["rigid"]
        return climb(self, poses, pair.centre, freedoms, level.steps, level.sigma_mm, job)


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
    The measure is the gain in normalised mutual information (Studholme, Hill, Hawkes 1999, Pattern Recognition 32:71)
    times the overlap, climbed with BFGS along its analytic derivative.
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
        candidates, least_overlap = starting_poses(pair, start, seed, search)
    runner_up = 0.0
    with refine:
        for level in refine.each(pair.levels[1 if start is None else 2 : -1]):
            measure = Measure(pair.channels(level, [seed])[0], points)
            candidates = measure.climb(pair, candidates, motion, level, refine)
            nmi, overlap, *_ = measure.nmi(candidates)
            scores = evidence(nmi, overlap)
            if not scores.any():
                raise InvalidInput(f"{_names(pair)}: the images do not overlap where the search begins.")
            enough = measure.inside(candidates) >= least_overlap
            scores = np.where(enough | ~enough.any(), scores, 0.0)
            runner_up = max(runner_up, _runner_up(candidates, scores, pair.centre))
            candidates = candidates[separate(candidates, scores, level.survivors, level.sigma_mm, pair.centre)]
    with repeat:
        answers, last = [], pair.levels[-1]
        sharp = last.sigma_mm <= FINAL.sigma_mm
        for channels in repeat.each(pair.channels(last, [seed + n for n in range(REPEATS)])):
            measure = Measure(channels, points, close=sharp)
            candidates = measure.climb(pair, candidates, motion, last, repeat)
            answers.append(candidates[0])
    mean = mean_motion(np.array(answers), pair.centre, motion)
    (nmi, before), *_ = measure.nmi(np.array([mean, _centred(pair)]))
    (overlap,) = measure.inside(mean[None])
    repeats = tuple(LinearTransform(a) for a in answers)
    spread = max(distances(a, np.array(answers), pair.corners()).max() for a in answers)
    return LinearResult(
        LinearTransform(mean), repeats, float(nmi), float(before), float(overlap), float(spread), runner_up
    )


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


def _centred(pair: Pair) -> np.ndarray:
    """The motion that only lays the images' centres on each other."""
    matrix = np.eye(4)
    matrix[:3, 3] = pair.fixed.grid.centre - pair.moving[0].grid.centre
    return matrix


def starting_poses(pair: Pair, start: LinearTransform | None, seed: int, job: Job) -> tuple[np.ndarray, float]:
    """Poses to begin with, best first, and the least overlap that an answer must have."""
    if start is not None:
        return start.matrix[None], 1e-3
    first, step_mm = pair.levels[0], SHIFT_MM * pair.scale
    fixed = pair.smoothed[0][first.sigma_mm].grid
    channels = pair.channels(first, [seed])[0]
    poses, scores, least_overlap = first_poses(channels, fixed, pair.moving[0].grid, step_mm, job)
    apart = separate(poses, scores, first.survivors, FIRST_APART * step_mm, pair.centre)
    return poses[apart], least_overlap


def _runner_up(poses: np.ndarray, scores: np.ndarray, centre: np.ndarray) -> float:
    """The evidence for the best pose that is clearly another one, as a share of that for the best one."""
    apart = separate(poses, scores, 2, APART_MM, centre)
    return float(scores[apart[1]] / scores[apart[0]]) if len(apart) == 2 else 0.0


def mean_motion(answers: np.ndarray, centre: np.ndarray, motion: str) -> np.ndarray:
    """The mean (4, 4) of motions that are close to each other; rigid again where they are."""
    mean = answers.mean(0)
    if motion == "rigid":
        goal = mean[:3, :3] @ centre + mean[:3, 3]
        u, _, vt = np.linalg.svd(mean[:3, :3])
        mean[:3, :3] = u @ vt
        mean[:3, 3] = goal - mean[:3, :3] @ centre
    return mean
