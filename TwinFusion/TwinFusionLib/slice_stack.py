"""Whether DICOM slices make a stack, one volume on a regular grid, and where it lies.

Geometry as in DICOM PS3.3 C.7.6.2 (Image Plane): slices are ordered along the normal of the image plane, never by file
name or instance number, and must be complete, evenly spaced and straight above each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
from pydicom.dataset import Dataset

from TwinCore.dicom.file import number, numbers
from TwinCore.dicom.frames import plane_axes, stack_grid
from TwinCore.dicom.pixels import check_grey, check_lossless, check_syntax
from TwinCore.errors import InvalidInput
from TwinCore.grid import Grid


def check_alike(headers: list[Dataset], name: str) -> None:
    """Refuse what is not a stack of grey slices of one size, orientation and frame."""
    for header in headers:
        check_grey(header, name)
        check_syntax(header, name)
        check_lossless(header, name)
        for keyword in ("Rows", "Columns", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"):
            if header.get(keyword) in (None, ""):
                raise InvalidInput(
                    f"{name}: a slice does not have {keyword}, without which its place in the patient is not known."
                )
    first = headers[0]
    if "MOSAIC" in str(first.get("ImageType", "")):
        raise InvalidInput(
            f"{name}: each image is a mosaic of many slices (0008,0008), whose places are not told. Export it as an "
            "enhanced object, or convert it to NIfTI."
        )
    _all_same(
        name, "size", [(h.Rows, h.Columns) for h in headers], "A localiser or a screen capture may be among them."
    )
    _all_same(
        name,
        "pixel spacing",
        [tuple(np.round(numbers(h, "PixelSpacing", 2, name), 4)) for h in headers],
        "Separate them into series.",
    )
    _all_same(
        name,
        "frame of reference",
        [str(h.get("FrameOfReferenceUID", "")) for h in headers],
        "Separate them into series.",
    )
    orientation = numbers(first, "ImageOrientationPatient", 6, name)
    turned = sum(np.abs(numbers(h, "ImageOrientationPatient", 6, name) - orientation).max() > 1e-3 for h in headers)
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


def slice_grid(headers: list[Dataset], name: str) -> tuple[np.ndarray, Grid]:
    """The order of the slices along their normal, and the grid that they make; refused if they do not make one."""
    if len(headers) < 2:
        raise InvalidInput(f"{name}: it is a single slice. A volume needs two or more.")
    axes = plane_axes(numbers(headers[0], "ImageOrientationPatient", 6, name), name)
    normal = axes[2]
    row_spacing, column_spacing = numbers(headers[0], "PixelSpacing", 2, name)
    if min(row_spacing, column_spacing) <= 0:
        raise InvalidInput(
            f"{name}: the pixel spacing (0028,0030) is {row_spacing:g} x {column_spacing:g} mm; both must be above 0."
        )
    positions = np.array([numbers(h, "ImagePositionPatient", 3, name) for h in headers])
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
    rows, columns = (int(number(headers[0], word, 0, name)) for word in ("Rows", "Columns"))
    shape = (len(headers), rows, columns)
    return order, stack_grid(axes, (column_spacing, row_spacing, spacing), positions[0], shape)


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
