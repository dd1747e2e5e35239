"""The volume in which a density exceeds a threshold, finer than a voxel: smooth in time and parameters."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numba import njit, prange

from .diffusion import ReactionDiffusion

# In units of the front length: a surface farther off does not cut the voxel on any grid that resolves the front.
_BAND = 1.0
# Standard deviation of a voxel's own width, in voxels: what averaging over it blurs a surface by.
_VOXEL_SD = math.sqrt(1.0 / 12.0)
_ONE = np.uint64(1)


class Spans(Protocol):
    """Where in a flat state the tissue's voxels are, and their volume relative to the grid's (one number: of all)."""

    @property
    def rows(self) -> np.ndarray: ...

    @property
    def first(self) -> np.ndarray: ...

    @property
    def last(self) -> np.ndarray: ...

    @property
    def strides(self) -> tuple[np.uint64, np.uint64]: ...

    @property
    def volume(self) -> np.ndarray: ...


@njit(inline="always")
def _odds(u):
    return 1.0 / math.sqrt(min(max(u, 1e-12), 0.999999)) - 1.0


@njit(inline="always")
def wave_phase(u):
    """Distance ahead of the front in units of its length: linear across the travelling wave, where u itself is not."""
    return math.log(_odds(u))


@njit(inline="always")
def _slope(odds, before, after):
    """Change of phase from voxel to voxel along one axis, one-sided where the tissue ends (density 0)."""
    if before > 0.0 and after > 0.0:
        return 0.5 * abs(math.log(_odds(after) / _odds(before)))
    if after > 0.0:
        return abs(math.log(_odds(after) / odds))
    return abs(math.log(odds / _odds(before))) if before > 0.0 else 0.0


@njit(parallel=True, nogil=True, cache=True)
def _measure(u, volume, rows, first, last, row_stride, slab_stride, level, low, high):
    # Sums by row, added up outside: a parallel sum over all rows depends on how threads happen to share them.
    inside, total = np.empty(rows.size), np.empty(rows.size)
    for r in prange(rows.size):
        above, density = 0.0, 0.0
        for n in range(first[r] + rows[r], last[r] + rows[r]):
            here, room = u[n], volume[n] if volume.size > 1 else volume[0]
            density += here * room
            if here > high:
                above += room
            elif here > low:
                odds = _odds(here)
                slope = _slope(odds, u[n - _ONE], u[n + _ONE]) + _slope(odds, u[n - row_stride], u[n + row_stride])
                slope += _slope(odds, u[n - slab_stride], u[n + slab_stride])
                above += room * min(max(0.5 - (math.log(odds) - level) / max(slope, 1e-9), 0.0), 1.0)
        inside[r], total[r] = above, density
    return inside, total


def voxels_above(equation: Spans, state: np.ndarray, threshold: float) -> tuple[float, float]:
    """Number of voxels in {u >= threshold}, one that the surface cuts by its part inside; and the sum of u.

    A voxel that has come to another volume counts by that.

    The surface is placed in a voxel by the phase ln(u^-1/2 - 1), which the travelling wave makes linear in distance.

    Parameters
    ----------
    equation : Spans
        Such as a `ReactionDiffusion`.
    state : array
        As its `advance_state` gives it.
    threshold : float
    """
    level = math.log(threshold**-0.5 - 1.0)
    low, high = ((1.0 + math.exp(level + sign * _BAND)) ** -2 for sign in (1, -1))
    spans = equation.rows, equation.first, equation.last
    inside, total = _measure(state, equation.volume, *spans, *equation.strides, level, low, high)
    return float(inside.sum()), float(total.sum())


@njit(parallel=True, nogil=True, cache=True)
def _shares(u, out, rows, first, last, row_stride, slab_stride, level, low, high):
    for r in prange(rows.size):
        for n in range(first[r] + rows[r], last[r] + rows[r]):
            here = u[n]
            if here > high:
                out[n] = 1.0
            elif here > low:
                odds = _odds(here)
                slope = _slope(odds, u[n - _ONE], u[n + _ONE]) ** 2
                slope += _slope(odds, u[n - row_stride], u[n + row_stride]) ** 2
                slope += _slope(odds, u[n - slab_stride], u[n + slab_stride]) ** 2
                ahead = (math.log(odds) - level) / max(math.sqrt(slope), 1e-9)
                out[n] = 0.5 * math.erfc(ahead / (_VOXEL_SD * math.sqrt(2.0)))


def share_above(equation: ReactionDiffusion, density: np.ndarray, threshold: float) -> np.ndarray:
    """The part of each voxel in {u >= threshold}, shape (k, j, i), as smooth in u as averaging over a voxel is.

    Parameters
    ----------
    equation : ReactionDiffusion
    density : array, shape (k, j, i)
    threshold : float
    """
    level = math.log(threshold**-0.5 - 1.0)
    low, high = ((1.0 + math.exp(level + sign * _BAND)) ** -2 for sign in (1, -1))
    state = equation.state(density)
    shares = np.zeros_like(state)
    _shares(state, shares, equation.rows, equation.first, equation.last, *equation.strides, level, low, high)
    return equation.density(shares)
