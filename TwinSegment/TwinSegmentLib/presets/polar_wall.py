"""A closed wall round a point of a plane: the curve along which brightness changes most from inside to outside.

Found by dynamic programming in polar coordinates (Timp, Karssemeijer 2004, Medical Physics 31:958).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy import ndimage
from scipy.spatial import ConvexHull

ANGLES = 72
MOST_BEND = 2
"""Steps by which the radius may change from one angle to the next."""

TURN = 2 * np.pi * np.arange(ANGLES) / ANGLES
DIRECTIONS = np.stack([np.cos(TURN), np.sin(TURN)], -1)
_FORBIDDEN = -10.0


@dataclass(frozen=True)
class Search:
    """Where a wall is looked for.

    Parameters
    ----------
    nearest_mm, farthest_mm, step_mm : float
        Radii that are tried.
    side_mm : float
        Brightness is compared over this length on either side of the wall.
    bend : float
        What the wall pays for a change of radius of one step from one angle to the next, in shares of the contrast.
    outwards : float
        By how much a wall 1 mm further out is preferred, in shares of the contrast.
    """

    nearest_mm: float
    farthest_mm: float
    step_mm: float
    side_mm: float
    bend: float = 0.15
    outwards: float = 0.0


@dataclass(frozen=True, eq=False)
class Wall:
    """A closed curve: distances in mm from a centre (i, j) in voxels, at equal angles."""

    centre: np.ndarray
    radii: np.ndarray

    def points(self, pixel: np.ndarray) -> np.ndarray:
        """Points (n, 2) in mm, in the plane's own axes."""
        return self.centre * pixel + self.radii[:, None] * DIRECTIONS

    def inside(self, shape: tuple[int, ...], pixel: np.ndarray) -> np.ndarray:
        """Voxels (j, i) within the curve's convex hull."""
        hull = ConvexHull(self.points(pixel))
        j, i = np.indices(shape)
        at = np.stack([i * pixel[0], j * pixel[1]], -1)
        return (at @ hull.equations[:, :2].T + hull.equations[:, 2] <= 0).all(-1)

    def radii_round(self, centre: np.ndarray, pixel: np.ndarray) -> np.ndarray:
        """Its distances from another centre; its own mean radius if that lies outside it."""
        radii = _crossings(self.points(pixel), centre * pixel)
        return radii if (radii > 0).all() else np.full(ANGLES, self.radii.mean())


def find_wall(
    plane: np.ndarray,
    centre: np.ndarray,
    pixel: np.ndarray,
    search: Search,
    sign: float = 1.0,
    before: Wall | None = None,
    stray_mm: float = np.inf,
) -> Wall:
    """The wall round a point; its centre is moved to its middle.

    Parameters
    ----------
    plane : array, shape (j, i)
    centre : array, shape (2,)
        i and j, in voxels.
    pixel : array, shape (2,)
        Spacing along i and j, in mm.
    search : Search
    sign : float
        1 if it is brighter inside, -1 if darker.
    before : Wall, optional
        The wall is no further from this one than `stray_mm`.
    stray_mm : float
    """
    side = round(search.side_mm / search.step_mm)
    radii = search.step_mm * np.arange(
        round((search.nearest_mm - search.side_mm) / search.step_mm),
        round((search.farthest_mm + search.side_mm) / search.step_mm),
    )
    at = centre[:, None, None] + DIRECTIONS.T[:, :, None] * np.maximum(radii, 0) / pixel[:, None, None]
    polar = ndimage.map_coordinates(plane, at[::-1], order=1, mode="nearest")
    sums = np.cumsum(np.pad(polar, ((0, 0), (1, 0))), 1)
    inner, outer = sums[:, side:-side] - sums[:, : -2 * side], sums[:, 2 * side :] - sums[:, side:-side]
    falls = sign * (inner - outer) / side
    candidates = radii[side : side + falls.shape[1]]
    falls = falls / max(float(np.percentile(falls, 98)), 1e-6)
    falls = falls * (1 + search.outwards * (candidates - candidates.mean()))
    if before is not None:
        around = before.radii_round(centre, pixel)
        falls = np.where(np.abs(candidates - around[:, None]) <= stray_mm, falls, _FORBIDDEN)
    return convex_wall(
        Wall(centre, candidates[closed_path(falls.astype(np.float64), search.bend)]).points(pixel), pixel
    )


def convex_wall(points: np.ndarray, pixel: np.ndarray) -> Wall:
    """The convex hull of points (n, 2) in mm, as radii from its own middle."""
    hull = points[ConvexHull(points).vertices]
    middle = hull.mean(0)
    for _ in range(3):
        radii = _crossings(hull, middle)
        middle = middle + (radii[:, None] ** 3 * DIRECTIONS).sum(0) * 2 / (3 * (radii**2).sum())
    return Wall(middle / pixel, _crossings(hull, middle))


def _crossings(points: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """How far the convex hull of points is from a point inside it, at all angles; negative from outside."""
    equations = ConvexHull(points).equations
    room = -(equations[:, :2] @ middle + equations[:, 2])
    towards = DIRECTIONS @ equations[:, :2].T
    return np.where(towards > 1e-9, room / np.maximum(towards, 1e-9), np.inf).min(1)


@njit(nogil=True, cache=True)
def closed_path(gain, bend):
    """Index of a radius at each angle: the path of most gain (angles, radii), float64, that bends little and closes.

    `bend` is paid for each step of the radius from one angle to the next.
    """
    half = len(gain) // 2
    totals = np.zeros(gain.shape[1])
    for row in gain:
        totals += row
    first = _path(gain, 0, totals.argmax(), bend)
    # Begun anew at the far side, where the first path no longer depends on where it began.
    return _path(gain, half, first[half], bend)


@njit(nogil=True, cache=True)
def _path(gain, begin, start, bend):
    """The path that begins and ends at the radius `start` of the angle `begin`."""
    angles, count = gain.shape
    total, before = np.full(count, -np.inf), np.empty(count)
    total[start] = gain[begin, start]
    came = np.zeros((angles, count), np.int64)
    for n in range(1, angles):
        before[:] = total
        for radius in range(count):
            best = -np.inf
            for other in range(max(radius - MOST_BEND, 0), min(radius + MOST_BEND + 1, count)):
                option = before[other] - bend * abs(other - radius)
                if option > best:
                    best, came[n, radius] = option, other
            total[radius] = best + gain[(begin + n) % angles, radius]
    last = start
    for radius in range(max(start - MOST_BEND, 0), min(start + MOST_BEND + 1, count)):
        if total[radius] > total[last]:
            last = radius
    path = np.empty(angles, np.int64)
    for n in range(angles - 1, -1, -1):
        path[(begin + n) % angles] = last
        last = came[n, last]
    return path
