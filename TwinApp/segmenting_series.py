"""Segmentation of a series over time by a model: from files to labels at each time, volumes and a scene."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from TwinCore import Image, Job, Segmentation, Table
from TwinCore.itk import to_sitk
from TwinCore.scene import Twin, boot, execute, new_scene, save
from TwinSegmentLib.series_step import MS_A_DAY, Outputs, SeriesStep
from TwinSegmentLib.tidy import Tidy

from .outputs import as_entries, check_replaceable, whole_folder, write_json
from .pipeline import SCHEMA
from .ventricle import read_cine

SERIES = "series"


def segment_series(
    path: str | Path,
    out: str | Path,
    model: str,
    *,
    modality: str = "MR",
    interval_ms: float | None = None,
    looks: int = 1,
    tidy: Tidy | None = None,
    patient: str = "unnamed",
    job: Job | None = None,
) -> dict[str, dict[str, Any]]:
    """Label every time of a series by a model of one image, and write what was found.

    Parameters
    ----------
    path : path
        A 4D volume file, or DICOM.
    out : path
        Folder for `anatomy.nii.gz` (labels, 4D), `volumes.csv` (of each segment at each time, in mL), `twin.mrb`,
        `results.json` and `provenance.json`: all at once.
    model : str
        Of the catalogue.
    modality : str
        Of a file that is not DICOM.
    interval_ms : float, optional
        From one time to the next, where the file does not say it.
    looks : int
        How often the model looks at each time.
    tidy : Tidy, optional
        What is done to the segments that it finds.
    patient : str
        As shown.
    job : Job, optional

    Returns
    -------
    dict
        The results as results.json holds them.

    Raises
    ------
    TwinError
        If the series cannot be read or does not suit the model, or the job was cancelled; nothing is written then.
    """
    job, out = job or Job(), Path(out)
    check_replaceable(out)
    step = SeriesStep(model, SERIES, looks, tidy or Tidy())
    step.check()
    reading, labelling, writing = job.split(reading=1, segmentation=10, writing=1)
    with reading:
        images = read_cine(Path(path), interval_ms, reading, modality)
        boot()
    with whole_folder(out) as folder:
        twin = Twin.create(patient, new_scene())
        twin.add_series(images, SERIES)
        with labelling:
            run = execute(twin, step, labelling)
        with writing:
            outputs: Outputs = run.outputs
            entries = as_entries(run.results)
            _write_labels(outputs.over_time, folder / "anatomy.nii.gz")
            _write_volumes(outputs.table, folder / "volumes.csv")
            save(twin, folder / "twin.mrb")
            write_json(folder / "provenance.json", {"runs": [run.provenance]})
            document = {
                "schema": SCHEMA, "patient": patient, "virtual": False, **entries, "scenarios": [],
                "warnings": list(job.warnings),
            }  # fmt: skip
            write_json(folder / "results.json", document)
            job.checkpoint()
    return entries


def _write_labels(over_time: Mapping[float, Segmentation], path: Path) -> None:
    """One 4D label map, numbered in the order of the segments' first appearance, as the columns of the volumes are."""
    names = list(dict.fromkeys(name for one in over_time.values() for name in one.names))
    volumes = []
    for one in over_time.values():
        labels = np.zeros(one.grid.shape, np.uint8 if len(names) < 256 else np.uint16)
        for name in one.names:
            labels[one.mask(name)] = 1 + names.index(name)
        volumes.append(to_sitk(Image(labels, one.grid)))
    first, second = list(over_time)[:2]
    sitk.WriteImage(sitk.JoinSeries(volumes, 0.0, (second - first) * MS_A_DAY / 1000.0), str(path), True)


def _write_volumes(table: Table, path: Path) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([f"{name} [{table.units[name]}]" for name in table.columns])
        writer.writerows([f"{value:.4f}" for value in row] for row in zip(*table.columns.values()))
