"""A tube from a click at each end: the spinal cord, or any structure with a round cross-section and a clear edge."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from TwinCore import Image, InvalidInput, Job

from .polar_wall import Search, Wall, find_wall

CORD = Search(nearest_mm=2.0, farthest_mm=9.0, step_mm=0.25, side_mm=1.5, bend=0.2)
"""A spinal cord's radius is 3 to 8 mm."""

STRAY_MM = 1.5
"""How far the wall may be from that of the plane before, per 3 mm between planes."""

SMOOTH_MM = 0.5


def tube(
    image: Image,
    first_ras_mm: Sequence[float],
    last_ras_mm: Sequence[float],
    search: Search = CORD,
    job: Job | None = None,
) -> np.ndarray:
    """The tube between two points in its middle.

    >>> cord = tube(t2, top, bottom)                                  # doctest: +SKIP

    Parameters
    ----------
    image : Image
    first_ras_mm, last_ras_mm : three floats
        In the middle of the tube, in the first and the last plane to be segmented.
    search : Search
        Which radii are possible; those of a spinal cord if none.
    job : Job, optional

    Returns
    -------
    bool array, shape (k, j, i)

    Raises
    ------
    InvalidInput
        If a point lies outside the image, or both are in one plane.

    Notes
    -----
    Planes are those across the image axis that runs most along the tube. Whether it is brighter or darker than what
    surrounds it is seen from the clicks.
    """
    job = job or Job()
    ijk = image.grid.to_ijk(np.array([first_ras_mm, last_ras_mm], float))
    if (ijk < -0.5).any() or (ijk > np.array(image.grid.shape[::-1]) - 0.5).any():
        raise InvalidInput(f"A click lies outside {image.name!r}: click in the middle of the structure.")
    axis = int(np.abs((ijk[1] - ijk[0]) * image.grid.spacing).argmax())
    others = [n for n in range(3) if n != axis]
    low, high = ijk[np.argsort(ijk[:, axis])]
    planes = range(round(low[axis]), round(high[axis]) + 1)
    if len(planes) < 2:
        raise InvalidInput("Both clicks are in one plane: click at both ends of the structure.")
    pixel, step = image.grid.spacing[others], image.grid.spacing[axis]
    volume = np.moveaxis(image.array.astype(np.float32), 2 - axis, 0)
    smooth = {n: ndimage.gaussian_filter(volume[n], SMOOTH_MM / pixel[::-1]) for n in planes}
    line = {n: low[others] + (high - low)[others] * (n - low[axis]) / (high[axis] - low[axis]) for n in planes}
    sign = _sign(smooth, line, pixel, search)
    mask = np.zeros(volume.shape, bool)
    before: Wall | None = None
    for n in job.each(planes, "planes"):
        stray = np.inf if before is None else max(STRAY_MM * step / 3.0, STRAY_MM)
        # Half-way between the straight line and where it was: a cord bends, and must not be lost.
        centre = line[n] if before is None else (line[n] + 2 * before.centre) / 3
        before = find_wall(smooth[n], centre, pixel, search, sign, before, stray)
        mask[n] = before.inside(volume.shape[1:], pixel)
    return np.moveaxis(mask, 0, 2 - axis)


def _sign(smooth: dict[int, np.ndarray], line: dict[int, np.ndarray], pixel: np.ndarray, search: Search) -> float:
    """1 if the tube is brighter than a ring round it, -1 if it is darker, at its two ends."""
    differences = []
    for n in (min(line), max(line)):
        j, i = np.indices(smooth[n].shape)
        distance = np.hypot((i - line[n][0]) * pixel[0], (j - line[n][1]) * pixel[1])
        inside = distance <= max(search.nearest_mm, pixel.max())
        ring = (distance > search.nearest_mm + search.side_mm) & (distance < search.farthest_mm)
        differences.append(smooth[n][inside].mean() - np.median(smooth[n][ring]))
    return 1.0 if sum(differences) > 0 else -1.0
