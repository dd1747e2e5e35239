"""Outlines of a mask: polygons half-way between the voxels inside and those outside, the inverse of `rasterise.fill`.

No voxel's centre is nearer to an outline than 0.35 voxels, so that whoever fills outlines by voxel centres gets the
mask back. Around each part they enclose half a voxel less than the area of its voxels, around each hole half a voxel
less than the hole's.
"""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

# Marching squares: by the voxels set at the corners (0, 0), (1, 0), (1, 1), (0, 1) of a cell, as bits, where an outline
# enters and leaves the cell, in half voxels along i and j. Voxels that touch by a corner only are kept apart.
_BOTTOM, _RIGHT, _TOP, _LEFT = (1, 0), (2, 1), (1, 2), (0, 1)
_STEPS = {
    1: [(_BOTTOM, _LEFT)],
    2: [(_RIGHT, _BOTTOM)],
    3: [(_RIGHT, _LEFT)],
    4: [(_TOP, _RIGHT)],
    5: [(_BOTTOM, _LEFT), (_TOP, _RIGHT)],
    6: [(_TOP, _BOTTOM)],
    7: [(_TOP, _LEFT)],
    8: [(_LEFT, _TOP)],
    9: [(_BOTTOM, _TOP)],
    10: [(_RIGHT, _BOTTOM), (_LEFT, _TOP)],
    11: [(_RIGHT, _TOP)],
    12: [(_LEFT, _RIGHT)],
    13: [(_BOTTOM, _RIGHT)],
    14: [(_LEFT, _BOTTOM)],
}
_STRAIGHT = (3, 6, 9, 12)
Point = tuple[int, ...]
"""Doubled indices i, j; a third number tells the two ends of a cut from the corners that they lie on."""


def outline(mask: np.ndarray) -> list[np.ndarray]:
    """Closed polygons around the parts of a mask; a hole is joined to the outside by a cut of no width (a keyhole).

    >>> outline(np.array([[0, 1, 0]], bool))
    [array([[ 1. , -0.5],
           [ 1.5,  0. ],
           [ 1. ,  0.5],
           [ 0.5,  0. ]])]

    Parameters
    ----------
    mask : bool array, shape (j, i)

    Returns
    -------
    list of arrays, shape (points, 2)
        Corners in i, j voxel indices, the last joined to the first; one polygon for each part that hangs together
        along rows and columns.
    """
    following = _following(mask)
    rows: dict[int, list[int]] = {}
    for i, j in sorted(following):
        rows.setdefault(j, []).append(i)
    for number, hole in enumerate(ring for ring in _rings(following) if _turns_back(ring)):
        # The cut runs along i from the hole's leftmost corner to the next outline, half-way between two rows of voxels,
        # so that no voxel's centre lies on it.
        i, j = start = min(point for point in hole if point[1] % 2)
        end = (rows[j][bisect_left(rows[j], i) - 1], j)
        start_again, end_again = (*start, number), (*end, number)
        following[start_again], following[end_again] = following[start], following[end]
        following[end], following[start] = start_again, end_again
    return [np.array(_corners(ring), float) / 2.0 for ring in _rings(following)]


def _following(mask: np.ndarray) -> dict[Point, Point]:
    """Of all outlines, the next point after each: one for each half voxel on straight lines."""
    padded = np.pad(np.asarray(mask, np.uint8), 1)
    cells = padded[:-1, :-1] | padded[:-1, 1:] << 1 | padded[1:, 1:] << 2 | padded[1:, :-1] << 3
    rows, columns = np.nonzero((cells > 0) & (cells < 15))
    cases = cells[rows, columns]
    following: dict[Point, Point] = {}
    for case, steps in _STEPS.items():
        i, j = 2 * columns[cases == case] - 2, 2 * rows[cases == case] - 2  # the padding is undone
        for start, end in steps:
            way = [start, end] if case not in _STRAIGHT else [start, (1, 1), end]
            points = [list(zip((i + di).tolist(), (j + dj).tolist())) for di, dj in way]
            for here, there in zip(points, points[1:]):
                following.update(zip(here, there))
    return following


def _rings(following: dict[Point, Point]) -> list[list[Point]]:
    left, rings = dict(following), []
    for start in following:
        ring = []
        at = start
        while at in left:
            ring.append(at)
            at = left.pop(at)
        if ring:
            rings.append(ring)
    return rings


def _turns_back(ring: list[Point]) -> bool:
    """Whether a ring goes around a hole: the area enclosed is negative."""
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(ring, [*ring[1:], ring[0]])) < 0


def _corners(ring: list[Point]) -> list[tuple[int, int]]:
    """Without the points along straight lines."""
    i, j = np.array([point[:2] for point in ring]).T
    ahead = np.sign(np.roll(i, -1) - i), np.sign(np.roll(j, -1) - j)
    turn = (ahead[0] != np.roll(ahead[0], 1)) | (ahead[1] != np.roll(ahead[1], 1))
    return list(zip(i[turn].tolist(), j[turn].tolist()))
