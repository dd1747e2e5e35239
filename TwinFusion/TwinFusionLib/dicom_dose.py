"""Reading the dose grid of a radiotherapy plan (RTDOSE) as an image in gray."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from TwinCore.dicom.file import number, numbers, read_dicom
from TwinCore.dicom.frames import plane_axes, stack_grid
from TwinCore.dicom.pixels import check_grey, check_lossless, stored_frames
from TwinCore.errors import InvalidInput
from TwinCore.guard import check_image, check_memory, display_name
from TwinCore.image import Image
from TwinCore.job import Job
from TwinCore.units import GRAY

from .series import Series, patient_hash, series_name, start_of

MOST_GY = 1000.0
MOST_PARTS = 10
"""Into which the smallest distance of uneven planes is divided."""
SAME_PLACE_MM = 0.02


def read_dose(path: str | Path, job: Job | None = None, effective: bool = False) -> Series:
    """Read an RTDOSE file as an image in Gy, without a modality.

    >>> read_dose("plan/rd.dcm").image.unit  # doctest: +SKIP
    'Gy'

    Planes are placed by the Grid Frame Offset Vector (DICOM PS3.3 C.8.8.3.2): relative to the image position along the
    normal where its first number is 0, as z in the patient where it is the image position's own z. Between planes that
    are unevenly spaced, others are interpolated linearly at a distance that divides all of theirs, so that each plane
    stays as it is.

    Parameters
    ----------
    path : str or Path
    job : Job, optional
        Takes the warnings: an effective dose, the dose of a part of the plan, interpolated planes.
    effective : bool
        Whether an effective dose (weighted for biological effect by a rule that the file does not tell) is wanted too.

    Raises
    ------
    MissingInput
        If there is no such file.
    InvalidInput
        If it is no dose in Gy, is an effective one that was not asked for, or its planes, scale or values are missing,
        doubled or impossible.
    """
    path, job = Path(path), job or Job()
    dataset = read_dicom(path)
    name = f"{display_name(path.name)}, {series_name(dataset)}"
    _check_kind(dataset, name, effective, job)
    check_grey(dataset, name)
    check_lossless(dataset, name)
    scale = number(dataset, "DoseGridScaling", 0, name)
    if not np.isfinite(scale) or scale <= 0:
        raise InvalidInput(f"{name}: the dose grid scaling (3004,000E) is {scale:g}; it must be above 0.")
    axes = plane_axes(numbers(dataset, "ImageOrientationPatient", 6, name), name)
    position, offsets = _planes(dataset, axes, name)
    spacing = numbers(dataset, "PixelSpacing", 2, name)
    if spacing.min() <= 0:
        raise InvalidInput(f"{name}: the pixel spacing (0028,0030) must be above 0.")
    order = np.argsort(offsets)
    offsets = offsets[order]
    even, distance = _even(offsets, name)
    rows, columns = (int(number(dataset, word, 0, name)) for word in ("Rows", "Columns"))
    check_memory(4.0 * rows * columns * (offsets.size + even.size), name)
    planes = np.array([(plane * scale).astype(np.float32) for plane in stored_frames(dataset, name)])[order]
    if even.size != offsets.size or not np.allclose(even, offsets, atol=0.1 * distance):
        job.warn(f"{name}: the planes are unevenly spaced; the dose between them was interpolated linearly.")
        planes = _interpolated(planes, offsets, even)
    grid = stack_grid(axes, (spacing[1], spacing[0], distance), position + offsets[0] * axes[2], planes.shape)
    start = start_of([dataset])
    time = start.isoformat(timespec="seconds") if start else None
    image = Image(planes, grid, "", GRAY, time, display_name(dataset.get("SeriesDescription"), "dose"))
    check_image(image, name)
    _check_values(planes, name)
    del dataset.PixelData
    frame = str(dataset.get("FrameOfReferenceUID", ""))
    return Series(image, str(dataset.get("SeriesInstanceUID", "")), frame, patient_hash(dataset), (dataset,))


def _check_kind(dataset: Dataset, name: str, effective: bool, job: Job) -> None:
    modality, units = dataset.get("Modality"), dataset.get("DoseUnits")
    if modality != "RTDOSE":
        raise InvalidInput(f"{name}: the modality (0008,0060) is not RTDOSE, so it is no dose grid.")
    if units != "GY":
        raise InvalidInput(
            f"{name}: the dose units (3004,0002) are {display_name(units, 'not given')}; they must be GY. A relative "
            "dose has no scale: export the dose in Gy."
        )
    kind, summed = str(dataset.get("DoseType", "") or ""), str(dataset.get("DoseSummationType", "") or "")
    if kind not in ("PHYSICAL", "EFFECTIVE"):
        raise InvalidInput(
            f"{name}: the dose type (3004,0004) is {display_name(kind, 'not given')}; it must be PHYSICAL or "
            "EFFECTIVE, not a difference of doses."
        )
    if kind == "EFFECTIVE" and not effective:
        raise InvalidInput(
            f"{name}: the dose type (3004,0004) is EFFECTIVE: a dose weighted for biological effect by a rule that the "
            "file does not tell, so that what is computed of physical dose would count the effect twice. Export the "
            "physical dose, or ask for the effective one (--effective): then there are histograms and goals only."
        )
    if kind == "EFFECTIVE":
        job.warn(f"{name}: the dose is an effective one, weighted for biological effect, not a physical one.")
    if summed not in ("PLAN", "MULTI_PLAN", "PLAN_OVERVIEW"):
        job.warn(f"{name}: the dose is that of {display_name(summed, 'an unknown part')} (3004,000A), not of the plan.")


def _planes(dataset: Dataset, axes: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Position of the first frame, and each frame's offset from it along the normal, in mm."""
    count = int(number(dataset, "NumberOfFrames", 1, name))
    if count < 2:
        raise InvalidInput(f"{name}: it is a single plane. A dose volume needs two or more.")
    position = numbers(dataset, "ImagePositionPatient", 3, name)
    offsets = numbers(dataset, "GridFrameOffsetVector", count, name)
    if offsets[0] == 0:
        return position, offsets
    if abs(offsets[0] - position[2]) > 0.01 or abs(axes[2][2]) < 1 - 1e-6:
        raise InvalidInput(
            f"{name}: the grid frame offset vector (3004,000C) starts at {offsets[0]:g} mm. It must start at 0, or, "
            f"for transverse planes, at the z of the image position ({position[2]:g} mm)."
        )
    return position, (offsets - offsets[0]) * np.sign(axes[2][2])


def is_effective(series: Series) -> bool:
    """Whether a dose that was read is an effective one."""
    (header,) = series.headers
    return header.get("DoseType") == "EFFECTIVE"


def _even(offsets: np.ndarray, name: str) -> tuple[np.ndarray, float]:
    """Evenly spaced offsets over the same range, which hold the given ones, and their distance."""
    gaps = np.diff(offsets)
    if gaps.min() < 1e-3:
        raise InvalidInput(f"{name}: planes of the dose lie at the same place (3004,000C). Each must have its own.")
    whole = float(offsets[-1] - offsets[0])
    if gaps.max() - gaps.min() < 0.01 * gaps.min() + 0.01:
        return offsets, whole / gaps.size
    for parts in range(1, MOST_PARTS + 1):
        distance = gaps.min() / parts
        steps = np.round((offsets - offsets[0]) / distance)
        if np.abs(steps * distance - (offsets - offsets[0])).max() < SAME_PLACE_MM and steps[-1] <= 50 * gaps.size:
            return np.linspace(offsets[0], offsets[-1], int(steps[-1]) + 1), whole / float(steps[-1])
    raise InvalidInput(
        f"{name}: the planes of the dose lie between {gaps.min():g} and {gaps.max():g} mm apart (3004,000C), and no "
        f"distance from {gaps.min() / MOST_PARTS:.2g} mm on divides all of theirs: on an even grid the dose would not "
        "be the same. Calculate it on evenly spaced planes."
    )


def _interpolated(planes: np.ndarray, offsets: np.ndarray, even: np.ndarray) -> np.ndarray:
    after = np.clip(np.searchsorted(offsets, even), 1, offsets.size - 1)
    share = ((even - offsets[after - 1]) / (offsets[after] - offsets[after - 1])).astype(np.float32)[:, None, None]
    return planes[after - 1] * (1 - share) + planes[after] * share


def _check_values(dose: np.ndarray, name: str) -> None:
    low, high = float(dose.min()), float(dose.max())
    if low < 0 or not 0 < high < MOST_GY:
        raise InvalidInput(
            f"{name}: the dose reaches from {low:g} to {high:g} Gy; it must be between 0 and {MOST_GY:g} Gy and not 0 "
            "everywhere. Check the scaling (3004,000E): the values may be in cGy."
        )
