"""A virtual patient whose truth is known: a tumour grown in the MNI152 brain, its images, outlines and case file.

The brain is the ICBM 2009a nonlinear symmetric average (Fonov et al. 2011, NeuroImage 54:313) as nilearn's wheel has
it. The tumour grows from a few cells by the solver that the growth model uses, on the same 1 mm grid: calibration meets
another initial state, tissues and outlines than the truth's, but not another equation or numerical error.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from TwinCore import Image, Job, LinearTransform, MissingInput, MissingPackage, bounding_box, centroid
from TwinCore.itk import to_sitk
from TwinCore.volume_file import read_volume
from TwinSimulateLib.numerics.diffusion import ReactionDiffusion
from TwinSimulateLib.registry import find

from .virtual_images import ENHANCING, INFILTRATED, draw_outlines, paint_t1, pet_pose, signed_distance, simulate_pet

MAPS = {"t1": "T1", "gm": "grey matter", "wm": "white matter"}
SEED_DENSITY, SEED_RADIUS_MM = 0.5, 2.0
DAYS_A_LOOK = 3.0
FIRST_VISIT_ML, DAYS_BETWEEN = (15.0, 35.0), (30, 60)
FRONT_MM = (1.0, 2.5)
"""Draws with another sqrt(D/rho) are passed over: a thinner front is not carried well by the maps' grid of 1 mm, and a
wider one fills a hemisphere with its infiltration by the first visit."""
DEPTH_MM, WHITE, MIDLINE_MM, LOWEST_Z_MM = 14.0, 0.9, 18.0, 5.0
"""Where a tumour may start: depth below the brain's surface, white matter, distance to the mid-plane, lowest RAS z."""


@dataclass(frozen=True, eq=False)
class Growth:
    """A tumour's true parameters and its density at two visits, `days` apart."""

    proliferation_rate: float
    diffusivity: float
    days: int
    densities: tuple[np.ndarray, np.ndarray]


def make_virtual_patient(folder: Path, seed: int = 0, job: Job | None = None) -> Path:
    """Write a virtual patient's images, outlines of two visits and case file.

    >>> make_virtual_patient(Path("patient_0"), seed=0)                       # doctest: +SKIP
    PosixPath('patient_0/case.toml')

    Parameters
    ----------
    folder : Path
        Made if it is not there; files of the same names are replaced.
    seed : int
        Decides everything that is random: the same seed gives the same patient.
    job : Job, optional

    Returns
    -------
    Path
        The case file, with the truth in its table `truth`.

    Raises
    ------
    MissingPackage
        If nilearn is not installed.
    """
    job = job or Job()
    folder = Path(folder)
    read, growing, imaging = job.split(brain=1, tumour=12, images=12)
    parameter_rng, place_rng, pose_rng, t1_rng, pet_rng, *outline_rngs = np.random.default_rng(seed).spawn(7)
    with read:
        maps = brain_maps()
        t1, grey, white = (maps[name] for name in MAPS)
        head = ndimage.binary_fill_holes(ndimage.binary_closing(t1.array > 0, iterations=2))
        domain = grey.array + white.array >= 0.5
    with growing:
        growth = grow_tumour(grey, white, start_point(white, head, place_rng), parameter_rng, growing)
    with imaging:
        pose = pet_pose(centroid(head, t1.grid), pose_rng)
        files = {"t1.nii.gz": paint_t1(t1, growth.densities[0], t1_rng)}
        imaging.report(0.2, "PET")
        files["pet.nii.gz"] = simulate_pet(grey, white, head, growth.densities[0], pose, pet_rng)
        imaging.report(0.5, "outlines")
        for visit, (density, rng) in enumerate(zip(growth.densities, outline_rngs)):
            files[f"visit_{visit}_labels.nii.gz"] = Image(draw_outlines(density, t1.grid, domain, rng), t1.grid)
        imaging.report(0.7, "files")
        folder.mkdir(parents=True, exist_ok=True)
        for name, image in files.items():
            sitk.WriteImage(to_sitk(image), str(folder / name), useCompression=True)
        volume_ml = float(np.count_nonzero(growth.densities[0] >= ENHANCING) * t1.grid.voxel_volume_ml)
        case = folder / "case.toml"
        case.write_text(case_text(seed, growth, volume_ml, pose), "utf-8")
    return case


def brain_maps() -> dict[str, Image]:
    """T1 (0 to 255), grey and white matter (fraction of each voxel) of the MNI152 brain, by their key in `MAPS`."""
    found = importlib.util.find_spec("nilearn")
    if found is None or found.origin is None:
        raise MissingPackage("nilearn", "A virtual patient", "pip install nilearn")
    folder = Path(found.origin).parent / "datasets" / "data"
    maps = {}
    for name, title in MAPS.items():
        path = folder / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz"
        if not path.is_file():
            raise MissingInput(f"The installed nilearn has no {path.name}: install version 0.14.")
        image = read_volume(path, "MR")
        array = image.array.astype(np.float32) if name == "t1" else image.array.astype(np.float32) / 255.0
        maps[name] = image.with_array(array, name=title)
    return maps


def start_point(white: Image, head: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """RAS position, in mm, of a voxel deep in the white matter of one hemisphere."""
    deep = signed_distance(head, white.grid) <= -DEPTH_MM
    candidates = white.grid.to_ras(np.argwhere(deep & (white.array >= WHITE))[:, ::-1])
    aside = (np.abs(candidates[:, 0]) >= MIDLINE_MM) & (candidates[:, 2] >= LOWEST_Z_MM)
    return candidates[aside][rng.integers(np.count_nonzero(aside))]


def draw_parameters(rng: np.random.Generator) -> tuple[float, float]:
    """Growth rate and diffusivity from the glioma preset's prior, held to fronts of `FRONT_MM`."""
    model = find("tumour_growth", "glioma")
    priors = {p.name: p.prior for p in model.parameters if p.prior is not None}
    while True:
        draws = zip(("proliferation_rate", "diffusivity"), rng.standard_normal((2, 1)))
        rate, diffusivity = (float(priors[name].sample(draw)[0]) for name, draw in draws)
        if FRONT_MM[0] <= np.sqrt(diffusivity / rate) <= FRONT_MM[1]:
            return rate, diffusivity


def grow_tumour(grey: Image, white: Image, start_ras: np.ndarray, rng: np.random.Generator, job: Job) -> Growth:
    """A tumour from a few cells to its clinical size, and on to a second visit, by the reaction-diffusion solver.

    The first visit is when its enhancing part first has a volume drawn from `FIRST_VISIT_ML`, to `DAYS_A_LOOK`.
    """
    rate, diffusivity = draw_parameters(rng)
    target_ml, days = rng.uniform(*FIRST_VISIT_ML), int(rng.integers(*DAYS_BETWEEN, endpoint=True))
    ratio = next(p.default for p in find("tumour_growth", "glioma").parameters if p.name == "white_to_grey_ratio")
    grid, tissue = white.grid, grey.array + white.array
    relative = (white.array + grey.array / ratio) / np.maximum(tissue, 1e-6)
    low, high = bounding_box(tissue >= 0.5)
    box = tuple(slice(a, b) for a, b in zip(low, high))
    equation = ReactionDiffusion((tissue >= 0.5)[box], grid.spacing, relative[box])
    offsets = (np.indices(tissue[box].shape)[::-1].T - (grid.to_ijk(start_ras) - low[::-1])) * grid.spacing
    seed_cells = SEED_DENSITY * np.exp(-0.5 * (offsets**2).sum(-1).T / SEED_RADIUS_MM**2)
    state, volume_ml = equation.state(seed_cells), 0.0
    while volume_ml < target_ml:
        state = equation.advance_state(state, diffusivity, rate, DAYS_A_LOOK, job)
        volume_ml = np.count_nonzero(state >= ENHANCING) * grid.voxel_volume_ml
        job.report(0.9 * min(volume_ml / target_ml, 1.0), "growing to the first visit")
    densities = [np.zeros(grid.shape, np.float32) for _ in range(2)]
    densities[0][box] = equation.density(state)
    job.report(0.9, "growing to the second visit")
    densities[1][box] = equation.density(equation.advance_state(state, diffusivity, rate, float(days), job))
    return Growth(rate, diffusivity, days, (densities[0], densities[1]))


def case_text(seed: int, growth: Growth, volume_ml: float, pose: LinearTransform) -> str:
    """The case file."""
    matrix = ",\n  ".join(str([float(f"{v:.9f}") for v in row]) for row in pose.matrix)
    observations = "".join(
        _OBSERVATION.format(visit=visit, day=day, labels=labels, threshold=threshold)
        for visit, day in ((0, 0), (1, growth.days))
        for labels, threshold in (([1], ENHANCING), ([1, 2], INFILTRATED))
        if day > 0 or threshold != ENHANCING  # that outline of the reference scan is where the model starts
    )
    return _CASE.format(
        seed=seed,
        observations=observations,
        volume=volume_ml,
        rate=growth.proliferation_rate,
        diffusivity=growth.diffusivity,
        matrix=matrix,
    )


_CASE = """\
# Made, not scanned: a tumour grown by the reaction-diffusion model in the MNI152 average brain.
# The truth is at the end.
question = "How will this tumour grow, and what would radiotherapy change?"

[patient]
name = "Virtual patient {seed}"
virtual = true

[[image]]
name = "T1"
path = "t1.nii.gz"
modality = "MR"
reference = true

[[image]]
name = "PET"
path = "pet.nii.gz"
modality = "PT"
unit = "g/mL"

[[outline]]
path = "visit_0_labels.nii.gz"
image = "T1"
segments = {{ 1 = "tumour", 2 = "infiltration" }}

[fusion]
seed = {seed}

[target]
name = "tumour"
pet_rule = "41 % of maximum"

[anatomy]
brain = "T1"

[simulation]
model = "tumour_growth"
preset = "glioma"
horizon_days = 90
members = 48
seed = {seed}
scenarios = ["none", "25 x 2 Gy", "5 x 6 Gy"]
{observations}
[truth]
volume_ml = {volume:.3f}

[truth.parameters]
proliferation_rate = {rate:.6f}
diffusivity = {diffusivity:.6f}

[truth.transforms]
PET = [
  {matrix},
]
"""

_OBSERVATION = """
[[observation]]
quantity = "volume"
time_days = {day}
path = "visit_{visit}_labels.nii.gz"
labels = {labels}
threshold = {threshold}
log_sd = 0.1
"""
