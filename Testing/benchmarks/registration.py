"""How exact and how fast registration is beside its peers, on moves that are known: `make bench`.

    python registration.py            # all; the peers take most of two hours on two cores
    python registration.py --quick    # one seed at 2 mm

Every method gets the same files. Peers begin with the images' centres on each other; ours does that too, and in rows of
its own looks at all poses. Times are of the registration alone, without reading files, starting and compiling.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from known_moves import KnownMove, known_move, tissue_maps
from registration_tools import (
    ALL_POSES,
    HEAD_WINDOW,
    SAME_START,
    THREADS,
    Method,
    peers,
    print_table,
    run,
    write,
)

from TwinCore import Grid, GridTransform, Image, resample
from TwinFusionLib.deformable_jacobian import jacobian_determinant

EXACT_MM = 0.1
"""A peer with a mean error up to this, or up to ours if that is larger, counts as equally accurate."""
LINEAR_SUCCESS_MM = 1.0
ONE_CONTRAST = "T1"
ONE_CONTRAST_ALONE = {"SimpleITK": "its demons compare grey values as they are"}
LARGE = (256, 256, 256)


@dataclass(frozen=True, eq=False)
class Asked:
    """A known move and the job made of it."""

    case: KnownMove
    job: dict


@dataclass(frozen=True)
class Row:
    """One method's figures over the seeds of one contrast; errors are mean distances over the brain, in mm."""

    method: Method
    errors: tuple[float, ...]
    wall_s: float
    cpu_s: float
    folded: float
    failures: tuple[str, ...]

    @property
    def error_mm(self) -> float:
        return statistics.fmean(self.errors) if self.errors else np.inf


def section(maps, kind: str, contrasts: Sequence[str], seeds: Sequence[int], thinning: int, methods) -> None:
    """Table of one kind of move on one grid."""
    print(f"## {kind.capitalize()}, {thinning} mm, {len(seeds)} seeds\n", flush=True)
    for contrast in contrasts:
        with tempfile.TemporaryDirectory() as folder:
            asked = [ask(known_move(maps, kind, contrast, seed, thinning), kind, Path(folder), seed) for seed in seeds]
            length = np.mean([a.case.errors_mm(lambda points: points).mean() for a in asked])
            some = [
                m
                for m in methods
                if kind != "deformable" or contrast == ONE_CONTRAST or m.label not in ONE_CONTRAST_ALONE
            ]
            rows = [measured(method, asked) for method in some]
        print(f"T1 with {contrast}: points lie {length:.1f} mm apart in the mean\n")
        print_rows(rows, kind)
        print_comparison(rows, kind)


def ask(case: KnownMove, kind: str, folder: Path, seed: int) -> Asked:
    """The job of a case; its files are written."""
    job = {
        "fixed": write(case.fixed, folder / f"fixed_{seed}.nii"),
        "moving": write(case.moving, folder / f"moving_{seed}.nii"),
        "modalities": [case.fixed.modality, case.moving.modality],
        "motion": kind,
        "answer": str(folder / f"answer_{seed}.npy"),
        "same_contrast": case.fixed.name == case.moving.name,
        "window": HEAD_WINDOW,
    }
    return Asked(case, job)


def measured(method: Method, asked: Sequence[Asked]) -> Row:
    """Errors and median times of a method."""
    answers = run(method, [a.job for a in asked])
    errors, folded = [], [0.0]
    for a, answer in zip(asked, answers):
        if "error" in answer:
            continue
        if "pull" in answer:
            pull = np.array(answer["pull"])
            errors.append(a.case.errors_mm(lambda points, pull=pull: points @ pull[:3, :3].T + pull[:3, 3]).mean())
        else:
            bend = GridTransform(np.load(a.job["answer"]), a.case.fixed.grid)
            Path(a.job["answer"]).unlink()
            errors.append(a.case.errors_mm(bend.pull).mean())
            folded.append(share_folded(bend, a.case))
    done = [answer for answer in answers if "error" not in answer]
    failures = tuple(answer["error"] for answer in answers if "error" in answer)
    wall, cpu = (statistics.median(answer[name] for answer in done) if done else np.inf for name in ("wall_s", "cpu_s"))
    return Row(method, tuple(map(float, errors)), wall, cpu, max(folded), failures)


def share_folded(bend: GridTransform, case: KnownMove) -> float:
    """Share of the brain where a deformation folds."""
    i, j, k = np.rint(bend.grid.to_ijk(case.points)).astype(int).T
    return float((jacobian_determinant(bend).array[k, j, i] <= 0).mean())


def print_rows(rows: Sequence[Row], kind: str) -> None:
    deforms = kind == "deformable"
    last = "folded" if deforms else f"< {LINEAR_SUCCESS_MM:g} mm"
    lines = []
    for row in rows:
        count = len(row.errors) + len(row.failures)
        success = f"{sum(e < LINEAR_SUCCESS_MM for e in row.errors)} of {count}"
        error = f"{row.error_mm:.3f} / {max(row.errors):.3f}" if row.errors else "-"
        lines.append(
            [row.method.label, error, f"{row.wall_s:.1f}", f"{row.cpu_s / THREADS:.1f}"]
            + [f"{row.folded:.2%}" if deforms else success]
        )
    print_table(["method", "error, mm, mean / worst", "s by the clock", f"s of the processor / {THREADS}", last], lines)
    for row in rows:
        for failure in row.failures:
            print(f"{row.method.label} failed: {failure}\n")


def print_comparison(rows: Sequence[Row], kind: str) -> None:
    """Ours against the peer that it is to be measured by."""
    ours, others = ([row for row in rows if row.method.is_peer is peer and row.errors] for peer in (False, True))
    if not ours or not others:
        return
    if kind == "deformable":
        rival = min(others, key=lambda row: row.error_mm)
        what = "The most exact peer"
    else:
        limit = max(EXACT_MM, *(row.error_mm for row in ours))
        equal = [row for row in others if row.error_mm <= limit]
        if not equal:
            print(f"No peer has a mean error within {limit:.2f} mm.\n")
            return
        rival = min(equal, key=lambda row: row.wall_s)
        what = f"The fastest peer within {limit:.2f} mm"
    for row in ours:
        print(
            f"{what}, {rival.method.label}, takes {rival.wall_s / row.wall_s:.1f} times as long by the clock "
            f"({rival.cpu_s / row.cpu_s:.1f} times by the processor) as {row.method.label}.\n",
            flush=True,
        )


def large(maps, methods: Sequence[Method]) -> None:
    """CT with MR of 256^3 voxels, from the files to the resampled image, each method alone in a process."""
    print("## Rigid, MR and CT of 256 x 256 x 256 voxels of 1 mm, from the files to the resampled image\n", flush=True)
    case = known_move(maps, "rigid", "CT-like", seed=1)
    with tempfile.TemporaryDirectory() as folder:
        job = ask(case, "rigid", Path(folder), 1).job | {"resample": True}
        for name, image, air in (("fixed", case.fixed, 0.0), ("moving", case.moving, -1000.0)):
            job[name] = write(enlarged(image, air), Path(folder) / f"large_{name}.nii")
        lines = []
        for method in methods:
            answer = run(method, [job])[0]
            if "error" in answer:
                lines.append([method.label, "-", "-", answer["error"]])
                continue
            pull = np.array(answer["pull"])
            error = case.errors_mm(lambda points, pull=pull: points @ pull[:3, :3].T + pull[:3, 3]).mean()
            lines.append([method.label, f"{error:.3f}", f"{answer['whole_s']:.1f}", f"{answer['peak_gb']:.2f}"])
    print_table(["method", "error, mm", "s by the clock", "peak memory of the process, GB"], lines)


def enlarged(image: Image, air: float) -> Image:
    """The image on a larger grid with the same voxels, cut where it is longer."""
    first = (np.array(image.grid.shape) - LARGE) // 2
    matrix = image.grid.ijk_to_ras.copy()
    matrix[:3, 3] = image.grid.to_ras(first[::-1])
    return resample(image, Grid(LARGE, matrix), interpolation="nearest", fill=air)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="one seed at 2 mm, and no large images")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--kinds", nargs="+", default=["rigid", "affine", "deformable", "large"])
    args = options.parse_args()
    seeds = range(1, 2 if args.quick else args.seeds + 1)
    methods = (ALL_POSES, SAME_START, *peers())
    maps = tissue_maps()
    for kind in ("rigid", "affine"):
        if kind in args.kinds:
            section(maps, kind, ("T1", "T2-like", "CT-like"), seeds, 2 if args.quick else 1, methods)
    if "deformable" in args.kinds:
        for thinning in (2,) if args.quick else (2, 1):
            section(maps, "deformable", ("T1", "T2-like"), seeds, thinning, (SAME_START, *methods[2:]))
    if "large" in args.kinds and not args.quick:
        large(maps, methods)


if __name__ == "__main__":
    main()
