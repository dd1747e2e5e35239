"""Reading all that a case names, before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from TwinCore import Image, InvalidInput, Job, MissingInput, Segmentation
from TwinCore.dicom.file import is_dicom, read_dicom
from TwinCore.image import stacked
from TwinCore.segmentation import carry_mask
from TwinCore.units import NO_UNIT
from TwinCore.volume_file import read_volume
from TwinFusionLib.dicom_dose import read_dose
from TwinFusionLib.dicom_series import read_frames, read_series
from TwinFusionLib.series import Series
from TwinFusionLib.suv import KINDS, to_suv
from TwinSegmentLib.dicom_seg import read_dicom_seg
from TwinSegmentLib.label_map import read_label_map
from TwinSegmentLib.rtstruct import read_rtstruct
from TwinSimulateLib.declared import DIFFUSION_TENSOR
from TwinSimulateLib.model import Observation

from .case_file import CaseFile, ImageEntry, MapEntry, ObservationEntry, OutlineEntry, inside, read_case_file


@dataclass(frozen=True, eq=False)
class LoadedCase:
    """A case with its images, outlines and observations in memory.

    Parameters
    ----------
    case : CaseFile
    images : mapping of str to Image
        By name, the reference first.
    outlines : mapping of str to Segmentation
        By the name of the image that they were drawn on, on its grid.
    observations : tuple of Observation
    series : mapping of str to sequence of Image
        Series over time, by name, each image with its time in days.
    maps : mapping of str to (str, Image)
        By what the model calls them: the name of the image in whose frame each lies, and the map itself.
    """

    case: CaseFile
    images: Mapping[str, Image]
    outlines: Mapping[str, Segmentation]
    observations: tuple[Observation, ...]
    series: Mapping[str, Sequence[Image]] = field(default_factory=dict)
    maps: Mapping[str, tuple[str, Image]] = field(default_factory=dict)

    @property
    def frames(self) -> dict[str, str]:
        """Frame of reference of each image by its name; an image that does not say has its own."""
        return {entry.name: entry.frame or entry.name for entry in self.case.image}

    def masks(self, name: str) -> dict[str, np.ndarray]:
        """A segment as masks, for every image of the frames in which it is outlined that shows any of it."""
        masks: dict[str, np.ndarray] = {}
        for image, outlines in self.outlines.items():
            if name in outlines.names:
                for other, frame in self.frames.items():
                    if other in self.images and frame == self.frames[image] and (other == image or other not in masks):
                        masks[other] = carry_mask(outlines.mask(name), outlines.grid, self.images[other].grid)
        return {image: mask for image, mask in masks.items() if mask.any()}


def load_case(path: str | Path, job: Job | None = None) -> LoadedCase:
    """Read a case file and everything that it names.

    Raises
    ------
    MissingInput, InvalidInput
        If anything is missing, damaged, implausible or does not fit together; the message names it.
    """
    return load_files(*read_case_file(path), job)


def load_files(case: CaseFile, folder: Path, job: Job | None = None) -> LoadedCase:
    """Read everything that a case names, from its data folder; see `load_case`."""
    job = job or Job()
    entries = sorted(case.image, key=lambda entry: not entry.reference)
    over_time = {e.name: read_over_time(e, folder, job) for e in entries if e.time_point == "all"}
    entries = [entry for entry in entries if entry.time_point != "all"]
    read = {entry.name: _read_image(entry, folder, job) for entry in job.each(entries, "reading images")}
    found = {entry.name: _read_map(entry, folder, job) for entry in case.map}
    all_series = [series for _, series in (*read.values(), *over_time.values(), *found.values())]
    patients = {series.patient for series in all_series if series is not None and series.patient}
    if len(patients) > 1:
        raise InvalidInput("The DICOM images of the case are not of the same patient: their patient ID or name differ.")
    images = {name: image for name, (image, _) in read.items()}
    outlines: dict[str, Segmentation] = {}
    for outline in case.outline:
        image, series = read[outline.image]
        here = _read_outline(outline, folder, image, series, job)
        outlines[outline.image] = _joined(outlines.get(outline.image), here, outline.image)
    observations = tuple(_observation(entry, folder) for entry in case.observation)
    maps = {}
    for entry in case.map:
        where, (image, series) = entry.image or case.reference.name, found[entry.name]
        _check_frame(entry.name, series, where, read[where][1])
        maps[entry.name] = where, image.with_array(image.array, name=entry.name)
    played = {name: points for name, (points, _) in over_time.items()}
    return LoadedCase(case, images, outlines, observations, played, maps)


def _read_image(entry: ImageEntry, folder: Path, job: Job) -> tuple[Image, Series | None]:
    path = inside(folder, entry.path)
    if not path.is_dir() and not is_dicom(path):
        image = read_volume(path, entry.modality, entry.unit, entry.time, entry.time_point)
        return image.with_array(image.array, name=entry.name), None
    unit = entry.unit if entry.modality != "PT" else None
    series = read_series(path, entry.series_uid, unit, job, entry.time_point)
    return _image_of(series, entry), series


def _image_of(series: Series, entry: ImageEntry) -> Image:
    """A DICOM series as what the case says that it is."""
    image = series.image
    if image.modality == "PT":
        kinds = {unit: kind for kind, unit in KINDS.items()}
        image = to_suv(series, kinds.get(entry.unit or "", "bw"))
    if image.grid.shape[0] < 2:
        raise InvalidInput(f"Image {entry.name!r} is a single picture; a case needs volumes.")
    if image.modality != entry.modality:
        raise InvalidInput(
            f"Image {entry.name!r} is said to be {entry.modality}, but the DICOM series is {image.modality}."
        )
    if entry.unit not in (None, image.unit):
        raise InvalidInput(
            f"Image {entry.name!r} is said to be in {entry.unit}, but the DICOM series is in {image.unit}."
        )
    return image.with_array(image.array, name=entry.name, time=entry.time if entry.time is not None else image.time)


def _read_map(entry: MapEntry, folder: Path, job: Job) -> tuple[Image, Series | None]:
    """An RTDOSE, which says its unit, or a volume file; diffusion tensors are six or nine volumes in one."""
    path = inside(folder, entry.path)
    if is_dicom(path):
        series = read_dose(path, job)
        if entry.unit not in (None, series.image.unit):
            raise InvalidInput(
                f"The map {entry.name!r} is said to be in {entry.unit}, but the RTDOSE is in {series.image.unit}."
            )
        return series.image, series
    if entry.name != DIFFUSION_TENSOR.name:
        return read_volume(path, "", entry.unit), None
    count = volumes_in(path)
    if count not in (6, 9):
        raise InvalidInput(
            f"The map {entry.name!r} has {count} volumes; diffusion tensors are six (xx, xy, xz, yy, yz, zz) or nine."
        )
    tensors = stacked([read_volume(path, "", entry.unit, None, n) for n in range(count)], entry.name)
    return tensors.with_array(tensors.array, unit=entry.unit or NO_UNIT), None


def _check_frame(name: str, series: Series | None, image: str, of_image: Series | None) -> None:
    frames = [s.frame_of_reference_uid for s in (series, of_image) if s is not None and s.frame_of_reference_uid]
    if len(set(frames)) > 1:
        raise InvalidInput(f"The map {name!r} is not in the frame of reference of the image {image!r}: name another.")


def read_over_time(entry: ImageEntry, folder: Path, job: Job) -> tuple[list[Image], Series | None]:
    """All time points of a series, at the days that the case gives, or else as its DICOM headers say."""
    path = inside(folder, entry.path)
    if not path.is_dir() and not is_dicom(path):
        if entry.times_days is None:
            raise MissingInput(f"Image {entry.name!r} is a series without times: say them as times_days.")
        read = [read_volume(path, entry.modality, entry.unit, t, n) for n, t in enumerate(entry.times_days)]
        if volumes_in(path) != len(read):
            raise InvalidInput(f"Image {entry.name!r} has {volumes_in(path)} time points, but {len(read)} times_days.")
        return [image.with_array(image.array, name=entry.name) for image in read], None
    series = read_frames(path, entry.series_uid, entry.unit if entry.modality != "PT" else None, job)
    images = [_image_of(point, entry) for point in series]
    days = entry.times_days if entry.times_days is not None else _days(images, entry.name)
    if len(days) != len(images):
        raise InvalidInput(f"Image {entry.name!r} has {len(images)} time points, but {len(days)} times_days.")
    return [image.with_array(image.array, time=float(day)) for image, day in zip(images, days)], series[0]


def volumes_in(path: Path) -> int:
    """How many volumes a file that `read_volume` can read holds."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    size = reader.GetSize()
    return int(size[3]) if len(size) > 3 else 1


def _days(images: Sequence[Image], name: str) -> list[float]:
    """Days from the first time point."""
    if not all(isinstance(image.time, str) for image in images):
        raise MissingInput(f"Image {name!r} is a series that does not say its times: say them as times_days.")
    moments = [datetime.fromisoformat(str(image.time)) for image in images]
    return [(moment - moments[0]).total_seconds() / 86400 for moment in moments]


def _read_outline(entry: OutlineEntry, folder: Path, image: Image, series: Series | None, job: Job) -> Segmentation:
    path = inside(folder, entry.path)
    if path.suffix.lower() == ".dcm" or is_dicom(path):
        if isinstance(entry.segments, dict):
            raise InvalidInput(f"outline {entry.path!r}: segments of an RTSTRUCT or SEG are a list of names.")
        read = read_dicom_seg if read_dicom(path, pixels=False).get("Modality") == "SEG" else read_rtstruct
        return read(path, image.grid, series.frame_of_reference_uid if series else None, entry.segments, job)
    if isinstance(entry.segments, list):
        raise InvalidInput(f"outline {entry.path!r}: segments of a label map are a table of label = name.")
    try:
        names = None if entry.segments is None else {int(label): name for label, name in entry.segments.items()}
    except ValueError as error:
        raise InvalidInput(f"outline {entry.path!r}: the labels of a label map are whole numbers.") from error
    return read_label_map(path, names, image.grid)


def _joined(first: Segmentation | None, second: Segmentation, image: str) -> Segmentation:
    if first is None:
        return second
    both = sorted(set(first.names) & set(second.names))
    if both:
        raise InvalidInput(f"The segment {both[0]!r} is outlined twice on {image!r}.")
    parts = (first, second)
    masks = {name: part.mask(name) for part in parts for name in part.names}
    codes = {s.name: s.code for part in parts for s in part.segments if s.code}
    return Segmentation.from_masks(
        first.grid, masks, codes, {s.name: s.colour for part in parts for s in part.segments}
    )


def _observation(entry: ObservationEntry, folder: Path) -> Observation:
    volume = entry.volume_ml
    if entry.path is not None:
        labels = read_volume(inside(folder, entry.path))
        chosen = labels.array > 0 if entry.labels is None else np.isin(labels.array, entry.labels)
        volume = float(np.count_nonzero(chosen) * labels.grid.voxel_volume_ml)
        if volume == 0:
            raise InvalidInput(f"observation {entry.path!r}: no voxel has the labels {entry.labels}.")
    return Observation(entry.quantity, entry.time_days, float(volume or 0.0), entry.log_sd, entry.threshold)
