"""One DICOM file, or its header, with every element decoded and every failure named."""

from __future__ import annotations

import warnings
import zlib
from pathlib import Path

import numpy as np
import pydicom
from pydicom.datadict import dictionary_has_tag, dictionary_VM
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian

from ..errors import InvalidInput, MissingInput
from ..guard import check_memory, display_name

_PIECE = 1 << 22


def is_dicom(path: Path) -> bool:
    """Whether the file has the mark DICM after its preamble."""
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def read_dicom(path: str | Path, pixels: bool = True) -> Dataset:
    """Read a DICOM file; all its elements are decoded now, private ones that cannot be are dropped.

    Parameters
    ----------
    path : str or Path
    pixels : bool
        False stops before the pixel data.

    Raises
    ------
    MissingInput
        If there is no such file.
    InvalidInput
        If it is not a DICOM file, or it is damaged.
    """
    path = Path(path)
    name = display_name(path.name)
    if not path.is_file():
        raise MissingInput(f"There is no file {name!r}.")
    if not is_dicom(path):
        raise InvalidInput(
            f"{name}: it is not a DICOM file: the mark DICM and the meta header are missing. Export it again."
        )
    with warnings.catch_warnings():  # pydicom's warnings can hold a patient's words
        warnings.simplefilter("ignore")
        try:
            _check_deflated(path, name)
            header = pydicom.dcmread(path, stop_before_pixels=not pixels)
        except InvalidInput:
            raise
        except Exception as error:  # whatever a damaged file provokes inside the parser
            raise InvalidInput(
                f"{name}: the DICOM file is damaged ({type(error).__name__} while reading it). Export it again."
            ) from error
        _decode(header, name)
        return header


def _check_deflated(path: Path, name: str) -> None:
    """Refuse a deflated file that would expand beyond the memory there is; pydicom inflates it in one piece."""
    meta = read_file_meta_info(path)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    inflater, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    with path.open("rb") as stream:
        stream.seek(128 + 4 + 12 + int(meta.FileMetaInformationGroupLength))  # preamble, mark, the length's own element
        while data := inflater.unconsumed_tail or stream.read(_PIECE):
            size += len(inflater.decompress(data, _PIECE))
            check_memory(2.0 * size, name)


def _decode(header: Dataset, name: str) -> None:
    """Decode every element now, since pydicom otherwise does at first use."""
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


def items(header: Dataset, keyword: str, name: str) -> list[Dataset]:
    """The items of a sequence; none where it is absent or empty."""
    value = header.get(keyword)
    if value is None:
        return []
    if not isinstance(value, pydicom.Sequence):
        raise InvalidInput(f"{name}: {keyword} must be a sequence. Export the file again.")
    return list(value)


def number(header: Dataset, keyword: str, usual: float, name: str) -> float:
    """The number of an element, or the usual one where the element is absent or empty."""
    value = header.get(keyword)
    try:
        return usual if value in (None, "") else float(value)
    except (TypeError, ValueError):
        raise InvalidInput(f"{name}: {keyword} must be a number. Export the series again.") from None


def numbers(header: Dataset, keyword: str, count: int, name: str) -> np.ndarray:
    """The numbers of an element that has so many of them."""
    try:
        found = np.array([float(v) for v in header[keyword].value])
    except (TypeError, ValueError, KeyError):
        found = np.empty(0)
    if found.size != count or not np.isfinite(found).all():
        raise InvalidInput(f"{name}: {keyword} must be {count} finite numbers.")
    return found
