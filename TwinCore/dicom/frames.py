"""What the frames of a multi-frame object are, and where an image plane lies (DICOM PS3.3 C.7.6.16 and C.7.6.2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset

from ..errors import InvalidInput
from ..grid import LPS_FROM_RAS, Grid
from .file import items, number

# Functional groups whose elements are taken over; others (references, derivations) say nothing about the voxels.
GROUPS = (
    "PixelMeasuresSequence",
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PlanePositionVolumeSequence",
    "PlaneOrientationVolumeSequence",
    "PixelValueTransformationSequence",
    "RealWorldValueMappingSequence",
    "FrameContentSequence",
    "TemporalPositionSequence",
    "CardiacSynchronizationSequence",
    "MREchoSequence",
    "MRDiffusionSequence",
    "MRImageFrameTypeSequence",
    "CTImageFrameTypeSequence",
    "PETFrameTypeSequence",
    "ImageDataTypeSequence",
    "SegmentIdentificationSequence",
)
_SAME_PLACE = 0.05  # of a voxel, by which rounded positions may be off
SHARED, PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"


def frame_headers(header: Dataset, name: str) -> list[Dataset]:
    """A header for each frame, with the elements of its functional groups at the top, as in a single-frame object.

    A single-frame object is its own only frame. Positions and orientations in a volume (ultrasound) take the place of
    those in the patient, in the volume's own frame of reference.

    Raises
    ------
    InvalidInput
        If the number of frames and their functional groups do not fit.
    """
    count = number(header, "NumberOfFrames", 1, name)
    if PER_FRAME not in header and count == 1:
        return [header]
    per_frame = items(header, PER_FRAME, name)
    if not per_frame or count != len(per_frame):
        raise InvalidInput(
            f"{name}: it is a multi-frame object of {count:g} frames (0028,0008) with per-frame functional groups "
            f"(5200,9230) for {len(per_frame)}, so where its frames lie is not known. Export it again, or as "
            "single-frame slices."
        )
    common = Dataset()
    common.update(header)
    for keyword in (SHARED, PER_FRAME, "PixelData"):
        common.pop(keyword, None)
    for group in items(header, SHARED, name)[:1]:
        _take_over(common, group, name)
    return [_frame(common, header, group, name) for group in per_frame]


def _frame(common: Dataset, header: Dataset, group: Dataset, name: str) -> Dataset:
    frame = Dataset()
    frame.file_meta = header.file_meta
    frame.update(common)
    _take_over(frame, group, name)
    for ours, theirs in (
        ("ImagePositionPatient", "ImagePositionVolume"),
        ("ImageOrientationPatient", "ImageOrientationVolume"),
        ("FrameOfReferenceUID", "VolumeFrameOfReferenceUID"),
    ):
        if theirs in frame:
            setattr(frame, ours, frame[theirs].value)
    return frame


def _take_over(target: Dataset, group: Dataset, name: str) -> None:
    for keyword in GROUPS:
        found = items(group, keyword, name)
        if len(found) == 1:
            target.update(found[0])


def plane_axes(orientation: np.ndarray, name: str) -> np.ndarray:
    """Unit vectors along a row, along a column and along the normal, as the rows of a 3x3 array, in LPS.

    Parameters
    ----------
    orientation : array, shape (6,)
        Image Orientation (0020,0037): rounded direction cosines are made exact.
    """
    cosines = orientation.reshape(2, 3)
    if np.abs(cosines @ cosines.T - np.eye(2)).max() > 1e-3:
        raise InvalidInput(
            f"{name}: the row and column directions (0020,0037) are not two unit vectors at right angles."
        )
    u, _, v = np.linalg.svd(cosines, full_matrices=False)
    along_row, along_column = u @ v
    return np.array([along_row, along_column, np.cross(along_row, along_column)])


def stack_grid(axes: np.ndarray, spacing_mm, position: np.ndarray, shape: tuple[int, int, int]) -> Grid:
    """The grid of a stack of planes.

    Parameters
    ----------
    axes : array, shape (3, 3)
        As `plane_axes` gives them.
    spacing_mm : three floats
        Between columns (along a row), between rows, between planes.
    position : array, shape (3,)
        Centre of the first voxel of the first plane, in LPS.
    shape : tuple of int
        Planes, rows, columns.
    """
    lps = np.eye(4)
    lps[:3, :3] = axes.T * np.asarray(spacing_mm, float)
    lps[:3, 3] = position
    return Grid(shape, LPS_FROM_RAS @ lps)


def slices_on(grid: Grid, images: Sequence[Dataset]) -> dict[int, tuple[Dataset, int | None]]:
    """By plane k of a grid, the image whose pixels are its voxels, and the frame of it (from 1) where it has many.

    Images without a place in the patient, and those on other rows and columns, are left out.
    """
    direction = LPS_FROM_RAS[:3, :3] @ grid.direction
    shape = np.array([*grid.shape[1:], *direction[:, 0], *direction[:, 1], *grid.spacing[[1, 0]]])
    found: dict[int, tuple[Dataset, int | None]] = {}
    for image in images:
        frames = frame_headers(image, "The DICOM image")
        for at, frame in enumerate(frames, 1):
            try:
                own = [frame.Rows, frame.Columns, *frame.ImageOrientationPatient, *frame.PixelSpacing]
                plane = plane_at(grid, frame.ImagePositionPatient)
            except (AttributeError, TypeError, ValueError):
                continue
            if plane is not None and len(own) == len(shape) and np.allclose(np.array(own, float), shape, atol=1e-3):
                found[plane] = image, (at if len(frames) > 1 else None)
    return found


def plane_at(grid: Grid, position_lps) -> int | None:
    """The plane k of a grid whose first voxel's centre is at a position in LPS, in mm; None if there is none."""
    ras = LPS_FROM_RAS[:3, :3] @ np.array(position_lps, float)
    ijk = grid.to_ijk(ras)
    plane = round(float(ijk[2]))
    near = np.abs(ijk - [0, 0, plane]).max() < _SAME_PLACE
    return plane if near and 0 <= plane < grid.shape[0] else None
