"""A glioma's onset from files to figures: masks and a PET in, the fitted tumour with its intervals out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from TwinCore import Grid, Image, InvalidInput, Job, Quantity, resample
from TwinCore.guard import display_name
from TwinCore.itk import to_sitk
from TwinCore.provenance import content_hash, record
from TwinCore.segmentation import carry_mask
from TwinCore.units import NO_UNIT
from TwinCore.volume_file import read_volume
from TwinSimulateLib.model import Anatomy, Estimate
from TwinSimulateLib.onset_unknowns import OnsetPosterior
from TwinSimulateLib.treatment_text import parse_scenarios
from TwinSimulateLib.tumour_onset import TumourOnset

from .onset_picture import draw_onset
from .outputs import as_entries, check_replaceable, whole_folder, write_json, write_table
from .pipeline import SCHEMA, as_rows

OUTPUT_TIMES = 12
FITTED = ("diffusivity", "proliferation_rate", "white_to_grey_ratio", "detection_threshold", "oedema_threshold")
TIME_SCALE = (
    "One day's images tell of the front's width and of the growth rate times the age alone: the age in days, and with "
    "it the diffusivity and the growth rate, are as sure as what is believed of untreated gliomas beforehand."
)


@dataclass(frozen=True)
class OnsetFiles:
    """Where the images of one day are; the grid of the core's label map is that of the results.

    Parameters
    ----------
    white, grey : Path
        Masks, or fractions from 0 to 1.
    flair, core : Path
        Label maps: what is above 0 is inside.
    necrosis : int
        Its label in the core; 0 for none.
    pet : Path, optional
    """

    white: Path
    grey: Path
    flair: Path
    core: Path
    necrosis: int = 0
    pet: Path | None = None

    def read(self) -> tuple[Anatomy, list[Image]]:
        """The anatomy, and the images as they were read.

        Raises
        ------
        MissingInput, InvalidInput
            If a file cannot be read, tissue is not from 0 to 1, or an outline is empty.
        """
        core = read_volume(self.core)
        grid = core.grid
        white, grey, flair = (read_volume(path) for path in (self.white, self.grey, self.flair))
        tissues = {"white matter": _fractions(white, grid), "grey matter": _fractions(grey, grid)}
        for name, image in (("tumour", core), ("flair", flair)):
            tissues[name] = (
                image.array > 0 if image.grid.same_as(grid) else carry_mask(image.array > 0, image.grid, grid)
            )
            if not tissues[name].any():
                raise InvalidInput(f"{display_name(image.name)}: nothing is outlined.")
        if self.necrosis:
            tissues["necrosis"] = core.array == self.necrosis
            if not tissues["necrosis"].any():
                raise InvalidInput(
                    f"{display_name(core.name)}: there is no label {self.necrosis}, which necrosis is said to be."
                )
        read, images = [white, grey, flair, core], {}
        if self.pet is not None:
            pet = read_volume(self.pet, "PT", NO_UNIT)
            images["pet"] = pet if pet.grid.same_as(grid) else resample(pet, grid)
            read.append(pet)
        return Anatomy(grid, tissues, images), read


def fit_files(
    files: OnsetFiles,
    out: str | Path,
    *,
    horizon_days: int = 0,
    scenarios: Sequence[str] = ("none",),
    members: int = 128,
    seed: int = 0,
    patient: str = "unnamed",
    job: Job | None = None,
) -> dict[str, dict[str, Any]]:
    """Fit the onset, show the tumour of today, and follow it into the future if asked.

    Parameters
    ----------
    files : OnsetFiles
    out : path
        Folder for `results.json`, `onset.csv` (each unknown with its interval and what the images tell of it),
        `onset.png`, `density.nii.gz`, `probability.nii.gz` and `provenance.json`: all at once.
    horizon_days : int
        How far ahead; 0 for today alone.
    scenarios : sequence of str
        As `treatment_text.parse_scenarios` reads them.
    members, seed : int
        Size and seed of the ensemble.
    patient : str
    job : Job, optional

    Returns
    -------
    dict
        The results as results.json holds them.

    Raises
    ------
    TwinError
        If a file cannot be read or used, or the job was cancelled; nothing is written then.
    """
    job, started = job or Job(), datetime.now().astimezone()
    check_replaceable(Path(out))
    schedules = parse_scenarios(scenarios)
    if not 2 <= members <= 10_000 or not 0 <= horizon_days <= 3650:
        raise InvalidInput("An ensemble needs from 2 to 10000 members, and a horizon is from 0 to 3650 days.")
    model = TumourOnset()
    reading, fitting, showing, ahead, writing = job.split(
        reading=1, fit=6, members=3, prediction=6 if horizon_days else 0.01, writing=0.5
    )
    with reading:
        anatomy, read = files.read()
    with fitting:
        fit = model.fit(anatomy, fitting)
    posterior = fit.posterior
    with showing:
        today = model.today(anatomy, posterior, showing, members, seed)
    results = {**today.numbers, **_fitted(posterior)}
    results["outline_rms_mm"] = Quantity(fit.rms_mm, "mm")
    results["independent_observations"] = Quantity(fit.independent, NO_UNIT)
    assert posterior.discrepancy is not None
    assert posterior.fit is not None
    results["noise_factor"] = Quantity(posterior.discrepancy.noise_factor, NO_UNIT)
    rows: list[dict[str, Any]] = []
    if horizon_days:
        with ahead:
            times = np.unique(np.round(np.linspace(0, horizon_days, min(horizon_days, OUTPUT_TIMES) + 1))).tolist()
            compared = model.compare(anatomy, posterior, schedules, times, ahead, members, seed)
        rows = as_rows(compared.table)
        for name, prediction in compared.predictions.items():
            results[f"predicted_volume_ml, {name}"] = prediction.numbers["volume"]
    job.warn(TIME_SCALE)
    with writing, whole_folder(Path(out)) as folder:
        entries = as_entries(results)
        write_table(folder / "onset.csv", posterior.fit)
        draw_onset(anatomy, today, posterior.map, folder / "onset.png")
        for name, image in today.fields.items():
            sitk.WriteImage(to_sitk(image), str(folder / f"{name}.nii.gz"), useCompression=True)
        document = {
            "schema": SCHEMA, "patient": patient, "virtual": False, **entries, "scenarios": rows,
            "warnings": list(job.warnings),
        }  # fmt: skip
        write_json(folder / "results.json", document)
        inputs = [{"name": display_name(i.name), "hash": content_hash(i.array, i.grid.ijk_to_ras)} for i in read]
        parameters = {
            "necrosis": files.necrosis, "horizon_days": horizon_days, "scenarios": list(scenarios), "members": members,
            "seed": seed,
        }  # fmt: skip
        run = record(
            "onset", "TwinApp.onset_files", parameters, inputs, [], results, job.warnings, started, job.elapsed_seconds,
            job.seconds,
        )  # fmt: skip
        write_json(folder / "provenance.json", {"runs": [run]})
        job.checkpoint()
    return entries


def _fitted(posterior: OnsetPosterior) -> dict[str, Quantity]:
    units = {p.name: p.unit for p in posterior.parameters}
    return {
        name: Estimate(posterior.map[name], units[name], posterior.interval(name, 50.0), posterior.interval(name))
        for name in FITTED
    }


def _fractions(image: Image, grid: Grid) -> np.ndarray:
    values = image.array.astype(np.float32)
    if values.min() < 0 or values.max() > 1 or values.max() == 0:
        raise InvalidInput(
            f"{display_name(image.name)}: tissue must be a mask, or fractions from 0 to 1, and not empty."
        )
    return values if image.grid.same_as(grid) else resample(image.with_array(values), grid).array
