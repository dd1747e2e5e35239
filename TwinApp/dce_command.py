"""The command `digitaltwin dce`: contrast uptake as maps, and as the delivery of a drug to a tumour."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .terminal import job_on_terminal, tell


def dce(
    phases: Annotated[list[Path], typer.Argument(help="Volumes before and after contrast, in order, registered.")],
    time: Annotated[list[float], typer.Option(help="Minutes of each phase, in their order; repeat it.")],
    arrival: Annotated[float, typer.Option(help="Minutes at which the contrast agent came.")] = 0.0,
    tumour: Annotated[Path | None, typer.Option(help="Mask of the tumour (volume): gives drug_delivery.")] = None,
    t1: Annotated[float | None, typer.Option(help="T1 before contrast in ms: with --tr and --flip, Ktrans.")] = None,
    tr: Annotated[float | None, typer.Option(help="Repetition time in ms of the spoiled gradient echo.")] = None,
    flip: Annotated[float | None, typer.Option(help="Flip angle in degrees.")] = None,
    out: Annotated[
        Path, typer.Option("--out", help="Folder for the results; replaced if it holds earlier ones.")
    ] = Path("output/dce"),
) -> None:
    """Enhancement, wash-in, wash-out and drug delivery from contrast phases: maps, dce.csv, dce.png, results.json."""
    from .enhancing import Sequence3D, map_enhancement

    with job_on_terminal() as job:
        sequence = Sequence3D.of(t1, tr, flip)
        results = map_enhancement(phases, time, out, arrival_min=arrival, tumour=tumour, sequence=sequence, job=job)
    tell(results, job.warnings)
    print(f"The maps are in {out}, with dce.csv and dce.png")
