"""The left ventricle's blood pool on a short-axis cine, from a click at its base and one at its apex.

In every slice between the clicks the wall is the closed curve round the axis along which brightness falls most steeply
from inside to outside, found by dynamic programming in polar coordinates (Timp, Karssemeijer 2004, Medical Physics
31:958), and made convex, for papillary muscles count as blood. From the time of the clicks it is followed to the others
in two ways, of which the mean is taken: by the steepest curve nearby, which shrinks too much where trabeculae close up,
and by the motion of the image (Vercauteren and others 2009, NeuroImage 45:S61), which shrinks too little.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial import ConvexHull

from TwinCore import Image, InvalidInput, Job

ANGLES, STEP_MM = 72, 0.75
RADII_MM = (4.0, 48.0)
SIDE_MM = 3.5
"""Brightness is compared over this length on either side of the wall."""

BEND = 0.15
"""What the wall pays for a change of radius of one step from one angle to the next, in shares of the usual contrast."""

MOST_BEND = 2
OUTWARDS = 0.015
"""By how much a wall 1 mm further out is preferred: of two edges the inner one is a papillary muscle's."""

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
    walls: dict[int, _Wall] = {}
    for z in job.each(outwards, "slices"):
        before = walls.get(z - 1 if z > middle else z + 1)
        planes = [_smooth(image.array[z]) for image in cine]
        walls[z] = _wall(planes[clicked], starts[z], pixel, before, STRAY_MM["slice"])
        for time, wall in _followed(planes, walls[z], clicked, pixel, job):
            masks[time][z] = wall.inside(grid.shape[1:], pixel)
    volumes = np.array([mask.sum() for mask in masks]) * grid.voxel_volume_ml
    return Ventricle(tuple(masks), volumes)


@dataclass(frozen=True, eq=False)
class _Wall:
    """A closed curve: distances in mm from a centre (i, j) in voxels, at equal angles."""

    centre: np.ndarray
    radii: np.ndarray

    def points(self, pixel: np.ndarray) -> np.ndarray:
        """Points (n, 2) in mm, in the plane's own axes."""
        return self.centre * pixel + self.radii[:, None] * _DIRECTIONS

    def inside(self, shape: tuple[int, ...], pixel: np.ndarray) -> np.ndarray:
        """Voxels (j, i) within the curve's convex hull."""
        hull = ConvexHull(self.points(pixel))
        j, i = np.indices(shape)
        at = np.stack([i * pixel[0], j * pixel[1]], -1)
        return (at @ hull.equations[:, :2].T + hull.equations[:, 2] <= 0).all(-1)


def _followed(
    planes: Sequence[np.ndarray], wall: _Wall, clicked: int, pixel: np.ndarray, job: Job
) -> Iterator[tuple[int, _Wall]]:
    """The wall of one slice at all times: half of the cycle forwards from the clicks, half of it backwards."""
    yield clicked, wall
    count = len(planes)
    for direction, steps in ((1, count // 2), (-1, (count - 1) // 2)):
        moved, time = wall, clicked
        for _ in range(steps):
            job.checkpoint()
            earlier, time = time, (time + direction) % count
            moved = _moved(moved, planes[earlier], planes[time], pixel)
            steepest = _wall(planes[time], moved.centre, pixel, moved, STRAY_MM["time"])
            mean = (steepest.radii + _radii_round(moved, steepest.centre, pixel)) / 2
            yield time, _Wall(steepest.centre, mean)


def _moved(wall: _Wall, earlier: np.ndarray, later: np.ndarray, pixel: np.ndarray) -> _Wall:
    """A wall carried from one time to the next by the motion of the image."""
    filters = sitk.FastSymmetricForcesDemonsRegistrationFilter()
    filters.SetNumberOfIterations(DEMONS)
    filters.SetStandardDeviations(DEMONS_SIGMA)
    move = filters.Execute(sitk.GetImageFromArray(earlier), sitk.GetImageFromArray(later))
    shift = np.moveaxis(sitk.GetArrayFromImage(move), -1, 0)  # of i and of j, in voxels
    points = wall.points(pixel) / pixel
    at = points.T[::-1]
    points = points + np.stack([ndimage.map_coordinates(s, at, order=1, mode="nearest") for s in shift], -1)
    hull = points * pixel
    return _recentred(hull[ConvexHull(hull).vertices], pixel)


def _smooth(plane: np.ndarray) -> np.ndarray:
    """A plane without noise and without dark spots of the size of a papillary muscle."""
    closed = ndimage.grey_closing(np.asarray(plane, np.float32), footprint=_disk(PAPILLARY_VOXELS))
    return ndimage.gaussian_filter(closed, SMOOTH_VOXELS)


def _disk(width: int) -> np.ndarray:
    y, x = np.indices((width, width)) - (width - 1) / 2
    return x**2 + y**2 <= (width / 2) ** 2


_TURN = 2 * np.pi * np.arange(ANGLES) / ANGLES
_DIRECTIONS = np.stack([np.cos(_TURN), np.sin(_TURN)], -1)


def _wall(plane: np.ndarray, centre: np.ndarray, pixel: np.ndarray, before: _Wall | None, stray_mm: float) -> _Wall:
    """The wall round a centre; near an earlier one if there is one. Its centre is moved to its middle."""
    radii = np.arange(RADII_MM[0] - SIDE_MM, RADII_MM[1] + SIDE_MM, STEP_MM)
    at = centre[:, None, None] + _DIRECTIONS.T[:, :, None] * radii / pixel[:, None, None]
    polar = ndimage.map_coordinates(plane, at[::-1], order=1, mode="nearest")
    side = round(SIDE_MM / STEP_MM)
    sums = np.cumsum(np.pad(polar, ((0, 0), (1, 0))), 1)
    inner, outer = sums[:, side:-side] - sums[:, : -2 * side], sums[:, 2 * side :] - sums[:, side:-side]
    falls = (inner - outer) / side
    candidates = radii[side : side + falls.shape[1]]
    falls = falls / max(float(np.percentile(falls, 98)), 1e-6)
    falls = falls * (1 + OUTWARDS * (candidates - candidates.mean()))
    if before is not None:
        around = _radii_round(before, centre, pixel)
        falls = np.where(np.abs(candidates - around[:, None]) <= stray_mm, falls, -10.0)
    best = candidates[_closed_path(falls)]
    wall = _Wall(centre, best)
    hull = wall.points(pixel)
    hull = hull[ConvexHull(hull).vertices]
    return _recentred(hull, pixel)


def _recentred(hull: np.ndarray, pixel: np.ndarray) -> _Wall:
    """A convex curve as radii from its own middle."""
    middle = hull.mean(0)
    for _ in range(3):
        radii = _crossings(hull, middle)
        middle = middle + (radii[:, None] ** 3 * _DIRECTIONS).sum(0) * 2 / (3 * (radii**2).sum())
    return _Wall(middle / pixel, _crossings(hull, middle))


def _crossings(hull: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """How far a convex curve is from a point inside it, at all angles."""
    equations = ConvexHull(hull).equations
    room = -(equations[:, :2] @ middle + equations[:, 2])
    towards = _DIRECTIONS @ equations[:, :2].T
    return np.where(towards > 1e-9, room / np.maximum(towards, 1e-9), np.inf).min(1)


def _radii_round(wall: _Wall, centre: np.ndarray, pixel: np.ndarray) -> np.ndarray:
    """Another curve's distances from a centre; its own mean radius if the centre lies outside it."""
    hull = wall.points(pixel)
    radii = _crossings(hull, centre * pixel)
    return radii if (radii > 0).all() else np.full(ANGLES, wall.radii.mean())


def _closed_path(gain: np.ndarray) -> np.ndarray:
    """Index of a radius at each angle: the path of most gain that bends little and ends where it began."""
    half = len(gain) // 2
    first = _path(gain, int(gain.mean(0).argmax()))
    # Begun anew at the far side, where the first path no longer depends on where it began.
    return np.roll(_path(np.roll(gain, -half, 0), int(first[half])), half)


def _path(gain: np.ndarray, start: int) -> np.ndarray:
    angles, count = gain.shape
    total = np.full(count, -np.inf)
    total[start] = gain[0, start]
    came = np.zeros((angles, count), int)
    shifts = np.arange(-MOST_BEND, MOST_BEND + 1)
    for angle in range(1, angles):
        padded = np.pad(total, MOST_BEND, constant_values=-np.inf)
        options = np.stack([padded[MOST_BEND + s : MOST_BEND + s + count] - BEND * abs(s) for s in shifts])
        choice = options.argmax(0)
        came[angle] = np.arange(count) + shifts[choice]
        total = options.max(0) + gain[angle]
    near = np.abs(np.arange(count) - start) <= MOST_BEND
    path = [int(np.where(near, total, -np.inf).argmax())]
    for angle in range(angles - 1, 0, -1):
        path.append(int(came[angle, path[-1]]))
    return np.array(path[::-1])


def _clicks(image: Image, base: Sequence[float], apex: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """The clicks as (i, j, k), the k a whole slice."""
    ijk = image.grid.to_ijk(np.array([base, apex], float))
    ijk[:, 2] = np.rint(ijk[:, 2])
    if (ijk < -0.5).any() or (ijk > np.array(image.grid.shape[::-1]) - 0.5).any():
        raise InvalidInput(f"A click lies outside {image.name!r}: click in the middle of the left ventricle.")
    if ijk[0, 2] == ijk[1, 2]:
        raise InvalidInput("Both clicks are in one slice: click in the first slice of the ventricle and in the last.")
    return ijk[0], ijk[1]
