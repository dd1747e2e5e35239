"""The left ventricle of a cine on disk: labels over time, volumes, ejection fraction, a scene and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from TwinCore import Image, Job
from TwinSegmentLib.ventricle_step import SEGMENT, Outputs, VentricleStep

from .dose_chart import STYLE
from .outputs import write_table
from .series_files import SERIES, read_series, run_on_series, write_over_time

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
    step = VentricleStep(base_ras_mm, apex_ras_mm, clicked, SERIES)

    def read(reading: Job) -> list[Image]:
        return read_series(Path(cine), interval_ms, reading)

    return run_on_series(read, step, Path(out), patient, _write, job or Job())


def _write(images: Sequence[Image], outputs: Outputs, folder: Path) -> None:
    masks = [one.mask(SEGMENT).astype(np.uint8) for one in outputs.over_time.values()]
    write_over_time(masks, images, folder / "ventricle.nii.gz")
    write_table(folder / "ventricle.csv", outputs.table)
    draw(images, outputs, folder / "ventricle.png")


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
