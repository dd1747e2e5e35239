"""The command `digitaltwin onset`: where a glioma began and how it has spread, from images of a single day."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .terminal import job_on_terminal, tell


def onset(
    white: Annotated[Path, typer.Option(help="White matter: a mask, or fractions from 0 to 1.")],
    grey: Annotated[Path, typer.Option(help="Grey matter: a mask, or fractions from 0 to 1.")],
    flair: Annotated[Path, typer.Option(help="Outline on FLAIR (label map), with or without the core.")],
    core: Annotated[Path, typer.Option(help="Enhancement on T1 and what it encloses (label map).")],
    necrosis: Annotated[int, typer.Option(help="Label of necrosis in the core; 0: none.")] = 0,
    pet: Annotated[Path | None, typer.Option(help="Amino-acid PET, used where it is above 0 in the core.")] = None,
    horizon: Annotated[int, typer.Option(help="Days to predict ahead from the fitted tumour; 0: none.")] = 0,
    scenario: Annotated[
        list[str] | None, typer.Option(help="Such as 'none' or '25 x 2 Gy'; repeat it to compare.")
    ] = None,
    members: Annotated[int, typer.Option(help="Of the ensemble.")] = 128,
    seed: Annotated[int, typer.Option(help="Of the ensemble's random draws.")] = 0,
    patient: Annotated[str, typer.Option(help="Name to show: a pseudonym.")] = "unnamed",
    out: Annotated[
        Path, typer.Option("--out", help="Folder for the results; replaced if it holds earlier ones.")
    ] = Path("output/onset"),
) -> None:
    """Fit a glioma's origin, age and spread to its outlines of one day, see docs/models/tumour_onset.md."""
    from .onset_files import OnsetFiles, fit_files

    files = OnsetFiles(white, grey, flair, core, necrosis, pet)
    with job_on_terminal() as job:
        results = fit_files(
            files, out, horizon_days=horizon, scenarios=scenario or ("none",), members=members, seed=seed,
            patient=patient, job=job,
        )  # fmt: skip
    tell(results, job.warnings)
    print(f"The fitted outlines are shown in {out / 'onset.png'}")
