"""Closed surfaces of masks: a net half-way between voxels inside and outside, smoothed without shrinking.

The net has a point in every cell of eight voxels that are not alike, at the mean of the places where the cell's edges
leave the mask (surface nets: Gibson 1998, MICCAI, LNCS 1496:888). It is smoothed by Taubin's low-pass filter (Taubin
1995, SIGGRAPH, 351), and then moved along its normals, evenly, until it encloses the volume of the voxels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from .grid import Grid
from .image import bounding_box
from .job import Job
from .segmentation import Segmentation

PASS_BAND = 0.1
"""Frequency, of the net's Laplacian with eigenvalues from 0 to 2, that is neither shrunk nor swollen: Taubin's own."""
SHRINK = 0.5
ROUNDS = 20
MOST_UNEVEN = 8.0
"""Ratio of the longest to the shortest side of a voxel up to which smoothing follows it: the steps between thick slices
are as much longer, and their frequency falls with the square."""
_VOLUME_ROUNDS, _VOLUME_OFF = 8, 1e-4


@dataclass(frozen=True, eq=False)
class Surface:
    """A closed triangulated surface, seen from outside counter-clockwise.

    Parameters
    ----------
    points : array, shape (n, 3)
        RAS, in mm.
    triangles : integer array, shape (m, 3)
        Indices of points.
    """

    points: np.ndarray
    triangles: np.ndarray

    @property
    def area_mm2(self) -> float:
        return float(np.linalg.norm(self._crosses(), axis=1).sum() / 2.0)

    @property
    def volume_ml(self) -> float:
        """Volume enclosed, by the divergence theorem."""
        corner = self.points[self.triangles[:, 0]] - self.points.mean(axis=0)
        return float((corner * self._crosses()).sum() / 6000.0)

    def normals(self) -> np.ndarray:
        """Outward unit normals of the points, of the triangles around each by their areas; shape (n, 3)."""
        crosses = self._crosses()
        total = np.stack(
            [
                np.bincount(self.triangles.ravel(), np.repeat(crosses[:, axis], 3), len(self.points))
                for axis in range(3)
            ],
            axis=1,
        )
        length = np.linalg.norm(total, axis=1, keepdims=True)
        return total / np.where(length > 0, length, 1.0)

    def _crosses(self) -> np.ndarray:
        """Normals of the triangles, as long as twice their areas."""
        a, b, c = (self.points[self.triangles[:, n]] for n in range(3))
        return np.cross(b - a, c - a)


NO_SURFACE = Surface(np.zeros((0, 3)), np.zeros((0, 3), np.int64))
"""Of a mask without voxels."""


def surfaces_of(segmentation: Segmentation, job: Job | None = None) -> dict[str, Surface]:
    """The smooth surfaces of all segments that have voxels, by name."""
    surfaces = {}
    for name in (job or Job()).each(segmentation.names):
        mask = segmentation.mask(name)
        if mask.any():
            surfaces[name] = closed_surface(mask, segmentation.grid)
    return surfaces


def closed_surface(mask: np.ndarray, grid: Grid, smooth: bool = True) -> Surface:
    """The smooth surface of a mask, closed where it leaves the grid.

    >>> k, j, i = np.indices((24, 24, 24)) - 11.5
    >>> ball = closed_surface(i**2 + j**2 + k**2 < 10**2, Grid.isotropic((24, 24, 24)))
    >>> round(ball.area_mm2 / (4 * np.pi * 10**2), 2), round(ball.volume_ml / (4 / 3 * np.pi), 2)
    (1.01, 1.01)

    Parameters
    ----------
    mask : bool array, shape (k, j, i)
    grid : Grid
    smooth : bool
        False keeps the net as it is, but for the volume.

    Returns
    -------
    Surface
        It encloses the volume of the voxels to 0.01 %, or nearly so where they are few. Voxels that touch along an
        edge or a corner share points: there, and only there, an edge may belong to four triangles.

    Raises
    ------
    InvalidInput
        If the mask is empty.
    """
    low, high = bounding_box(mask)
    box = mask[tuple(slice(a, b) for a, b in zip(low, high))]
    places, quads = _net(np.pad(np.asarray(box, bool), 1))
    if smooth:
        places = _smoothed(places, quads, min(float(grid.spacing.max() / grid.spacing.min()), MOST_UNEVEN))
    points = grid.to_ras(places + (low[::-1] - 1))
    if np.linalg.det(grid.ijk_to_ras[:3, :3]) < 0:
        quads = quads[:, ::-1]
    volume_ml = float(np.count_nonzero(box) * grid.voxel_volume_ml)
    return _with_volume(Surface(points, _halved(points, quads)), volume_ml)


def _net(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points in i, j, k, and quadrilaterals between them, each around one edge that leaves a mask with an empty rim."""
    inside = mask.transpose(2, 1, 0)
    cells, middles = [], []
    for axis in range(3):
        along = np.eye(3, dtype=int)
        step, one, other = along[axis], along[(axis + 1) % 3], along[(axis + 2) % 3]
        ahead = np.roll(inside, -1, axis=axis)  # the rim is empty, so that nothing comes round
        for leaves, order in ((inside & ~ahead, (0, 1, 2, 3)), (ahead & ~inside, (3, 2, 1, 0))):
            at = np.argwhere(leaves)
            around = np.array([-one - other, -other, 0 * one, -one])[list(order)]
            cells.append(at[:, None, :] + around)
            middles.append(np.repeat((at + 0.5 * step)[:, None, :], 4, axis=1))
    corners, middle = np.concatenate(cells).reshape(-1, 3), np.concatenate(middles).reshape(-1, 3)
    _, point = np.unique(np.ravel_multi_index(tuple(corners.T), inside.shape), return_inverse=True)
    count = np.bincount(point)
    places = np.stack([np.bincount(point, middle[:, axis]) / count for axis in range(3)], axis=1)
    return places, point.reshape(-1, 4)


def _smoothed(places: np.ndarray, quads: np.ndarray, uneven: float = 1.0) -> np.ndarray:
    """Taubin's filter: each round shrinks towards the neighbours' mean, then swells by a little more."""
    swell = 1.0 / (PASS_BAND / uneven**2 - 1.0 / SHRINK)
    start, end = quads.ravel(), np.roll(quads, -1, axis=1).ravel()
    ones = np.ones(2 * start.size)
    links = sparse.coo_matrix((ones, (np.r_[start, end], np.r_[end, start])), 2 * (len(places),)).tocsr()
    links.data[:] = 1.0  # each neighbour counts once
    mean = sparse.diags(1.0 / np.asarray(links.sum(axis=1)).ravel()) @ links
    for _ in range(round(ROUNDS * uneven)):
        for factor in (SHRINK, swell):
            places = places + factor * (mean @ places - places)
    return places


def _halved(points: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """Quadrilaterals cut along their shorter diagonal."""
    a, b, c, d = (points[quads[:, n]] for n in range(4))
    first = (((a - c) ** 2).sum(1) <= ((b - d) ** 2).sum(1))[:, None]
    one = np.where(first, quads[:, [0, 1, 2]], quads[:, [0, 1, 3]])
    other = np.where(first, quads[:, [0, 2, 3]], quads[:, [1, 2, 3]])
    return np.concatenate([one, other])


def _with_volume(surface: Surface, volume_ml: float) -> Surface:
    """Moved along the normals by steps that would be exact for a ball, until the volume is there."""
    for _ in range(_VOLUME_ROUNDS):
        now = surface.volume_ml
        if abs(volume_ml - now) <= _VOLUME_OFF * volume_ml or now <= 0:
            break
        step_mm = 3000.0 * now / surface.area_mm2 * ((volume_ml / now) ** (1 / 3) - 1.0)
        surface = Surface(surface.points + step_mm * surface.normals(), surface.triangles)
    return surface
