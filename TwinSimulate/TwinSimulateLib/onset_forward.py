"""A glioma grown from a point to the day of its images, and what it would show on them, on a coarse grid.

Between two runs only D T and rho T matter, so a run's time is 1 and the solver is given these. What is seen is
compared in cubes of 12 mm: the share of each that an outline fills is a smooth function of the unknowns, and says by
its size how far the outline is off.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from scipy.special import expit

from TwinCore import Grid, Image, InvalidInput, Job, bounding_box, resample

from .model import Anatomy
from .numerics.diffusion import ReactionDiffusion
from .numerics.one_thread import one_thread
from .numerics.travelling_wave import front_length_mm

CELL_MM = 12.0
MARGIN_MM = 30.0
SEED_SD_MM, SEED_PEAK = 3.0, 0.1
FLOOR = 1e-18
"""Density that stands for none: smaller numbers would be denormal, and steps ten times slower."""
EDGE_VOXELS = 2.5
"""Steepness of an outline: what it fills of a voxel falls from 0.9 to 0.1 over 1.8 voxels across a front."""
KEPT = 4


class OnsetForward:
    """The forward model of one patient on one grid.

    Parameters
    ----------
    anatomy : Anatomy
        Tissues "white matter", "grey matter", "tumour" (enhancement on T1 and what it encloses) and "flair"; inside the
        tumour, where the tissue cannot be told, cells are taken to move as in white matter. Optional are the tissue
        "necrosis" and the image "pet", which is used where it is above 0 inside the tumour but outside necrosis.
    spacing_mm : float
        A divisor of 12 mm.

    Attributes
    ----------
    grid : Grid
        Along the anatomy's axes, in whole cubes of 12 mm.
    domain : bool array, shape (k, j, i)
    flair_share : array, shape (k, j, i)
        Share of each voxel that the outline on FLAIR fills.
    flair, tumour : arrays, shape (cubes,)
        Share of each cube that the outline fills.
    pet_weight, pet : arrays, shape (cubes,)
        Share of each cube in which the PET is used, and its mean there; empty without PET.
    cubes : int array, shape (cubes, 3)
        Position of each, in cubes.
    """

    def __init__(self, anatomy: Anatomy, spacing_mm: float):
        tumour = np.asarray(anatomy.tissue("tumour")) >= 0.5
        flair = (np.asarray(anatomy.tissue("flair")) >= 0.5) | tumour
        if not anatomy.grid.is_orthogonal:
            raise InvalidInput("The grid of the segmentation is sheared: tumour growth needs axes at right angles.")
        if not tumour.any():
            raise InvalidInput("The segment 'tumour' is empty: there is nothing to explain.")
        self._source, self.grid, self._box = anatomy.grid, *_cubes(anatomy, flair, spacing_mm)
        self._per_cube = round(CELL_MM / spacing_mm)
        white, grey = (self._averaged(np.clip(anatomy.tissue(f"{name} matter"), 0, 1)) for name in ("white", "grey"))
        core = self._averaged(tumour)
        self._white, self._grey = (1.0 - core) * white + core, (1.0 - core) * grey
        self._cover = self._white + self._grey
        self.domain = self._cover >= 0.5
        self.flair_share = self._averaged(flair)
        self.flair, self.tumour = (self.in_cubes(m * self.domain) for m in (self.flair_share, core))
        self.cubes = np.argwhere(np.ones([n // self._per_cube for n in self.grid.shape], bool))
        self.pet = self.pet_weight = np.zeros(0)
        if "pet" in anatomy.images:
            self._take_pet(anatomy, tumour)
        at = np.stack(np.meshgrid(*(np.arange(n) for n in self.grid.shape), indexing="ij")[::-1], axis=-1)
        self._ras = self.grid.to_ras(at).astype(np.float32)
        self._equations: dict[float, ReactionDiffusion] = {}
        self._densities: dict[tuple[float, ...], np.ndarray] = {}

    def density(self, values: Mapping[str, float], job: Job | None = None) -> np.ndarray:
        """The density on the grid on the day of the images, shape (k, j, i).

        Parameters
        ----------
        values : mapping of str to float
            "origin_r", "origin_a", "origin_s" (mm), "diffusivity", "proliferation_rate", "age" and
            "white_to_grey_ratio".
        job : Job, optional
        """
        origin = tuple(values[f"origin_{axis}"] for axis in "ras")
        spread, growth = (values[name] * values["age"] for name in ("diffusivity", "proliferation_rate"))
        key = (*origin, spread, growth, values["white_to_grey_ratio"])
        if key not in self._densities:
            equation = self._equation(values["white_to_grey_ratio"])
            square_mm = ((self._ras - np.asarray(origin, np.float32)) ** 2).sum(axis=-1)
            start = np.maximum(SEED_PEAK * np.exp(-0.5 * square_mm / SEED_SD_MM**2), FLOOR)
            with one_thread():
                state = equation.advance_state(equation.state(start), spread, growth, 1.0, job)
            _keep(self._densities, key, equation.density(state))
        return self._densities[key]

    def outline(self, density: np.ndarray, values: Mapping[str, float], threshold: float) -> np.ndarray:
        """Share of each cube that {u >= threshold} fills, shape (cubes,).

        The outline is placed in a voxel by the phase ln(u^-1/2 - 1), which a travelling wave makes linear in distance.
        """
        voxels = front_length_mm(values["diffusivity"], values["proliferation_rate"]) / self.grid.spacing.min()
        inside = np.clip(density[self.domain], 1e-12, 0.999999)
        ahead = np.log(1.0 / np.sqrt(inside) - 1.0) - math.log(threshold**-0.5 - 1.0)
        share = np.zeros(density.shape, np.float32)
        share[self.domain] = expit(np.float32(-EDGE_VOXELS * voxels) * ahead)
        return self.in_cubes(share)

    def mean_where_pet(self, density: np.ndarray) -> np.ndarray:
        """Mean of the density in each cube where the PET is used."""
        return self.in_cubes(density * self._pet_used) / np.maximum(self.pet_weight, 1e-6)

    def in_cubes(self, values: np.ndarray) -> np.ndarray:
        """Mean over each cube of values on the grid, shape (cubes,)."""
        return _block_means(values, self._per_cube).ravel()

    def image(self, density: np.ndarray) -> Image:
        """A density with its place in the patient."""
        return Image(density, self.grid, name="density")

    def _equation(self, ratio: float) -> ReactionDiffusion:
        if ratio not in self._equations:
            relative = np.where(self.domain, (self._white + self._grey / ratio) / np.maximum(self._cover, 1e-6), 1.0)
            equation = ReactionDiffusion(self.domain, self.grid.spacing, np.clip(relative, 1.0 / ratio, 1.0))
            _keep(self._equations, ratio, equation)
        return self._equations[ratio]

    def _averaged(self, values: np.ndarray) -> np.ndarray:
        """Values of the anatomy as means over the voxels of the grid."""
        low, high = self._box
        part = Image(
            values[tuple(slice(a, b) for a, b in zip(low, high))].astype(np.float32), self._source.crop(low, high)
        )
        n = max(1, math.ceil(float((self.grid.spacing / self._source.spacing).max()) - 1e-6))
        matrix = self.grid.ijk_to_ras.copy()
        matrix[:3, :3] /= n
        matrix[:3, 3] = self.grid.to_ras(np.full(3, (1 - n) / (2.0 * n)))
        finer = resample(part, Grid(tuple(n * np.array(self.grid.shape)), matrix)).array
        return _block_means(finer, n).astype(np.float32)

    def _take_pet(self, anatomy: Anatomy, tumour: np.ndarray) -> None:
        pet = pet_of(anatomy)
        used = tumour & (pet > 0)
        if "necrosis" in anatomy.tissues:
            used &= np.asarray(anatomy.tissue("necrosis")) < 0.5
        if not used.any():
            raise InvalidInput("The PET shows nothing inside the tumour and outside necrosis.")
        self._pet_used = self._averaged(used) * self.domain
        self.pet_weight = self.in_cubes(self._pet_used)
        self.pet = self.in_cubes(self._averaged(pet * used) * self.domain) / np.maximum(self.pet_weight, 1e-6)


def pet_of(anatomy: Anatomy) -> np.ndarray:
    """The PET on the grid of the tissues, shape (k, j, i); `InvalidInput` if it is not finite there."""
    image = anatomy.images["pet"]
    on_grid = image if image.grid.same_as(anatomy.grid) else resample(image, anatomy.grid)
    pet = np.asarray(on_grid.array, np.float32)
    if not np.isfinite(pet).all():
        raise InvalidInput("The PET has values that are not finite.")
    return pet


def _cubes(anatomy: Anatomy, flair: np.ndarray, spacing_mm: float) -> tuple[Grid, tuple[np.ndarray, np.ndarray]]:
    """A grid of whole cubes about the tumour and a margin, as far as tissue goes, and the anatomy's voxels there."""
    source = anatomy.grid
    margin = np.ceil(MARGIN_MM / source.spacing[::-1]).astype(int)
    tissue = (np.asarray(anatomy.tissue("white matter")) > 0) | (np.asarray(anatomy.tissue("grey matter")) > 0) | flair
    (low, high), (first, last) = bounding_box(flair, margin), bounding_box(tissue)
    low, high = np.maximum(low, first), np.minimum(high, last)
    count = np.ceil((high - low) * source.spacing[::-1] / CELL_MM).astype(int)
    per_cube = CELL_MM / spacing_mm
    if abs(per_cube - round(per_cube)) > 1e-6:
        raise InvalidInput(
            f"The spacing of the onset's grid must divide {CELL_MM:g} mm, which {spacing_mm:g} mm does not."
        )
    middle = source.to_ras((low + high - 1)[::-1] / 2.0)
    shape = count * round(per_cube)
    matrix = np.eye(4)
    matrix[:3, :3] = source.direction * spacing_mm
    matrix[:3, 3] = middle - matrix[:3, :3] @ ((shape[::-1] - 1) / 2.0)
    reach = np.ceil((count * CELL_MM / source.spacing[::-1] - (high - low)) / 2.0).astype(int) + 2
    return Grid(tuple(shape), matrix), (np.maximum(low - reach, 0), np.minimum(high + reach, source.shape))


def _block_means(values: np.ndarray, n: int) -> np.ndarray:
    """Mean of each block of n x n x n voxels."""
    k, j, i = (size // n for size in values.shape)
    rows = np.add.reduceat(values.reshape(-1, i * n), np.arange(0, i * n, n), axis=1, dtype=float)
    return rows.reshape(k, n, j, n, i).sum(axis=(1, 3)) / n**3


def _keep(kept: dict, key, value) -> None:
    while len(kept) >= KEPT:
        kept.pop(next(iter(kept)))
    kept[key] = value
