"""Ultrasound pictures and clips (2D, 2D+t): the region of tissue, with its size from the calibration of the region.

A picture does not say where in the patient it lies: columns go to the patient's left, rows to the back, the first voxel
lies at the origin, and the one slice counts as 1 mm thick. Colours code flow, elasticity or marks, not echoes: a colour
Doppler picture is refused, a picture in colour whose pixels are all grey is reduced to grey.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
from pydicom.dataset import Dataset

from TwinCore.dicom.file import items, number, numbers, read_dicom
from TwinCore.dicom.frames import stack_grid
from TwinCore.dicom.pixels import GREY, check_syntax, is_lossy, stored_frames
from TwinCore.errors import InvalidInput
from TwinCore.grid import Grid
from TwinCore.guard import check_grid, check_memory, display_name
from TwinCore.image import Image
from TwinCore.job import Job
from TwinCore.units import NO_UNIT

from .dicom_folder import File
from .series import Series, patient_hash, start_of

THICKNESS_MM = 1.0
_TWO_DIMENSIONAL, _TISSUE, _COLOUR_FLOW, _CENTIMETRES = 1, 1, 2, 3  # DICOM PS3.3 C.8.5.5
_UNITS = ("no unit", "percent", "dB", "cm", "s", "Hz", "dB/s", "cm/s", "cm2", "cm2/s", "cm3", "cm3/s", "degrees")
_COLOURED, _MARKS = 24, 0.01  # spread of the channels that lossy coding of grey stays below; share that marks may take


def shows_tissue(header: Dataset) -> bool:
    """Whether a frame of an enhanced ultrasound volume holds echo intensities."""
    return str(header.get("DataType", "") or "TISSUE_INTENSITY") == "TISSUE_INTENSITY"


def read_clip(files: list[File], name: str, job: Job) -> tuple[Series, ...]:
    """Each frame of a picture or clip as an image of one slice, in the order of time.

    Raises
    ------
    InvalidInput
        If there are several files; no region of tissue, or more than one; colour flow; a size that is not in cm; or
        pixel data that cannot be read. The message names it.
    """
    if len(files) > 1:
        raise InvalidInput(
            f"{name}: its {len(files)} files are separate pictures or clips, whose places are not known. Give the path "
            "of one file."
        )
    path, header = files[0]
    check_syntax(header, name)
    photometric = str(header.get("PhotometricInterpretation", ""))
    if photometric not in GREY and not photometric.startswith(("RGB", "YBR")):
        raise InvalidInput(
            f"{name}: the pixels are coded as {display_name(photometric, 'not given')} (0028,0004); ultrasound is read "
            "from grey values, or from colours that are all grey."
        )
    grid, (rows, columns) = _region(header, name)
    count = int(number(header, "NumberOfFrames", 1, name))
    if is_lossy(header):
        job.warn(f"{name}: the pictures went through lossy compression, which smooths speckle.")
    with job:
        check_memory(4.0 * grid.size * count, name)
        arrays = [_grey(f[rows, columns], name, job) for f in stored_frames(read_dicom(path), name)]
    times = _times(header, len(arrays), name, job)
    if all(array.min() == array.max() for array in arrays):
        raise InvalidInput(
            f"{name}: every pixel has the value {arrays[0].flat[0]:g}. An acquired image is not constant."
        )
    description = display_name(header.get("SeriesDescription"), "US")
    images = [Image(a[None], grid, "US", NO_UNIT, time, description) for a, time in zip(arrays, times)]
    patient, uid = patient_hash(header), str(header.SeriesInstanceUID)
    return tuple(Series(image, uid, "", patient, (header,), n, count) for n, image in enumerate(images))


def _region(header: Dataset, name: str) -> tuple[Grid, tuple[slice, slice]]:
    """Grid of the one region that shows tissue, and its rows and columns."""
    size = [int(number(header, word, 0, name)) for word in ("Columns", "Rows")]
    regions = items(header, "SequenceOfUltrasoundRegions", name)
    if not regions:
        raise InvalidInput(
            f"{name}: the Sequence of Ultrasound Regions (0018,6011) is missing, and with it the size of a pixel. "
            "Export it with its calibration."
        )
    kinds = [(number(r, "RegionSpatialFormat", 0, name), number(r, "RegionDataType", 0, name)) for r in regions]
    if any(kind == (_TWO_DIMENSIONAL, _COLOUR_FLOW) for kind in kinds):
        raise InvalidInput(
            f"{name}: it is a colour Doppler picture (a region of colour flow, 0018,6014): its colours are velocities, "
            "which hide the echoes. Export the B-mode picture."
        )
    tissue = [r for r, kind in zip(regions, kinds) if kind == (_TWO_DIMENSIONAL, _TISSUE)]
    if len(tissue) != 1:
        raise InvalidInput(
            f"{name}: {len(tissue)} of its {len(regions)} regions (0018,6011) are 2D pictures of tissue; there must be "
            "one. M-mode and spectra have no place, and of several pictures side by side each must be exported alone."
        )
    spacing = [_pixel_mm(tissue[0], axis, name) for axis in "XY"]
    bounds = [int(number(tissue[0], f"RegionLocation{end}", -1, name)) for end in ("MinX0", "MinY0", "MaxX1", "MaxY1")]
    left, top, right, bottom = bounds
    if not (0 <= left < right < size[0] and 0 <= top < bottom < size[1]):
        raise InvalidInput(
            f"{name}: the region of tissue reaches from {left}, {top} to {right}, {bottom} (0018,6018 to 0018,601E), "
            f"which is not inside the picture of {size[0]} x {size[1]} pixels."
        )
    shape = (1, bottom - top + 1, right - left + 1)
    grid = stack_grid(np.eye(3), (*spacing, THICKNESS_MM), np.zeros(3), shape)
    check_grid(grid, name)
    return grid, (slice(top, bottom + 1), slice(left, right + 1))


def _pixel_mm(region: Dataset, axis: str, name: str) -> float:
    unit = int(number(region, f"PhysicalUnits{axis}Direction", 0, name))
    if unit != _CENTIMETRES:
        word = _UNITS[unit] if 0 <= unit < len(_UNITS) else f"code {unit}"
        raise InvalidInput(
            f"{name}: the physical unit of the region along {axis} (0018,{'6024' if axis == 'X' else '6026'}) is "
            f"{word}; a picture of tissue is measured in cm."
        )
    delta = abs(number(region, f"PhysicalDelta{axis}", 0, name)) * 10.0
    if not np.isfinite(delta) or delta == 0:
        raise InvalidInput(
            f"{name}: the pixel size along {axis} (0018,{'602C' if axis == 'X' else '602E'}) is missing, 0 or not a "
            "number."
        )
    return delta


def _grey(frame: np.ndarray, name: str, job: Job) -> np.ndarray:
    """Echo intensities as float32, from grey values or from colours that are grey."""
    if frame.ndim == 2:
        return frame.astype(np.float32)
    coloured = np.mean(np.ptp(frame, axis=-1) > _COLOURED)
    if coloured > _MARKS:
        raise InvalidInput(
            f"{name}: {100 * coloured:.2g} % of its pixels are coloured: it is a colour Doppler, an elastography or a "
            "tinted picture, whose colours are not echoes. Export the B-mode picture in grey."
        )
    if coloured:
        job.warn(f"{name}: {100 * coloured:.2g} % of the pixels are coloured marks, which were reduced to grey.")
    return frame.mean(axis=-1, dtype=np.float32)


def _times(header: Dataset, count: int, name: str, job: Job) -> list[str | None]:
    """ISO time of each frame, from the clip's start and the time between frames (0018,1063 or 0018,1065)."""
    start = start_of([header])
    if count == 1:
        return [start.isoformat(timespec="seconds") if start else None]
    if header.get("FrameTimeVector"):
        steps = numbers(header, "FrameTimeVector", count, name)
    else:
        steps = np.array([0.0] + [number(header, "FrameTime", np.nan, name)] * (count - 1))
    seconds = np.cumsum(steps) * 1e-3
    if start is None or not np.isfinite(seconds).all() or not 0 < seconds[-1] < 1e6:
        job.warn(f"{name}: the time of its frames is not known: start or frame time (0018,1063) are not given.")
        return [None] * count
    return [(start + timedelta(seconds=float(s))).isoformat(timespec="milliseconds") for s in seconds]
