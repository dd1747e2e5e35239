"""What a volume file says about itself: the headers of NRRD and MetaImage, read strictly.

Libraries fill gaps in these headers silently (identity for a missing matrix, 1 for a zero spacing). Here a gap is an
error.

Sources: the NRRD file format (https://teem.sourceforge.net/nrrd/format.html) and the MetaIO documentation
(https://itk.org/Wiki/MetaIO).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import InvalidInput
from .grid import LPS_FROM_RAS

TEXT_HEADER_LIMIT = 1 << 20


@dataclass(frozen=True)
class VolumeHeader:
    """Where the voxels are in the file, what they are, and where they lie in the patient.

    Parameters
    ----------
    shape : tuple of int
        Along k, j, i; a fourth, leading number counts the frames of a series.
    dtype : numpy.dtype
        With its byte order.
    offset : int
        Bytes before the first voxel, in the decompressed stream.
    ijk_to_ras : array, shape (4, 4)
        In mm.
    slope, intercept : float
        Value = stored value * slope + intercept.
    compressed : bool
        Whether the voxels themselves are compressed (NRRD, MetaImage); a NIfTI file is compressed as a whole.
    data_file : str
        The file that holds the voxels if it is another one, "" otherwise.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int
    ijk_to_ras: np.ndarray
    slope: float = 1.0
    intercept: float = 0.0
    compressed: bool = False
    data_file: str = ""


_NRRD_TYPES = {
    "signed char": "i1",
    "int8": "i1",
    "int8_t": "i1",
    "uchar": "u1",
    "unsigned char": "u1",
    "uint8": "u1",
    "uint8_t": "u1",
    "short": "i2",
    "short int": "i2",
    "signed short": "i2",
    "signed short int": "i2",
    "int16": "i2",
    "int16_t": "i2",
    "ushort": "u2",
    "unsigned short": "u2",
    "unsigned short int": "u2",
    "uint16": "u2",
    "uint16_t": "u2",
    "int": "i4",
    "signed int": "i4",
    "int32": "i4",
    "int32_t": "i4",
    "uint": "u4",
    "unsigned int": "u4",
    "uint32": "u4",
    "uint32_t": "u4",
    "longlong": "i8",
    "long long": "i8",
    "long long int": "i8",
    "signed long long": "i8",
    "signed long long int": "i8",
    "int64": "i8",
    "int64_t": "i8",
    "ulonglong": "u8",
    "unsigned long long": "u8",
    "unsigned long long int": "u8",
    "uint64": "u8",
    "uint64_t": "u8",
    "float": "f4",
    "double": "f8",
}
_NRRD_SPACES = {
    "left-posterior-superior": (-1, -1, 1),
    "lps": (-1, -1, 1),
    "right-anterior-superior": (1, 1, 1),
    "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "las": (-1, 1, 1),
}


def nrrd_header(start: bytes, name: str) -> VolumeHeader:
    """The header of an NRRD file (.nrrd or .nhdr) from its first bytes."""
    if not re.match(rb"NRRD000[1-5]\r?\n", start):
        raise InvalidInput(
            f"{name}: it is not an NRRD file: it starts with {start[:8]!r}, not with NRRD0001 to NRRD0005."
        )
    end = re.search(rb"\r?\n\r?\n", start)
    text = start[: end.start()] if end else start
    lines = [line.strip() for line in text.decode("utf-8", "replace").splitlines()[1:]]
    field = {
        k.strip().lower(): v.strip()
        for k, v in (line.split(":", 1) for line in lines if ":" in line and ":=" not in line and line[0] != "#")
    }
    data_file = field.get("data file", field.get("datafile", ""))
    if not end and not data_file:
        raise InvalidInput(
            f"{name}: the header does not end: there is no empty line before the data. The file is truncated."
        )
    dtype = _typed(_NRRD_TYPES, _needed(field, "type", name).lower(), field.get("endian", "").lower(), name)
    if _needed(field, "dimension", name) != "3":
        raise InvalidInput(
            f"{name}: it has {field['dimension']} dimensions; a volume has 3. Extract one volume of a series, one "
            "component of a vector image."
        )
    shape = checked_shape(_parsed(field, "sizes", name, count=3), name)
    encoding = _needed(field, "encoding", name).lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise InvalidInput(f"{name}: the encoding is {encoding!r}; it must be raw or gzip.")
    if field.get("line skip", "0") != "0" or not field.get("byte skip", "0").isdigit():
        raise InvalidInput(f"{name}: 'line skip' must be 0 and 'byte skip' must not be negative.")
    flip = _NRRD_SPACES.get(_needed(field, "space", name).strip('"').lower())
    if flip is None:
        raise InvalidInput(
            f"{name}: the space is {field['space']!r}; it must be left-posterior-superior, right-anterior-superior or "
            "left-anterior-superior."
        )
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(_parsed(field, "space directions", name, count=9), (3, 3)).T
    affine[:3, 3] = _parsed(field, "space origin", name, count=3)
    check_matrix(affine, name, "'space directions' and 'space origin'")
    affine[:3] *= np.array(flip)[:, None]
    skip = int(field.get("byte skip", "0")) + (0 if data_file else end.end() if end else 0)
    return VolumeHeader(shape, dtype, skip, affine, compressed=encoding != "raw", data_file=data_file)


_META_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}


def metaimage_header(start: bytes, name: str) -> VolumeHeader:
    """The header of a MetaImage file (.mha or .mhd) from its first bytes."""
    match = re.search(rb"(?:^|\n)ElementDataFile[ \t]*=[ \t]*([^\r\n]*)(\r?\n|$)", start)
    if match is None:
        raise InvalidInput(
            f"{name}: it is not a MetaImage file, or it is truncated: the header has no line 'ElementDataFile ='."
        )
    lines = start[: match.start()].decode("utf-8", "replace").splitlines()
    field = {k.strip(): v.strip() for k, v in (line.split("=", 1) for line in lines if "=" in line)}
    if _needed(field, "NDims", name) != "3":
        raise InvalidInput(
            f"{name}: it has {field['NDims']} dimensions; a volume has 3. Extract one volume of the series."
        )
    if field.get("ElementNumberOfChannels", "1") != "1":
        raise InvalidInput(
            f"{name}: each voxel has {field['ElementNumberOfChannels']} components (colour or vectors) where one grey "
            "value is meant."
        )
    if field.get("BinaryData", "True").lower() != "true" or field.get("HeaderSize", "0") not in ("0",):
        raise InvalidInput(
            f"{name}: BinaryData must be True and HeaderSize 0. Save it again as a compressed .mha file."
        )
    big = field.get("BinaryDataByteOrderMSB", field.get("ElementByteOrderMSB", "False")).lower() == "true"
    dtype = _typed(_META_TYPES, _needed(field, "ElementType", name), "big" if big else "little", name)
    shape = checked_shape(_parsed(field, "DimSize", name, count=3), name)
    spacing = np.array(_parsed(field, "ElementSpacing", name, count=3))
    check_spacing(spacing, name, "ElementSpacing")
    origin = next((key for key in ("Offset", "Position", "Origin") if key in field), "Offset")
    direction = next((key for key in ("TransformMatrix", "Rotation", "Orientation") if key in field), "TransformMatrix")
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(_parsed(field, direction, name, count=9), (3, 3)).T * spacing
    affine[:3, 3] = _parsed(field, origin, name, count=3)
    check_matrix(affine, name, f"{direction} and {origin}")
    data_file = match.group(1).decode("utf-8", "replace").strip()
    local = data_file.upper() == "LOCAL"
    return VolumeHeader(
        shape,
        dtype,
        match.end() if local else 0,
        LPS_FROM_RAS @ affine,
        compressed=field.get("CompressedData", "False").lower() == "true",
        data_file="" if local else data_file,
    )


def _needed(field: dict[str, str], key: str, name: str) -> str:
    if not field.get(key):
        raise InvalidInput(
            f"{name}: the header does not say '{key}', without which type or place of the voxels is not known."
        )
    return field[key]


def _parsed(field: dict[str, str], key: str, name: str, count: int) -> list[float]:
    text = _needed(field, key, name)
    words = re.sub(r"[(),]", " ", text).split()
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise InvalidInput(f"{name}: '{key}' must be {count} numbers, not {text[:60]!r}.")
    return numbers


def _typed(types: dict[str, str], word: str, endian: str, name: str) -> np.dtype:
    if word not in types:
        raise InvalidInput(f"{name}: the element type {word[:40]!r} is not one of {', '.join(sorted(types))}.")
    kind = types[word]
    if kind[1] != "1" and endian not in ("little", "big"):
        raise InvalidInput(
            f"{name}: the header must say whether the byte order ('endian') is little or big; it says {endian[:20]!r}."
        )
    return np.dtype((">" if endian == "big" else "<") + kind)


def checked_shape(sizes, name: str) -> tuple[int, ...]:
    whole = [int(n) for n in sizes if np.isfinite(n) and n == int(n) and 1 <= n < 1 << 31]
    if len(whole) != len(sizes):
        raise InvalidInput(f"{name}: the dimensions are {numbers(sizes)}; each must be a whole number, 1 or more.")
    return tuple(whole[::-1])


def check_spacing(spacing: np.ndarray, name: str, field: str) -> None:
    if not np.isfinite(spacing).all() or spacing.min() <= 0:
        raise InvalidInput(
            f"{name}: the spacing ({field}) is {numbers(spacing)} mm; each number must be finite and above 0."
        )


def check_matrix(affine: np.ndarray, name: str, field: str) -> None:
    if not np.isfinite(affine).all():
        raise InvalidInput(f"{name}: {field} hold NaN or infinite numbers. Position and orientation must be finite.")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if spacing.min() == 0 or abs(np.linalg.det(affine[:3, :3] / spacing)) < 1e-3:
        raise InvalidInput(
            f"{name}: {field} are singular: two axes are parallel, or one has no length. The three axes must span "
            "space."
        )


def numbers(values) -> str:
    return " x ".join(f"{float(v):.6g}" for v in values)


def detached_path(header_path: Path, data_file: str) -> Path:
    """The file that holds the voxels of a detached header, which must lie in the header's own folder or below it."""
    if not data_file.isprintable():
        raise InvalidInput(f"{header_path.name}: the name of its data file is not readable: the header is damaged.")
    if data_file.upper().startswith("LIST") or "%" in data_file:
        raise InvalidInput(
            f"{header_path.name}: the voxels are spread over several files. Save the volume as one file."
        )
    folder = header_path.resolve().parent
    path = (folder / data_file.replace("\\", "/")).resolve()
    if not path.is_relative_to(folder):
        raise InvalidInput(
            f"{header_path.name}: the data file it names lies outside its folder. Put both files into one folder and "
            "name the data file without a path."
        )
    if not path.is_file():
        raise InvalidInput(
            f"{header_path.name}: the data file it names, {path.name!r}, is not there. Keep both files together."
        )
    return path
