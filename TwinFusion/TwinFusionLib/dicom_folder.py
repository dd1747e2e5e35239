"""What DICOM series there are in a folder, and the choice of one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from TwinCore.dicom.file import is_dicom, items, number, read_dicom
from TwinCore.dicom.frames import PER_FRAME
from TwinCore.errors import InvalidInput, MissingInput
from TwinCore.guard import display_name
from TwinCore.job import Job

from .series import series_name

MODALITIES = ("CT", "MR", "PT", "US")
File = tuple[Path, Dataset]
_OTHERS = {"RTSTRUCT": "outlines", "SEG": "segmentation", "RTDOSE": "dose"}


@dataclass(frozen=True)
class SeriesEntry:
    """One series of a folder, for the user to choose from; as text it is a line.

    Parameters
    ----------
    uid : str
        Series Instance UID; "" where the files have none.
    modality, description : str
        Made safe to show.
    kind : str
        "volume" (or a single slice), "multi-frame" (enhanced), "4D" (several time points), "ultrasound" (2D pictures
        or clips), "outlines", "segmentation", "dose" or "other".
    images : int
        Slices or frames of all files.
    times : int
        Time points; 1 for what is not 4D.
    frame_of_reference_uid : str
    files : tuple of Path
    """

    uid: str
    modality: str
    description: str
    kind: str
    images: int
    times: int
    frame_of_reference_uid: str
    files: tuple[Path, ...]

    def __str__(self) -> str:
        times = f" at {self.times} time points" if self.times > 1 else ""
        frame = f", frame of reference ...{self.frame_of_reference_uid[-12:]}" if self.frame_of_reference_uid else ""
        counted = f"{self.images} image{'s' if self.images != 1 else ''}"
        return f"{self.modality} series {self.description!r}: {self.kind}, {counted}{times}{frame}"


def list_series(path: str | Path, job: Job | None = None) -> tuple[SeriesEntry, ...]:
    """The series in a folder and the folders below it, by modality, series number and description.

    >>> for entry in list_series("study"):  # doctest: +SKIP
    ...     print(entry.uid, entry)

    Raises
    ------
    MissingInput
        If there is no such folder, or no DICOM file in it.
    InvalidInput
        If a file is damaged, or is not a DICOM file although its name says so.
    """
    found = series_files(Path(path), job or Job())
    by_number = {uid: _series_number(files[0][1]) for uid, files in found.items()}
    entries = [_entry(uid, files) for uid, files in found.items()]
    return tuple(sorted(entries, key=lambda e: (e.modality, by_number[e.uid], e.description, e.uid)))


def series_files(path: Path, job: Job) -> dict[str, list[File]]:
    """Files of each series with their headers, of a folder or one file.

    What is not DICOM is left out, unless its name says that it is.
    """
    name = display_name(path.name)
    if path.is_file():
        header = read_dicom(path, pixels=False)
        return {str(header.get("SeriesInstanceUID", "")): [(path, header)]}
    if not path.is_dir():
        raise MissingInput(f"There is no folder {name!r} to read DICOM files from.")
    found: dict[str, list[File]] = {}
    for file in job.each(sorted(p for p in path.rglob("*") if p.is_file() and p.name != "DICOMDIR")):
        if is_dicom(file) or file.suffix.lower() in (".dcm", ".ima"):
            header = read_dicom(file, pixels=False)
            found.setdefault(str(header.get("SeriesInstanceUID", "")), []).append((file, header))
    if not found:
        raise MissingInput(f"There is no DICOM file in the folder {name!r}.")
    return found


def choose(found: dict[str, list[File]], where: str, series_uid: str | None) -> list[File]:
    """The files of the one series of images that is meant; refused, with what there is, where that is not clear."""
    entries = [_entry(uid, files) for uid, files in found.items()]
    lines = "; ".join(f"{display_name(entry.uid, 'no UID')}: {entry}" for entry in entries)
    if series_uid is not None:
        if series_uid not in found:
            raise MissingInput(
                f"There is no series {display_name(series_uid)} in the folder {where!r}. There are: {lines}."
            )
        files = found[series_uid]
    elif len(found) > 1:
        raise InvalidInput(
            f"The folder {where!r} holds {len(found)} series. Choose one by its Series Instance UID. {lines}."
        )
    else:
        files = next(iter(found.values()))
    header = files[0][1]
    modality = display_name(header.get("Modality"), "not given")
    if modality not in MODALITIES:
        raise InvalidInput(
            f"{series_name(header)}: the modality (0008,0060) is {modality}; a series of {', '.join(MODALITIES)} "
            "images is meant."
        )
    if not header.get("SeriesInstanceUID"):
        raise InvalidInput(
            f"{series_name(header)}: the Series Instance UID (0020,000E) is missing, so which slices belong "
            "together is not known."
        )
    return files


def _entry(uid: str, files: list[File]) -> SeriesEntry:
    headers = [header for _, header in files]
    first = headers[0]
    modality = display_name(first.get("Modality"), "no modality")
    images = sum(max(int(number(h, "NumberOfFrames", 1, series_name(first))), 1) for h in headers)
    times = _times(headers, series_name(first)) if modality in MODALITIES else 1
    return SeriesEntry(
        uid,
        modality,
        display_name(first.get("SeriesDescription"), "without a description"),
        _kind(modality, headers, times),
        images,
        times,
        display_name(first.get("FrameOfReferenceUID") or first.get("VolumeFrameOfReferenceUID"), ""),
        tuple(path for path, _ in files),
    )


def _kind(modality: str, headers: list[Dataset], times: int) -> str:
    enhanced = PER_FRAME in headers[0]
    if modality not in MODALITIES:
        return _OTHERS.get(modality, "other")
    if modality == "US" and not enhanced:
        return "ultrasound"
    if times > 1:
        return "4D"
    return "multi-frame" if enhanced else "volume"


def _times(headers: list[Dataset], name: str) -> int:
    """How many images lie at each place; 1 where that differs from place to place, or places are not given."""
    places: Counter[tuple[float, ...]] = Counter()
    for header in headers:
        for frame in items(header, PER_FRAME, name) or [header]:
            planes = items(frame, "PlanePositionSequence", name) + items(frame, "PlanePositionVolumeSequence", name)
            plane = planes[0] if planes else frame
            position = plane.get("ImagePositionPatient") or plane.get("ImagePositionVolume")
            try:
                places[tuple(round(float(v), 2) for v in position)] += 1
            except (TypeError, ValueError):
                return 1
    counts = set(places.values())
    return counts.pop() if len(counts) == 1 else 1


def _series_number(header: Dataset) -> int:
    try:
        return int(header.get("SeriesNumber") or 0)
    except (TypeError, ValueError):
        return 0
