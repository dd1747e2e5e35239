"""How often registration finds home from random starts, beside its peers: `make bench`.

    python capture.py                       # 100 starts of ours and 10 of each peer for each pair and angle
    python capture.py --starts 10 --peer-starts 0 --pairs "T1-T2"

The moving image's frame is moved by a random rigid move up to an angle and 80 mm, as if the scanner had put it there.
A start is a success if the mean error over the body is under 2 mm, or under one voxel with PET. The true pose is known
for MNI152; for the others it is where the tools agree when they begin nearby, which is less exact. All moves are rigid,
but for an average CT of the head, which is brought to MNI152 by an affine one, as it is of another size.
Patients' images are looked for in DIGITALTWIN_DATA; MNI152 comes with nilearn.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Testing/support"))

from known_moves import known_move, thinned, tissue_maps  # noqa: E402
from registration_tools import (  # noqa: E402
    ALL_POSES,
    BODY_WINDOW,
    HEAD_WINDOW,
    THREADS,
    Method,
    peers,
    print_table,
    run,
    write,
)

from TwinCore import Image  # noqa: E402
from TwinCore.volume_file import read_volume  # noqa: E402
from TwinFusionLib.linear import mean_motion  # noqa: E402

ANGLES_DEG = (60.0, 90.0)
SHIFT_MM = 80.0
SUCCESS_MM = 2.0
SEEDS = (1, 2, 3)
THINNING = 2
SARCOMAS = ("STS_002", "STS_008", "STS_025")
AGREE_MM = 5.0
"""Tools agree that end within this of the one in their middle."""
BODY_POINTS = 3000
IDENTITY = np.eye(4)


@dataclass(frozen=True, eq=False)
class Subject:
    """Two images and what is known of them.

    Parameters
    ----------
    name : str
    job : dict
        For the runner.
    centre : array, shape (3,)
        Of the moving image; RAS mm.
    body : array, shape (n, 3)
        Points of the moving image where it shows something; RAS mm.
    home : array, shape (4, 4)
        The true move of the moving image onto the fixed one.
    limit_mm : float
        Mean error below which a start is a success.
    """

    name: str
    job: dict
    centre: np.ndarray
    body: np.ndarray
    home: np.ndarray
    limit_mm: float

    def error_mm(self, pull, move=IDENTITY) -> float:
        """Mean error over the body of an answer to the image whose frame was moved."""
        off = np.linalg.inv(pull) @ move - self.home
        return float(np.linalg.norm(self.body @ off[:3, :3].T + off[:3, 3], axis=1).mean())


@dataclass(frozen=True, eq=False)
class Start:
    degrees: float
    shift_mm: float
    move: np.ndarray


def subject(name: str, fixed: Image, moving: Image, folder: Path, window=HEAD_WINDOW, motion="rigid") -> Subject:
    """A subject whose files are written into a folder."""
    shown = np.argwhere(moving.array > moving.array.mean())[:, ::-1]
    job = {
        "fixed": write(fixed, folder / f"{name}_fixed.nii"),
        "moving": write(moving, folder / f"{name}_moving.nii"),
        "modalities": [fixed.modality, moving.modality],
        "motion": motion,
        "window": window,
        "far": True,
    }
    limit = max([SUCCESS_MM, *(float(image.grid.spacing.max()) for image in (fixed, moving) if image.modality == "PT")])
    body = moving.grid.to_ras(shown[:: max(len(shown) // BODY_POINTS, 1)])
    return Subject(name, job, moving.grid.centre, body, IDENTITY, limit)


def pairs(names: Sequence[str], folder: Path, data: Path, methods: Sequence[Method]) -> Iterator[tuple[str, list]]:
    """The pairs asked for, each with its subjects, among which starts take turns."""
    if "T1-T2" in names:
        yield "T1-T2", list(brains(folder))
    atlas = data / "brain_ct/ct_brain_atlas_1mm.nii.gz"
    if "T1-CT" in names and atlas.is_file():
        average = read_volume(atlas, "CT")
        average = thinned(average.with_array(average.array.astype(np.float32)), THINNING)
        t1 = known_move(tissue_maps(), "rigid", "T1", 1, THINNING).fixed
        # The heads differ in size by half: what a rigid move should be is anybody's guess, but affine ones agree.
        heads = subject("T1-CT", t1, average, folder, motion="affine")
        yield "T1-CT", [settled(heads, methods, "centres")]
    patients = [data / "sts_petctmr" / name for name in SARCOMAS if (data / "sts_petctmr" / name).is_dir()]
    if {"MR-PET", "MR-PET alone", "MR-CT"} & set(names) and patients:
        with_ct = [settled(sarcoma(patient, "CT", "MR", folder), methods, "frames") for patient in patients]
        if "MR-CT" in names:
            yield "MR-CT", with_ct
        with_pet = [sarcoma(patient, "PET", "MR", folder) for patient in patients]  # the CT's scanner: one home
        if "MR-PET" in names:
            yield "MR-PET, by the CT of the PET", [replace(ct, limit_mm=p.limit_mm) for ct, p in zip(with_ct, with_pet)]
        if "MR-PET alone" in names:
            yield "MR-PET alone", [replace(pet, home=ct.home) for pet, ct in zip(with_pet, with_ct)]
    if "PET-CT" in names and patients:
        yield "PET-CT", [settled(sarcoma(patient, "CT", "PET", folder), methods, "frames") for patient in patients]


def brains(folder: Path) -> Iterator[Subject]:
    """T1 and T2-like of the MNI152 brain."""
    maps = tissue_maps()
    for seed in SEEDS:
        case = known_move(maps, "rigid", "T2-like", seed, THINNING)
        some = subject(f"T1-T2_{seed}", case.fixed, case.moving, folder)
        yield replace(some, home=case.way.inverse().matrix)


def sarcoma(patient: Path, fixed: str, moving: str, folder: Path) -> Subject:
    """Two of the MR, CT and PET of one patient, brought together by those who published them."""
    files = {"MR": ("MR_T1_image", "MR"), "CT": ("CT_image", "CT"), "PET": ("PET_image", "PT", "g/mL")}
    images = [read_volume(patient / f"{files[some][0]}.nii.gz", *files[some][1:]) for some in (fixed, moving)]
    return subject(f"{patient.name}_{moving}-{fixed}", *images, folder, BODY_WINDOW)


def settled(unknown: Subject, methods: Sequence[Method], start: str) -> Subject:
    """A subject whose home is the mean of the poses on which the methods agree when they begin nearby.

    It is told how far each is from it, and how far the files' own pose is where that is the start.
    """
    found = {}
    for method in (ALL_POSES, *methods):
        answer = run(method, [unknown.job | {"start": start, "far": False}])[0]
        if "error" not in answer:
            found[method.tool] = np.array(answer["pull"])
    subjects = {tool: replace(unknown, home=np.linalg.inv(pull)) for tool, pull in found.items()}
    distances = {tool: [some.error_mm(pull) for pull in found.values()] for tool, some in subjects.items()}
    best = min(distances, key=lambda tool: statistics.median(distances[tool]))
    agree = [
        subjects[tool].home for tool, distance in zip(found, distances[best]) if distance < AGREE_MM or tool == best
    ]
    home = replace(unknown, home=mean_motion(np.array(agree), unknown.centre, unknown.job["motion"]))
    told = [f"{tool} {home.error_mm(pull):.1f} mm" for tool, pull in found.items()]
    if start == "frames":
        told.append(f"the files' own pose {home.error_mm(IDENTITY):.1f} mm")
    print(f"{unknown.name}: home is the mean of {len(agree)} tools; from there: {', '.join(told)}\n", flush=True)
    return home


def starts(subjects: Sequence[Subject], count: int, most_degrees: float) -> list[tuple[Subject, Start]]:
    """Random starts of subjects by turns, always the same."""
    rng = np.random.default_rng(int(most_degrees))
    chosen = []
    for n in range(count):
        some = subjects[n % len(subjects)]
        axis, way = (v / np.linalg.norm(v) for v in rng.standard_normal((2, 3)))
        degrees, shift = rng.uniform(0, most_degrees), rng.uniform(0, SHIFT_MM)
        move = np.eye(4)
        move[:3, :3] = Rotation.from_rotvec(np.deg2rad(degrees) * axis).as_matrix()
        move[:3, 3] = some.centre + shift * way - move[:3, :3] @ some.centre
        chosen.append((some, Start(degrees, shift, move)))
    return chosen


def rate(method: Method, chosen: Sequence[tuple[Subject, Start]]) -> tuple[list[str], list[str]]:
    """A method's cells of the table, and a line for each of its failures."""
    answers = run(
        method, [some.job | {"move": start.move.tolist(), "seed": n} for n, (some, start) in enumerate(chosen)]
    )
    failures, far = [], []
    for n, ((some, start), answer) in enumerate(zip(chosen, answers)):
        error = np.inf if "error" in answer else some.error_mm(np.array(answer["pull"]), start.move)
        if error >= some.limit_mm:
            far.append(error)
            what = answer.get("error", f"{error:.1f} mm off")
            failures.append(
                f"{method.label}, {some.name}, start {n}: {start.degrees:.0f} degrees, {start.shift_mm:.0f} mm: {what}"
            )
    success = len(chosen) - len(failures)
    seconds = [answer["cpu_s"] / THREADS for answer in answers if "error" not in answer]
    silent = sum(np.isfinite(far))
    return [
        f"{success} of {len(chosen)}, {success / len(chosen):.0%}",
        f"{silent}" + (f", {min(far):.0f} to {max(e for e in far if np.isfinite(e)):.0f} mm off" if silent else ""),
        f"{statistics.median(seconds):.1f}" if seconds else "-",
    ], failures


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--starts", type=int, default=100, help="of ours, for each pair and angle")
    options.add_argument("--peer-starts", type=int, default=10, help="of each peer, the first ones of ours")
    options.add_argument("--pairs", nargs="+", default=["T1-T2", "T1-CT", "MR-CT", "PET-CT", "MR-PET", "MR-PET alone"])
    options.add_argument("--angles", nargs="+", type=float, default=ANGLES_DEG)
    options.add_argument("--quick", action="store_true", help="ten starts of ours, two of each peer")
    args = options.parse_args()
    counts = (10, 2) if args.quick else (args.starts, args.peer_starts)
    data = Path(os.environ.get("DIGITALTWIN_DATA", ROOT / "../shared/data")).resolve()
    if not data.is_dir():
        print(f"No patients' images in {data} (DIGITALTWIN_DATA): only MNI152 is used.\n")
    others = peers() if counts[1] else ()
    with tempfile.TemporaryDirectory() as folder:
        for name, subjects in pairs(args.pairs, Path(folder), data, others):
            for angle in args.angles:
                print(f"## {name}, up to {angle:.0f} degrees and {SHIFT_MM:.0f} mm\n", flush=True)
                lines, failures = [], []
                for method in (ALL_POSES, *others):
                    chosen = starts(subjects, counts[method.is_peer], angle)
                    cells, failed = rate(method, chosen)
                    lines.append([method.label, *cells])
                    failures += failed
                header = ["method", "success", "wrong answers given as right", f"s of the processor / {THREADS}"]
                print_table(header, lines)
                print("\n".join([*failures, ""]), flush=True)


if __name__ == "__main__":
    main()
