"""What a virtual patient looks like: a T1 with contrast, a PET in another pose, and outlines as if drawn by hand."""

from __future__ import annotations

import math

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial.transform import Rotation

from TwinCore import Grid, Image, LinearTransform, bounding_box, centroid, resample
from TwinCore.itk import to_sitk
from TwinCore.units import NO_UNIT, SUV_BODY_WEIGHT

ENHANCING, INFILTRATED = 0.8, 0.16
"""Densities at the outline of enhancement on T1 with contrast and of the changes on FLAIR."""
RIM_MM = 5.0
"""Thickness of the enhancing rim: what lies deeper is necrotic."""
SOFT_EDGE_VOXELS = 0.7

T1_RIM, T1_NECROSIS, T1_DARKENING, T1_NOISE = 1.25, 0.3, 0.05, 0.02
"""Of the brightest normal tissue: rim, core, the faint darkening of infiltrated tissue by its density, and noise."""

PET_GRID_MM, PET_SHAPE = (2.5, 2.5, 3.0), (84, 108, 108)
PET_FWHM_MM, PET_NOISE_SMOOTHING_MM, PET_NOISE = 6.5, 3.0, 0.05
SUV = {"white": 1.6, "grey": 4.0, "fluid": 0.4, "skull": 0.3, "scalp": 0.8, "tumour": 14.0, "necrosis": 1.0}
"""Uptake in g/mL, between those of FDG and of an amino acid: no real tracer's."""
SKULL_MM, SCALP_MM = 7.0, 14.0
HEAD_MARGIN_MM, ACTIVITY_MM = 24.0, 2.0
"""Added around the maps for skull and scalp, and spacing at which uptake is laid out before it is blurred."""
PET_SHIFT_MM, PET_TURN_DEGREES = (30.0, 80.0), (10.0, 25.0)

MARGIN = 12
"""Voxels around the tumour within which it is drawn."""
OUTLINE_BIAS_MM, OUTLINE_WOBBLE_MM, OUTLINE_SMOOTHNESS_MM = 0.4, 0.7, 6.0
"""Standard deviations of an outline's shift as a whole and of its waviness, and how smooth that is."""


def paint_t1(t1: Image, density: np.ndarray, rng: np.random.Generator) -> Image:
    """The T1 with contrast medium: bright rim, dark necrosis, faint infiltration; noise where there is tissue.

    Parameters
    ----------
    t1 : Image
        Skull-stripped T1 of the brain without tumour, zero around it.
    density : array, shape (k, j, i)
        Of tumour cells, as a fraction of the carrying capacity.
    rng : Generator
    """
    white = float(np.percentile(t1.array[t1.array > 0], 95))
    rim, necrosis = tumour_parts(density, t1.grid)
    painted = t1.array * (1 - T1_DARKENING * np.clip(density / ENHANCING, 0, 1))
    for part, value in ((rim, T1_RIM), (necrosis, T1_NECROSIS)):
        painted = painted * (1 - part) + value * white * part
    painted += T1_NOISE * white * rng.standard_normal(painted.shape)
    inside = t1.array > 0
    return Image(
        np.where(inside, np.clip(np.rint(painted), 1, None), 0).astype(np.int16), t1.grid, "MR", NO_UNIT, 0.0, "T1"
    )


def pet_pose(centre_ras: np.ndarray, rng: np.random.Generator) -> LinearTransform:
    """The move PET -> T1 of a head that lies turned and shifted in the other scanner; turned about its centre."""
    axis, way = (v / np.linalg.norm(v) for v in rng.standard_normal((2, 3)))
    turn = Rotation.from_rotvec(np.deg2rad(rng.uniform(*PET_TURN_DEGREES)) * axis).as_matrix()
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 3] = centre_ras - turn @ (centre_ras + rng.uniform(*PET_SHIFT_MM) * way)
    return LinearTransform(matrix)


def simulate_pet(
    grey: Image, white: Image, head: np.ndarray, density: np.ndarray, pose: LinearTransform, rng: np.random.Generator
) -> Image:
    """A PET of the head in SUV by body weight: uptake by tissue and tumour density, blurred, in another pose, noisy.

    Parameters
    ----------
    grey, white : Image
        Fraction of each voxel, 0 to 1.
    head : bool array, shape (k, j, i)
        The brain with its fluid; skull and scalp are laid around it.
    density : array, shape (k, j, i)
    pose : LinearTransform
        Move PET -> T1.
    rng : Generator
    """
    grid = _head_grid(grey.grid)
    necrosis = tumour_parts(density, grey.grid)[1]
    g, w, u, brain, necrosis = (
        resample(Image(np.asarray(a, np.float32), grey.grid), grid).array
        for a in (grey.array, white.array, density, head, necrosis)
    )
    away = signed_distance(brain >= 0.5, grid)
    normal = SUV["grey"] * g + SUV["white"] * w + SUV["fluid"] * np.clip(1 - g - w, 0, 1)
    outer = np.select([away <= SKULL_MM, away <= SCALP_MM], [SUV["skull"], SUV["scalp"]], 0.0)
    activity = brain * (normal * (1 - u) + SUV["tumour"] * u) + (1 - brain) * outer
    activity = activity * (1 - necrosis) + SUV["necrosis"] * necrosis
    blurred = ndimage.gaussian_filter(activity.astype(np.float32), _sigma(PET_FWHM_MM) / grid.spacing[::-1])

    there = pose.pull(centroid(brain, grid))
    matrix = np.diag([*PET_GRID_MM, 1.0])
    matrix[:3, 3] = np.round(there - matrix[:3, :3] @ ((np.array(PET_SHAPE[::-1]) - 1) / 2.0))
    pet = resample(Image(blurred, grid), Grid(PET_SHAPE, matrix), pose.inverse()).array
    noise = ndimage.gaussian_filter(
        rng.standard_normal(pet.shape), PET_NOISE_SMOOTHING_MM / np.array(PET_GRID_MM[::-1])
    )
    # Counting noise: its deviation grows with the root of the activity, PET_NOISE of it in grey matter.
    pet = pet + PET_NOISE * np.sqrt(SUV["grey"] * np.maximum(pet, 0)) * noise / noise.std()
    return Image(np.clip(pet, 0, None).astype(np.float32), Grid(PET_SHAPE, matrix), "PT", SUV_BODY_WEIGHT, 0.0, "PET")


def draw_outlines(density: np.ndarray, grid: Grid, domain: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Outlines, each a little too wide or narrow and wavy, as drawn ones are: 1 enhancing, 2 infiltrated around it."""
    low, high = bounding_box(density >= INFILTRATED, MARGIN)
    box = tuple(slice(a, b) for a, b in zip(low, high))
    part, near, labels = grid.crop(low, high), density[box], np.zeros(grid.shape, np.uint8)
    for label, threshold in ((2, INFILTRATED), (1, ENHANCING)):
        wobble = ndimage.gaussian_filter(rng.standard_normal(part.shape), OUTLINE_SMOOTHNESS_MM / grid.spacing[::-1])
        error = OUTLINE_BIAS_MM * rng.standard_normal() + OUTLINE_WOBBLE_MM * wobble / wobble.std()
        labels[box][(signed_distance(near >= threshold, part) + error <= 0) & domain[box]] = label
    return labels


def signed_distance(mask: np.ndarray, grid: Grid) -> np.ndarray:
    """Distance of each voxel to the mask's surface, half-way between voxels on its two sides; mm, negative inside."""
    outside, inside = (
        sitk.GetArrayFromImage(
            sitk.SignedMaurerDistanceMap(to_sitk(Image(part, grid)), squaredDistance=False, useImageSpacing=True)
        )
        for part in (mask, ~mask)
    )
    half = 0.5 * float(grid.spacing.min())
    return np.where(mask, half - inside, outside - half)


def tumour_parts(density: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Share of each voxel that is enhancing rim, and share that is necrotic; soft edges."""
    low, high = bounding_box(density >= ENHANCING, MARGIN)
    box = tuple(slice(a, b) for a, b in zip(low, high))
    core = density[box] >= ENHANCING
    deep = signed_distance(core, grid.crop(low, high)) < -RIM_MM
    rim, necrosis = np.zeros((2, *grid.shape), np.float32)
    for part, mask in ((rim, core & ~deep), (necrosis, deep)):
        part[box] = ndimage.gaussian_filter(mask.astype(np.float32), SOFT_EDGE_VOXELS)
    return rim, necrosis


def _sigma(fwhm: float) -> float:
    return fwhm / (2.0 * math.sqrt(2.0 * math.log(2.0)))


def _head_grid(brain: Grid) -> Grid:
    """The brain's grid with room for skull and scalp around it, in voxels of `ACTIVITY_MM`."""
    margin = np.ceil(HEAD_MARGIN_MM / brain.spacing).astype(int)
    matrix = brain.ijk_to_ras.copy()
    matrix[:3, 3] = brain.to_ras(-margin)
    return Grid(tuple(np.array(brain.shape) + 2 * margin[::-1]), matrix).with_spacing(ACTIVITY_MM)
