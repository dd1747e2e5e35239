"""`Series`: one DICOM series, or one time point of it, as an image with what its headers say beyond the voxels."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydicom.dataset import Dataset

from TwinCore.guard import display_name
from TwinCore.image import Image

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
    frame, frames : int
        Which time point it is, counted from 0, of how many that the series has.
    """

    image: Image
    uid: str
    frame_of_reference_uid: str
    patient: str
    headers: tuple[Dataset, ...] = field(repr=False)
    frame: int = 0
    frames: int = 1


def series_name(header: Dataset) -> str:
    """Modality and description, as the user knows the series by."""
    description = display_name(header.get("SeriesDescription"), "without a description")
    return f"{display_name(header.get('Modality'), 'no modality')} series {description!r}"


def patient_hash(header: Dataset) -> str:
    """One-way hash of patient ID and name, salted anew in each process; "" where both are empty."""
    words = [str(header.get("PatientID", "") or ""), *str(header.get("PatientName", "") or "").split("^")]
    words = [" ".join(word.casefold().split()) for word in words]
    if not any(words):
        return ""
    return hashlib.blake2b("^".join(word for word in words if word).encode(), key=_SALT, digest_size=16).hexdigest()


def moment(header: Dataset, of: str) -> datetime | None:
    """Date and time of `of` (Series, Acquisition, FrameReference), local to the scanner; None where it is not given."""
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


def start_of(headers: Iterable[Dataset]) -> datetime | None:
    """When the acquisition started, or the series where its images do not say theirs."""
    headers = list(headers)
    for of in ("FrameAcquisition", "Acquisition", "Series"):
        moments = [m for m in (moment(h, of) for h in headers) if m]
        if moments:
            return min(moments)
    return None
