"""Reading a DICOM segmentation (SEG): binary, fractional or a label map, as a `Segmentation`.

Frames are planes of one segment each (DICOM PS3.3 C.8.20.2), or of all where they hold labels; planes without any voxel
set are usually left out, so a frame's place in the stack comes from its position alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from TwinCore.dicom.file import items, number, numbers, read_dicom
from TwinCore.dicom.frames import frame_headers, plane_axes, stack_grid
from TwinCore.dicom.pixels import check_lossless, stored_frames
from TwinCore.errors import InvalidInput, MissingInput
from TwinCore.grid import Grid
from TwinCore.guard import check_grid, check_memory, display_name
from TwinCore.image import Image
from TwinCore.job import Job
from TwinCore.segmentation import Code, Colour, Segmentation
from TwinCore.transform import resample

from .dicom_meaning import read_code, read_colour

KINDS = ("BINARY", "FRACTIONAL", "LABELMAP")
_OFF_PLANE = 0.1  # of the spacing, by which rounded positions may be off


@dataclass(frozen=True)
class _Declared:
    """A segment as the file declares it."""

    number: int
    name: str
    label: str
    code: Code | None
    colour: Colour | None


def read_dicom_seg(
    path: str | Path,
    grid: Grid | None = None,
    frame_of_reference_uid: str | None = None,
    segment_names: Sequence[str] | None = None,
    job: Job | None = None,
) -> Segmentation:
    """Read segments onto a grid, or onto their own.

    >>> read_dicom_seg("liver.dcm", ct.grid, segment_names=["Liver"]).volume_ml("Liver")  # doctest: +SKIP

    A voxel of a fractional segment (a probability or an occupancy) belongs to it from one half on.

    Parameters
    ----------
    path : str or Path
    grid : Grid, optional
        Grid of the answer, in the frame of reference that the segments were made in; their own where not given.
    frame_of_reference_uid : str, optional
        Of the image that the grid belongs to; segments of another frame are refused.
    segment_names : sequence of str, optional
        Which segments; all that have voxels where not given.
    job : Job, optional
        Takes the warning about segments without voxels, which are left out.

    Returns
    -------
    Segmentation
        With the file's names, coded meanings (property types) and colours.

    Raises
    ------
    MissingInput
        If there is no such file, or no segment of such a name.
    InvalidInput
        If the file is no segmentation or damaged; if planes are doubled, turned or between the others; or if segments
        lie in another frame of reference or off the grid. The message names the file or the segment.
    """
    path, job = Path(path), job or Job()
    name, dataset = display_name(path.name), _read(path)
    segments = _chosen(_declared(dataset, name), segment_names, name)
    frames = frame_headers(dataset, name)
    _check_frame(dataset, frame_of_reference_uid, name)
    own, planes = _own_grid(frames, name)
    share_bytes = 4.0 if dataset.SegmentationType == "FRACTIONAL" else 1.0
    check_memory(own.size * (share_bytes * len(segments) + 8.0), name)
    shares = _shares(dataset, frames, planes, own, segments, name)
    masks, empty = {}, []
    for segment in job.each(segments):
        if segment.number not in shares:
            empty.append(segment.name)
            continue
        masks[segment.name] = _carried(shares.pop(segment.number), own, grid, segment.name)
    if empty and segment_names is not None or not masks:
        raise InvalidInput(f"{name}: the segment {', '.join(empty)} is empty: no voxel belongs to it.")
    if empty:
        job.warn(f"{name}: segments without voxels were left out: {', '.join(empty)}.")
    codes = {s.name: s.code for s in segments if s.code}
    colours = {s.name: s.colour for s in segments if s.colour}
    return Segmentation.from_masks(grid or own, masks, codes, colours)


def seg_names(path: str | Path) -> list[str]:
    """Names of the segments of a DICOM segmentation, as they are shown."""
    return [segment.name for segment in _declared(_read(Path(path), pixels=False), display_name(Path(path).name))]


def _read(path: Path, pixels: bool = True) -> Dataset:
    name = display_name(path.name)
    dataset = read_dicom(path, pixels)
    modality, kind = dataset.get("Modality"), dataset.get("SegmentationType")
    if modality != "SEG":
        raise InvalidInput(
            f"{name}: the modality (0008,0060) is {display_name(modality, 'not given')}; a segmentation (SEG) is meant."
        )
    if kind not in KINDS:
        raise InvalidInput(
            f"{name}: the segmentation type (0062,0001) is {display_name(kind, 'not given')}; it must be one of "
            f"{', '.join(KINDS)}."
        )
    if "TotalPixelMatrixColumns" in dataset:
        raise InvalidInput(f"{name}: it is a segmentation of a microscope slide, which has no place in the patient.")
    return dataset


def _declared(dataset: Dataset, name: str) -> list[_Declared]:
    """The segments in the order of the file; equal names are told apart by a number."""
    segments: list[_Declared] = []
    for item in items(dataset, "SegmentSequence", name):
        label = display_name(item.get("SegmentLabel"))
        shown, copy = label, 1
        while any(shown == other.name for other in segments):
            copy += 1
            shown = f"{label} ({copy})"
        at = number(item, "SegmentNumber", -1, name)
        if at < 0 or at != int(at) or any(at == other.number for other in segments):
            raise InvalidInput(f"{name}: the number of the segment {shown!r} (0062,0004) is missing or used twice.")
        if at == 0:
            continue  # the background, which label maps may declare
        code = read_code(item, "SegmentedPropertyTypeCodeSequence", name)
        segments.append(_Declared(int(at), shown, str(item.get("SegmentLabel", "")), code, read_colour(item)))
    if not segments:
        raise InvalidInput(f"{name}: there is no segment in it (0062,0002 is missing or empty).")
    return segments


def _chosen(segments: list[_Declared], names: Sequence[str] | None, file: str) -> list[_Declared]:
    if names is None:
        return segments
    there = {name: segment for segment in reversed(segments) for name in (segment.label, segment.name)}
    for name in names:
        if name not in there:
            raise MissingInput(
                f"{file}: there is no segment {display_name(name)!r}; there are: "
                f"{', '.join(segment.name for segment in segments)}."
            )
    return [there[name] for name in names]


def _check_frame(dataset: Dataset, frame_of_reference_uid: str | None, name: str) -> None:
    made_in = str(dataset.get("FrameOfReferenceUID", "") or "")
    if frame_of_reference_uid and made_in != frame_of_reference_uid:
        raise InvalidInput(
            f"{name}: it was made in the frame of reference ...{display_name(made_in, 'not given')[-12:]} and the "
            f"image has ...{display_name(frame_of_reference_uid)[-12:]}. Choose the image that it was made "
            "on, then carry it over through a registration."
        )


def _own_grid(frames: list[Dataset], name: str) -> tuple[Grid, np.ndarray]:
    """The grid that the planes make, gaps included, and the plane of each frame."""
    first = frames[0]
    orientation, spacing = numbers(first, "ImageOrientationPatient", 6, name), numbers(first, "PixelSpacing", 2, name)
    axes = plane_axes(orientation, name)
    for frame in frames:
        if np.abs(numbers(frame, "ImageOrientationPatient", 6, name) - orientation).max() > 1e-3:
            raise InvalidInput(f"{name}: its planes differ in orientation. Each segmentation must be of one stack.")
    positions = np.array([numbers(frame, "ImagePositionPatient", 3, name) for frame in frames])
    along = (positions - positions[0]) @ axes[2]
    lowest = int(along.argmin())
    sideways = positions - positions[0] - np.outer(along, axes[2])
    if np.abs(sideways).max() > _OFF_PLANE * max(spacing.min(), 0.0):
        raise InvalidInput(f"{name}: its planes are shifted sideways against each other, or have no pixel spacing.")
    along = along - along[lowest]
    distance = _plane_distance(first, along, name)
    planes = np.round(along / distance).astype(int)
    if np.abs(along - planes * distance).max() > _OFF_PLANE * distance:
        raise InvalidInput(
            f"{name}: its planes are not a whole number of times {distance:.4g} mm apart: some lie between the others."
        )
    rows, columns = (int(number(first, word, 0, name)) for word in ("Rows", "Columns"))
    shape = (int(planes.max()) + 1, rows, columns)
    grid = stack_grid(axes, (spacing[1], spacing[0], distance), positions[lowest], shape)
    check_grid(grid, name)
    return grid, planes


def _plane_distance(frame: Dataset, along: np.ndarray, name: str) -> float:
    """Distance of neighbouring planes in mm: as declared, else the smallest there is, else the planes' thickness."""
    gaps = np.diff(np.unique(along))
    gaps = gaps[gaps > 0.01]
    declared = abs(number(frame, "SpacingBetweenSlices", 0, name))
    distance = declared or (float(gaps.min()) if gaps.size else number(frame, "SliceThickness", 0, name))
    if not np.isfinite(distance) or distance <= 0:
        raise InvalidInput(
            f"{name}: the distance of its planes is not known: spacing (0018,0088) and thickness (0018,0050) are "
            "missing or 0."
        )
    steps = round(float(along.max()) / distance)
    return float(along.max()) / steps if steps else distance


def _shares(
    dataset: Dataset, frames: list[Dataset], planes: np.ndarray, own: Grid, segments: list[_Declared], name: str
) -> dict[int, np.ndarray]:
    """By segment number, the share of each voxel (0 to 1) that belongs to it; none for segments without voxels."""
    kind = dataset.SegmentationType
    check_lossless(dataset, name)
    full = 1.0 if kind != "FRACTIONAL" else number(dataset, "MaximumFractionalValue", 0, name)
    if not 0 < full <= 255:
        raise InvalidInput(f"{name}: the maximum fractional value (0062,000E) is {full:g}; it must be from 1 to 255.")
    wanted = {segment.number for segment in segments}
    shares: dict[int, np.ndarray] = {}
    seen: set[tuple[int, int]] = set()
    for frame, plane, stored in zip(frames, planes, stored_frames(dataset, name)):
        if stored.ndim != 2 or stored.dtype.kind not in "ub":
            raise InvalidInput(f"{name}: the planes must hold single numbers from 0 on (0028,0002 and 0028,0103).")
        numbered = -1 if kind == "LABELMAP" else int(number(frame, "ReferencedSegmentNumber", -1, name))
        if kind != "LABELMAP" and numbered < 1:
            raise InvalidInput(f"{name}: a plane does not say its segment (0062,000B).")
        if (numbered, int(plane)) in seen:
            raise InvalidInput(f"{name}: two planes of the same segment lie at the same place.")
        seen.add((numbered, int(plane)))
        if kind == "LABELMAP":
            present = [(n, (stored == n).astype(np.uint8)) for n in np.unique(stored).tolist() if n in wanted]
        else:
            share = stored / np.float32(full) if kind == "FRACTIONAL" else stored
            present = [(numbered, share)] if numbered in wanted and stored.any() else []
        for n, share in present:
            if share.max() > 1:
                raise InvalidInput(f"{name}: values reach {share.max() * full:g}; they may reach {full:g} (0062,000E).")
            if n not in shares:
                shares[n] = np.zeros(own.shape, share.dtype)
            shares[n][plane] = share
    return shares


def _carried(share: np.ndarray, own: Grid, grid: Grid | None, segment: str) -> np.ndarray:
    mask = (
        share if grid is None or grid.same_as(own) else resample(Image(share.astype(np.float32), own), grid).array
    ) >= 0.5
    if not mask.any():
        raise InvalidInput(
            f"Segment {segment!r}: it lies off the grid or falls between its voxels, or its shares stay below one "
            "half. Check that both are of the same patient and frame."
        )
    return mask
