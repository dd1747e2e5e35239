"""The left ventricle's blood pool on a short-axis cine, from a click at its base and one at its apex.

In every slice between the clicks the wall is the closed curve round the axis along which brightness falls most steeply
from inside to outside, made convex, for papillary muscles count as blood. From the time of the clicks it is followed to
the others in two ways, of which the mean is taken: by the steepest curve nearby, which shrinks too much as trabeculae
close up, and by the motion of the image (Vercauteren and others 2009, NeuroImage 45:S61), which shrinks too little.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from TwinCore import Image, InvalidInput, Job

from .polar_wall import Search, Wall, convex_wall, find_wall

SEARCH = Search(nearest_mm=4.0, farthest_mm=48.0, step_mm=0.75, side_mm=3.5, outwards=0.015)
"""Of two edges the inner one is a papillary muscle's: the outer one is preferred a little."""

STRAY_MM = {"slice": 9.0, "time": 6.0}
"""How far the wall may be from that of the slice before, or from where the motion of the image carried it."""

SMOOTH_VOXELS, PAPILLARY_VOXELS = 0.7, 5
DEMONS, DEMONS_SIGMA = 40, 1.5


@dataclass(frozen=True, eq=False)
class Ventricle:
    """The blood pool over time, and what is counted of it.

    Parameters
    ----------
    masks : tuple of bool array, shape (k, j, i)
        One for each time.
    volumes_ml : array, shape (times,)
    """

    masks: tuple[np.ndarray, ...]
    volumes_ml: np.ndarray

    @property
    def end_diastole(self) -> int:
        """The time of the largest volume."""
        return int(self.volumes_ml.argmax())

    @property
    def end_systole(self) -> int:
        """The time of the smallest volume."""
        return int(self.volumes_ml.argmin())

    @property
    def end_diastolic_volume_ml(self) -> float:
        return float(self.volumes_ml.max())

    @property
    def end_systolic_volume_ml(self) -> float:
        return float(self.volumes_ml.min())

    @property
    def ejection_fraction(self) -> float:
        """Share of the end-diastolic volume that is ejected."""
        return 1 - self.end_systolic_volume_ml / self.end_diastolic_volume_ml


def left_ventricle(
    cine: Sequence[Image],
    base_ras_mm: Sequence[float],
    apex_ras_mm: Sequence[float],
    clicked: int = 0,
    job: Job | None = None,
) -> Ventricle:
    """The blood pool at all times of a cine.

    >>> ventricle = left_ventricle(cine, base, apex)                   # doctest: +SKIP
    >>> ventricle.ejection_fraction                                    # doctest: +SKIP
    0.26

    Parameters
    ----------
    cine : sequence of Image
        Short-axis images of one cycle on one grid, k running along the axis.
    base_ras_mm, apex_ras_mm : three floats
        In the middle of the blood pool in the first and the last slice to be counted, RAS mm.
    clicked : int
        The time at which was clicked.
    job : Job, optional

    Returns
    -------
    Ventricle

    Raises
    ------
    InvalidInput
        If a click lies outside, both are in one slice, or there are fewer than two times.
    """
    if len(cine) < 2:
        raise InvalidInput(f"A cine has two times or more, not {len(cine)}.")
    job, grid = job or Job(), cine[0].grid
    first, last = _clicks(cine[clicked], base_ras_mm, apex_ras_mm)
    pixel = grid.spacing[:2]
    slices = range(int(min(first[2], last[2])), int(max(first[2], last[2])) + 1)
    masks = [np.zeros(grid.shape, bool) for _ in cine]
    middle = slices[len(slices) // 2]
    starts = {z: first[:2] + (last[:2] - first[:2]) * (z - first[2]) / (last[2] - first[2]) for z in slices}
    outwards = [*range(middle, slices[-1] + 1), *range(middle - 1, slices[0] - 1, -1)]
    walls: dict[int, Wall] = {}
    for z in job.each(outwards, "slices"):
        before = walls.get(z - 1 if z > middle else z + 1)
        planes = [_smooth(image.array[z]) for image in cine]
        walls[z] = find_wall(planes[clicked], starts[z], pixel, SEARCH, 1.0, before, STRAY_MM["slice"])
        for time, wall in _followed(planes, walls[z], clicked, pixel, job):
            masks[time][z] = wall.inside(grid.shape[1:], pixel)
    volumes = np.array([mask.sum() for mask in masks]) * grid.voxel_volume_ml
    return Ventricle(tuple(masks), volumes)


def _followed(
    planes: Sequence[np.ndarray], wall: Wall, clicked: int, pixel: np.ndarray, job: Job
) -> Iterator[tuple[int, Wall]]:
    """The wall of one slice at all times: half of the cycle forwards from the clicks, half of it backwards."""
    yield clicked, wall
    count = len(planes)
    for direction, steps in ((1, count // 2), (-1, (count - 1) // 2)):
        moved, time = wall, clicked
        for _ in range(steps):
            job.checkpoint()
            earlier, time = time, (time + direction) % count
            moved = _moved(moved, planes[earlier], planes[time], pixel)
            steepest = find_wall(planes[time], moved.centre, pixel, SEARCH, 1.0, moved, STRAY_MM["time"])
            mean = (steepest.radii + moved.radii_round(steepest.centre, pixel)) / 2
            yield time, Wall(steepest.centre, mean)


def _moved(wall: Wall, earlier: np.ndarray, later: np.ndarray, pixel: np.ndarray) -> Wall:
    """A wall carried from one time to the next by the motion of the image."""
    filters = sitk.FastSymmetricForcesDemonsRegistrationFilter()
    filters.SetNumberOfIterations(DEMONS)
    filters.SetStandardDeviations(DEMONS_SIGMA)
    move = filters.Execute(sitk.GetImageFromArray(earlier), sitk.GetImageFromArray(later))
    shift = np.moveaxis(sitk.GetArrayFromImage(move), -1, 0)  # of i and of j, in voxels
    points = wall.points(pixel) / pixel
    at = points.T[::-1]
    points = points + np.stack([ndimage.map_coordinates(s, at, order=1, mode="nearest") for s in shift], -1)
    return convex_wall(points * pixel, pixel)


def _smooth(plane: np.ndarray) -> np.ndarray:
    """A plane without noise and without dark spots of the size of a papillary muscle."""
    closed = ndimage.grey_closing(np.asarray(plane, np.float32), footprint=_disk(PAPILLARY_VOXELS))
    return ndimage.gaussian_filter(closed, SMOOTH_VOXELS)


def _disk(width: int) -> np.ndarray:
    y, x = np.indices((width, width)) - (width - 1) / 2
    return x**2 + y**2 <= (width / 2) ** 2


def _clicks(image: Image, base: Sequence[float], apex: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """The clicks as (i, j, k), the k a whole slice."""
    ijk = image.grid.to_ijk(np.array([base, apex], float))
    ijk[:, 2] = np.rint(ijk[:, 2])
    if (ijk < -0.5).any() or (ijk > np.array(image.grid.shape[::-1]) - 0.5).any():
        raise InvalidInput(f"A click lies outside {image.name!r}: click in the middle of the left ventricle.")
    if ijk[0, 2] == ijk[1, 2]:
        raise InvalidInput("Both clicks are in one slice: click in the first slice of the ventricle and in the last.")
    return ijk[0], ijk[1]
