"""The observations of a case, read from its files: volumes, outlines, maps of cellularity and uptake."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from TwinCore import Image, InvalidInput, MissingInput
from TwinCore.segmentation import carry_mask
from TwinCore.units import NO_UNIT
from TwinCore.volume_file import read_volume
from TwinSimulateLib.cellularity import cellularity_of_adc, least_adc_mm2_per_s
from TwinSimulateLib.model import Observation
from TwinSimulateLib.tumour_observations import Cellularity, Outline, TumourObservation, Uptake, checked, days_between

from .case_file import ObservationEntry, inside


def read_observations(
    entries: Sequence[ObservationEntry], folder: Path, reference_time: str | float | None
) -> tuple[tuple[TumourObservation, ...], Image | None]:
    """The observations in the order of the case, and the cellularity that the model is to start from, if any.

    Parameters
    ----------
    entries : sequence of ObservationEntry
    folder : Path
        The case's data folder.
    reference_time : str or float, optional
        Of the reference image: visits with a date are placed by it.

    Raises
    ------
    MissingInput, InvalidInput
        If a file is not there or not what it is said to be, or a visit cannot be placed or is before the reference.
    """
    maps = {n: _map(entry, folder) for n, entry in enumerate(entries) if entry.quantity in ("cellularity", "uptake")}
    adc = {n: maps[n] for n in maps if entries[n].unit != NO_UNIT}
    # One scale for all visits: that of the densest tumour seen.
    least = min((least_adc_mm2_per_s(image, within) for image, within in adc.values()), default=None)
    observations: list[TumourObservation] = []
    start = None
    for n, entry in enumerate(entries):
        days = entry.time_days if entry.date is None else days_between(reference_time, entry.date)
        assert days is not None  # a case file has one of both
        frame = entry.image or ""
        if entry.quantity == "volume":
            observations.append(Observation("volume", days, _volume_ml(entry, folder), entry.log_sd, entry.threshold))
        elif entry.quantity == "outline":
            observations.append(
                Outline(days, _labelled(entry, folder, entry.path), entry.log_sd, entry.threshold, frame=frame)
            )
        else:
            image, within = maps[n]
            if n in adc:
                image = cellularity_of_adc(image, within, least)
            else:
                image = image.with_array(np.where(within, image.array, np.nan).astype(np.float32))
            if entry.start and days != 0:
                raise InvalidInput(
                    f"observation {entry.path!r}: the start is at the reference scan, not on day {days:g}."
                )
            kind = Uptake if entry.quantity == "uptake" else Cellularity
            seen = kind(days, image, entry.noise_sd, entry.correlation_mm, frame=frame)
            seen.check()
            if entry.start:
                start = image
            else:
                observations.append(seen)
    if observations:
        checked(observations)
    return tuple(observations), start


def _map(entry: ObservationEntry, folder: Path) -> tuple[Image, np.ndarray]:
    """The image, and where it tells of the tumour, on its grid."""
    image = read_volume(_path(entry.path, folder), unit=entry.unit)
    if entry.inside is None:
        return image, np.ones(image.grid.shape, bool)
    outline = _labelled(entry, folder, entry.inside)
    within = outline.array if outline.grid.same_as(image.grid) else carry_mask(outline.array, outline.grid, image.grid)
    if not within.any():
        raise InvalidInput(f"observation {entry.path!r}: {entry.inside!r} outlines nothing within the image.")
    return image, within


def _labelled(entry: ObservationEntry, folder: Path, path: str | None) -> Image:
    """The voxels of a label map that have one of the entry's labels, or any."""
    labels = read_volume(_path(path, folder))
    chosen = labels.array > 0 if entry.labels is None else np.isin(labels.array, entry.labels)
    if not chosen.any():
        raise InvalidInput(f"observation {path!r}: no voxel has the labels {entry.labels}.")
    return labels.with_array(chosen)


def _volume_ml(entry: ObservationEntry, folder: Path) -> float:
    if entry.volume_ml is not None:
        return entry.volume_ml
    labelled = _labelled(entry, folder, entry.path)
    return float(np.count_nonzero(labelled.array) * labelled.grid.voxel_volume_ml)


def _path(path: str | None, folder: Path) -> Path:
    if path is None:
        raise MissingInput("An observation needs the path of its image.")
    return inside(folder, path)
