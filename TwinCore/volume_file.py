"""Reading a volume from a NIfTI, NRRD or MetaImage file, refusing what other readers silently repair.

Headers are read by `nifti_header` and `volume_header`, the voxels here, in one pass over the file: compressed streams
are checked to their last byte (CRC or Adler sum), never expanded beyond what the header announces, and must be
complete.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .errors import InvalidInput, MissingInput
from .grid import Grid
from .guard import check_grid, check_image, check_memory, display_name
from .image import MODALITIES, Image
from .nifti_header import nifti_header
from .units import HOUNSFIELD, NO_UNIT
from .volume_header import TEXT_HEADER_LIMIT, VolumeHeader, detached_path, metaimage_header, nrrd_header

READERS = {
    ".nii": nifti_header,
    ".nii.gz": nifti_header,
    ".nrrd": nrrd_header,
    ".nhdr": nrrd_header,
    ".mha": metaimage_header,
    ".mhd": metaimage_header,
}
DEFAULT_UNITS = {"CT": HOUNSFIELD, "MR": NO_UNIT, "US": NO_UNIT, "": NO_UNIT}
_PIECE = 1 << 20
_TRAILING = 16  # bytes of padding that are let pass
_DEFLATE_MOST = 1040  # deflate cannot shrink anything by more than a factor of about 1030
_NOT_IMAGES = {
    b"version https://git-lfs": "a Git LFS pointer: the file itself was not downloaded (git lfs pull gets it)",
    b"<!doctype": "a web page: the download gave a page in place of the file",
    b"<html": "a web page: the download gave a page in place of the file",
    b"<?xml": "an XML document",
    b"PK\x03\x04": "a ZIP archive: unpack it first",
    b"%PDF": "a PDF document",
}


def read_volume(
    path: str | Path,
    modality: str = "",
    unit: str | None = None,
    time: str | float | None = None,
    frame: int | None = None,
) -> Image:
    """Read one volume, with its place in the patient, what was measured and in which unit.

    >>> read_volume("case/ct.nii.gz", "CT")  # doctest: +SKIP
    >>> read_volume("case/suv.nrrd", "PT", unit="g/mL", time="2024-05-01")  # doctest: +SKIP

    Parameters
    ----------
    path : str or Path
        .nii, .nii.gz, .nrrd, .nhdr, .mha or .mhd.
    modality : str
        DICOM modality code (CT, MR, PT, US), or "" for what is not an acquisition (a label map, a map of
        probabilities).
    unit : str, optional
        Unit of the values (UCUM). CT is taken for Hounsfield units and MR for arbitrary ones where it is not given;
        PT has no default, since Bq/mL and g/mL (SUV) are both usual.
    time : str or float, optional
        ISO date of the acquisition, or days from the reference scan.
    frame : int, optional
        Which volume of a series (a 4D NIfTI file), counted from 0.

    Raises
    ------
    MissingInput
        If there is no such file.
    InvalidInput
        If the file is damaged, incomplete or not what its name says, if its geometry is missing or impossible, or its
        values are not finite. The message names the file.
    """
    path = Path(path)
    name = display_name(path.name)
    if modality not in DEFAULT_UNITS and unit is None:
        known = modality in MODALITIES
        raise InvalidInput(
            f"{name}: say the unit of the PET values: 'g/mL' for SUV by body weight, 'Bq/mL' for activity."
            if known
            else f"{name}: the modality {modality!r} is not one of {', '.join(MODALITIES)}."
        )
    if not path.is_file():
        raise MissingInput(
            f"There is no file {name!r} in the folder {display_name(path.parent.name, 'that was given')!r}."
        )
    header, array = _read(path, name, frame)
    image = Image(array, _grid(header), modality, unit or DEFAULT_UNITS[modality], time, name)
    return check_image(image, name)


def _read(path: Path, name: str, frame: int | None) -> tuple[VolumeHeader, np.ndarray]:
    suffix = next((s for s in sorted(READERS, key=len, reverse=True) if path.name.lower().endswith(s)), None)
    if suffix is None:
        raise InvalidInput(
            f"{name}: the kind of file is not known by its ending. It must be one of {', '.join(READERS)}."
        )
    with path.open("rb") as stream:
        start = stream.read(_PIECE)
        _check_start(start, name)
        whole = start[:2] == b"\x1f\x8b" and suffix.startswith(".nii")
        if suffix == ".nii.gz" and not whole and start[344:347] != b"n+1":
            raise InvalidInput(
                f"{name}: it is not compressed with gzip, although its name ends in .gz, and not a NIfTI file either."
            )
        stream.seek(0)
        first = next(_inflated(stream, name), b"") if whole else start[:TEXT_HEADER_LIMIT]
        header = READERS[suffix](first, name)
        _check_frame(header, frame, name)
        check_grid(_grid(header), name)
        if not header.data_file:
            stream.seek(0)
            return header, _voxels(stream, header, name, whole, frame, path.stat().st_size)
    data = detached_path(path, header.data_file)
    with data.open("rb") as stream:
        _check_start(stream.read(64), display_name(data.name))
        stream.seek(0)
        return header, _voxels(stream, header, name, False, frame, data.stat().st_size)


def _grid(header: VolumeHeader) -> Grid:
    planes, rows, columns = header.shape[-3:]
    return Grid((planes, rows, columns), header.ijk_to_ras)


def _check_start(start: bytes, name: str) -> None:
    """Name what the file really is, if it is not an image at all."""
    if not start:
        raise InvalidInput(f"{name}: the file is empty. Copy or download it again.")
    head = start.lstrip()[:64]
    for mark, what in _NOT_IMAGES.items():
        if head.lower().startswith(mark.lower()):
            raise InvalidInput(f"{name}: it is not an image but {what}.")


def _check_frame(header: VolumeHeader, frame: int | None, name: str) -> None:
    frames = header.shape[0] if len(header.shape) == 4 else 1
    if frames > 1 and frame is None:
        raise InvalidInput(f"{name}: it is a series of {frames} volumes. Choose one: frame 0 to {frames - 1}.")
    if frame is not None and not 0 <= frame < frames:
        raise InvalidInput(f"{name}: there is no frame {frame}; there are {frames}, counted from 0.")


def _voxels(
    stream: BinaryIO, header: VolumeHeader, name: str, whole: bool, frame: int | None, file_size: int
) -> np.ndarray:
    """The scaled values, shape (k, j, i); the stream must hold exactly what the header announces."""
    expected = int(np.prod(header.shape, dtype=object)) * header.dtype.itemsize
    skip = header.offset if not header.compressed else 0
    if header.compressed:
        stream.seek(header.offset)
    most = file_size * (_DEFLATE_MOST if whole or header.compressed else 1)
    if expected + skip > most:
        raise InvalidInput(
            f"{name}: the header announces {expected} bytes of voxels from byte {header.offset} on, and the file "
            "cannot hold them: it has "
            f"{file_size} bytes. It is truncated, or its dimensions or data offset are wrong."
        )
    check_memory(2.0 * expected, name)
    buffer, filled = np.empty(expected, np.uint8), 0
    for piece in _inflated(stream, name) if whole or header.compressed else iter(lambda: stream.read(_PIECE), b""):
        dropped = min(skip, len(piece))
        skip -= dropped
        part = np.frombuffer(piece, np.uint8)[dropped:]
        if filled + part.size > expected + _TRAILING:
            raise InvalidInput(
                f"{name}: there are more data than the header announces ({expected} bytes of voxels). Its dimensions "
                "or its data type are wrong."
            )
        part = part[: expected - filled]
        buffer[filled : filled + part.size] = part
        filled += part.size
    if filled < expected:
        raise InvalidInput(
            f"{name}: it is truncated: {filled} of {expected} bytes of voxels are there. Copy or download it again."
        )
    array = buffer.view(header.dtype).reshape(header.shape)
    if array.ndim == 4:
        array = array[frame].copy()
    array = array.astype(header.dtype.newbyteorder("="), copy=False)
    if (header.slope, header.intercept) == (1.0, 0.0):
        return array
    scaled: np.ndarray = array.astype(np.float64 if array.dtype.itemsize > 4 else np.float32)
    with np.errstate(all="ignore"):  # values that become infinite are refused with all others
        scaled *= header.slope
        scaled += header.intercept
    return scaled


def _inflated(stream: BinaryIO, name: str) -> Iterator[bytes]:
    """The decompressed stream (gzip, of one or several members, or zlib) in bounded pieces; checks its sums."""
    unpack = zlib.decompressobj(47)
    try:
        while data := stream.read(_PIECE):
            while data:
                if unpack.eof:
                    if not data.strip(b"\0"):
                        break  # zeros that pad the last member
                    unpack = zlib.decompressobj(47)
                piece = unpack.decompress(data, 4 * _PIECE)
                data = unpack.unconsumed_tail or unpack.unused_data
                if piece:
                    yield piece
        while not unpack.eof and (piece := unpack.decompress(b"", 4 * _PIECE)):
            yield piece
    except zlib.error as error:
        raise InvalidInput(
            f"{name}: the compressed data are damaged ({display_name(error)}). Copy or download it again."
        ) from None
    if not unpack.eof:
        raise InvalidInput(f"{name}: it is truncated: the compressed data end too early. Copy or download it again.")
