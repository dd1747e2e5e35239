"""The command `digitaltwin ventricle`: the left ventricle of a cine from two clicks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .terminal import job_on_terminal, tell


def ventricle(
    cine: Annotated[Path, typer.Argument(help="Short-axis cine: a 4D volume file, a DICOM folder or file.")],
    base: Annotated[tuple[float, float, float], typer.Option(help="Middle of the blood pool at the base, RAS mm.")],
    apex: Annotated[tuple[float, float, float], typer.Option(help="Middle of the blood pool at the apex, RAS mm.")],
    clicked: Annotated[int, typer.Option(help="The time, counted from 0, in which these points are.")] = 0,
    interval: Annotated[
        float | None, typer.Option(help="From one time to the next, in ms, where the file does not say it.")
    ] = None,
    patient: Annotated[str, typer.Option(help="Name to show: a pseudonym.")] = "unnamed",
    out: Annotated[
        Path, typer.Option("--out", help="Folder for the results; replaced if it holds earlier ones.")
    ] = Path("output/ventricle"),
) -> None:
    """Left ventricle over the cycle, its volumes and ejection fraction: ventricle.nii.gz, .csv, .png, twin.mrb."""
    from .ventricle import segment_ventricle

    with job_on_terminal() as job:
        results = segment_ventricle(
            cine, out, base, apex, clicked=clicked, interval_ms=interval, patient=patient, job=job
        )
    tell(results, job.warnings)
    print(f"The curve and both ends of the cycle are in {out / 'ventricle.png'}")
