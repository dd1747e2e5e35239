"""Reading one DICOM series of single-frame CT, MR or PET slices as an `Image`, or saying what is wrong with it."""

from __future__ import annotations

import hashlib
import secrets
import warnings
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pydicom
from pydicom.datadict import dictionary_has_tag, dictionary_VM
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID

from TwinCore.errors import InvalidInput, MissingInput
from TwinCore.guard import check_image, check_memory, display_name
from TwinCore.image import Image
from TwinCore.job import Job
from TwinCore.units import BECQUEREL_PER_ML, HOUNSFIELD, NO_UNIT, SUV_BODY_WEIGHT

from .slice_stack import check_alike, number, slice_grid

MODALITIES = ("CT", "MR", "PT")
PET_UNITS = {"BQML": BECQUEREL_PER_ML, "GML": SUV_BODY_WEIGHT, "CNTS": "{counts}"}
_SALT = secrets.token_bytes(16)


@dataclass(frozen=True, eq=False)
class Series:
    """One series as a volume, with what its headers say beyond the voxels.

    Parameters
    ----------
    image : Image
    uid : str
        Series Instance UID.
    frame_of_reference_uid : str
        Images that share it lie in one frame; "" where the series has none.
    patient : str
        A one-way hash for asking whether two series are of the same patient, within this process; "" where the series
        does not say.
    headers : tuple of pydicom.Dataset
        Without pixel data, in the order of the slices.
    """

    image: Image
    uid: str
    frame_of_reference_uid: str
    patient: str
    headers: tuple[Dataset, ...] = field(repr=False)


def read_series(
    folder: str | Path, series_uid: str | None = None, unit: str | None = None, job: Job | None = None
) -> Series:
    """Read the series in a folder and the folders below it.

    >>> read_series("study/pet").image.unit  # doctest: +SKIP
    'Bq/mL'

    Parameters
    ----------
    folder : str or Path
    series_uid : str, optional
        Which series, where there are several.
    unit : str, optional
        Unit of the values (UCUM) where the headers do not say it, or say it wrongly.
    job : Job, optional

    Raises
    ------
    MissingInput
        If there is no such folder, or no DICOM image of such a series in it.
    InvalidInput
        If there are several series and none is chosen; if slices are missing, doubled, or differ in size, orientation
        or kind; if pixel data are absent, truncated, lossy, in colour or compressed in a way that cannot be read
        here.
    """
    folder, job = Path(folder), job or Job()
    find, load = job.split(headers=1, slices=4)
    with find:
        found = _headers(folder, find)
    files = _chosen(found, folder, series_uid)
    headers = [header for _, header in files]
    name = _series_name(headers[0])
    check_alike(headers, name)
    order, grid = slice_grid(headers, name)
    files = [files[n] for n in order]
    headers = [header for _, header in files]
    with load:
        check_memory(4.0 * grid.size, name)
        array = np.empty(grid.shape, np.float32)
        for n in load.each(range(len(files))):
            array[n] = _slice_values(files[n][0], name)
    first = headers[0]
    image = Image(
        array,
        grid,
        str(first.Modality),
        unit or _unit(first, name),
        _earliest(headers),
        display_name(first.get("SeriesDescription"), first.Modality),
    )
    check_image(image, name)
    return Series(
        image,
        str(first.SeriesInstanceUID),
        str(first.get("FrameOfReferenceUID", "")),
        patient_hash(first),
        tuple(headers),
    )


def list_series(folder: str | Path) -> dict[str, str]:
    """The series in a folder: Series Instance UID to a line for the user (modality, description, number of slices)."""
    found = _headers(Path(folder), Job())
    return {uid: _series_name(files[0][1], len(files)) for uid, files in found.items()}


def patient_hash(header: Dataset) -> str:
    """One-way hash of patient ID and name, salted anew in each process; "" where both are empty."""
    words = [str(header.get("PatientID", "") or ""), *str(header.get("PatientName", "") or "").split("^")]
    words = [" ".join(word.casefold().split()) for word in words]
    if not any(words):
        return ""
    return hashlib.blake2b("^".join(word for word in words if word).encode(), key=_SALT, digest_size=16).hexdigest()


def moment(header: Dataset, of: str) -> datetime | None:
    """Date and time of `of` (Series, Acquisition, Content), local to the scanner; None where it is not given."""
    date, time = (
        str(header.get(f"{of}Date") or "").replace(".", ""),
        str(header.get(f"{of}Time") or "").replace(":", ""),
    )
    combined = str(header.get(f"{of}DateTime") or "")
    return parse_moment(date + time) if len(date) == 8 and time else parse_moment(combined)


def parse_moment(text: str) -> datetime | None:
    """A DICOM date and time (YYYYMMDDHHMMSS.FFFFFF, from hours on), without its zone; None if it is not one."""
    digits = text.strip().split("+")[0].split("-")[0]
    whole, _, fraction = digits.partition(".")
    try:
        start = datetime.strptime(whole[:14].ljust(14, "0"), "%Y%m%d%H%M%S") if len(whole) >= 10 else None
    except ValueError:
        return None
    return start + timedelta(seconds=float(f"0.{fraction}")) if start and fraction.isdigit() else start


def _headers(folder: Path, job: Job) -> dict[str, list[tuple[Path, Dataset]]]:
    """Files of each series, with their headers. What is not DICOM is left out, unless its name says that it is."""
    if not folder.is_dir():
        raise MissingInput(f"There is no folder {display_name(folder.name)!r} to read DICOM files from.")
    found: dict[str, list[tuple[Path, Dataset]]] = {}
    for path in job.each(sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "DICOMDIR")):
        try:
            header = _read(path, stop_before_pixels=True)
        except InvalidDicomError:
            if path.suffix.lower() in (".dcm", ".ima"):
                raise InvalidInput(
                    f"{display_name(path.name)}: it is not a DICOM file: the mark DICM and the meta header are "
                    "missing. Export it again."
                ) from None
            continue
        found.setdefault(str(header.get("SeriesInstanceUID", "")), []).append((path, header))
    if not found:
        raise MissingInput(f"There is no DICOM file in the folder {display_name(folder.name)!r}.")
    return found


def _read(path: Path, **options) -> Dataset:
    """pydicom's reading, with its warnings (they can hold a patient's words) kept quiet and failures named."""
    name = display_name(path.name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            header = pydicom.dcmread(path, **options)
        except InvalidDicomError:
            raise
        except Exception as error:  # whatever a damaged file provokes inside the parser
            raise InvalidInput(
                f"{name}: the DICOM file is damaged ({type(error).__name__} while reading it). Export it again."
            ) from error
        _decode(header, name)
        return header


def _decode(header: Dataset, name: str) -> None:
    """Decode every element now, since pydicom otherwise does at first use; private ones that cannot be are dropped."""
    for tag in list(header.keys()):
        try:
            element = header[tag]
            single = not tag.is_private and element.VM > 1 and dictionary_has_tag(tag) and dictionary_VM(tag) == "1"
        except Exception as error:  # each kind of value fails in its own way
            if not tag.is_private:
                raise InvalidInput(f"{name}: the element {tag} cannot be decoded. Export the file again.") from error
            del header[tag]
            continue
        if single:
            raise InvalidInput(f"{name}: the element {tag} has several values where one is meant. Export it again.")
        for item in element.value or [] if element.VR == "SQ" else []:
            _decode(item, name)


def _chosen(
    found: dict[str, list[tuple[Path, Dataset]]], folder: Path, series_uid: str | None
) -> list[tuple[Path, Dataset]]:
    lines = "; ".join(
        f"{display_name(uid, 'no UID')}: {_series_name(files[0][1], len(files))}" for uid, files in found.items()
    )
    where = display_name(folder.name)
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
    modality = display_name(files[0][1].get("Modality"), "not given")
    if modality not in MODALITIES:
        raise InvalidInput(
            f"{_series_name(files[0][1])}: the modality (0008,0060) is {modality}; a series of {', '.join(MODALITIES)} "
            "slices is meant."
        )
    if not files[0][1].get("SeriesInstanceUID"):
        raise InvalidInput(
            f"{_series_name(files[0][1])}: the Series Instance UID (0020,000E) is missing, so which slices belong "
            "together is not known."
        )
    return files


def _series_name(header: Dataset, slices: int | None = None) -> str:
    description = display_name(header.get("SeriesDescription"), "without a description")
    name = f"{display_name(header.get('Modality'), 'no modality')} series {description!r}"
    return name if slices is None else f"{name}, {slices} files"


def _slice_values(path: Path, name: str) -> np.ndarray:
    """The slice's values: stored values by its own slope and intercept, which differ from slice to slice in PET."""
    header, where = _read(path), f"{name}, {display_name(path.name)}"
    if "PixelData" not in header:
        raise InvalidInput(f"{where}: there are no pixel data (7FE0,0010). Copy or export the file again.")
    syntax = UID(header.file_meta.TransferSyntaxUID)
    expected = int(np.prod([number(header, word, 16, where) for word in ("Rows", "Columns", "BitsAllocated")])) // 8
    if not syntax.is_compressed and len(header.PixelData) < expected:
        raise InvalidInput(
            f"{where}: the pixel data are truncated: {len(header.PixelData)} of {expected} bytes. Copy or export the "
            "file again."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stored = header.pixel_array
    except Exception as error:  # any decoder's failure, of which there are many kinds
        hint = (
            f"Convert it to Explicit VR Little Endian first: it is compressed as {display_name(syntax.name)}"
            if syntax.is_compressed
            else "Export the file again"
        )
        raise InvalidInput(f"{where}: the pixel data cannot be decoded. {hint}.") from error
    slope, intercept = number(header, "RescaleSlope", 1, where), number(header, "RescaleIntercept", 0, where)
    if not np.isfinite([slope, intercept]).all() or slope == 0:
        raise InvalidInput(
            f"{where}: the rescale slope (0028,1053) is {slope:g} and the intercept {intercept:g}; they must be "
            "finite, the slope not 0."
        )
    return stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)


def _unit(header: Dataset, name: str) -> str:
    if header.Modality == "PT":
        units = str(header.get("Units", ""))
        if units not in PET_UNITS:
            raise InvalidInput(
                f"{name}: the PET units (0054,1001) are {display_name(units, 'not given')}; they must be one of "
                f"{', '.join(PET_UNITS)}."
            )
        return PET_UNITS[units]
    if header.Modality == "CT":
        kind = str(header.get("RescaleType", "HU") or "HU").strip().upper()
        if kind != "HU":
            raise InvalidInput(
                f"{name}: the rescale type (0028,1054) is {display_name(kind)}, not HU, so the values are not "
                "Hounsfield units. Give their unit ('1' for none)."
            )
        return HOUNSFIELD
    return NO_UNIT


def _earliest(headers: list[Dataset]) -> str | None:
    """ISO time of the acquisition's start, of the series' where slices do not say theirs."""
    moments = [m for m in (moment(h, "Acquisition") for h in headers) if m] or [
        m for m in (moment(h, "Series") for h in headers) if m
    ]
    return min(moments).isoformat(timespec="seconds") if moments else None
