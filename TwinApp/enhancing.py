"""Contrast phases from disk to maps of enhancement, of exchange and of a drug's delivery."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from TwinCore import Image, InvalidInput, Job, Quantity, bounding_box, centroid
from TwinCore.guard import display_name
from TwinCore.itk import to_sitk
from TwinCore.provenance import content_hash, record
from TwinCore.segmentation import carry_mask
from TwinCore.units import NO_UNIT
from TwinCore.volume_file import read_volume
from TwinSimulateLib.dce import NO_SIGNAL, PER_MINUTE, drug_delivery, enhancement_maps
from TwinSimulateLib.tofts import FEWEST_FRAMES, fit_extended_tofts, parker_input, spoiled_gradient_concentration

from .outputs import as_entries, check_replaceable, whole_folder, write_json
from .pictures import map_planes
from .pipeline import SCHEMA
from .planes import Placed

SHOWN = ("relative_enhancement", "wash_in", "signal_enhancement_ratio", "ktrans", "drug_delivery")
MARGIN_MM = 25.0
PERCENTILES = (10, 50, 90)
INPUT_MIN = 1.0 / 60.0
"""Minutes between samples of the input function: a bolus passes within a slow frame."""


@dataclass(frozen=True)
class Sequence3D:
    """A spoiled gradient echo, and T1 before contrast: what concentrations are worked out from."""

    t1_ms: float
    repetition_ms: float
    flip_degrees: float

    @classmethod
    def of(cls, t1_ms: float | None, repetition_ms: float | None, flip_degrees: float | None) -> Sequence3D | None:
        """The sequence if all is known of it, none if nothing is."""
        given = [t1_ms, repetition_ms, flip_degrees]
        if given == [None] * 3:
            return None
        if any(value is None or not value > 0 for value in given):
            raise InvalidInput("Ktrans needs T1, repetition time and flip angle, all above 0: give all three or none.")
        return cls(*given)  # type: ignore[arg-type]


def map_enhancement(
    phases: Sequence[Path],
    times_min: Sequence[float],
    out: str | Path,
    *,
    arrival_min: float = 0.0,
    tumour: str | Path | None = None,
    sequence: Sequence3D | None = None,
    job: Job | None = None,
) -> dict[str, dict[str, Any]]:
    """Map the uptake of a contrast agent, and write what was found.

    Parameters
    ----------
    phases : sequence of path
        Volume files on one grid, in the order of time.
    times_min : sequence of float
        Of each, in minutes.
    out : path
        Folder for a volume a map, `dce.csv`, `dce.png`, `results.json` and `provenance.json`: all at once.
    arrival_min : float
    tumour : path, optional
        Mask: the table is then of the tumour, and there is `drug_delivery.nii.gz` on the mask's grid.
    sequence : Sequence3D, optional
        With 8 phases or more: maps of Ktrans, ve and vp from the population's input function.
    job : Job, optional

    Returns
    -------
    dict
        The results as results.json holds them.

    Raises
    ------
    TwinError
        If a file cannot be read, they do not belong together, or the job was cancelled; nothing is written then.
    """
    job, started = job or Job(), datetime.now().astimezone()
    check_replaceable(Path(out))
    reading, mapping, writing = job.split(reading=1, maps=3, writing=1)
    with reading:
        images = [read_volume(path, "MR") for path in reading.each(phases, "phases")]
        mask = read_volume(tumour, "") if tumour is not None else None
    with mapping:
        maps = enhancement_maps(images, times_min, arrival_min)
        if sequence is not None:
            maps.update(_exchange(images, times_min, arrival_min, sequence, mapping))
        inside = maps["relative_enhancement"].array > 0
        if mask is not None:
            inside = carry_mask(mask.array > 0, mask.grid, images[0].grid)
            uptake = maps.get("ktrans", maps["initial_area"])
            maps["drug_delivery"] = drug_delivery(uptake, mask.array > 0, mask.grid)
    with writing, whole_folder(Path(out)) as folder:
        own = {name: shown for name, shown in maps.items() if shown.grid.same_as(images[0].grid)}
        results = _results(own, inside)
        for name, shown in writing.each(maps.items(), "volumes"):
            sitk.WriteImage(to_sitk(shown), str(folder / f"{name}.nii.gz"), useCompression=True)
        _write_table(folder / "dce.csv", own, inside)
        (folder / "dce.png").write_bytes(_picture(images, maps, inside))
        entries = as_entries(results)
        write_json(
            folder / "results.json",
            {
                "schema": SCHEMA,
                "patient": "unnamed",
                "virtual": False,
                **entries,
                "scenarios": [],
                "warnings": list(job.warnings),
            },
        )
        parameters = {
            "times_min": list(times_min),
            "arrival_min": arrival_min,
            "sequence": asdict(sequence) if sequence else None,
        }
        read = [*images, mask] if mask is not None else images
        inputs = [{"name": display_name(i.name), "hash": content_hash(i.array, i.grid.ijk_to_ras)} for i in read]
        run = record(
            "dce", "TwinApp.enhancing", parameters, inputs, [], results, job.warnings, started, job.elapsed_seconds,
            job.seconds,
        )  # fmt: skip
        write_json(folder / "provenance.json", {"runs": [run]})
        job.checkpoint()
    return entries


def _exchange(
    images: Sequence[Image], times_min: Sequence[float], arrival_min: float, sequence: Sequence3D, job: Job
) -> dict[str, Image]:
    """Ktrans, ve and vp of every voxel with a signal."""
    times = np.asarray(times_min, float)
    if times.size < FEWEST_FRAMES:
        raise InvalidInput(f"Ktrans needs {FEWEST_FRAMES} phases or more; there are {times.size}.")
    signal = np.stack([image.array.astype(np.float64) for image in images], -1)
    baseline = signal[..., times <= arrival_min].mean(-1)
    seen = baseline > NO_SIGNAL * np.percentile(baseline, 99)
    curves = spoiled_gradient_concentration(
        signal[seen], baseline[seen], sequence.t1_ms, sequence.repetition_ms, sequence.flip_degrees
    )
    job.checkpoint()
    fine = np.arange(min(times[0], arrival_min), times[-1] + INPUT_MIN, INPUT_MIN)
    fit = fit_extended_tofts(times, curves, parker_input(fine - arrival_min), fine)
    maps = {}
    for name, values, unit in (("ktrans", fit.ktrans, PER_MINUTE), ("ve", fit.ve, NO_UNIT), ("vp", fit.vp, NO_UNIT)):
        whole = np.zeros(seen.shape, np.float32)
        whole[seen] = values
        maps[name] = Image(whole, images[0].grid, unit=unit, name=name)
    return maps


def _results(maps: Mapping[str, Image], inside: np.ndarray) -> dict[str, Quantity | str]:
    """The median of each map."""
    if not inside.any():
        raise InvalidInput("Nothing takes up the contrast agent, or the tumour lies outside the phases.")
    return {f"median_{name}": Quantity(float(np.median(m.array[inside])), m.unit) for name, m in maps.items()}


def _write_table(path: Path, maps: Mapping[str, Image], inside: np.ndarray) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["map", "unit", "mean", *(f"{p} %" for p in PERCENTILES)])
        for name, shown in maps.items():
            values = shown.array[inside]
            numbers = [values.mean(), *np.percentile(values, PERCENTILES)]
            writer.writerow([name, shown.unit, *(f"{v:.5g}" for v in numbers)])


def _picture(images: Sequence[Image], maps: Mapping[str, Image], inside: np.ndarray) -> bytes:
    """The maps around the tumour, or else all of the phases, in the plane that they were acquired in."""
    grid = images[0].grid
    across = int(np.argmax(np.abs(grid.direction[:, int(np.argmax(grid.spacing))])))
    view = ("sagittal", "coronal", "axial")[across]
    margin = np.ceil(MARGIN_MM / grid.spacing[::-1]).astype(int)
    corners = grid.crop(*bounding_box(inside, margin)).corners()
    shown = {name.replace("_", " "): maps[name] for name in SHOWN if name in maps}
    box = np.stack([corners.min(0), corners.max(0)])
    return map_planes(Placed(images[-1]), shown, box, centroid(inside, grid), view).png
