"""The command `digitaltwin dose`: a plan's dose in its structures, against goals, and what it does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def dose(
    dose: Annotated[Path, typer.Option(help="Dose of the whole plan (DICOM RTDOSE).")],
    structures: Annotated[Path, typer.Option(help="Outlines (DICOM RTSTRUCT).")],
    goals: Annotated[Path | None, typer.Option(help="Goals and questions (TOML), see docs/dose.md.")] = None,
    plan: Annotated[Path | None, typer.Option(help="Prescription (DICOM RTPLAN), in place of the goals' own.")] = None,
    ends: Annotated[
        str, typer.Option(help="How structures end beyond their outermost planes: tapered, slab or cut.")
    ] = "tapered",
    out: Annotated[
        Path, typer.Option("--out", help="Folder for the results; replaced if it holds earlier ones.")
    ] = Path("output/dose"),
) -> None:
    """Dose-volume histograms of a plan, its goals, complications and what-ifs: results.json, dvh.csv, dvh.png."""
    from .commands import job_on_terminal, tell
    from .dosing import evaluate_plan

    with job_on_terminal() as job:
        results = evaluate_plan(dose, structures, out, goals=goals, plan=plan, ends=ends, job=job)
    tell(results, job.warnings)
    print(f"The histograms are {out / 'dvh.csv'} and {out / 'dvh.png'}")
