"""Pathology painted into healthy label maps by the project's own solvers: training data that nobody had to outline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from TwinCore import Grid, Image, Job, resample
from TwinCore.transform import GridTransform
from TwinSegmentLib.generator import Recipe
from TwinSimulateLib.mass_effect import mass_effect
from TwinSimulateLib.numerics.diffusion import ReactionDiffusion

from .virtual_patient import draw_parameters

KINDS = {"tumour": 0.6, "lesions": 0.25, "ablation": 0.15}
"""What may be painted, and how often."""

WHITE = "cerebral white matter"
FLUID = ("lateral ventricle", "third ventricle", "fourth ventricle", "cerebrospinal fluid")
SPACING_MM = 2.0
"""Of the grid on which tumours grow: the painted outline, not the front's speed, is what matters."""

DEPTH_MM = 6.0
"""From the surface of the white matter to where a tumour starts."""

TUMOUR_ML, STRAIN, DAYS_A_LOOK, MOST_LOOKS = (2.0, 60.0), (0.05, 0.35), 5.0, 400
NECROTIC, CORE, OEDEMA = (0.70, 0.85), (0.45, 0.60), (0.15, 0.35)
"""Densities at the outlines: the ranges of the synthetic tumours of GliODIL (Balcerak and others 2025)."""

WITH_NECROSIS = 0.7
GREY_RATIO = 10.0
SOFT_FLUID = 0.1
"""Stiffness of fluid beside tissue's: it gives way, as ventricles do, and still carries the push across."""

LESIONS, LESION_MM, LESION_LEVEL = (5, 30), (1.5, 5.0), 0.5
NEEDLE_MM, ABLATION_ML, TISSUE_MM2_PER_S = (10.0, 30.0), (1.0, 20.0), 0.14
"""Length of the heated tip, size of the zone, and thermal diffusivity of tissue."""


@dataclass(frozen=True, eq=False)
class _Brain:
    """A label map as structures of a recipe, and its tissues on the grid on which things grow."""

    structures: Image
    coarse: Grid
    white: np.ndarray
    tissue: np.ndarray
    inside: np.ndarray


def painted(label_map: Image, recipe: Recipe, seed: int, kind: str | None = None, job: Job | None = None) -> Image:
    """A healthy label map with a tumour that has pushed the brain aside, with lesions, or with an ablation zone.

    A tumour grows by reaction and diffusion from a point in the white matter, and displaces what surrounds it; lesions
    grow by the same equation from many points near the ventricles; an ablation zone is where the heat of a needle
    spreads.

    Parameters
    ----------
    label_map : Image
        Of a whole head, in numbers that the recipe knows.
    recipe : Recipe
        "brain_tumour", or one with its structures.
    seed : int
        Decides everything that is random.
    kind : {"tumour", "lesions", "ablation"}, optional
        Drawn from `KINDS` if none.
    job : Job, optional

    Returns
    -------
    Image
        Labels on a grid of 1 mm along the patient's axes.

    Raises
    ------
    InvalidInput
        If the label map does not fit the recipe.
    """
    rng, job = np.random.default_rng(seed), job or Job()
    kind = kind or str(rng.choice(list(KINDS), p=list(KINDS.values())))
    brain = _read(label_map, recipe)
    paint = {"tumour": _tumour, "lesions": _lesions, "ablation": _ablation}[kind]
    labels = paint(brain, recipe, rng, job)
    return Image(labels, brain.structures.grid, name=f"{label_map.name} with {kind}")


def _read(label_map: Image, recipe: Recipe) -> _Brain:
    structures = recipe.structures_of(label_map)
    coarse = structures.grid.with_spacing(SPACING_MM)
    names = np.array([s.label_class for s in recipe.structures])

    def on_coarse(chosen: np.ndarray) -> np.ndarray:
        return resample(Image(chosen[structures.array].astype(np.float32), structures.grid), coarse).array

    white, inside = on_coarse(names == WHITE), on_coarse(recipe.brain)
    tissue = on_coarse(recipe.brain & ~np.isin(names, FLUID))
    return _Brain(structures, coarse, white, tissue, inside >= 0.5)


def _tumour(brain: _Brain, recipe: Recipe, rng: np.random.Generator, job: Job) -> np.ndarray:
    rate, diffusivity = draw_parameters(rng)
    least_ml = np.exp(rng.uniform(*np.log(TUMOUR_ML)))
    necrotic, core, oedema = (rng.uniform(*limits) for limits in (NECROTIC, CORE, OEDEMA))
    equation = _equation(brain)
    deep = ndimage.distance_transform_edt(brain.white >= 0.5, brain.coarse.spacing[::-1]) >= DEPTH_MM
    state = equation.state(_seeded(brain.coarse, _drawn(deep, 1, rng), [2.0]))
    for _ in range(MOST_LOOKS):
        state = equation.advance_state(state, diffusivity, rate, DAYS_A_LOOK, job)
        if np.count_nonzero(state >= core) * brain.coarse.voxel_volume_ml >= least_ml:
            break
    density = equation.density(state)
    stiffness = np.where(brain.tissue >= 0.5, 1.0, SOFT_FLUID)
    moved = mass_effect(density, brain.inside, brain.coarse, rng.uniform(*STRAIN), stiffness, job)
    parts = [("oedema", oedema), ("enhancing tumour", core)]
    if rng.random() < WITH_NECROSIS:
        parts.append(("necrotic tumour", necrotic))
    return _laid(brain, recipe, density, parts, moved)


def _lesions(brain: _Brain, recipe: Recipe, rng: np.random.Generator, job: Job) -> np.ndarray:
    count = int(rng.integers(*LESIONS))
    fluid = brain.inside & (brain.tissue < 0.5)
    near = ndimage.distance_transform_edt(~fluid, brain.coarse.spacing[::-1])
    likely = (brain.white >= 0.7) & (near < rng.exponential(8.0) + 3.0)
    radii = rng.uniform(*LESION_MM, count)
    seeds = _seeded(brain.coarse, _drawn(likely if likely.any() else brain.white >= 0.7, count, rng), radii / 2)
    density = _equation(brain).advance(seeds, diffusivity=0.1, rate=0.1, days=float(rng.uniform(5, 25)), job=job)
    return _laid(brain, recipe, density, [("white-matter lesion", LESION_LEVEL)])


def _ablation(brain: _Brain, recipe: Recipe, rng: np.random.Generator, job: Job) -> np.ndarray:
    """Where the heat of a needle's tip has spread furthest: the isotherm round the volume that is wanted."""
    deep = ndimage.distance_transform_edt(brain.tissue >= 0.5, brain.coarse.spacing[::-1]) >= DEPTH_MM
    tip = _drawn(deep, 1, rng)[0]
    along = rng.standard_normal(3)
    steps = np.arange(0, rng.uniform(*NEEDLE_MM), SPACING_MM)[:, None] * along / np.linalg.norm(along)
    heat = _seeded(brain.coarse, tip + steps / brain.coarse.spacing[::-1], [2.0] * len(steps))
    minutes = rng.uniform(2, 6)
    spread = ReactionDiffusion(brain.inside, brain.coarse.spacing)
    heat = spread.advance(np.minimum(heat, 1), 86400 * TISSUE_MM2_PER_S, 0.0, minutes / 1440, job)
    voxels = int(rng.uniform(*ABLATION_ML) / brain.coarse.voxel_volume_ml)
    level = float(np.sort(heat, axis=None)[-voxels])
    return _laid(brain, recipe, heat, [("ablation zone", level)])


def _equation(brain: _Brain) -> ReactionDiffusion:
    """Growth in white matter and, more slowly, in grey."""
    relative = np.where(brain.white >= 0.5, 1.0, 1.0 / GREY_RATIO)
    return ReactionDiffusion(brain.tissue >= 0.5, brain.coarse.spacing, relative)


def _drawn(mask: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Places (count, 3), in voxels along k, j, i."""
    places = np.argwhere(mask)
    return places[rng.integers(len(places), size=count)]


def _seeded(grid: Grid, places: np.ndarray, radii_mm) -> np.ndarray:
    """Small Gaussian clouds of cells, or of heat, at places in voxels."""
    density = np.zeros(grid.shape)
    spacing = grid.spacing[::-1]
    for place, radius in zip(places, radii_mm):
        reach = np.ceil(3 * radius / spacing).astype(int)
        low = np.maximum(np.floor(place).astype(int) - reach, 0)
        box = tuple(slice(a, a + 2 * r + 1) for a, r in zip(low, reach))
        offsets = np.moveaxis(np.indices(density[box].shape), 0, -1) + low - place
        cloud = np.exp(-0.5 * ((offsets * spacing) ** 2).sum(-1) / radius**2)
        density[box] = np.maximum(density[box], 0.9 * cloud)
    return density


def _laid(
    brain: _Brain,
    recipe: Recipe,
    density: np.ndarray,
    parts: list[tuple[str, float]],
    moved: GridTransform | None = None,
) -> np.ndarray:
    """The label map, moved if need be, with each part where the density is at least its threshold, the last on top."""
    grid, names = brain.structures.grid, [s.name for s in recipe.structures]
    numbers = np.array([s.labels[0] for s in recipe.structures], np.uint16)
    structures = resample(brain.structures, grid, moved, interpolation="nearest").array
    fine = resample(Image(density.astype(np.float32), brain.coarse), grid, moved).array
    fluid = np.isin([s.label_class for s in recipe.structures], FLUID)
    solid = (recipe.brain & ~fluid)[structures]
    for name, threshold in parts:
        structures = np.where(solid & (fine >= threshold), np.uint8(names.index(name)), structures)
    return numbers[structures]
