"""Patients for the validation of the verdict: images of several contrasts in one frame, real ones and made ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from TwinApp.virtual_patient import brain_maps
from TwinCore import Grid, GridTransform, Image, resample
from TwinCore.volume_file import read_volume

LABEL_MAPS = {
    "calibration": ("01", "02", "03", "04", "05", "06", "07", "09"),
    "validation": ("10", "11", "12", "14", "15", "16", "17", "18", "19"),
}
BENT_BRAINS = {"calibration": (1, 2, 3, 4), "validation": (11, 12, 13, 14)}
SARCOMAS = {"calibration": ("STS_002", "STS_008"), "validation": ("STS_025",)}
SINGLE = {
    "calibration": (("brain_t1/t1_crop.nii.gz", "MR", "head"), ("ct_chest/LIDC-IDRI-0314_3mm.nii.gz", "CT", "chest")),
    "validation": (
        ("brain_tumor/pyrad_brain1_image.nrrd", "MR", "head"),
        ("ct_totalseg/example_ct.nii.gz", "CT", "abdomen"),
        ("cta_aorta/ct_cropped.nii.gz", "CT", "chest"),
    ),
}
GLIOMA = ("t1c", "t1", "t2", "fla")
WHITE, FLUID = (2, 41, 7, 46, 16, 28, 60, 85), (4, 5, 14, 15, 24, 43, 44)
"""FreeSurfer's numbers; what is not among them and below 500 is grey matter, and from 500 upwards not brain."""
WARP_MM, WARP_SMOOTHNESS_MM = 9.0, 22.0
PET_SIGMA_MM = 2.8


Settle = Callable[[Image, Image], np.ndarray]
"""From a fixed and a moving image to the move (4, 4) that is taken for the truth where there is none."""


@dataclass(frozen=True, eq=False)
class Subject:
    """One patient: the part of the body, and images in one frame."""

    name: str
    part: str
    images: tuple[Image, ...]


def subjects(split: str, folder: Path, settle: Settle) -> Iterator[Subject]:
    """All patients of "calibration" or "validation"; those whose data are not in the folder are left out."""
    for seed in BENT_BRAINS[split]:
        yield bent_brain(seed)
    for number in LABEL_MAPS[split]:
        path = folder / f"brain_labels/synthseg_training_seg_{number}.nii.gz"
        if path.is_file():
            yield painted_head(path, int(number))
    for name in SARCOMAS[split]:
        if (folder / "sts_petctmr" / name).is_dir():
            yield sarcoma(folder / "sts_petctmr" / name, settle)
    for name, modality, part in SINGLE[split]:
        if (folder / name).is_file():
            yield recoloured(folder / name, modality, part)


def bent_brain(seed: int) -> Subject:
    """The MNI152 brain, bent by a smooth random warp into someone else's, at 2 mm: T1, T2-like, CT-like, PET-like."""
    rng = np.random.default_rng([7, seed])
    maps = brain_maps()
    grid = maps["t1"].grid.with_spacing(2.0)
    noise = rng.standard_normal((*grid.shape, 3))
    field = np.stack([ndimage.gaussian_filter(noise[..., c], WARP_SMOOTHNESS_MM / 2.0 / 2) for c in range(3)], -1)
    warp = GridTransform(WARP_MM * field / np.abs(field).max(), grid)
    t1, grey, white = (resample(image, grid, warp).array for image in (maps["t1"], maps["gm"], maps["wm"]))
    brain = t1 > 15
    fluid = np.clip(1 - grey - white, 0, 1) * brain
    skull = ndimage.binary_dilation(brain, iterations=4) & ~ndimage.binary_dilation(brain)
    painted = {
        "T1": ("MR", t1 / 255.0),
        "T2": ("MR", (0.95 * fluid + 0.6 * grey + 0.35 * white) * (1 + 0.03 * np.sin(9 * t1 / 255))),
        "CT": ("CT", np.where(brain, 8 * fluid + 37 * grey + 28 * white, np.where(skull, 900.0, -1000.0))),
        "PET": ("PT", 4.0 * grey + 1.6 * white + 0.4 * fluid),
    }
    return Subject(f"bent brain {seed}", "head", acquired(painted, grid, rng))


def painted_head(path: Path, seed: int) -> Subject:
    """A head painted by its labels, at 2 mm: T1, T2-like, CT-like, PET-like; tissues outside the brain at random."""
    rng = np.random.default_rng([11, seed])
    labels = read_volume(path)
    grid = labels.grid.with_spacing(2.0)
    label = resample(labels, grid, interpolation="nearest").array.astype(int)
    usual = {"T1": (0.85, 0.6, 0.2), "T2": (0.4, 0.55, 1.0), "CT": (28.0, 37.0, 8.0), "PET": (1.6, 4.0, 0.4)}
    outer = {
        "T1": rng.uniform(0.1, 1.0, 600),
        "T2": rng.uniform(0.1, 0.9, 600),
        "CT": rng.choice([-90.0, 45.0, 60.0, 800.0], 600),
        "PET": rng.uniform(0.3, 0.9, 600),
    }
    painted = {}
    for name, (white, grey, fluid) in usual.items():
        values = np.full(label.max() + 1, grey)
        values *= 1 + 0.05 * rng.standard_normal(values.shape)
        values[[n for n in WHITE if n < len(values)]] = white
        values[[n for n in FLUID if n < len(values)]] = fluid
        values[500:] = outer[name][: max(len(values) - 500, 0)]
        values[0] = -1000.0 if name == "CT" else 0.0
        painted[name] = ({"CT": "CT", "PET": "PT"}.get(name, "MR"), values[label])
    return Subject(f"painted head {seed}", "head", acquired(painted, grid, rng))


def acquired(painted: dict[str, tuple[str, np.ndarray]], grid: Grid, rng: np.random.Generator) -> tuple[Image, ...]:
    """Images as scanners might give them: blurred, with a bias field in MR, noise, thick slices in some."""
    images = []
    for name, (modality, values) in painted.items():
        blur = PET_SIGMA_MM if modality == "PT" else 0.7
        values = ndimage.gaussian_filter(values.astype(np.float32), blur / grid.spacing[::-1])
        inside = (-20.0, 80.0) if modality == "CT" else (values.min(), np.percentile(values, 99))
        level = {"MR": 0.03, "CT": 0.15, "PT": 0.03}[modality] * (inside[1] - inside[0])
        noise = ndimage.gaussian_filter(rng.standard_normal(values.shape), 0.9 if modality == "PT" else 0.5)
        if modality == "MR":
            wave = ndimage.gaussian_filter(rng.standard_normal(grid.shape), 60.0 / grid.spacing[::-1])
            values = values * (1 + 0.25 * wave / np.abs(wave).max())
        image = Image(
            (values + level * noise / noise.std()).astype(np.float32), grid, modality, _unit(modality), None, name
        )
        if modality == "PT":
            image = resample(image, grid.with_spacing(4.0))
        elif modality == "MR" and rng.random() < 0.4:
            image = resample(image, grid.with_spacing((2.0, 2.0, 5.0)))
        images.append(image)
    return tuple(images)


def sarcoma(folder: Path, settle: Settle) -> Subject:
    """CT, MR and PET of a real patient; the MR is settled from where those who published it had put it, mm off."""
    kinds = {"CT_image": ("CT", "CT"), "MR_T1_image": ("MR", "T1"), "PET_image": ("PT", "PET")}
    images = []
    for file, (modality, name) in kinds.items():
        image = read_volume(folder / f"{file}.nii.gz", modality, _unit(modality))
        images.append(image.with_array(image.array.astype(np.float32), name=name))
    ct, t1, pet = images
    return Subject(folder.name, "leg", (ct, _settled(ct, t1, settle), pet))


def recoloured(path: Path, modality: str, part: str) -> Subject:
    """A real image and a second contrast made from it: intensities mapped as by another modality, biased and noisy."""
    rng = np.random.default_rng([13, len(path.name)])
    image = read_volume(path, modality, _unit(modality))
    if image.grid.spacing.max() < 2.0:
        image = resample(image, image.grid.with_spacing(2.0))
    array = image.array.astype(np.float32)
    image = image.with_array(array, name=modality)
    low, high = (-1000.0, 300.0) if modality == "CT" else (0.0, float(np.percentile(array, 99.5)))
    knots = np.linspace(low, high, 7) if modality == "MR" else np.array([-1000, -500, -150, -50, 20, 70, 300.0])
    heights = np.concatenate([[0.0], rng.permutation(np.linspace(0.2, 1.0, 6))])
    mapped = np.interp(array, knots, heights)
    other = acquired({"other contrast": ("MR", mapped)}, image.grid, rng)
    return Subject(path.name.split(".")[0], part, (image, *other))


def glioma(folder: Path, settle: Settle) -> Subject | None:
    """T1 with contrast, T1, T2 and FLAIR of a real patient, all settled on the first."""
    folder = folder / "brain_tcga_fg_6692"
    if not folder.is_dir():
        return None
    images = [read_volume(folder / f"{name}.nii.gz", "MR") for name in GLIOMA]
    first, *others = (i.with_array(i.array.astype(np.float32), name=name) for i, name in zip(images, GLIOMA))
    return Subject("TCGA-FG-6692", "head", (first, *(_settled(first, image, settle) for image in others)))


def _settled(fixed: Image, image: Image, settle: Settle) -> Image:
    return replace(image, grid=Grid(image.grid.shape, settle(fixed, image) @ image.grid.ijk_to_ras))


def _unit(modality: str) -> str:
    return {"PT": "g/mL", "CT": "[hnsf'U]"}.get(modality, "1")
