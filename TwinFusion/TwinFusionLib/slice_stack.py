"""Whether DICOM slices make a stack, one volume on a regular grid, and where it lies.

Geometry as in DICOM PS3.3 C.7.6.2 (Image Plane): slices are ordered along the normal of the image plane, never by file
name or instance number, and must be complete, evenly spaced and straight above each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import AllTransferSyntaxes

from TwinCore.errors import InvalidInput
from TwinCore.grid import LPS_FROM_RAS, Grid
from TwinCore.guard import display_name

_LOSSY = (
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.93",
    "1.2.840.10008.1.2.4.203",
)  # JPEG baseline and extended, JPEG-LS near-lossless, JPEG 2000, 2000 part 2, HTJ2K


def check_alike(headers: list[Dataset], name: str) -> None:
    """Refuse what is not a stack of grey slices of one size, orientation and frame."""
    for header in headers:
        if number(header, "NumberOfFrames", 1, name) > 1:
            raise InvalidInput(
                f"{name}: it is a multi-frame (enhanced) object. Convert it to single-frame slices or to NIfTI first."
            )
        photometric = str(header.get("PhotometricInterpretation", ""))
        if number(header, "SamplesPerPixel", 1, name) != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
            raise InvalidInput(
                f"{name}: the slices are in colour ({display_name(photometric, 'not given')}, tag 0028,0004) where "
                "grey values are meant. It may be a screen capture or a fused picture."
            )
        syntax = header.file_meta.get("TransferSyntaxUID") if hasattr(header, "file_meta") else None
        if syntax not in AllTransferSyntaxes:
            raise InvalidInput(
                f"{name}: the transfer syntax (0002,0010) is missing or unknown, so how the voxels are coded is "
                "not known. Export the series again."
            )
        if str(header.get("LossyImageCompression", "00")) == "01" or str(syntax) in _LOSSY:
            raise InvalidInput(
                f"{name}: the pixel data went through lossy compression (0028,2110), so their values are not what was "
                "measured. Export the original series."
            )
        for keyword in ("Rows", "Columns", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"):
            if header.get(keyword) in (None, ""):
                raise InvalidInput(
                    f"{name}: a slice does not have {keyword}, without which its place in the patient is not known."
                )
    first = headers[0]
    _all_same(
        name, "size", [(h.Rows, h.Columns) for h in headers], "A localiser or a screen capture may be among them."
    )
    _all_same(
        name,
        "pixel spacing",
        [tuple(np.round(_numbers(h, "PixelSpacing", 2, name), 4)) for h in headers],
        "Separate them into series.",
    )
    _all_same(
        name,
        "frame of reference",
        [str(h.get("FrameOfReferenceUID", "")) for h in headers],
        "Separate them into series.",
    )
    orientation = _numbers(first, "ImageOrientationPatient", 6, name)
    turned = sum(np.abs(_numbers(h, "ImageOrientationPatient", 6, name) - orientation).max() > 1e-3 for h in headers)
    if turned:
        raise InvalidInput(
            f"{name}: {turned} of {len(headers)} slices have another orientation than the first. A localiser may be "
            "among them: separate them into series."
        )


def _all_same(name: str, what: str, values: Iterable, hint: str) -> None:
    counts = Counter(values)
    if len(counts) > 1:
        usual, others = counts.most_common(1)[0][1], counts.total() - counts.most_common(1)[0][1]
        raise InvalidInput(f"{name}: {others} slices differ in {what} from the other {usual}. {hint}")


def number(header: Dataset, keyword: str, usual: float, name: str) -> float:
    """The number of an element, or the usual one where the element is absent or empty."""
    value = header.get(keyword)
    try:
        return usual if value in (None, "") else float(value)
    except (TypeError, ValueError):
        raise InvalidInput(f"{name}: {keyword} must be a number. Export the series again.") from None


def _numbers(header: Dataset, keyword: str, count: int, name: str) -> np.ndarray:
    try:
        numbers = np.array([float(v) for v in header[keyword].value])
    except (TypeError, ValueError, KeyError):
        numbers = np.empty(0)
    if numbers.size != count or not np.isfinite(numbers).all():
        raise InvalidInput(f"{name}: {keyword} must be {count} finite numbers.")
    return numbers


def slice_grid(headers: list[Dataset], name: str) -> tuple[np.ndarray, Grid]:
    """The order of the slices along their normal, and the grid that they make; refused if they do not make one."""
    if len(headers) < 2:
        raise InvalidInput(f"{name}: it is a single slice. A volume needs two or more.")
    cosines = _numbers(headers[0], "ImageOrientationPatient", 6, name).reshape(2, 3)
    if np.abs(cosines @ cosines.T - np.eye(2)).max() > 1e-3:
        raise InvalidInput(
            f"{name}: the row and column directions (0020,0037) are not two unit vectors at right angles."
        )
    u, _, v = np.linalg.svd(cosines, full_matrices=False)
    along_row, along_column = u @ v
    normal = np.cross(along_row, along_column)
    row_spacing, column_spacing = _numbers(headers[0], "PixelSpacing", 2, name)
    if min(row_spacing, column_spacing) <= 0:
        raise InvalidInput(
            f"{name}: the pixel spacing (0028,0030) is {row_spacing:g} x {column_spacing:g} mm; both must be above 0."
        )
    positions = np.array([_numbers(h, "ImagePositionPatient", 3, name) for h in headers])
    order = np.argsort(positions @ normal, kind="stable")
    positions = positions[order]
    spacing = _slice_spacing(positions @ normal, name)
    sideways = positions - positions[0] - np.outer((positions - positions[0]) @ normal, normal)
    if np.linalg.norm(sideways, axis=1).max() > 0.1 * min(row_spacing, column_spacing, spacing):
        raise InvalidInput(
            f"{name}: the slices are shifted sideways against each other, by up to "
            f"{np.linalg.norm(sideways, axis=1).max():.3g} mm "
            "(a tilted gantry?). Resample the series to a straight stack first."
        )
    lps = np.eye(4)
    lps[:3, :3] = np.column_stack([along_row * column_spacing, along_column * row_spacing, normal * spacing])
    lps[:3, 3] = positions[0]
    return order, Grid(
        (len(headers), int(number(headers[0], "Rows", 0, name)), int(number(headers[0], "Columns", 0, name))),
        LPS_FROM_RAS @ lps,
    )


def _slice_spacing(along: np.ndarray, name: str) -> float:
    """Mean distance of the slices, in mm; rounded positions let single distances vary by up to a tenth."""
    gaps = np.diff(along)
    usual = float(np.quantile(gaps[gaps > 0.01], 0.25, method="lower")) if (gaps > 0.01).any() else 0.0
    doubled = int(np.count_nonzero(gaps < 0.1 * usual)) if usual else gaps.size
    if doubled:
        raise InvalidInput(
            f"{name}: {doubled} slices lie where another one already is. Several time points, echoes or copies are "
            "mixed: separate them into series."
        )
    for n in np.flatnonzero((gaps > 1.5 * usual) & (np.abs(gaps / usual - np.round(gaps / usual)) < 0.2)):
        raise InvalidInput(
            f"{name}: {round(gaps[n] / usual) - 1} or more slices are missing between {along[n]:.2f} and "
            f"{along[n + 1]:.2f} mm along the stack "
            f"(the others are {usual:.2f} mm apart). Copy the whole series."
        )
    spacing = float(along[-1] - along[0]) / gaps.size
    uneven = float(np.abs(along - along[0] - spacing * np.arange(along.size)).max())
    if uneven > max(0.25 * spacing, 0.05) or np.abs(gaps - spacing).max() > max(0.1 * spacing, 0.05):
        raise InvalidInput(
            f"{name}: the slices are unevenly spaced, from {gaps.min():.2f} to {gaps.max():.2f} mm. Resample the "
            "series to even spacing first."
        )
    return spacing
