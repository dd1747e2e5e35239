"""The left ventricle of a cine on disk: labels over time, volumes, ejection fraction, a scene and a picture."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import SimpleITK as sitk
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from TwinCore import Image, InvalidInput, Job, MissingInput
from TwinCore.dicom.file import is_dicom
from TwinCore.guard import display_name
from TwinCore.itk import to_sitk
from TwinCore.scene import Twin, execute, new_scene, save
from TwinSegmentLib.series_step import MS_A_DAY
from TwinSegmentLib.ventricle_step import SEGMENT, Outputs, VentricleStep

from .case_file import ImageEntry
from .dose_chart import STYLE
from .loading import read_over_time
from .outputs import as_entries, whole_folder, write_json
from .pipeline import SCHEMA

CINE = "cine"
COLOUR = "#d94040"


def segment_ventricle(
    cine: str | Path,
    out: str | Path,
    base_ras_mm: Sequence[float],
    apex_ras_mm: Sequence[float],
    *,
    clicked: int = 0,
    interval_ms: float | None = None,
    patient: str = "unnamed",
    job: Job | None = None,
) -> dict[str, dict[str, Any]]:
    """Follow the left ventricle through a cine, and write what was found.

    Parameters
    ----------
    cine : path
        A 4D volume file, or DICOM.
    out : path
        Folder for `ventricle.nii.gz` (4D labels), `ventricle.csv` (volumes), `ventricle.png`, `twin.mrb`,
        `results.json` and `provenance.json`: all at once.
    base_ras_mm, apex_ras_mm, clicked
        As `VentricleStep` takes them.
    interval_ms : float, optional
        From one time to the next, where the file does not say it.
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
        If the cine cannot be read, a click is outside, or the job was cancelled; nothing is written then.
    """
    job = job or Job()
    step = VentricleStep(base_ras_mm, apex_ras_mm, clicked, CINE)
    reading, following, writing = job.split(reading=1, following=9, writing=1)
    with reading:
        images = read_cine(Path(cine), interval_ms, reading)
    with whole_folder(Path(out)) as folder:
        twin = Twin.create(patient, new_scene())
        twin.add_series(images, CINE)
        with following:
            run = execute(twin, step, following)
        with writing:
            outputs: Outputs = run.outputs
            entries = as_entries(outputs.results)
            write_labels(images, outputs, folder / "ventricle.nii.gz")
            write_volumes(outputs, folder / "ventricle.csv")
            draw(images, outputs, folder / "ventricle.png")
            save(twin, folder / "twin.mrb")
            write_json(folder / "provenance.json", {"runs": [run.provenance]})
            document = {
                "schema": SCHEMA, "patient": patient, "virtual": False, **entries, "scenarios": [],
                "warnings": list(job.warnings),
            }  # fmt: skip
            write_json(folder / "results.json", document)
            job.checkpoint()
    return entries


def read_cine(path: Path, interval_ms: float | None, job: Job, modality: str = "MR") -> list[Image]:
    """The times of a cine as images, each with its time in days.

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
                f"From one time of a cine to the next it is more than 0 and below 10 s, not {interval:g} ms."
            )
        times = (np.arange(count) * interval / MS_A_DAY).tolist()
    entry = ImageEntry(name=CINE, path=path.name, modality=modality, time_point="all", times_days=times)
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
        raise InvalidInput(f"{display_name(path.name)}: it is a single volume; a cine has two times or more.")
    units = int(reader.GetMetaData("xyzt_units")) if reader.HasMetaDataKey("xyzt_units") else 0
    return int(size[3]), 1000.0 * spacing[3] if units & 0x38 else None


def write_labels(images: Sequence[Image], outputs: Outputs, path: Path) -> None:
    """The blood pool as one 4D label map, with the cine's times."""
    volumes = [to_sitk(Image(one.mask(SEGMENT).astype(np.uint8), one.grid)) for one in outputs.over_time.values()]
    step_s = (float(images[1].time) - float(images[0].time)) * MS_A_DAY / 1000.0  # type: ignore[arg-type]
    sitk.WriteImage(sitk.JoinSeries(volumes, 0.0, step_s), str(path), useCompression=True)


def write_volumes(outputs: Outputs, path: Path) -> None:
    """The volume at each time."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["time [ms]", "volume [mL]"])
        columns = outputs.table.columns
        writer.writerows([f"{t:.1f}", f"{v:.2f}"] for t, v in zip(columns["time"], columns["volume"]))


def draw(images: Sequence[Image], outputs: Outputs, path: Path) -> None:
    """The curve of the volume, and the slices of both ends of the cycle with the outline of the blood pool."""
    found, columns = outputs.ventricle, outputs.table.columns
    slices = np.flatnonzero(np.any([mask.any(axis=(1, 2)) for mask in found.masks], axis=0))
    shown = slices[np.unique(np.linspace(0, slices.size - 1, min(6, slices.size)).round().astype(int))]
    ends = {"end of diastole": found.end_diastole, "end of systole": found.end_systole}
    with matplotlib.rc_context(STYLE):
        figure = Figure((8.0, 5.4), dpi=150, layout="constrained")
        above, below = figure.subfigures(2, 1, height_ratios=(2, 3))
        axis = above.subplots()
        axis.plot(columns["time"], columns["volume"], color=COLOUR, marker="o", ms=3)
        for end in ends.values():
            axis.axvline(columns["time"][end], color="0.5", lw=0.8, ls=":")
        axis.set(xlabel="time (ms)", ylabel="left ventricle (mL)")
        axis.set_ylim(bottom=0)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_title(f"ejection fraction {100 * found.ejection_fraction:.0f} %", loc="left")
        rows = below.subplots(2, shown.size, squeeze=False)
        low, high = np.percentile(images[0].array, (1, 99.5))
        spacing = images[0].grid.spacing
        for (words, end), row in zip(ends.items(), rows):
            for k, place in zip(shown, row):
                place.imshow(images[end].array[k], cmap="gray", vmin=low, vmax=high, aspect=spacing[1] / spacing[0])
                if found.masks[end][k].any():
                    place.contour(found.masks[end][k], levels=[0.5], colors=[COLOUR], linewidths=1.0)
                place.set(xticks=[], yticks=[])
            row[0].set_ylabel(f"{words}\n{found.volumes_ml[end]:.0f} mL")
        for k, place in zip(shown, rows[0]):
            place.set_title(f"slice {k}", fontsize=7)
        FigureCanvasAgg(figure).print_png(path, metadata={"Software": None})
