"""A plan's dose, structures, histograms and verdicts as a scene that any Slicer opens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from TwinCore import Grid, Image, Job, Quantity, Segmentation, Table, resample
from TwinCore.scene import Twin, new_scene, save
from TwinCore.surface import surfaces_of
from TwinCore.units import GRAY
from TwinSimulateLib.dose_volume import DoseVolume

STEP_GY = 0.1
MOST_VOXELS = 20_000_000
LINES = 12
"""Histograms in a chart, from the highest mean dose on: more cannot be told apart."""


def histogram_table(histograms: Mapping[str, DoseVolume], dose_gy: np.ndarray) -> Table:
    """Cumulative histograms: the share of each structure, in %, that gets each of these doses or more."""
    columns = {"dose": dose_gy, **{name: h.cumulative(dose_gy) for name, h in histograms.items()}}
    return Table("Dose-volume histograms", columns, {"dose": GRAY, **dict.fromkeys(histograms, "%")})


def doses_to_show(histograms: Mapping[str, DoseVolume], prescribed_gy: float | None) -> np.ndarray:
    """From 0 in steps of 0.1 Gy to beyond the highest dose, and that prescribed."""
    highest = max([h.max_gy for h in histograms.values()] + [prescribed_gy or 0.0])
    return np.arange(0.0, highest + 2 * STEP_GY, STEP_GY)


def write_scene(
    path: Path,
    patient: str,
    dose: Image,
    drawn: Mapping[str, Image],
    histograms: Mapping[str, DoseVolume],
    tables: Iterable[Table],
    results: Mapping[str, Quantity | str],
    parameters: Mapping[str, Any],
    job: Job,
) -> None:
    """Write a plan as a twin: its dose as an input field, and one run with all that was found.

    Parameters
    ----------
    path : Path
        Ends in `.mrb`.
    patient : str
    dose : Image
    drawn : mapping of str to Image
        Structures as fractions of voxels, each on its own grid.
    histograms : mapping of str to DoseVolume
    tables : iterable of Table
        Besides that of the histograms.
    results, parameters : mappings
        For the run's record.
    job : Job
    """
    twin = Twin.create(patient, new_scene())
    node = twin.add_field(dose.with_array(dose.array, name="dose"))
    segmentation = structures_on(scene_grid(dose.grid), drawn, job)
    with twin.run("TwinSimulate", parameters, [node]) as run:
        run.add_segmentation(segmentation, "Structures", surfaces_of(segmentation, job))
        prescribed = parameters.get("prescription") or {}
        table = run.add_table(histogram_table(histograms, doses_to_show(histograms, prescribed.get("dose_gy"))))
        hottest = sorted(histograms, key=lambda name: -histograms[name].mean_gy)[:LINES]
        run.add_plot("Dose-volume histograms", table, "dose", hottest, y_title="volume with that dose or more (%)")
        for other in tables:
            run.add_table(other)
        run.record(results)
        run.add_job(job)
    save(twin, path)


def scene_grid(grid: Grid) -> Grid:
    """The dose's grid with voxels of half the edge, where that is not too many."""
    return grid.with_spacing(grid.spacing / 2) if 8 * grid.size <= MOST_VOXELS else grid


def structures_on(grid: Grid, drawn: Mapping[str, Image], job: Job) -> Segmentation:
    """Structures as segments of one grid; a voxel belongs where half of it does."""
    masks = {}
    for name in job.each(list(drawn), "structures"):
        share = drawn[name].with_array(drawn[name].array.astype(np.float32))
        masks[name] = resample(share, grid).array >= 0.5
        if not masks[name].any():
            job.warn(f"Structure {name!r} falls between the voxels of the scene; its figures are right.")
    return Segmentation.from_masks(grid, masks)
