"""Where a tumour is simulated: the box that its front can reach, on a grid fine enough for it and no finer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from TwinCore import Grid, Image, InvalidInput, Job, bounding_box, resample

from .area_average import area_average
from .fibre_tensor import fibre_tensor
from .mass_effect import TissueMechanics
from .model import Anatomy
from .moving_tissue import MovingTissue
from .numerics.barrier import closed_faces, distance_round
from .numerics.deformed_diffusion import DeformedDiffusion
from .numerics.diffusion import ReactionDiffusion
from .numerics.distance import signed_distance
from .numerics.travelling_wave import (
    WELL_RESOLVED,
    check_resolution,
    front_length_mm,
    front_profile,
    front_reach_mm,
)
from .treatment_maps import TreatmentMaps

LADDER_MM = tuple(0.5 * 2 ** (n / 2) for n in range(5))
"""Spacings to choose from, 0.5 to 2 mm: few, so that the members of an ensemble share their grids."""
VOXELS_A_RADIUS = 5.0
MOST_VOXELS = 12_000_000
EDGE_DENSITY = 0.01
"""Density at the edge of the box above which the box is widened."""
SPARE_MM = 2.0
"""Between the edge of the box and where a wave would come to that density."""
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
    radius_mm : float
        Three times the tumour's volume over its surface: the radius of a ball.
    margin_mm : float
    open_faces : tuple of slices
        The faces of the box beyond which the anatomy goes on.
    on_domain : callable
        From a part of the domain, shape (k, j, i), to the same equation on it alone.
    moving : callable
        From (start, strain, stress coupling) to the equation in tissue that the tumour moves.
    cellularity : array, shape (k, j, i), optional
        Density at the reference scan where it is known within the outline, not a number elsewhere.
    given : callable, optional
        The density at the reference scan, where it is known otherwise than from the outline.
    """

    grid: Grid
    equation: ReactionDiffusion
    distance_mm: np.ndarray
    relative_width: np.ndarray
    radius_mm: float
    margin_mm: float
    open_faces: tuple[tuple[slice | int, ...], ...]
    on_domain: Callable[[np.ndarray], ReactionDiffusion]
    moving: Callable[[np.ndarray, float, float], MovingTissue]
    cellularity: np.ndarray | None = None
    given: Given | None = None

    def growing(self, member: Mapping[str, float], start: np.ndarray) -> ReactionDiffusion | MovingTissue:
        """The equation of a member: in tissue that moves, if its `mass_effect_strain` is not zero."""
        strain = member.get("mass_effect_strain", 0.0)
        return self.equation if strain == 0 else self.moving(start, strain, member.get("stress_coupling", 0.0))

    def day_zero(self, member: Mapping[str, float]) -> np.ndarray:
        """A member's density at the reference scan: the one given, or the travelling wave along the outline."""
        if self.given is None:
            growth = member["diffusivity"], member["proliferation_rate"]
            return self.start(*growth, member["detection_threshold"], member["outline_scale"])
        density = resample(self.given(member), self.grid).array
        return np.where(self.equation.domain, np.clip(density, 0.0, 1.0), 0.0)

    def start(self, diffusivity: float, rate: float, threshold: float, outline_scale: float = 1.0) -> np.ndarray:
        """The density at the reference scan: the travelling wave along the outline; {u >= threshold} is the tumour.

        The outline is moved outwards or inwards all round so that the volume within is `outline_scale` times its own.

        Each voxel takes the wave of its own tissue, so that the unseen part reaches farther into white than into grey
        matter. Where the cellularity is known it takes the place of the wave.
        """
        length = front_length_mm(diffusivity, rate) * self.relative_width
        distance_mm = self.distance_mm - self.radius_mm * (outline_scale ** (1 / 3) - 1.0)
        wave = np.where(self.equation.domain, front_profile(distance_mm, length, threshold), 0.0)
        return wave if self.cellularity is None else np.where(np.isnan(self.cellularity), wave, self.cellularity)

    def is_reached(self, density: np.ndarray) -> bool:
        """Whether the tumour has come to the edge of the box where the anatomy goes on."""
        return any(float(density[face].max()) > EDGE_DENSITY for face in self.open_faces)


class Stages:
    """The stages of one anatomy, made when first asked for.

    Parameters
    ----------
    anatomy : Anatomy
        Its tissue "barrier" and its images "diffusion_tensor", "cellularity" and "density" (at the reference scan, in
        place of the travelling wave along the outline) are used where they are there.
    relative_diffusivity : mapping of str to float
        Of each tissue that the tumour can grow into; the tumour's own voxels count as 1.
    spacing_mm : float, optional
        Spacing to use for every run, instead of the one chosen from the front's width.
    given : callable, optional
        Density at the reference scan of each member, where it is not the same for all.
    stiffness_kpa : mapping of str to float, optional
        Young's modulus of each tissue and of the tumour, for runs in which the tissue moves.

    Attributes
    ----------
    maps : TreatmentMaps
        Where a treatment acts.
    """

    def __init__(
        self,
        anatomy: Anatomy,
        relative_diffusivity: Mapping[str, float],
        spacing_mm: float | None = None,
        given: Given | None = None,
        stiffness_kpa: Mapping[str, float] | None = None,
    ):
        self.grid = anatomy.grid
        self._tumour = np.asarray(anatomy.tissue("tumour")) >= 0.5
        if not self._tumour.any():
            raise InvalidInput("The segment 'tumour' is empty: there is nothing to grow.")
        if not self.grid.is_orthogonal:
            raise InvalidInput("The grid of the segmentation is sheared: tumour growth needs axes at right angles.")
        self.maps = TreatmentMaps(anatomy)
        self._tissues = {name: np.asarray(anatomy.tissue(name)) for name in relative_diffusivity}
        self._barrier = np.asarray(anatomy.tissues["barrier"]) >= 0.5 if "barrier" in anatomy.tissues else None
        self._fibres = anatomy.images.get("diffusion_tensor")
        self._cellularity = anatomy.images.get("cellularity")
        density = anatomy.images.get("density")
        self._given = given if density is None else lambda member: density
        self._slowest = min(relative_diffusivity, key=lambda name: relative_diffusivity[name])
        self._relative = dict(relative_diffusivity)
        self.volume_ml = float(np.count_nonzero(self._tumour) * self.grid.voxel_volume_ml)
        self._coarsest = (3000.0 * self.volume_ml / (4.0 * math.pi)) ** (1 / 3) / VOXELS_A_RADIUS
        self._forced = spacing_mm
        self._made: dict[float, Stage] = {}
        self._low, self._high = bounding_box(self._tumour)
        self._mapped: tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]] | None = None
        self._radius_mm = self._volume_over_surface_mm() * 3.0
        self._stiffness_kpa = stiffness_kpa or {}

    @cached_property
    def mechanics(self) -> TissueMechanics:
        """What surrounds the tumour, as it gives way: of the whole anatomy."""
        tissues = {name: np.where(self._tumour, 0.0, tissue) for name, tissue in self._tissues.items()}
        return TissueMechanics(self.grid, {**tissues, "tumour": self._tumour}, self._stiffness_kpa)

    def plan(self, members: Sequence[Mapping[str, float]], days: float, job: Job) -> list[float]:
        """The spacing for each member, in mm: makes wide enough boxes, and checks that each front is resolved."""
        margins: dict[float, float] = {}
        spacings = []
        for member in members:
            diffusivity, rate = member["diffusivity"], member["proliferation_rate"]
            reach = front_reach_mm(diffusivity, rate, days, member["detection_threshold"], EDGE_DENSITY)
            margin = max(reach, 0.0) + SPARE_MM
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
        has_moved = "mechanics" in self.__dict__  # tissue may have come to where there was none
        whole[box] = part if has_moved else np.where(self._maps(low, high)[0] >= 0.5, part, 0.0)
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

        cover, weighted, distance = (carried(values) for values in self._maps(low, high))
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
        cellularity = None
        if self._cellularity is not None:
            density, known = area_average(self._cellularity, grid)
            cellularity = np.where(known & domain & (distance <= 0), np.clip(density, 0.0, 1.0), np.nan)
        tensor = None if self._fibres is None else fibre_tensor(self._fibres, grid)
        closed = None
        if self._barrier is not None:
            closed = closed_faces(self._barrier[box], source, grid)
            distance = distance_round(distance, domain, closed, float(grid.spacing.min()))

        def on_domain(part: np.ndarray) -> ReactionDiffusion:
            return ReactionDiffusion(part, grid.spacing, relative, tensor=tensor, closed=closed)

        def moving(start: np.ndarray, strain: float, stress_coupling: float) -> MovingTissue:
            deformed = DeformedDiffusion(domain, grid.spacing, relative, tensor, closed)
            return MovingTissue(self.mechanics, deformed, grid, start, strain, stress_coupling)

        return Stage(
            grid,
            on_domain(domain),
            distance,
            np.sqrt(relative),
            self._radius_mm,
            margin_mm,
            tuple(faces),
            on_domain,
            moving,
            cellularity,
            self._given,
        )

    def _volume_over_surface_mm(self) -> float:
        """The surface being that of the voxels within a voxel of the outline, over the thickness of that layer."""
        reach = float(self.grid.spacing.max())
        near = np.abs(self._maps(*self._box(2.0 * reach))[2]) <= reach
        return 2.0 * reach * np.count_nonzero(self._tumour) / np.count_nonzero(near)

    def _maps(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, ...]:
        """Share of each voxel that is tissue, the same weighted by its relative diffusivity, and the signed distance to
        the outline, half-way between the voxels on its sides; from low to high, kept for boxes within them."""
        if self._mapped is None or (low < self._mapped[0]).any() or (high > self._mapped[1]).any():
            box = tuple(slice(a, b) for a, b in zip(low, high))
            mask = self._tumour[box]
            cover, weighted = np.zeros(mask.shape, np.float32), np.zeros(mask.shape, np.float32)
            for name, tissue in self._tissues.items():
                fraction = np.clip(tissue[box].astype(np.float32), 0.0, 1.0)
                cover += fraction
                weighted += np.float32(self._relative[name]) * fraction
            cover[mask] = weighted[mask] = 1.0
            self._mapped = low, high, (cover, weighted, signed_distance(mask, self.grid.spacing[::-1]))
        first, _, maps = self._mapped
        part = tuple(slice(a, b) for a, b in zip(low - first, high - first))
        return tuple(values[part] for values in maps)


def _padded(grid: Grid) -> Grid:
    matrix = grid.ijk_to_ras.copy()
    matrix[:3, 3] = grid.to_ras([-1, -1, -1])
    depth, height, width = grid.shape
    return Grid((depth + 2, height + 2, width + 2), matrix)
