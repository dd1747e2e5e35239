"""One long step of diffusion in several short stages: RKL2, a Runge-Kutta-Legendre method of second order.

s stages cover (s^2 + s - 2) / 4 explicit steps (Meyer, Balsara and Aslam 2014, Journal of Computational Physics
257:594). Mass is conserved to rounding; beside a jump the density may undershoot zero by a little, as explicit steps
do not.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange


def stages_for(explicit_steps: float) -> int:
    """The least odd number of stages whose step is as long as that many explicit ones."""
    stages = max(3, math.ceil(0.5 * (math.sqrt(9.0 + 16.0 * explicit_steps) - 1.0)))
    return stages + 1 - stages % 2


def coefficients(stages: int) -> np.ndarray:
    """Shape (stages, 5): of each stage the weights mu, nu, 1 - mu - nu of the states before, and of their slopes."""
    b = [(j * j + j - 2) / (2 * j * (j + 1)) if j >= 2 else 1 / 3 for j in range(stages + 1)]
    width = 4.0 / (stages * stages + stages - 2)
    rows = [(0.0, 0.0, 1.0, 0.0, b[1] * width)]
    for j in range(2, stages + 1):
        mu, nu = (2 * j - 1) / j * b[j] / b[j - 1], -(j - 1) / j * b[j] / b[j - 2]
        slope = mu * width
        rows.append((mu, nu, 1 - mu - nu, slope, -(1 - b[j - 1]) * slope))
    return np.array(rows)


def super_step(states: list[np.ndarray], slope: np.ndarray, edges, spans, step: float, stages: int) -> None:
    """Advance `states[0]` by diffusion over `step`, in place.

    Parameters
    ----------
    states : three flat arrays
        The first is the state; the others, and `slope`, are room to work in, which is zero outside the domain.
    slope : array
    edges : pair of arrays
        Flat steps, unsigned, and their weights, shape (steps, voxels), per day.
    spans : tuple of arrays
        Rows, first and last, as `ReactionDiffusion` has them.
    step : float
        Days, for the weights' diffusivity scale.
    stages : int
    """
    start, before, now = states
    where = (*edges, *spans)
    table = coefficients(stages).astype(start.dtype)
    table[:, 3:] *= start.dtype.type(step)
    zero, one = start.dtype.type(0), start.dtype.type(1)
    _combine(start, start, start, slope, where, zero, zero, zero, one, zero)
    np.multiply(slope, table[0, 4], out=now)
    now += start
    before[:] = start
    for mu, nu, rest, ahead, back in table[1:]:
        _combine(start, slope, now, before, where, mu, nu, rest, ahead, back)
        now, before = before, now
    start[:] = now


def explicit_step(state: np.ndarray, after: np.ndarray, edges, spans, step: float) -> None:
    """One step of forward Euler over any edges, into `after`; arguments as those of `super_step`."""
    zero, one = state.dtype.type(0), state.dtype.type(1)
    _combine(state, state, state, after, (*edges, *spans), one, zero, zero, state.dtype.type(step), zero)


@njit(parallel=True, nogil=True, cache=True)
def _combine(start, slope, now, before, where, mu, nu, rest, ahead, back):
    """mu now + nu before + rest start + ahead div(D grad now) + back slope, in the place of `before`."""
    steps, weights, rows, first, last = where
    for r in prange(rows.size):
        begin, end = rows[r] + first[r], rows[r] + last[r]
        divergence = np.zeros(end - begin, now.dtype)
        for m in range(steps.size):
            step, weight = steps[m], weights[m]
            for n in range(begin, end):
                flux = weight[n] * (now[n + step] - now[n]) - weight[n - step] * (now[n] - now[n - step])
                divergence[n - begin] += flux
        for n in range(begin, end):
            before[n] = mu * now[n] + nu * before[n] + rest * start[n] + ahead * divergence[n - begin] + back * slope[n]
