"""Where a tumour is simulated: the box that its front can reach, on a grid fine enough for it and no finer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt

from TwinCore import Grid, Image, InvalidInput, Job, bounding_box, resample

from .fibre_tensor import fibre_tensor
from .model import Anatomy
from .numerics.barrier import closed_faces, distance_round
from .numerics.diffusion import ReactionDiffusion
from .numerics.travelling_wave import (
    WELL_RESOLVED,
    check_resolution,
    front_length_mm,
    front_profile,
    front_speed_mm_per_day,
)

LADDER_MM = tuple(0.5 * 2 ** (n / 2) for n in range(5))
"""Spacings to choose from, 0.5 to 2 mm: few, so that the members of an ensemble share their grids."""
VOXELS_A_RADIUS = 5.0
MOST_VOXELS = 12_000_000
EDGE_DENSITY = 0.01
"""Density at the edge of the box above which the box is widened."""
NOTHING = 1e-18
"""Density that stands for none where a start is given: smaller numbers would be denormal, and steps far slower."""
Given = Callable[[Mapping[str, float]], Image]
"""From a member's values to its density at the reference scan, on any grid."""


@dataclass(frozen=True, eq=False)
class Stage:
    """A box of voxels ready to be advanced.

    Parameters
    ----------
    grid : Grid
    equation : ReactionDiffusion
    distance_mm : array, shape (k, j, i)
        Signed distance to the tumour's outline, negative inside.
    relative_width : array, shape (k, j, i)
        Width of a front in each voxel's tissue, relative to where cells move most easily: the root of the relative
        diffusivity.
    margin_mm : float
    open_faces : tuple of slices
        The faces of the box beyond which the anatomy goes on.
    given : callable, optional
        The density at the reference scan, where it is known otherwise than from the outline.
    """

    grid: Grid
    equation: ReactionDiffusion
    distance_mm: np.ndarray
    relative_width: np.ndarray
    margin_mm: float
    open_faces: tuple[tuple[slice | int, ...], ...]
    given: Given | None = None

    def day_zero(self, member: Mapping[str, float]) -> np.ndarray:
        """The density at the reference scan: the one given, or the travelling wave along the outline."""
        if self.given is None:
            return self.start(member["diffusivity"], member["proliferation_rate"], member["detection_threshold"])
        density = resample(self.given(member), self.grid).array
        return np.where(self.equation.domain, np.clip(density, NOTHING, 1.0), 0.0)

    def start(self, diffusivity: float, rate: float, threshold: float) -> np.ndarray:
        """The density at the reference scan: the travelling wave along the outline; {u >= threshold} is the tumour.

        Each voxel takes the wave of its own tissue, so that the unseen part reaches farther into white than into grey
        matter.
        """
        length = front_length_mm(diffusivity, rate) * self.relative_width
        return np.where(self.equation.domain, front_profile(self.distance_mm, length, threshold), 0.0)

    def is_reached(self, density: np.ndarray) -> bool:
        """Whether the tumour has come to the edge of the box where the anatomy goes on."""
        return any(float(density[face].max()) > EDGE_DENSITY for face in self.open_faces)


class Stages:
    """The stages of one anatomy, made when first asked for.

    Parameters
    ----------
    anatomy : Anatomy
        Its tissue "barrier" and its images "diffusion_tensor" and "density" (at the reference scan, in place of the
        travelling wave along the outline) are used where they are there.
    relative_diffusivity : mapping of str to float
        Of each tissue that the tumour can grow into; the tumour's own voxels count as 1.
    spacing_mm : float, optional
        Spacing to use for every run, instead of the one chosen from the front's width.
    given : callable, optional
        Density at the reference scan of each member, where it is not the same for all.
    """

    def __init__(
        self,
        anatomy: Anatomy,
        relative_diffusivity: Mapping[str, float],
        spacing_mm: float | None = None,
        given: Given | None = None,
    ):
        self.grid = anatomy.grid
        self._tumour = np.asarray(anatomy.tissue("tumour")) >= 0.5
        if not self._tumour.any():
            raise InvalidInput("The segment 'tumour' is empty: there is nothing to grow.")
        if not self.grid.is_orthogonal:
            raise InvalidInput("The grid of the segmentation is sheared: tumour growth needs axes at right angles.")
        cover, weighted = np.zeros(self.grid.shape, np.float32), np.zeros(self.grid.shape, np.float32)
        for name, relative in relative_diffusivity.items():
            fraction = np.clip(np.asarray(anatomy.tissue(name), np.float32), 0.0, 1.0)
            cover += fraction
            weighted += np.float32(relative) * fraction
        cover[self._tumour] = weighted[self._tumour] = 1.0
        self._cover, self._weighted = cover, weighted
        self._barrier = np.asarray(anatomy.tissues["barrier"]) >= 0.5 if "barrier" in anatomy.tissues else None
        self._fibres = anatomy.images.get("diffusion_tensor")
        density = anatomy.images.get("density")
        self._given = given if density is None else lambda member: density
        self._slowest = min(relative_diffusivity, key=lambda name: relative_diffusivity[name])
        self._relative = dict(relative_diffusivity)
        self.volume_ml = float(np.count_nonzero(self._tumour) * self.grid.voxel_volume_ml)
        radius_mm = (3000.0 * self.volume_ml / (4.0 * math.pi)) ** (1 / 3)
        self._coarsest = radius_mm / VOXELS_A_RADIUS
        self._forced = spacing_mm
        self._made: dict[float, Stage] = {}
        self._low, self._high = bounding_box(self._tumour)
        self._distances: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def plan(self, members: Sequence[Mapping[str, float]], days: float, job: Job) -> list[float]:
        """The spacing for each member, in mm: makes wide enough boxes, and checks that each front is resolved."""
        margins: dict[float, float] = {}
        spacings = []
        for member in members:
            diffusivity, rate = member["diffusivity"], member["proliferation_rate"]
            margin = front_speed_mm_per_day(diffusivity, rate) * days + 3.0 * front_length_mm(diffusivity, rate) + 2.0
            spacing = self._spacing(math.sqrt(diffusivity / rate), margin)
            fastest = max(self._relative.values())
            check_resolution(diffusivity * fastest, rate, spacing, "the tissue where cells move most easily", job)
            slow = self._relative[self._slowest]
            if slow < fastest and math.sqrt(diffusivity * slow / rate) < WELL_RESOLVED * spacing:
                job.warn(
                    f"The tumour front in {self._slowest} is thinner than the grid resolves; its speed there is too "
                    f"high by 5 % or more."
                )
            margins[spacing] = max(margins.get(spacing, 0.0), margin)
            spacings.append(spacing)
        for spacing, margin in margins.items():
            self.prepare(spacing, margin)
        return spacings

    def prepare(self, spacing_mm: float, margin_mm: float) -> None:
        """Make the stage of a spacing, with a margin of at least so much round the tumour."""
        if spacing_mm not in self._made or self._made[spacing_mm].margin_mm < margin_mm:
            self._made[spacing_mm] = self._make(spacing_mm, margin_mm)

    def stage(self, spacing_mm: float) -> Stage:
        """The stage of a planned spacing."""
        return self._made[spacing_mm]

    def widen(self, spacing_mm: float) -> Stage:
        """The stage with half as much margin again."""
        self._made[spacing_mm] = self._make(spacing_mm, 1.5 * self._made[spacing_mm].margin_mm)
        return self._made[spacing_mm]

    def on_anatomy(self, density: np.ndarray, stage: Stage) -> np.ndarray:
        """A stage's field on the anatomy's whole grid, zero beyond the box and outside the tissue."""
        low, high = self._box(stage.margin_mm)
        part = resample(Image(density.astype(np.float32), stage.grid), self.grid.crop(low, high)).array
        box = tuple(slice(a, b) for a, b in zip(low, high))
        whole = np.zeros(self.grid.shape, np.float32)
        whole[box] = np.where(self._cover[box] >= 0.5, part, 0.0)
        return whole

    def _spacing(self, width_mm: float, margin_mm: float) -> float:
        if self._forced is not None:
            return self._forced
        needed = min(width_mm / WELL_RESOLVED, self._coarsest)
        low, high = self._box(margin_mm)
        volume = np.prod((high - low) * self.grid.spacing[::-1])
        affordable = [h for h in LADDER_MM if volume / h**3 <= MOST_VOXELS] or [LADDER_MM[-1]]
        return max([h for h in affordable if h <= needed * (1 + 1e-9)], default=affordable[0])

    def _box(self, margin_mm: float) -> tuple[np.ndarray, np.ndarray]:
        margin = np.ceil(margin_mm / self.grid.spacing[::-1]).astype(int)
        return np.maximum(self._low - margin, 0), np.minimum(self._high + margin, self.grid.shape)

    def _make(self, spacing_mm: float, margin_mm: float) -> Stage:
        low, high = self._box(margin_mm)
        box = tuple(slice(a, b) for a, b in zip(low, high))
        source = self.grid.crop(low, high)
        same = np.allclose(source.spacing, spacing_mm, rtol=0.01)
        grid = source if same else source.with_spacing(spacing_mm)

        def carried(values):
            # Nearest beyond the outermost voxel centres, half a voxel of which with_spacing covers too.
            return values if same else resample(Image(np.pad(values, 1, mode="edge"), _padded(source)), grid).array

        distance, cover, weighted = (
            carried(values) for values in (self._distance(low, high), self._cover[box], self._weighted[box])
        )
        domain = (cover >= 0.5) | (distance <= 0)
        relative = np.where(domain, weighted / np.maximum(cover, 1e-6), 1.0)
        relative = np.clip(relative, min(self._relative.values()), 1.0)
        faces = []
        for axis in range(3):
            everything: list[slice | int] = [slice(None)] * 3
            faces += [
                (*everything[:axis], end, *everything[axis + 1 :])
                for end, is_open in ((0, low[axis] > 0), (-1, high[axis] < self.grid.shape[axis]))
                if is_open
            ]
        tensor = None if self._fibres is None else fibre_tensor(self._fibres, grid)
        closed = None
        if self._barrier is not None:
            closed = closed_faces(self._barrier[box], source, grid)
            distance = distance_round(distance, domain, closed, float(grid.spacing.min()))
        return Stage(
            grid,
            ReactionDiffusion(domain, grid.spacing, relative, tensor=tensor, closed=closed),
            distance,
            np.sqrt(relative),
            margin_mm,
            tuple(faces),
            self._given,
        )

    def _distance(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Signed distance to the outline, half-way between the voxels on its sides, from low to high."""
        if self._distances is None or (low < self._distances[1]).any() or (high > self._distances[2]).any():
            box = tuple(slice(a, b) for a, b in zip(low, high))
            mask, spacing = self._tumour[box], self.grid.spacing[::-1]
            outside = distance_transform_edt(~mask, sampling=spacing)
            inside = distance_transform_edt(np.pad(mask, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
            half = 0.5 * spacing.min()
            self._distances = np.where(mask, half - inside, outside - half).astype(np.float32), low, high
        distance, first, _ = self._distances
        return distance[tuple(slice(a, b) for a, b in zip(low - first, high - first))]


def _padded(grid: Grid) -> Grid:
    matrix = grid.ijk_to_ras.copy()
    matrix[:3, 3] = grid.to_ras([-1, -1, -1])
    depth, height, width = grid.shape
    return Grid((depth + 2, height + 2, width + 2), matrix)
