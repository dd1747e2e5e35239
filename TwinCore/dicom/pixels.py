"""The stored values of a DICOM object's frames, decoded one by one, refusing what other readers fill up."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import iter_pixels
from pydicom.uid import UID, AllTransferSyntaxes

from ..errors import InvalidInput
from ..guard import check_memory, display_name
from .file import number

GREY = ("MONOCHROME1", "MONOCHROME2")
_LOSSY = (
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.93",
    "1.2.840.10008.1.2.4.203",
)  # JPEG baseline and extended, JPEG-LS near-lossless, JPEG 2000, 2000 part 2, HTJ2K


def check_syntax(header: Dataset, name: str) -> UID:
    """The transfer syntax, refused where it is missing or unknown."""
    syntax = header.file_meta.get("TransferSyntaxUID") if hasattr(header, "file_meta") else None
    if syntax not in AllTransferSyntaxes:
        raise InvalidInput(
            f"{name}: the transfer syntax (0002,0010) is missing or unknown, so how the voxels are coded is "
            "not known. Export the series again."
        )
    return UID(syntax)


def is_lossy(header: Dataset) -> bool:
    """Whether the pixel data went through lossy compression at any time."""
    syntax = str(header.file_meta.get("TransferSyntaxUID", ""))
    return str(header.get("LossyImageCompression", "00")) == "01" or syntax in _LOSSY


def check_lossless(header: Dataset, name: str) -> None:
    """Refuse values that lossy compression has changed."""
    if is_lossy(header):
        raise InvalidInput(
            f"{name}: the pixel data went through lossy compression (0028,2110), so their values are not what was "
            "measured. Export the original series."
        )


def check_grey(header: Dataset, name: str) -> None:
    """Refuse colour and palettes where grey values are meant."""
    photometric = str(header.get("PhotometricInterpretation", ""))
    if number(header, "SamplesPerPixel", 1, name) != 1 or photometric not in GREY:
        raise InvalidInput(
            f"{name}: the slices are in colour ({display_name(photometric, 'not given')}, tag 0028,0004) where "
            "grey values are meant. It may be a screen capture or a fused picture."
        )


def rescaled(stored: np.ndarray, header: Dataset, name: str) -> np.ndarray:
    """Stored values by a frame's own slope and intercept, as float32."""
    slope, intercept = number(header, "RescaleSlope", 1, name), number(header, "RescaleIntercept", 0, name)
    if not np.isfinite([slope, intercept]).all() or slope == 0:
        raise InvalidInput(
            f"{name}: the rescale slope (0028,1053) is {slope:g} and the intercept {intercept:g}; they must be "
            "finite, the slope not 0."
        )
    if stored.dtype.itemsize > 2:  # more digits than float32 has
        return (stored * slope + intercept).astype(np.float32)
    return stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)


def stored_frames(header: Dataset, name: str) -> Iterator[np.ndarray]:
    """The frames of an object in order, each (rows, columns) or (rows, columns, 3) for colour.

    Raises
    ------
    InvalidInput
        If pixel data are absent, shorter than the header announces, or cannot be decoded here.
    """
    if "PixelData" not in header:
        raise InvalidInput(f"{name}: there are no pixel data (7FE0,0010). Copy or export the file again.")
    syntax, expected = check_syntax(header, name), _expected_bytes(header, name)
    if not syntax.is_compressed and len(header.PixelData) < expected:
        raise InvalidInput(
            f"{name}: the pixel data are truncated: {len(header.PixelData)} of {expected} bytes. Copy or export the "
            "file again."
        )
    frames = int(number(header, "NumberOfFrames", 1, name))
    check_memory(4.0 * expected / frames, name)
    packed = number(header, "BitsAllocated", 16, name) == 1 and not syntax.is_compressed
    decoded = _unpacked(header, frames) if packed else iter_pixels(header)
    found = 0
    while (frame := _next(decoded, syntax, name)) is not None:
        yield frame
        found += 1
    if found != frames:
        raise InvalidInput(f"{name}: {found} of {frames} frames are there. Copy or export the file again.")


def _unpacked(header: Dataset, frames: int) -> Iterator[np.ndarray]:
    """Frames of single bits, which follow each other without padding to whole bytes."""
    data, size = np.frombuffer(header.PixelData, np.uint8), header.Rows * header.Columns
    for start in range(0, frames * size, size):
        bits = np.unpackbits(data[start // 8 : (start + size + 7) // 8], bitorder="little")
        yield bits[start % 8 : start % 8 + size].reshape(header.Rows, header.Columns)


def _next(decoded: Iterator[np.ndarray], syntax: UID, name: str) -> np.ndarray | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return next(decoded, None)
    except Exception as error:  # any decoder's failure, of which there are many kinds
        hint = (
            f"Convert it to Explicit VR Little Endian first: it is compressed as {display_name(syntax.name)}"
            if syntax.is_compressed
            else "Export the file again"
        )
        raise InvalidInput(f"{name}: the pixel data cannot be decoded. {hint}.") from error


def _expected_bytes(header: Dataset, name: str) -> int:
    size = [number(header, word, 0, name) for word in ("Rows", "Columns")]
    frames = number(header, "NumberOfFrames", 1, name)
    if min(*size, frames) < 1:
        raise InvalidInput(
            f"{name}: Rows, Columns and NumberOfFrames are {size[0]:g}, {size[1]:g} and {frames:g}; each must be at "
            "least 1."
        )
    samples = number(header, "SamplesPerPixel", 1, name)
    if header.get("PhotometricInterpretation") == "YBR_FULL_422":
        samples = 2
    bits = int(size[0]) * int(size[1]) * int(frames) * int(samples) * int(number(header, "BitsAllocated", 16, name))
    return (bits + 7) // 8
