"""Segmentation of a series over time by a model: from files to labels at each time, volumes and a scene."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from TwinCore import Image, Job
from TwinSegmentLib.series_step import Outputs, SeriesStep
from TwinSegmentLib.tidy import Tidy

from .outputs import write_table
from .series_files import SERIES, read_series, run_on_series, write_over_time


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
    step = SeriesStep(model, SERIES, looks, tidy or Tidy())
    step.check()

    def read(reading: Job) -> list[Image]:
        return read_series(Path(path), interval_ms, reading, modality)

    return run_on_series(read, step, Path(out), patient, _write, job or Job())


def _write(images: Sequence[Image], outputs: Outputs, folder: Path) -> None:
    """Labels are numbered as the columns of the volumes are."""
    names = [name for name in outputs.table.columns if name != "time"]
    labels = [np.zeros(image.grid.shape, np.uint8 if len(names) < 256 else np.uint16) for image in images]
    for here, one in zip(labels, outputs.over_time.values()):
        for name in one.names:
            here[one.mask(name)] = 1 + names.index(name)
    write_over_time(labels, images, folder / "anatomy.nii.gz")
    write_table(folder / "volumes.csv", outputs.table)
