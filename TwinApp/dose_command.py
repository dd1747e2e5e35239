"""The commands `digitaltwin dose` and `accumulate`: a plan's dose in its structures, and doses added up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from TwinCore import InvalidInput

from .terminal import job_on_terminal, tell


def dose(
    dose: Annotated[Path, typer.Option(help="Dose of the whole plan (DICOM RTDOSE).")],
    structures: Annotated[Path, typer.Option(help="Outlines (DICOM RTSTRUCT).")],
    goals: Annotated[Path | None, typer.Option(help="Goals and questions (TOML), see docs/dose.md.")] = None,
    plan: Annotated[Path | None, typer.Option(help="Prescription (DICOM RTPLAN), in place of the goals' own.")] = None,
    ends: Annotated[
        str, typer.Option(help="How structures end beyond their outermost planes: tapered, slab or cut.")
    ] = "tapered",
    effective: Annotated[
        bool, typer.Option("--effective", help="Take a dose weighted for biological effect too: histograms and goals.")
    ] = False,
    out: Annotated[
        Path, typer.Option("--out", help="Folder for the results; replaced if it holds earlier ones.")
    ] = Path("output/dose"),
) -> None:
    """Dose-volume histograms of a plan, its goals, complications and what-ifs: results.json, dvh.csv, dvh.png."""
    from .dose_terminal import show_tables
    from .dosing import evaluate_plan

    with job_on_terminal() as job:
        results = evaluate_plan(dose, structures, out, goals=goals, plan=plan, ends=ends, effective=effective, job=job)
    shown = ("volume_ml,", "mean_gy,", "min_gy,", "max_gy,", "d95_gy,", "d2_gy,", "goal,", "goal_verdict,")
    show_tables(out)
    tell({key: entry for key, entry in results.items() if not key.startswith(shown)}, job.warnings)
    print(f"The histograms are {out / 'dvh.csv'} and {out / 'dvh.png'}, the scene is {out / 'twin.mrb'}")


def accumulate(
    case: Annotated[Path, typer.Argument(help="Case file (TOML) with the doses as [[map]], see docs/dose.md.")],
    fractions: Annotated[
        list[str] | None, typer.Option(help="Fractions of a dose, as NAME=30; of each, for a sum of EQD2.")
    ] = None,
    alpha_beta: Annotated[float | None, typer.Option(help="In Gy: adds up EQD2 in place of physical dose.")] = None,
    out: Annotated[
        Path, typer.Option("--out", help="Folder for the results; replaced if it holds earlier ones.")
    ] = Path("output/accumulated"),
) -> None:
    """Add up doses of several plans through the registration of their images: accumulated.nii.gz, twin.mrb."""
    from .accumulating import accumulate_doses

    with job_on_terminal() as job:
        results = accumulate_doses(
            case, out, fractions=fractions_of(fractions or []), alpha_beta_gy=alpha_beta, job=job
        )
    tell(results, job.warnings)
    print(f"The accumulated dose is {out / 'accumulated.nii.gz'}")


def fractions_of(given: list[str]) -> dict[str, int]:
    """Numbers of fractions by the dose's name, of texts such as "first plan=30"."""
    found = {}
    for text in given:
        name, equals, count = text.rpartition("=")
        if not equals or not count.strip().isdigit():
            raise InvalidInput(f"Fractions are said as NAME=30, not {text!r}.")
        found[name.strip()] = int(count)
    return found
