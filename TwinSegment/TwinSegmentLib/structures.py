"""Structures from planar outlines, sampled finer than any image so that their edges lie where they were drawn.

Outlines leave two things open: what lies between their planes, and where the structure ends. Between neighbouring
planes the signed distance to the outline is interpolated (Raya and Udupa 1990, IEEE Trans Med Imaging 9:32). Planning
systems differ in the ends (Nelms et al. 2015, Med Phys 42:4435), so `ENDS` offers what they do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt

from TwinCore.errors import InvalidInput
from TwinCore.grid import Grid
from TwinCore.guard import check_memory
from TwinCore.image import Image
from TwinCore.job import Job
from TwinCore.parameter import Choice

from .rasterise import fill
from .rtstruct import check_simple, planes_axes, read_outlines

ENDS = Choice(
    "ends",
    "tapered",
    {
        "tapered": "shrinks, within half the distance of the planes, as towards an empty plane beyond",
        "slab": "goes on unchanged for half the distance of the planes",
        "cut": "ends at its outermost planes",
    },
    "How a structure ends beyond its outermost planes.",
)
SAMPLES = 3_000_000
"""Samples in the box around a structure: 0.17 mm apart for one of 24 mm."""
_FINEST_MM = 0.02
_SAME_PLANE_MM = 0.05
_EMPTY = 5.0
"""How many distances of the planes an empty one lies from any edge: with 5 to 6, structures end as in Eclipse."""
_GAP = 1.5  # planes further apart than this many usual distances have nothing between them


def read_structures(
    path: str | Path,
    frame_of_reference_uid: str | None = None,
    roi_names: Sequence[str] | None = None,
    ends: str = ENDS.default,
    job: Job | None = None,
) -> dict[str, Image]:
    """Regions of a DICOM RT Structure Set by name, each sampled finely on a grid of its own.

    >>> read_structures("plan/rs.dcm", roi_names=["PTV"])["PTV"].array.dtype  # doctest: +SKIP
    dtype('bool')

    Parameters
    ----------
    path : str or Path
    frame_of_reference_uid : str, optional
        Outlines drawn in another frame are refused.
    roi_names : sequence of str, optional
        Which regions; all that can be used where not given, the others being told of.
    ends : str
        An option of `ENDS`.
    job : Job, optional

    Raises
    ------
    MissingInput, InvalidInput
        As `TwinSegmentLib.rtstruct.read_rtstruct`.
    """
    job = job or Job()
    outlines = read_outlines(path, frame_of_reference_uid, roi_names, job)
    found: dict[str, Image] = {}
    for name in job.each(outlines, "structures"):
        try:
            found[name] = structure(outlines[name], name, ends, _usual_distance(outlines.values()), job)
        except InvalidInput as error:
            if roi_names is not None or len(outlines) == 1:
                raise
            job.warn(f"Left out: {error}")
    return found


def structure(
    outlines: Sequence[np.ndarray],
    name: str,
    ends: str = ENDS.default,
    plane_mm: float | None = None,
    job: Job | None = None,
) -> Image:
    """What closed outlines in parallel planes enclose, by the even-odd rule within each plane.

    Parameters
    ----------
    outlines : sequence of arrays, shape (points, 3)
        Corners in RAS mm; the last joins the first.
    name : str
    ends : str
        An option of `ENDS`.
    plane_mm : float, optional
        Distance of the planes, for a structure that lies in one plane only.
    job : Job, optional
        Takes the warnings about outlines that cross themselves in small loops.

    Returns
    -------
    Image
        Boolean samples on a grid along the planes.

    Raises
    ------
    InvalidInput
        If the outlines are not in parallel planes, cross themselves like a figure of eight, or lie in one plane and
        `plane_mm` is not given.
    """
    ends, job = ENDS.check(ends), job or Job()
    axes = planes_axes(outlines, 0.5, name)
    placed = [np.asarray(o, float) @ axes.T for o in outlines]
    heights, plane_of = _planes(placed)
    distance = _distance(heights) or plane_mm
    if not distance:
        raise InvalidInput(
            f"Region {name!r}: it is drawn in one plane only, so how thick it is is not known. Draw it in two or more."
        )
    low, high = _box(placed, distance)
    fine = float(np.clip(np.cbrt(np.prod(high - low) / SAMPLES), _FINEST_MM, max(0.5 * distance, 1.0)))
    step = 0.5 * distance / np.ceil(0.5 * distance / fine)  # the outermost planes lie between two layers
    layers = round((high[2] - low[2]) / step)
    columns, rows = (int(np.ceil((high - low)[n] / fine)) + 2 for n in (0, 1))
    check_memory(5.0 * rows * columns * (len(heights) + layers), f"Region {name!r}")
    corner = low[:2] - 0.5 * fine
    flat = [(o[:, :2] - corner) / fine for o in placed]
    for outline in flat:
        check_simple(outline, name, job)
    distances = np.array(
        [
            fine * _signed_distance(fill([o for o, at in zip(flat, plane_of) if at == n], (rows, columns)))
            for n in range(len(heights))
        ]
    )
    samples = np.zeros((layers, rows, columns), bool)
    for layer in range(layers):
        inside = _between(low[2] + (layer + 0.5) * step, heights, distances, distance, ends)
        if inside is not None:
            samples[layer] = inside > 0
    if not samples.any():
        raise InvalidInput(f"Region {name!r}: its outlines enclose nothing.")
    matrix = np.eye(4)
    matrix[:3, :3] = axes.T * [fine, fine, step]
    matrix[:3, 3] = axes.T @ [*corner, low[2] + 0.5 * step]
    return Image(samples, Grid(samples.shape, matrix), name=name)


def _planes(placed: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Height of each plane, ascending, and the plane of each outline."""
    of_outline = np.array([o[:, 2].mean() for o in placed])
    order = np.argsort(of_outline)
    number = np.concatenate([[0], np.cumsum(np.diff(of_outline[order]) > _SAME_PLANE_MM)])
    plane_of = np.empty(len(placed), int)
    plane_of[order] = number
    return np.array([of_outline[plane_of == n].mean() for n in range(number[-1] + 1)]), plane_of


def _distance(heights: np.ndarray) -> float | None:
    """Usual distance of neighbouring planes; None for a single one."""
    return float(np.median(np.diff(heights))) if heights.size > 1 else None


def _usual_distance(regions) -> float | None:
    """Usual distance of planes in a whole structure set, whose planes are the slices of one image."""
    several = [_distance(np.unique(np.round([o[:, 2].mean() for o in outlines], 2))) for outlines in regions]
    return float(np.median(found)) if (found := [d for d in several if d]) else None


def _box(placed: Sequence[np.ndarray], distance: float) -> tuple[np.ndarray, np.ndarray]:
    points = np.concatenate(placed)
    reach = np.array([0.0, 0.0, 0.5 * distance])
    return points.min(axis=0) - reach, points.max(axis=0) + reach


def _signed_distance(mask: np.ndarray) -> np.ndarray:
    """Distance to the edge in samples, above 0 inside; the edge runs half-way between samples."""
    if not mask.any():
        return np.full(mask.shape, -1.0, np.float32)
    inside, outside = distance_transform_edt(mask), distance_transform_edt(~mask)
    return np.where(mask, inside - 0.5, 0.5 - outside).astype(np.float32)


def _between(
    height: float, heights: np.ndarray, distances: np.ndarray, distance: float, ends: str
) -> np.ndarray | None:
    """Signed distance in mm at any height; None where the structure is absent."""
    above = int(np.searchsorted(heights, height))
    if 0 < above < heights.size and heights[above] - heights[above - 1] <= _GAP * distance:
        share = (height - heights[above - 1]) / (heights[above] - heights[above - 1])
        return (1.0 - share) * distances[above - 1] + share * distances[above]
    end = int(np.abs(heights - height).argmin())
    share = abs(height - heights[end]) / distance
    if ends == "cut" or share > 0.5:
        return None
    if ends == "slab":
        return distances[end]
    return (1.0 - share) * distances[end] - share * _EMPTY * distance
