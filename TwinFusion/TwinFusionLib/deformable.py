"""Deformable registration of images of any contrasts: symmetric, invertible, from coarse to fine.

The deformation is the flow of a stationary velocity v, smooth by its bending energy. Both images are seen from
half-way: the fixed one through exp(-v/2), the moving one through exp(v/2). Their intensities are recoded into what both
have in common, which makes one contrast of two, and compared by local correlation, which does not mind shading. Each
step solves the normal equations of the measure and the bending energy together (Gauss-Newton).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from TwinCore import Grid, GridTransform, Image, InvalidInput, Job, LinearTransform, bounding_box

from .deformable_contrast import common_contrasts, recoded
from .deformable_flow import exponential, refine, see_through
from .deformable_force import normal_equations
from .deformable_jacobian import jacobian_determinant
from .deformable_solve import bending_spectrum, solve
from .filters import at_resolution, gaussian
from .sampling import to_bins

COARSEST_MM = 8.0
"""The first level's voxels are at least this wide: what is further apart than two of them is not found."""

STEPS = 5
BLUR = 0.5
"""Gaussian blur of the images of a level, in its voxels."""

WINDOW = 1.5
"""Gaussian window of the local correlation, standard deviation in voxels."""

CONTRASTS = 2
LEAST_HOLD = 0.01
"""Beyond the knots that are held by more than this share of what the best are, the next level does not compare."""

MARGIN = 2
"""Knots round those that are held, too."""

ENOUGH = 0.02
"""A level ends early when no point moves further than this in a step, in voxels."""

LEAST_JACOBIAN = 0.05
"""A deformation that shrinks more than this anywhere is smoothed until it does not: it would soon fold."""


@dataclass(frozen=True, eq=False)
class DeformableResult:
    """What a deformable registration found.

    Parameters
    ----------
    transform : GridTransform
        The deformation in the fixed image's frame: `linear.then(transform)` moves the moving image.
    inverse : GridTransform
        Its inverse, from the same velocity.
    jacobian_min, jacobian_max : float
        Extremes of the local change of volume of x -> x + d(x); a minimum above 0 means that nothing folds.
    """

    transform: GridTransform
    inverse: GridTransform
    jacobian_min: float
    jacobian_max: float


def register_deformable(
    fixed: Image,
    moving: Image,
    linear_transform: LinearTransform,
    *,
    fixed_mask: np.ndarray | None = None,
    moving_mask: np.ndarray | None = None,
    stiffness: float = 1.0,
    finest_mm: float | None = None,
    job: Job | None = None,
) -> DeformableResult:
    """The deformation that brings a linearly registered image onto a fixed one, of the same contrast or another.

    >>> linear = register_linear(ct, [mr]).transform                      # doctest: +SKIP
    >>> bend = register_deformable(ct, mr, linear).transform              # doctest: +SKIP
    >>> on_ct = resample(mr, ct.grid, linear.then(bend))                  # doctest: +SKIP

    Parameters
    ----------
    fixed, moving : Image
    linear_transform : LinearTransform
        Move of the moving image into the fixed image's frame that the deformation starts from.
    fixed_mask, moving_mask : bool array, optional
        What counts of each image, on its grid: the rest does not pull, and the deformation goes on smoothly there.
    stiffness : float
        Weight of the bending energy; 1 suits most, more is smoother.
    finest_mm : float, optional
        Voxel width of the last level; the images' own without it. Finer than the fixed image's own has no effect.
    job : Job, optional

    Returns
    -------
    DeformableResult

    Raises
    ------
    InvalidInput
        If an image has channels, is thinner than four voxels or constant, a mask is empty or not on its image's grid,
        the stiffness or the finest voxel is not a positive number, or the images do not overlap.

    Notes
    -----
    Flow: Arsigny et al. 2006, MICCAI, LNCS 4190:924. Symmetry and local correlation: Avants et al. 2008, Med Image
    Anal 12:26. Recoded intensities: maximal correlation (Breiman and Friedman 1985, JASA 80:580).
    """
    job = job or Job()
    _check(fixed, fixed_mask)
    _check(moving, moving_mask)
    for value, what in ((stiffness, "stiffness"), (finest_mm, "finest voxel")):
        if value is not None and not 0 < value < np.inf:
            raise InvalidInput(f"The {what} of a deformation must be a positive number, not {value}.")
    pull = np.linalg.inv(linear_transform.matrix)
    sides = (_Side(fixed, fixed_mask, np.eye(4), -0.5), _Side(moving, moving_mask, pull, 0.5))
    levels = _levels(fixed.grid, finest_mm or max(fixed.grid.spacing.min(), moving.grid.spacing.min()))
    velocity = np.zeros((3, *levels[0].knots.shape), np.float32)
    fit, finish = job.split(fit=9, finish=1)
    with fit:
        parts = fit.split(**{f"voxels_of_{level.width_mm:g}_mm": level.cost for level in levels})
        low, high = np.zeros(3, int), np.array(levels[0].knots.shape)
        for level, coarser, part in zip(levels, (levels[0], *levels), parts):
            with part:
                ratio = np.rint(coarser.knots.spacing / level.knots.spacing).astype(int)[::-1]
                velocity = refine(velocity, ratio, level.knots.shape)
                level = level.within(low * ratio, high * ratio)
                velocity, (low, high) = _fit(velocity, level, sides, stiffness, part)
    with finish:
        return _result(velocity, levels[-1], finish)


@dataclass(frozen=True, eq=False)
class _Side:
    """One of the two images: as bins, its mask, RAS of the fixed frame to its own, and its share of the velocity."""

    image: Image
    mask: np.ndarray | None
    pull: np.ndarray
    share: float
    bins: Image = field(init=False)
    counts: Image | None = field(init=False)

    def __post_init__(self):
        counts = None if self.mask is None else self.image.with_array(self.mask.astype(np.float32))
        object.__setattr__(self, "bins", self.image.with_array(to_bins(self.image.array)))
        object.__setattr__(self, "counts", counts)

    def smoothed(self, code: np.ndarray, sigma_mm: float) -> tuple[Image, Image | None]:
        """The recoded image at a resolution, and how much its voxels count; what is masked out is not smeared in."""
        image = recoded(self.bins, code)
        if self.counts is None:
            return at_resolution(image, sigma_mm), None
        counts = at_resolution(self.counts, sigma_mm)
        inside = at_resolution(image.with_array(image.array * self.counts.array), sigma_mm)
        return inside.with_array(inside.array / np.maximum(counts.array, 1e-3)), counts

    def seen(self, image: Image, counts: Image | None, level: _Level, displacement) -> tuple[np.ndarray, np.ndarray]:
        """An image of this side, and how much it counts, at a level's displaced voxels."""
        to_voxels = np.linalg.inv(image.grid.ijk_to_ras) @ self.pull @ level.grid.ijk_to_ras
        weight = None if counts is None else counts.array
        inside = np.ascontiguousarray(displacement[level.box])
        return see_through(image.array, weight, to_voxels[:3], inside, level.ratio, level.grid.shape)


@dataclass(frozen=True, eq=False)
class _Level:
    """One resolution: the grid that the images are compared on, the coarser one of the velocity, and voxels per knot.

    The images are compared in a box of the velocity's knots only, where there is something to be compared.
    """

    width_mm: float
    grid: Grid
    knots: Grid
    ratio: tuple[int, ...]
    box: tuple[slice, ...] = (slice(None),) * 4

    @property
    def cost(self) -> float:
        return self.grid.size + 1e5

    def within(self, low: np.ndarray, high: np.ndarray) -> _Level:
        """The level that compares between two knots only; indices along k, j, i, the second not included."""
        high = np.minimum(high, self.knots.shape)
        first, last = low * self.ratio, np.minimum((high - 1) * self.ratio, self.grid.shape)
        box = (slice(None), *(slice(a, b) for a, b in zip(low, high)))
        return replace(self, grid=self.grid.crop(first, last), box=box)


def _levels(fixed: Grid, finest_mm: float) -> list[_Level]:
    """From coarse to fine; each grid is every n-th voxel of the finest, so that velocities carry over exactly.

    Along an axis whose own voxels are wider than a level's, those are kept.
    """
    finest = fixed.with_spacing(np.maximum(fixed.spacing, finest_mm))
    widths = [finest_mm]
    while widths[0] < COARSEST_MM:
        widths.insert(0, 2 * widths[0])
    levels = []
    for width in widths:
        every, knots_every = (_strides(finest, w) for w in (width, 2 * width))
        ratio = tuple(int(n) for n in (knots_every // every)[::-1])
        grid = _thinned(finest, every, 0)
        levels.append(_Level(width, grid, _thinned(finest, knots_every, 1), ratio))
    return levels


def _strides(grid: Grid, width_mm: float) -> np.ndarray:
    """Powers of two along i, j, k that take a grid's voxels closest to a width."""
    most = np.log2(np.maximum((np.array(grid.shape[::-1]) - 1) // 2, 1))
    return 2 ** np.clip(np.round(np.log2(width_mm / grid.spacing)), 0, np.floor(most)).astype(int)


def _thinned(grid: Grid, strides: np.ndarray, beyond: int) -> Grid:
    """Every n-th voxel of a grid, and as many more as asked for, so that the rest lies between knots."""
    matrix = grid.ijk_to_ras.copy()
    matrix[:3, :3] *= strides
    depth, height, width = (np.array(grid.shape) - 1) // strides[::-1] + 1 + beyond
    return Grid((depth, height, width), matrix)


def _fit(velocity: np.ndarray, level: _Level, sides: Sequence[_Side], stiffness: float, job: Job):
    """The velocity, in mm along the grid's axes, after the steps of one level, and the box of knots that mattered."""
    equations = np.zeros((9, *level.knots.shape), np.float32)
    images = _channels(velocity, level, sides, job)
    spectrum = bending_spectrum(level.knots.shape, level.knots.spacing, stiffness)
    for _ in job.each(range(STEPS)):
        shifts = _displacements(velocity, level, sides)
        pairs = []
        for channel in images:
            job.checkpoint()
            (p, counts_p), (q, counts_q) = (
                side.seen(image, counts, level, shift) for side, (image, counts), shift in zip(sides, channel, shifts)
            )
            pairs.append((p, q))
        weight, knots = counts_p * counts_q, equations[level.box].shape[1:]
        equations[level.box] = normal_equations(pairs, weight, WINDOW, level.grid.spacing, level.ratio, knots, job)
        step = solve(equations, velocity, spectrum, job)
        velocity = velocity + step
        if np.abs(step).max() < ENOUGH * level.width_mm:
            break
    return velocity, _where_it_pulls(equations)


def _where_it_pulls(equations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First knot of, and first one after, the box in which the images hold the deformation, with a margin."""
    hold = equations[3:6].sum(0)
    if not hold.any():
        raise InvalidInput("There is nothing in the images that could be matched where they overlap.")
    return bounding_box(hold > LEAST_HOLD * np.quantile(hold, 0.99), MARGIN)


def _displacements(velocity: np.ndarray, level: _Level, sides: Sequence[_Side]) -> list[np.ndarray]:
    """How far each side is displaced, in knot spacings."""
    per_knot = velocity / level.knots.spacing.astype(np.float32)[:, None, None, None]
    return [exponential(per_knot * np.float32(side.share)) for side in sides]


def _channels(velocity: np.ndarray, level: _Level, sides: Sequence[_Side], job: Job) -> list[list]:
    """For each common contrast, both images in it at the level's resolution."""
    shifts = _displacements(velocity, level, sides)
    (p, counts_p), (q, counts_q) = (side.seen(side.bins, side.counts, level, s) for side, s in zip(sides, shifts))
    weight = counts_p * counts_q
    if not weight.any():
        raise InvalidInput(
            f"Images {sides[0].image.name!r} and {sides[1].image.name!r} do not overlap where they are compared."
        )
    channels = []
    for codes in zip(*common_contrasts(p, q, weight, CONTRASTS)):
        job.checkpoint()
        channels.append([side.smoothed(code, BLUR * level.width_mm) for side, code in zip(sides, codes)])
    return channels


def _result(velocity: np.ndarray, level: _Level, job: Job) -> DeformableResult:
    """The deformation on the finest level's grid, smoothed where it would nearly fold."""
    while True:
        flow = refine(velocity, level.ratio, level.grid.shape)
        flow /= level.grid.spacing.astype(np.float32)[:, None, None, None]
        job.checkpoint()
        transform = _transform(exponential(flow), level.grid)
        job.checkpoint()
        inverse = _transform(exponential(-flow), level.grid)
        determinants = [jacobian_determinant(t).array for t in (transform, inverse)]
        if min(d.min() for d in determinants) > LEAST_JACOBIAN:
            return DeformableResult(transform, inverse, float(determinants[0].min()), float(determinants[0].max()))
        velocity = np.stack([gaussian(component, 1.0) for component in velocity])


def _transform(flow: np.ndarray, grid: Grid) -> GridTransform:
    """A displacement (3, k, j, i) in voxels, as mm in RAS."""
    matrix = grid.ijk_to_ras[:3, :3].astype(np.float32)
    return GridTransform(np.moveaxis(flow, 0, -1) @ matrix.T, grid)


def _check(image: Image, mask: np.ndarray | None) -> None:
    if image.array.ndim != 3:
        raise InvalidInput(f"Image {image.name!r} has channels: a deformation is found on one of them.")
    if min(image.grid.shape) < 4:
        raise InvalidInput(
            f"Image {image.name!r} is only {min(image.grid.shape)} voxels thin: 3-D registration needs four."
        )
    if image.array.min() == image.array.max():
        raise InvalidInput(f"Image {image.name!r} is constant: there is nothing in it to be matched.")
    if mask is not None and (mask.shape != image.grid.shape or not mask.any()):
        raise InvalidInput(f"The mask of image {image.name!r} is empty, or is not on the image's grid.")
