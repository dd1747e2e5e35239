"""Filling closed outlines on a regular lattice: a voxel is inside where its centre is, by the even-odd rule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def fill(outlines: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Voxels of one slice whose centre lies in an odd number of outlines, so that one within another is a hole.

    >>> fill([np.array([[0.5, 0.5], [3.5, 0.5], [3.5, 2.5], [0.5, 2.5]])], (4, 5)).astype(int)
    array([[0, 0, 0, 0, 0],
           [0, 1, 1, 1, 0],
           [0, 1, 1, 1, 0],
           [0, 0, 0, 0, 0]])

    Every edge toggles the voxels to the right of where it crosses a row of centres; a running count along the row
    then gives the inside. Edges are half open, so that a corner on a row counts once.

    Parameters
    ----------
    outlines : sequence of arrays, shape (points, 2)
        Corners in i, j voxel indices; the last joins the first.
    shape : tuple of int
        Rows (j) and columns (i) of the slice.

    Returns
    -------
    bool array, shape (j, i)
    """
    crossings = np.zeros((shape[0], shape[1] + 1), np.int32)
    for outline in outlines:
        (x0, y0), (x1, y1) = outline.T, np.roll(outline, -1, axis=0).T
        first = np.clip(np.ceil(np.minimum(y0, y1)), 0, shape[0]).astype(int)
        last = np.clip(np.ceil(np.maximum(y0, y1)), 0, shape[0]).astype(int)
        rows_each = last - first
        edge = np.repeat(np.arange(len(outline)), rows_each)
        row = np.arange(rows_each.sum()) - np.repeat(np.cumsum(rows_each) - rows_each, rows_each) + first[edge]
        along = x0[edge] + (row - y0[edge]) * (x1 - x0)[edge] / (y1 - y0)[edge]
        np.add.at(crossings, (row, np.clip(np.ceil(along), 0, shape[1]).astype(int)), 1)
    return (np.cumsum(crossings[:, :-1], axis=1) & 1).astype(bool)


def crosses_itself(outline: np.ndarray) -> bool:
    """Whether two edges of an outline properly cross; touching, as at a keyhole to a hole, does not count."""
    ends = np.roll(outline, -1, axis=0)
    order = np.argsort(np.minimum(outline[:, 0], ends[:, 0]))
    start, end = outline[order], ends[order]
    first, last = np.minimum(start[:, 0], end[:, 0]), np.maximum(start[:, 0], end[:, 0])
    # Only edges that overlap along i can cross: with those sorted by where they begin, each one's candidates follow it.
    following = np.searchsorted(first, last, side="right") - np.arange(len(start)) - 1
    one = np.repeat(np.arange(len(start)), following)
    other = one + 1 + np.arange(one.size) - np.repeat(np.cumsum(following) - following, following)
    return bool(
        (
            _splits(start[one], end[one], start[other], end[other])
            & _splits(start[other], end[other], start[one], end[one])
        ).any()
    )


def area(outline: np.ndarray) -> float:
    """Signed area of an outline, in squared units of its corners; the lobes of a figure of eight cancel."""
    x, y = (outline - outline[0]).T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2.0


def _splits(start: np.ndarray, end: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Whether the line from start to end has `one` and `other` strictly on its two sides."""
    return _side(start, end, one) * _side(start, end, other) < 0


def _side(start: np.ndarray, end: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Above 0 where the point lies to the left of the line from start to end; 0 within rounding of the line."""
    (dx, dy), (px, py) = (end - start).T, (point - start).T
    cross = dx * py - dy * px
    return np.where(np.abs(cross) < 1e-9 * (1.0 + dx * dx + dy * dy), 0.0, cross)
