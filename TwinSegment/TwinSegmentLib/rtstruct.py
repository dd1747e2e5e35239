"""Reading the outlines of a DICOM RT Structure Set as a `Segmentation`.

Outlines are closed polygons in parallel planes (DICOM PS3.3 C.8.8.6), each of which stands for the slab that it says,
or else for half the distance to its neighbours. Planes parallel to the slices are filled on their rows and columns;
others on a grid of their own, whose slices are the planes, and carried over.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from TwinCore.dicom.file import items, number, read_dicom
from TwinCore.errors import InvalidInput, MissingInput
from TwinCore.grid import Grid
from TwinCore.guard import check_memory, display_name
from TwinCore.job import Job
from TwinCore.segmentation import Code, Colour, Segmentation, carry_mask

from .dicom_meaning import read_code
from .rasterise import area, crosses_itself, fill

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_FLAT = 0.5  # slices that an outline may reach through and still count as parallel to them
_SAME_PLANE = 0.02  # distance, in slices, below which two outlines lie in one plane
Region = tuple[str, Dataset, Dataset, Dataset]
"""Name, declaration, contours and observations of a region of interest."""
_LPS = np.array([-1.0, -1.0, 1.0])


def read_rtstruct(
    path: str | Path,
    grid: Grid,
    frame_of_reference_uid: str | None = None,
    roi_names: Sequence[str] | None = None,
    job: Job | None = None,
) -> Segmentation:
    """Read regions of interest onto a grid.

    >>> read_rtstruct("plan/rs.dcm", ct.grid, roi_names=["GTV"]).volume_ml("GTV")  # doctest: +SKIP

    Parameters
    ----------
    path : str or Path
    grid : Grid
        Grid of the answer, in the frame of reference that the outlines were drawn in.
    frame_of_reference_uid : str, optional
        Of the image that the grid belongs to; outlines drawn in another frame are refused.
    roi_names : sequence of str, optional
        Which regions; all where not given.
    job : Job, optional
        Takes the warnings about outlines that cross themselves within less than a twentieth of their area.

    Raises
    ------
    MissingInput
        If there is no such file, or no region of such a name.
    InvalidInput
        If the file is not a structure set, or a region has open, figure-of-eight or no outlines, lies off the grid,
        between its voxels, or in another frame of reference. The message names the region.
    """
    job = job or Job()
    masks: dict[str, np.ndarray] = {}
    codes: dict[str, Code] = {}
    colours: dict[str, Colour] = {}
    chosen = _chosen(_regions(Path(path)), roi_names)
    for name, item, contours, observed in job.each(chosen):
        outlines = [grid.to_ijk(points) for points in _region_outlines(item, contours, frame_of_reference_uid, name)]
        _check_on_grid(outlines, grid, name)
        check_memory(16.0 * grid.size, f"Region {name!r}")
        masks[name] = _fill_region(outlines, grid, _slab_mm(contours, name), name, job)
        if not masks[name].any():
            raise InvalidInput(
                f"Region {name!r}: it is so small that it falls between the voxels of the grid. Use a finer grid."
            )
        colours.update(_colour(name, contours.get("ROIDisplayColor")))
        if code := read_code(observed, "RTROIIdentificationCodeSequence", name):
            codes[name] = code
    return Segmentation.from_masks(grid, masks, codes, colours)


def read_outlines(
    path: str | Path,
    frame_of_reference_uid: str | None = None,
    roi_names: Sequence[str] | None = None,
    job: Job | None = None,
) -> dict[str, list[np.ndarray]]:
    """The outlines of regions of interest as they were drawn, in RAS mm: by name, each of shape (points, 3).

    Parameters and errors are those of `read_rtstruct`; where no names are given, a region that cannot be used (a point,
    an empty one) is left out with a warning, and only if none is left is that an error.
    """
    job = job or Job()
    outlines: dict[str, list[np.ndarray]] = {}
    refusals = []
    for name, item, contours, _ in _chosen(_regions(Path(path)), roi_names):
        try:
            outlines[name] = _region_outlines(item, contours, frame_of_reference_uid, name)
        except InvalidInput as error:
            if roi_names is not None:
                raise
            refusals.append(str(error))
            job.warn(f"Left out: {error}")
    if not outlines:
        raise InvalidInput(f"{display_name(Path(path).name)}: no region of interest in it can be used. {refusals[0]}")
    return outlines


def region_names(path: str | Path) -> list[str]:
    """Names of the regions of a structure set, as they are shown."""
    return [region[0] for region in _regions(Path(path))]


def _regions(path: Path) -> list[Region]:
    """The regions of a structure set."""
    name = display_name(path.name)
    dataset = read_dicom(path)
    modality = dataset.get("Modality")
    if modality != "RTSTRUCT":
        raise InvalidInput(
            f"{name}: the modality (0008,0060) is {display_name(modality, 'not given')}; a structure set (RTSTRUCT) is "
            "meant."
        )
    regions = _named(dataset, name)
    if not regions:
        raise InvalidInput(f"{name}: there is no region of interest in it (3006,0020 is missing or empty).")
    return regions


def _named(dataset: Dataset, file: str) -> list[Region]:
    """The regions by name; equal names are told apart by a number."""
    contours, observations = (
        {_number(item, "ReferencedROINumber", file): item for item in items(dataset, sequence, file)}
        for sequence in ("ROIContourSequence", "RTROIObservationsSequence")
    )
    regions: list[Region] = []
    for item in items(dataset, "StructureSetROISequence", file):
        name = plain = display_name(item.get("ROIName"))
        copy = 1
        while any(name == other[0] for other in regions):
            copy += 1
            name = f"{plain} ({copy})"
        number = _number(item, "ROINumber", file)
        regions.append((name, item, contours.get(number, Dataset()), observations.get(number, Dataset())))
    return regions


def _number(item: Dataset, keyword: str, file: str) -> float:
    found = number(item, keyword, -1, file)
    if found < 0:
        raise InvalidInput(f"{file}: a region has no {keyword}. Export the structure set again.")
    return found


def _chosen(regions: list[Region], roi_names: Sequence[str] | None) -> list[Region]:
    if roi_names is None:
        return regions
    there = {name: region for region in regions for name in (region[0], str(region[1].get("ROIName", "")))}
    for name in roi_names:
        if name not in there:
            raise MissingInput(
                f"There is no region {display_name(name)!r} in the structure set; there are: "
                f"{', '.join(region[0] for region in regions)}."
            )
    return [there[name] for name in roi_names]


def _check_frame(item: Dataset, frame_of_reference_uid: str | None, name: str) -> None:
    drawn_in = str(item.get("ReferencedFrameOfReferenceUID", "") or "")
    if frame_of_reference_uid and drawn_in != frame_of_reference_uid:
        raise InvalidInput(
            f"Region {name!r}: it was drawn in the frame of reference ...{display_name(drawn_in, 'not given')[-12:]} "
            "and the image has "
            f"...{display_name(frame_of_reference_uid)[-12:]}. Choose the image that it was drawn on, then carry it "
            "over through a registration."
        )


def _region_outlines(item: Dataset, contours: Dataset, frame: str | None, name: str) -> list[np.ndarray]:
    _check_frame(item, frame, name)
    return _outlines(contours, name)


def _outlines(contours: Dataset, name: str) -> list[np.ndarray]:
    """The corners of each outline, in RAS mm."""
    outlines = []
    for contour in items(contours, "ContourSequence", name):
        kind = str(contour.get("ContourGeometricType", ""))
        if kind not in CLOSED:
            raise InvalidInput(
                f"Region {name!r}: it has contours of the kind {display_name(kind, 'not given')}; only closed ones "
                "(CLOSED_PLANAR) enclose anything. "
                "Leave it out by naming the regions to read."
            )
        try:
            numbers = np.array([float(v) for v in contour.get("ContourData") or []])
        except (TypeError, ValueError):
            numbers = np.array([np.nan])
        if not np.isfinite(numbers).all() or numbers.size % 3 or numbers.size < 9:
            raise InvalidInput(
                f"Region {name!r}: an outline has {numbers.size / 3:g} points, or coordinates that are not finite. An "
                "outline needs three or more points."
            )
        outlines.append(numbers.reshape(-1, 3) * _LPS)
    if not outlines:
        raise InvalidInput(f"Region {name!r}: it has no outlines. Leave it out by naming the regions to read.")
    return outlines


def _slab_mm(contours: Dataset, name: str) -> float | None:
    """Thickness of the slab that each contour stands for, in mm; None where not all say the same."""
    slabs = {number(c, "ContourSlabThickness", 0, f"Region {name!r}") for c in items(contours, "ContourSequence", name)}
    slab = slabs.pop()
    return slab if not slabs and np.isfinite(slab) and slab > 0 else None


def _check_on_grid(outlines: list[np.ndarray], grid: Grid, name: str) -> None:
    points = np.concatenate(outlines)
    beyond = np.maximum(-0.5 - points, points - (np.array(grid.shape[::-1]) - 0.5)).max(axis=1)
    outside = int(np.count_nonzero(beyond > 0.51))
    if outside == len(points):
        raise InvalidInput(
            f"Region {name!r}: all of it lies off the image. It was probably drawn on an image in another frame of "
            "reference."
        )
    if outside:
        raise InvalidInput(
            f"Region {name!r}: {outside} of its {len(points)} points lie off the image, by up to "
            f"{(beyond.max() * grid.spacing).max():.3g} mm. "
            "Use an image that holds all of it, or leave it out by naming the regions to read."
        )


def _fill_region(outlines: list[np.ndarray], grid: Grid, slab_mm: float | None, name: str, job: Job) -> np.ndarray:
    """The region on the grid, from outlines in voxel indices."""
    if max(float(np.ptp(o[:, 2])) for o in outlines) < _FLAT:
        return _fill_planes(outlines, grid, slab_mm, name, job)
    own = _planes_grid([grid.to_ras(o) for o in outlines], grid, slab_mm, name)
    on_own = [own.to_ijk(grid.to_ras(o)) for o in outlines]
    return carry_mask(_fill_planes(on_own, own, slab_mm, name, job), own, grid)


def _fill_planes(outlines: list[np.ndarray], grid: Grid, slab_mm: float | None, name: str, job: Job) -> np.ndarray:
    """Outlines parallel to the slices: each slice shows its nearest plane, within half of the planes' distance."""
    heights = np.array([o[:, 2].mean() for o in outlines])
    gap = _distance(heights, None if slab_mm is None else slab_mm / float(grid.spacing[2]))
    plane_of = np.round((heights - heights.min()) / gap).astype(int)
    nearest = np.floor((np.arange(grid.shape[0]) - heights.min()) / gap + 0.5 + 1e-6).astype(int)
    mask = np.zeros(grid.shape, bool)
    for outline in outlines:
        check_simple(outline[:, :2], name, job)
    for plane in np.unique(plane_of):
        filled = fill([o[:, :2] for o, at in zip(outlines, plane_of) if at == plane], grid.shape[1:])
        mask[nearest == plane] = filled
    return mask


def _distance(heights: np.ndarray, slab: float | None) -> float:
    """Distance of neighbouring planes, from heights in slices: the slab's thickness if all lie on a lattice of it.

    Else the usual distance; without a second plane, that of the slices.
    """
    gaps = np.diff(np.sort(heights))
    gaps = gaps[gaps > _SAME_PLANE]
    if slab is not None and (np.abs(gaps - slab * np.round(gaps / slab)) < _SAME_PLANE).all():
        return slab
    if not gaps.size:
        return 1.0
    whole = float(np.ptp(heights))
    return whole / max(round(whole / float(np.median(gaps))), 1)


def check_simple(outline: np.ndarray, name: str, job: Job) -> None:
    """Refuse an outline that crosses itself if that changes what is inside; warn of small loops."""
    if not crosses_itself(outline):
        return
    low = np.floor(outline.min(axis=0))
    finer = 512.0 / max(np.ptp(outline, axis=0).max(), 1e-6)
    inside = np.count_nonzero(fill([(outline - low) * finer], (1100, 1100))) / finer**2
    if abs(abs(area(outline)) - inside) > 0.05 * inside:
        raise InvalidInput(
            f"Region {name!r}: an outline crosses itself like a figure of eight, so what it encloses is not clear. "
            "Redraw it without the crossing."
        )
    job.warn(f"Region {name!r}: outlines cross themselves in small loops, which change their area by less than 5 %.")


def planes_axes(outlines: Sequence[np.ndarray], tolerance_mm: float, name: str) -> np.ndarray:
    """Unit vectors of the outlines' planes, as rows: two within them and their normal; RAS.

    `InvalidInput` if a corner leaves its outline's plane by more than the tolerance, or the largest outline is a line.
    """
    largest = max(outlines, key=lambda o: np.linalg.norm(np.ptp(o, axis=0)))
    _, extent, axes = np.linalg.svd(largest - largest.mean(axis=0), full_matrices=False)
    if extent[1] < 1e-6 * extent[0]:
        raise InvalidInput(f"Region {name!r}: its largest outline is a line, which encloses nothing.")
    flat = max(float(np.ptp(o @ axes[2])) for o in outlines)
    if flat > tolerance_mm:
        raise InvalidInput(
            f"Region {name!r}: the outlines do not lie in parallel planes: they leave theirs by up to {flat:.3g} mm."
        )
    return axes


def _planes_grid(outlines: list[np.ndarray], grid: Grid, slab_mm: float | None, name: str) -> Grid:
    """A grid whose slices are the planes of the outlines, as fine within them as the target; RAS mm."""
    axes = planes_axes(outlines, max(0.5, 0.5 * grid.spacing.min()), name)
    heights = [o @ axes[2] for o in outlines]
    slice_mm = float(grid.spacing.max())
    slab = None if slab_mm is None else slab_mm / slice_mm
    spacing = _distance(np.array([h.mean() for h in heights]) / slice_mm, slab) * slice_mm
    fine = float(grid.spacing.min())
    points = np.concatenate(outlines) @ axes.T
    low, high = points.min(axis=0), points.max(axis=0)
    matrix = np.eye(4)
    matrix[:3, :3] = axes.T * [fine, fine, spacing]
    matrix[:3, 3] = axes.T @ (low - [1.5 * fine, 1.5 * fine, spacing])  # outlines run between voxel centres
    size = np.ceil((high - low) / [fine, fine, spacing] - 1e-3).astype(int) + [4, 4, 3]
    return Grid(tuple(size[::-1]), matrix)


def _colour(name: str, given) -> dict[str, Colour]:
    """The region's own display colour by its name; nothing where it has none that can be read."""
    try:
        red, green, blue = (min(max(float(c) / 255.0, 0.0), 1.0) for c in given)
    except (TypeError, ValueError):
        return {}
    return {name: (red, green, blue)}
