"""Reaction-diffusion u' = div(D grad u) + rho u (1 - u) on a masked box of voxels.

Finite volumes: each voxel exchanges with its six neighbours through faces whose coefficient is the harmonic mean of the
two diffusivities, which is exact for layers in series; a face to a voxel outside the mask, or outside the box, has
coefficient zero and lets nothing through. Diffusion along fibres exchanges with more voxels (`edges`). Time steps are
Strang's: half a step of logistic growth, solved exactly, a step of diffusion, and the other half; the halves of
consecutive steps are merged, so a step is one pass through memory. Where many steps of diffusion would go into one of
growth, it is taken in stages instead (`super_step`).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from TwinCore import InvalidInput, Job

from .edges import edges, reach
from .super_step import explicit_step, stages_for, super_step

_ONE = np.uint64(1)
SAFETY = 0.9
LEAST = 1e8
"""Of the smallest normalised number: a density below is none (1e-30 in single, 1e-300 in double precision)."""
SUPER_FROM = 75.0
"""Explicit steps in half a step of growth from which stages take over: docs/models/tumour_growth.md."""
GROWTH_A_STEP = 0.5
"""Largest rho dt: the splitting error in the front's speed grows with it (docs/models/tumour_growth.md)."""


@njit(parallel=True, nogil=True, cache=True)
def _advance(u, v, east, north, top, rows, first, last, row_stride, slab_stride, step, growth, least, one):
    """One step of diffusion, then exact logistic growth by the factor `growth` of u / (1 - u); from u into v.

    What is below `least` is taken for nothing: numbers too small for a normalised form are a hundred times as slow.
    """
    gain, nothing = growth - one, one - one
    for r in prange(rows.size):
        start, stop = first[r] + rows[r], last[r] + rows[r]
        for n in range(start, stop):
            here = u[n]
            flux = east[n] * (u[n + _ONE] - here) - east[n - _ONE] * (here - u[n - _ONE])
            flux += north[n] * (u[n + row_stride] - here) - north[n - row_stride] * (here - u[n - row_stride])
            flux += top[n] * (u[n + slab_stride] - here) - top[n - slab_stride] * (here - u[n - slab_stride])
            diffused = here + step * flux
            diffused = diffused if diffused >= least else nothing
            v[n] = growth * diffused / (one + gain * diffused)


@njit(parallel=True, nogil=True, cache=True)
def _grow(u, growth, least, one):
    """Exact logistic growth by the factor `growth` of the odds u / (1 - u), in place; `least` as in `_advance`."""
    gain, nothing = growth - one, one - one
    for n in prange(u.size):
        here = u[n] if abs(u[n]) >= least else nothing
        u[n] = growth * here / (one + gain * here)


@njit(parallel=True, nogil=True, cache=True)
def _most_outflow(weights, steps, rows, first, last, most):
    """Of each row, the largest sum of the weights of one voxel's edges."""
    for r in prange(rows.size):
        for n in range(first[r] + rows[r], last[r] + rows[r]):
            outflow = 0.0
            for m in range(steps.size):
                outflow += weights[m, n] + weights[m, n - steps[m]]
            most[r] = max(most[r], outflow)


class ReactionDiffusion:
    """The operator on one domain: face coefficients are computed once and serve any diffusivity scale and growth rate.

    >>> domain = np.ones((8, 8, 8), bool)
    >>> equation = ReactionDiffusion(domain, (1.0, 1.0, 1.0))
    >>> density = equation.advance(0.1 * domain, diffusivity=0.3, rate=0.05, days=10.0)
    >>> round(float(density.mean()), 3)
    0.155

    Parameters
    ----------
    domain : bool array, shape (k, j, i)
        Voxels that tissue fills; nothing crosses to the others.
    spacing_mm : three floats
        Voxel spacing along i, j, k, as `Grid.spacing` has it.
    relative_diffusivity : array, shape (k, j, i), optional
        Diffusivity of each voxel relative to the `diffusivity` given to `advance`; 1 everywhere if left out.
    tensor : array, shape (k, j, i, 3, 3), optional
        Symmetric, positive definite tensor along the axes k, j, i that each voxel's diffusivity is further multiplied
        by, such as `fibre_tensor` gives; the same in all directions if left out.
    closed : bool array, shape (3, k, j, i), optional
        Faces of each voxel to the next along k, j, i that nothing crosses: barriers thinner than a voxel.
    dtype : float32 or float64
        Precision of the stored fields and of the arithmetic.

    Attributes
    ----------
    volume : array, shape (1,)
        Of a voxel, relative to the grid's: 1.
    transform : None
        The tissue does not move.
    rows, first, last, strides : arrays and pair of unsigned integers
        Where in a flat state the domain's rows begin and are filled, and the distance to the next row and slab.

    Raises
    ------
    InvalidInput
        If the domain is empty, a diffusivity in it is not a positive, finite number, or a tensor is not positive
        definite or too far from isotropic.
    """

    volume = np.ones(1, np.float32)
    transform = None

    def __init__(
        self,
        domain: np.ndarray,
        spacing_mm,
        relative_diffusivity: np.ndarray | None = None,
        dtype=np.float32,
        tensor: np.ndarray | None = None,
        closed: np.ndarray | None = None,
    ):
        self.domain = np.asarray(domain, bool)
        self.dtype = np.dtype(dtype).type
        self._least_and_one = self.dtype(LEAST * np.finfo(self.dtype).tiny), self.dtype(1)
        if not self.domain.any():
            raise InvalidInput("The domain of the reaction-diffusion equation is empty: no voxel is tissue.")
        relative = np.ones(self.domain.shape) if relative_diffusivity is None else np.asarray(relative_diffusivity)
        relative = np.where(self.domain, relative, 0).astype(self.dtype)
        inside = relative[self.domain]
        if not (np.isfinite(inside).all() and inside.min() > 0):
            raise InvalidInput("The relative diffusivity must be positive and finite in every voxel of the domain.")
        spacing_kji = np.asarray(spacing_mm, float)[::-1]
        tensors = None if tensor is None else np.asarray(tensor, float)[self.domain]
        self._margin = 1 if tensors is None else reach(tensors, spacing_kji)
        padded = self._padded(self.domain)
        shut = None if closed is None else [self._padded(np.asarray(face, bool)) for face in closed]
        steps, weights = edges(padded, spacing_kji, self._padded(relative), tensors, shut)
        self._shape = padded.shape
        self._weights = np.stack([w.astype(self.dtype, copy=False).ravel() for w in weights])
        self.rows, self.first, self.last = _row_spans(padded)
        self.strides = np.uint64(self._shape[2]), np.uint64(self._shape[1] * self._shape[2])
        self._steps = (np.array(steps) @ [self.strides[1], self.strides[0], _ONE]).astype(np.uint64)
        outflows = np.zeros(self.rows.size)
        _most_outflow(self._weights, self._steps, self.rows, self.first, self.last, outflows)
        self._largest_outflow = float(outflows.max())
        self._spare = [np.zeros(padded.size, self.dtype)]

    def _padded(self, values: np.ndarray) -> np.ndarray:
        return np.pad(values, self._margin)

    def state(self, density: np.ndarray) -> np.ndarray:
        """A density, shape (k, j, i), 0 to 1, as `advance_state` takes it: flat, with a margin of nothing around."""
        return self._padded(np.where(self.domain, density, 0).astype(self.dtype)).ravel()

    def density(self, state: np.ndarray) -> np.ndarray:
        """The density of a state on the voxels, shape (k, j, i), zero outside the domain."""
        inner = (slice(self._margin, -self._margin),) * 3
        return state.reshape(self._shape)[inner].copy()

    def advance(
        self, density: np.ndarray, diffusivity: float, rate: float, days: float, job: Job | None = None
    ) -> np.ndarray:
        """The density after `days`, from the density now, both of shape (k, j, i): see `advance_state`."""
        return self.density(self.advance_state(self.state(density), diffusivity, rate, days, job))

    def advance_state(
        self, state: np.ndarray, diffusivity: float, rate: float, days: float, job: Job | None = None
    ) -> np.ndarray:
        """The state after `days`; the one handed in is used up: `advance` without copies, for runs with many stops.

        Parameters
        ----------
        state : array
            From `state`, or from here.
        diffusivity : float
            In mm2/day, where the relative diffusivity is 1.
        rate : float
            Growth rate rho, per day.
        days : float
        job : Job, optional
            Stops the run between two time steps when cancelled.
        """
        if days <= 0:
            return state
        explicit = self._diffusive_step_days(diffusivity)
        # stages have no error of their own in time that would make up for that of the splitting: half the growth
        half_growth = 0.5 * _growth_step_days(rate)
        # without growth nothing says how long a step may be, but the grid
        staged = rate > 0 and min(half_growth, days) > SUPER_FROM * explicit
        largest = half_growth if staged else self.largest_step_days(diffusivity, rate)
        steps = max(1, math.ceil(days / largest)) if math.isfinite(largest) else 1
        half, full = (self.dtype(math.exp(rate * days / steps * part)) for part in (0.5, 1.0))
        step, stages = diffusivity * days / steps, stages_for(days / steps / explicit)
        _grow(state, half, *self._least_and_one)
        for n in range(steps):
            if job is not None:
                job.checkpoint()
            last = full if n < steps - 1 else half
            if staged:
                self._super_step(state, step, stages)
                _grow(state, last, *self._least_and_one)
            else:
                state, self._spare[0] = self._explicit_step(state, self.dtype(step), last), state
        return state

    def _explicit_step(self, state: np.ndarray, step: float, growth: float) -> np.ndarray:
        """The state after a step of diffusion and the growth after it, in the spare array."""
        after, spans = self._spare[0], (self.rows, self.first, self.last)
        if len(self._steps) == 3 and self._steps[2] == _ONE:
            top, north, east = self._weights
            _advance(state, after, east, north, top, *spans, *self.strides, step, growth, *self._least_and_one)
        else:
            explicit_step(state, after, (self._steps, self._weights), spans, step)
            _grow(after, growth, *self._least_and_one)
        return after

    def _super_step(self, state: np.ndarray, step: float, stages: int) -> None:
        while len(self._spare) < 3:
            self._spare.append(np.zeros_like(self._spare[0]))
        spans = self.rows, self.first, self.last
        super_step([state, *self._spare[:2]], self._spare[2], (self._steps, self._weights), spans, step, stages)

    def largest_step_days(self, diffusivity: float, rate: float) -> float:
        """Longest explicit step, in days, that keeps u within 0 and 1 and the growth over a step small."""
        return min(self._diffusive_step_days(diffusivity), _growth_step_days(rate))

    def _diffusive_step_days(self, diffusivity: float) -> float:
        return SAFETY / (diffusivity * self._largest_outflow) if self._largest_outflow > 0 else math.inf


def _growth_step_days(rate: float) -> float:
    return GROWTH_A_STEP / rate if rate > 0 else math.inf


def _row_spans(domain: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flat offset of each row that meets the domain, its first voxel there and the one past its last; unsigned."""
    lines = domain.reshape(-1, domain.shape[2])
    rows = np.flatnonzero(lines.any(axis=1))
    first = lines[rows].argmax(axis=1)
    last = domain.shape[2] - lines[rows][:, ::-1].argmax(axis=1)
    return (rows * domain.shape[2]).astype(np.uint64), first.astype(np.uint64), last.astype(np.uint64)
