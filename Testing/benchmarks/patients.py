"""Registration of real images whose pose is known, or nearly: `make bench`.

    python patients.py                     # a quarter of an hour on two cores
    python patients.py --starts 3

A sarcoma whose outline in the PET is published, PET and CT of one scanner, four contrasts of a glioma, and ultrasound
of two phantoms; all but the sarcoma from frames moved at random by up to 60 degrees and 80 mm (phantoms: 15 and 15).
Each registration is graded. The images are looked for in DIGITALTWIN_DATA.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Testing/support"))

from registration_tools import print_table  # noqa: E402
from verdict_cases import random_rigid  # noqa: E402

from TwinApp.loading import load_case  # noqa: E402
from TwinCore import Grid, Image, Job, LinearTransform, centroid  # noqa: E402
from TwinCore.segmentation import carry_mask  # noqa: E402
from TwinCore.volume_file import read_volume  # noqa: E402
from TwinFusionLib.presets import ANYWHERE  # noqa: E402
from TwinFusionLib.step import FusionStep, Inputs  # noqa: E402
from TwinFusionLib.ultrasound import sector  # noqa: E402

MOST_DEGREES, MOST_MM = 60.0, 80.0
ULTRASOUND_DEGREES, ULTRASOUND_MM = 15.0, 15.0
SARCOMAS = ("STS_002", "STS_008", "STS_025")
GLIOMA = ("t1", "t2", "fla")
NEAR = (5.0, 10.0)
PHANTOMS = ("SpinePhantom", "NwirePhantom")


def found_and_graded(
    fixed: Image,
    moving: Sequence[Image],
    focus: Mapping[str, np.ndarray] | None = None,
    seed: int = 0,
    start: str = ANYWHERE,
) -> tuple[LinearTransform, str]:
    """What a fusion finds for images of one frame, as a user gets it, and the grade of it."""
    step = FusionStep(frames={image.name: "moving" for image in moving}, focus=focus or {}, seed=seed, start=start)
    inputs = Inputs(replace(fixed, name="fixed"), moving, {}, {})
    (registration,) = step.compute(inputs, Job()).registrations
    return registration.transform, registration.verdict.grade


def moved(image: Image, rng: np.random.Generator, degrees: float = MOST_DEGREES, mm: float = MOST_MM):
    """The image with its frame moved at random, and the move."""
    move = random_rigid(rng, rng.uniform(0, degrees), rng.uniform(0, mm), image.grid.centre)
    return replace(image, grid=Grid(image.grid.shape, move.matrix @ image.grid.ijk_to_ras)), move


def error_mm(found: LinearTransform, image: Image, home: LinearTransform) -> float:
    """Mean error over what the image shows, given where it is without a move of its frame and what is found with it."""
    shown = image.grid.to_ras(np.argwhere(image.array > image.array.mean())[::50, ::-1])
    return float(np.linalg.norm(found.push(shown) - home.push(shown), axis=1).mean())


def summary(name: str, limit_mm: float, errors: Sequence[float], grades: Sequence[str]) -> list[str]:
    within = sum(error < limit_mm for error in errors)
    counts = Counter(grades)
    told = ", ".join(f"{counts[grade]} {grade}" for grade in ("good", "check", "failed") if counts[grade])
    median = f"{np.median(errors):.2f} ({min(errors):.2f} to {max(errors):.2f})"
    return [name, median, f"{within} of {len(errors)} < {limit_mm:.1f} mm", told]


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def sarcoma(starts: int) -> None:
    """STS_001 from the scanners' own frames, 779 mm apart, hip bent in between, with a focus on the tumour."""
    case = load_case(ROOT / "docs/cases/sarcoma.toml")
    masks = case.masks("GTV_Mass")
    pet, outline = case.images["PET"], masks["PET"]
    focus = {name: mask for name, mask in masks.items() if name != "PET"}
    lines = []
    for names in (("T2FS", "T1"), ("T2FS",), ("T1",)):
        errors, overlaps, grades = [], [], []
        for seed in range(starts):
            chosen = {name: focus[name] for name in names}
            found, grade = found_and_graded(pet, [case.images[name] for name in names], chosen, seed)
            centre = centroid(masks["T1"], case.images["T1"].grid)
            errors.append(np.linalg.norm(found.push(centre) - centroid(outline, pet.grid)))
            carried = carry_mask(masks["T1"], case.images["T1"].grid, pet.grid, found)
            overlaps.append(dice(carried, outline))
            grades.append(grade)
        spread = f"{np.median(overlaps):.3f} ({min(overlaps):.3f} to {max(overlaps):.3f})"
        lines.append([*summary(" and ".join(names), 3.0, errors, grades), spread])
    print("## Sarcoma STS_001, MR to PET from native frames, by seed\n")
    print_table(["images", "centroid, mm off", "success", "verdicts", "Dice of the carried tumour"], lines)


def scanner_pairs(data: Path, starts: int) -> list[list[str]]:
    """PET onto the CT of its own scanner, beside the files' frame and beside where the engine ends without a move.

    The frame tells whether the images agree with it; the other, whether a move of the frame is found again.
    """
    lines = []
    for name in SARCOMAS:
        ct = read_volume(data / f"sts_petctmr/{name}/CT_image.nii.gz", "CT")
        pet = read_volume(data / f"sts_petctmr/{name}/PET_image.nii.gz", "PT", "g/mL")
        unmoved, _ = found_and_graded(ct, [pet])
        homes = {"from the files' frame": LinearTransform.identity(), "from the answer without a move": unmoved}
        lines += repeated(f"{name}, PET to CT", ct, pet, float(pet.grid.spacing.max()), starts, homes=homes)
    return lines


def repeated(
    name: str,
    fixed: Image,
    moving: Image,
    limit_mm: float,
    starts: int,
    most: tuple[float, float] = (MOST_DEGREES, MOST_MM),
    homes: Mapping[str, LinearTransform] = {"from the files' frame": LinearTransform.identity()},
    start: str = ANYWHERE,
) -> list[list[str]]:
    """A line for each named home on registrations from frames moved at random."""
    rng = np.random.default_rng(1)
    errors, grades = {home: [] for home in homes}, []
    for seed in range(starts):
        away, move = moved(moving, rng, *most)
        found, grade = found_and_graded(fixed, [away], seed=seed, start=start)
        for home, where in homes.items():
            errors[home].append(error_mm(move.then(found), moving, where))
        grades.append(grade)
    return [summary(f"{name}, {home}", limit_mm, errors[home], grades) for home in homes]


def glioma(data: Path, starts: int) -> list[list[str]]:
    """T1, T2 and FLAIR onto T1 with contrast: the truth is where the engine ends from the scanner's frame.

    The Dice is that of the brain, carried from T1 with contrast by what was found from a moved frame and by the truth.
    """
    folder = data / "brain_tcga_fg_6692"
    fixed = read_volume(folder / "t1c.nii.gz", "MR")
    brain = read_volume(folder / "t1c_brainmask.nii.gz").array > 0
    lines = []
    for name in GLIOMA:
        image = read_volume(folder / f"{name}.nii.gz", "MR")
        home, own = found_and_graded(fixed, [image])
        at_home = carry_mask(brain, fixed.grid, image.grid, home.inverse())
        errors, grades, overlaps = [], [own], []
        rng = np.random.default_rng(1)
        for seed in range(starts):
            away, move = moved(image, rng)
            found, grade = found_and_graded(fixed, [away], seed=seed)
            errors.append(error_mm(move.then(found), image, home))
            overlaps.append(dice(carry_mask(brain, fixed.grid, away.grid, found.inverse()), at_home))
            grades.append(grade)
        lines.append(summary(f"TCGA-FG-6692, {name} to t1c (brain Dice {min(overlaps):.3f})", 2.0, errors, grades))
    return lines


def phantoms(data: Path, starts: int) -> list[list[str]]:
    """Ultrasound of phantoms onto itself, whole and with other ends cut off, and onto a CT-like image made from it."""
    lines = []
    for name in PHANTOMS:
        image = read_volume(data / f"ultrasound/{name}FreehandReconstructed.mha", "US")
        image = image.with_array(image.array.astype(np.float32))
        one, other = parts(image)
        most = (ULTRASOUND_DEGREES, ULTRASOUND_MM)
        lines += repeated(f"{name}, to itself", image, image, 2.0, starts, most)
        lines += repeated(f"{name}, four fifths to other four fifths", one, other, 2.0, starts, most)
        if name == "SpinePhantom":
            bones = ct_like(image)
            lines += repeated(f"{name}, to a CT-like image", bones, image, 2.0, starts, most)
            for near in NEAR:
                begun = f"{name}, to a CT-like image, begun at frames up to {near:.0f} degrees and mm apart"
                lines += repeated(begun, bones, image, 2.0, starts, (near, near), start="frames")
    return lines


def parts(image: Image) -> tuple[Image, Image]:
    """The image without a fifth at the one and at the other end of its longest side."""
    axis = int(np.argmax(np.array(image.grid.shape) * image.grid.spacing[::-1]))
    length = image.grid.shape[axis]
    low, high = np.zeros(3, int), np.array(image.grid.shape)
    first, last = high.copy(), low.copy()
    first[axis], last[axis] = round(0.8 * length), round(0.2 * length)
    return image.crop(low, first), image.crop(last, high)


def ct_like(image: Image) -> Image:
    """What a CT of the phantom might show: echoes that are strong for their depth as bone, in soft tissue."""
    spacing = image.grid.spacing[::-1]
    seen = sector(image)
    seen = np.ones(image.grid.shape, bool) if seen is None else seen
    smooth = ndimage.gaussian_filter(image.array, 1.0 / spacing)
    usual = np.array([np.median(plane[inside]) if inside.any() else 1.0 for plane, inside in zip(smooth, seen)])
    strength = smooth / np.maximum(ndimage.gaussian_filter1d(usual, 2.0 / spacing[0]), 1e-3)[:, None, None]
    deep = ndimage.distance_transform_edt(seen, sampling=spacing) > 2.0
    bone = deep & (strength > np.percentile(strength[deep], 95))
    hounsfield = np.where(bone, 600.0, 40.0) + 10 * np.random.default_rng(0).standard_normal(image.grid.shape)
    blurred = ndimage.gaussian_filter(hounsfield, 0.7 / spacing)
    return Image(blurred.astype(np.float32), image.grid, "CT", name="CT-like")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--starts", type=int, default=6, help="or seeds, for each line")
    options.add_argument("--parts", nargs="+", default=["sarcoma", "scanner", "glioma", "phantoms"])
    args = options.parse_args()
    data = Path(os.environ.get("DIGITALTWIN_DATA", ROOT / "../shared/data")).resolve()
    if not data.is_dir():
        print(f"not run: no patients' images in {data} (DIGITALTWIN_DATA)")
        return
    os.environ["DIGITALTWIN_DATA"] = str(data)
    if "sarcoma" in args.parts:
        sarcoma(args.starts)
    makers = {"scanner": scanner_pairs, "glioma": glioma, "phantoms": phantoms}
    lines = [line for name, make in makers.items() if name in args.parts for line in make(data, args.starts)]
    if lines:
        print("## Patients and phantoms, from frames moved at random\n")
        print_table(["images", "error, mm, median (range)", "success", "verdicts"], lines)


if __name__ == "__main__":
    main()
