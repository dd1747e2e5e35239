"""The command `digitaltwin segment-series`: the anatomy at every time of a series, by a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .terminal import job_on_terminal, tell


def segment_series(
    series: Annotated[Path, typer.Argument(help="A 4D volume file, a DICOM folder or file.")],
    model: Annotated[str, typer.Option(help="Of one image, of those that `digitaltwin models` lists.")],
    modality: Annotated[str, typer.Option(help="CT, MR or US, of a file that is not DICOM.")] = "MR",
    interval: Annotated[
        float | None, typer.Option(help="From one time to the next, in ms, where the file does not say it.")
    ] = None,
    looks: Annotated[int, typer.Option(help="How often the model looks, at changed brightness: 1 to 5.")] = 1,
    keep_largest: Annotated[bool, typer.Option(help="Keep the largest part of each segment only.")] = False,
    fill_holes: Annotated[bool, typer.Option(help="Fill what a segment encloses and no other one holds.")] = False,
    patient: Annotated[str, typer.Option(help="Name to show: a pseudonym.")] = "unnamed",
    out: Annotated[
        Path, typer.Option("--out", help="Folder for the results; replaced if it holds earlier ones.")
    ] = Path("output/series"),
) -> None:
    """Label every time of a series by a model: labels over time, each segment's volumes, and twin.mrb."""
    from TwinSegmentLib.tidy import Tidy

    from .segmenting_series import segment_series as segment_all

    tidy = Tidy(0.0, keep_largest, fill_holes)
    with job_on_terminal() as job:
        results = segment_all(
            series,
            out,
            model,
            modality=modality,
            interval_ms=interval,
            looks=looks,
            tidy=tidy,
            patient=patient,
            job=job,
        )
    tell(results, job.warnings)
    print(f"The labels are {out / 'anatomy.nii.gz'}; volumes over time are in {out / 'volumes.csv'}")
