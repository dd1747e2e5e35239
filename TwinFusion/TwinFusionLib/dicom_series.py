"""Reading a DICOM series of CT, MR, PET or ultrasound as images, or saying what is wrong with it.

Classic series (a file a slice) and enhanced ones (a file of many frames) take the same way: each frame of an enhanced
object is a slice with a header of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydicom.dataset import Dataset

from TwinCore.dicom.file import read_dicom
from TwinCore.dicom.frames import PER_FRAME, frame_headers
from TwinCore.dicom.pixels import rescaled, stored_frames
from TwinCore.errors import InvalidInput
from TwinCore.grid import Grid
from TwinCore.guard import check_image, check_memory, display_name
from TwinCore.image import Image
from TwinCore.job import Job
from TwinCore.units import HOUNSFIELD, NO_UNIT

from .dicom_folder import File, choose, series_files
from .dicom_ultrasound import read_clip, shows_tissue
from .pet_units import as_classic, pet_unit
from .series import Series, patient_hash, series_name
from .slice_stack import check_alike, slice_grid
from .time_points import time_points, times_of


class _Slice(NamedTuple):
    """One slice: its file, which frame of it, and its header."""

    path: Path
    frame: int
    header: Dataset


class _Volume(NamedTuple):
    """One time point: its slices in the order of their places, where they lie, and when they were taken."""

    slices: list[_Slice]
    grid: Grid
    time: str | None


def read_series(
    path: str | Path,
    series_uid: str | None = None,
    unit: str | None = None,
    job: Job | None = None,
    frame: int | None = None,
) -> Series:
    """Read the one volume of a series, or one time point of a 4D series.

    >>> read_series("study/pet").image.unit  # doctest: +SKIP
    'Bq/mL'

    Parameters
    ----------
    path : str or Path
        A folder, which is read with the folders below it, or one file.
    series_uid : str, optional
        Which series, where there are several.
    unit : str, optional
        Unit of the values (UCUM) where the headers do not say it, or say it wrongly.
    job : Job, optional
    frame : int, optional
        Which time point of a 4D series, counted from 0.

    Returns
    -------
    Series
        Ultrasound pictures are images of one slice, in a frame of their own.

    Raises
    ------
    MissingInput
        If there is no such file or folder, or no DICOM image of such a series in it.
    InvalidInput
        If there are several series or time points and none is chosen; if slices are missing, doubled, or differ in
        size, orientation or kind; if pixel data are absent, truncated, lossy, in colour or compressed in a way that
        cannot be read here.
    """
    return _read(Path(path), series_uid, unit, job or Job(), frame, every=False)[0]


def read_frames(
    path: str | Path, series_uid: str | None = None, unit: str | None = None, job: Job | None = None
) -> tuple[Series, ...]:
    """Read every time point of a series in the order of time, each with its `time`; one for a series that is not 4D.

    >>> [series.image.time for series in read_frames("study/cine")]  # doctest: +SKIP

    Parameters and errors as `read_series`; images that lie at one place but are not ordered in time, or differ in
    contrast, are refused.
    """
    return _read(Path(path), series_uid, unit, job or Job(), None, every=True)


def _read(
    path: Path, series_uid: str | None, unit: str | None, job: Job, frame: int | None, every: bool
) -> tuple[Series, ...]:
    find, load = job.split(headers=1, slices=4)
    with find:
        files = choose(series_files(path, find), display_name(path.name), series_uid)
    name = series_name(files[0][1])
    if files[0][1].Modality == "US" and PER_FRAME not in files[0][1]:
        clip = read_clip(files, name, load)
        return clip if every else (clip[_one(len(clip), frame, name)],)
    volumes = _volumes(files, name)
    numbers = range(len(volumes)) if every else (_one(len(volumes), frame, name),)
    with load:
        arrays = _load([volumes[n] for n in numbers], name, load)
    return tuple(_series(volumes[n], array, unit, name, n, len(volumes)) for n, array in zip(numbers, arrays))


def _one(frames: int, frame: int | None, name: str) -> int:
    if frames > 1 and frame is None:
        raise InvalidInput(f"{name}: it is a series of {frames} time points. Choose one: frame 0 to {frames - 1}.")
    if frame is not None and not 0 <= frame < frames:
        raise InvalidInput(f"{name}: there is no frame {frame}; there are {frames}, counted from 0.")
    return frame or 0


def _volumes(files: Sequence[File], name: str) -> list[_Volume]:
    """The slices of each time point in order, on one grid that all of them share."""
    slices = [
        _Slice(path, n, as_classic(header))
        for path, whole in files
        for n, header in enumerate(frame_headers(whole, f"{name}, {display_name(path.name)}"))
    ]
    slices = [one for one in slices if one.header.get("Modality") != "US" or shows_tissue(one.header)]
    if not slices:
        raise InvalidInput(
            f"{name}: no frame shows tissue (0018,9808 is TISSUE_INTENSITY); flow, velocity and elasticity are not "
            "echo images."
        )
    check_alike([one.header for one in slices], name)
    points = [[slices[n] for n in point] for point in time_points([one.header for one in slices], name)]
    times = times_of([[one.header for one in point] for point in points], name)
    volumes = []
    for point, time in zip(points, times):
        order, grid = slice_grid([one.header for one in point], name)
        volumes.append(_Volume([point[n] for n in order], grid, time))
    moved = next((n for n, v in enumerate(volumes) if not v.grid.same_as(volumes[0].grid, 0.1)), None)
    if moved is not None:
        raise InvalidInput(
            f"{name}: time point {moved} lies elsewhere than the first, so the table was moved between them. Separate "
            "them into series."
        )
    return volumes


def _load(volumes: Sequence[_Volume], name: str, job: Job) -> list[np.ndarray]:
    """The values of volumes, each file read once; every slice by its own slope, which in PET differs from the next."""
    check_memory(4.0 * sum(volume.grid.size for volume in volumes), name)
    wanted: dict[Path, dict[int, tuple[int, int, Dataset]]] = {}
    for at, volume in enumerate(volumes):
        for k, one in enumerate(volume.slices):
            wanted.setdefault(one.path, {})[one.frame] = (at, k, one.header)
    arrays: list[np.ndarray] = []
    for path in job.each(list(wanted)):
        where = f"{name}, {display_name(path.name)}"
        for n, stored in enumerate(stored_frames(read_dicom(path), where)):
            if n not in wanted[path]:
                continue
            arrays = arrays or [np.empty(volume.grid.shape, np.float32) for volume in volumes]
            at, k, header = wanted[path][n]
            arrays[at][k] = rescaled(stored, header, where)
    return arrays


def _series(volume: _Volume, array: np.ndarray, unit: str | None, name: str, frame: int, frames: int) -> Series:
    headers = tuple(one.header for one in volume.slices)
    first = headers[0]
    image = Image(
        array,
        volume.grid,
        str(first.Modality),
        unit or _unit(first, name),
        volume.time,
        display_name(first.get("SeriesDescription"), first.Modality),
    )
    check_image(image, name if frames == 1 else f"{name}, frame {frame}")
    frame_of_reference = str(first.get("FrameOfReferenceUID", ""))
    return Series(image, str(first.SeriesInstanceUID), frame_of_reference, patient_hash(first), headers, frame, frames)


def _unit(header: Dataset, name: str) -> str:
    if header.Modality == "PT":
        return pet_unit(header, name)
    if header.Modality == "CT":
        kind = str(header.get("RescaleType", "HU") or "HU").strip().upper()
        if kind != "HU":
            raise InvalidInput(
                f"{name}: the rescale type (0028,1054) is {display_name(kind)}, not HU, so the values are not "
                "Hounsfield units. Give their unit ('1' for none)."
            )
        return HOUNSFIELD
    return NO_UNIT
