"""A series over time on disk, and a step on it from the images to the folder of results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from TwinCore import Image, InvalidInput, Job, MissingInput
from TwinCore.dicom.file import is_dicom
from TwinCore.guard import display_name
from TwinCore.itk import to_sitk
from TwinCore.scene import Twin, boot, execute, new_scene, save
from TwinSegmentLib.series_step import MS_A_DAY

from .case_file import ImageEntry
from .loading import read_over_time
from .outputs import as_entries, check_replaceable, whole_folder, write_json
from .pipeline import SCHEMA

SERIES = "series"
"""The name of the twin's series."""


def run_on_series(
    read: Callable[[Job], list[Image]],
    step: Any,
    out: Path,
    patient: str,
    write: Callable[[list[Image], Any, Path], None],
    job: Job,
) -> dict[str, dict[str, Any]]:
    """Read a series, run a step on a twin that has it, and write what was found: the whole folder, or nothing.

    Parameters
    ----------
    read : callable
        Gives the images.
    step : step of a twin
    out : Path
        Folder for `twin.mrb`, `results.json`, `provenance.json` and what `write` adds.
    patient : str
    write : callable
        Given the images, the step's outputs and the folder.
    job : Job

    Returns
    -------
    dict
        The results as results.json holds them.
    """
    check_replaceable(out)
    reading, running, writing = job.split(reading=1, running=9, writing=1)
    with reading:
        images = read(reading)
        boot()
    with whole_folder(out) as folder:
        twin = Twin.create(patient, new_scene())
        twin.add_series(images, SERIES)
        with running:
            run = execute(twin, step, running)
        with writing:
            entries = as_entries(run.results)
            write(images, run.outputs, folder)
            save(twin, folder / "twin.mrb")
            write_json(folder / "provenance.json", {"runs": [run.provenance]})
            document = {
                "schema": SCHEMA, "patient": patient, "virtual": False, **entries, "scenarios": [],
                "warnings": list(job.warnings),
            }  # fmt: skip
            write_json(folder / "results.json", document)
            job.checkpoint()
    return entries


def read_series(path: Path, interval_ms: float | None, job: Job, modality: str = "MR") -> list[Image]:
    """The times of a series as images, each with its time in days.

    Raises
    ------
    MissingInput
        If a file does not say the time between its volumes, and it is not given.
    InvalidInput
        If it is not a series, or the interval is not above 0.
    """
    if not path.exists():
        raise MissingInput(f"There is no {display_name(path.name)!r}.")
    times = None
    if not path.is_dir() and not is_dicom(path):
        count, said_ms = _times_in(path)
        interval = interval_ms if interval_ms is not None else said_ms
        if interval is None:
            raise MissingInput(
                f"{display_name(path.name)} does not say how long it is from one time to the next: give --interval, in "
                "ms."
            )
        if not 0 < interval < 10_000:
            raise InvalidInput(
                f"From one time of a series to the next it is more than 0 and below 10 s, not {interval:g} ms."
            )
        times = (np.arange(count) * interval / MS_A_DAY).tolist()
    entry = ImageEntry(name=SERIES, path=path.name, modality=modality, time_point="all", times_days=times)
    return read_over_time(entry, path.absolute().parent, job)[0]


def _times_in(path: Path) -> tuple[int, float | None]:
    """How many volumes a file has, and how many ms lie between them, if it says so."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise InvalidInput(f"{display_name(path.name)}: it is not a volume file that can be read.") from error
    size, spacing = reader.GetSize(), reader.GetSpacing()
    if len(size) < 4 or size[3] < 2:
        raise InvalidInput(f"{display_name(path.name)}: it is a single volume; a series has two times or more.")
    units = int(reader.GetMetaData("xyzt_units")) if reader.HasMetaDataKey("xyzt_units") else 0
    return int(size[3]), 1000.0 * spacing[3] if units & 0x38 else None


def write_over_time(labels: Sequence[np.ndarray], images: Sequence[Image], path: Path) -> None:
    """Labels as one 4D label map on the grid and at the times of the images."""
    volumes = [to_sitk(Image(one, image.grid)) for one, image in zip(labels, images)]
    step_s = (float(images[1].time) - float(images[0].time)) * MS_A_DAY / 1000.0  # type: ignore[arg-type]
    sitk.WriteImage(sitk.JoinSeries(volumes, 0.0, step_s), str(path), useCompression=True)
