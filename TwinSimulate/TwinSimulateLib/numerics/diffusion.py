"""Reaction-diffusion u' = div(D grad u) + rho u (1 - u) on a masked box of voxels.

Finite volumes: each voxel exchanges with its six neighbours through faces whose coefficient is the harmonic mean of the
two diffusivities, which is exact for layers in series; a face to a voxel outside the mask, or outside the box, has
coefficient zero and lets nothing through. Time steps are Strang's: half a step of logistic growth, solved exactly, a
step of diffusion, and the other half; the halves of consecutive steps are merged, so a step is one pass through memory.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from TwinCore import InvalidInput, Job

_ONE = np.uint64(1)
SAFETY = 0.9
GROWTH_A_STEP = 0.5
"""Largest rho dt: the splitting error in the front's speed grows with it (docs/models/tumour_growth.md)."""


@njit(parallel=True, nogil=True, cache=True)
def _advance(u, v, east, north, top, rows, first, last, row_stride, slab_stride, step, growth, one):
    """One step of diffusion, then exact logistic growth by the factor `growth` of u / (1 - u); from u into v."""
    gain = growth - one
    for r in prange(rows.size):
        start, stop = first[r] + rows[r], last[r] + rows[r]
        for n in range(start, stop):
            here = u[n]
            flux = east[n] * (u[n + _ONE] - here) - east[n - _ONE] * (here - u[n - _ONE])
            flux += north[n] * (u[n + row_stride] - here) - north[n - row_stride] * (here - u[n - row_stride])
            flux += top[n] * (u[n + slab_stride] - here) - top[n - slab_stride] * (here - u[n - slab_stride])
            diffused = here + step * flux
            v[n] = growth * diffused / (one + gain * diffused)


@njit(parallel=True, nogil=True, cache=True)
def _grow(u, growth, one):
    """Exact logistic growth by the factor `growth` of the odds u / (1 - u), in place."""
    gain = growth - one
    for n in prange(u.size):
        u[n] = growth * u[n] / (one + gain * u[n])


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
    dtype : float32 or float64
        Precision of the stored fields and of the arithmetic.

    Attributes
    ----------
    rows, first, last, strides : arrays and pair of unsigned integers
        Where in a flat state the domain's rows begin and are filled, and the distance to the next row and slab.

    Raises
    ------
    InvalidInput
        If the domain is empty, or a diffusivity in it is not a positive, finite number.
    """

    def __init__(
        self, domain: np.ndarray, spacing_mm, relative_diffusivity: np.ndarray | None = None, dtype=np.float32
    ):
        self.domain = np.asarray(domain, bool)
        self.dtype = np.dtype(dtype).type
        if not self.domain.any():
            raise InvalidInput("The domain of the reaction-diffusion equation is empty: no voxel is tissue.")
        relative = (
            np.ones(self.domain.shape) if relative_diffusivity is None else np.asarray(relative_diffusivity, float)
        )
        inside = relative[self.domain]
        if not (np.isfinite(inside).all() and inside.min() > 0):
            raise InvalidInput("The relative diffusivity must be positive and finite in every voxel of the domain.")
        padded = np.pad(np.where(self.domain, relative, 0.0), 1)
        self._shape = padded.shape
        spacing_kji = np.asarray(spacing_mm, float)[::-1]
        faces = [_face_coefficients(padded, axis, spacing_kji[axis]) for axis in range(3)]
        total = sum(face + np.roll(face, 1, axis) for axis, face in enumerate(faces))
        self._largest_outflow = float(total.max())
        self._top, self._north, self._east = (face.astype(self.dtype).ravel() for face in faces)
        self.rows, self.first, self.last = _row_spans(np.pad(self.domain, 1))
        self.strides = np.uint64(self._shape[2]), np.uint64(self._shape[1] * self._shape[2])
        self._spare = np.zeros(padded.size, self.dtype)

    def largest_step_days(self, diffusivity: float, rate: float) -> float:
        """Longest time step, in days, that keeps u within 0 and 1 and the growth over a step small."""
        diffusive = SAFETY / (diffusivity * self._largest_outflow) if self._largest_outflow > 0 else math.inf
        return min(diffusive, GROWTH_A_STEP / rate if rate > 0 else math.inf)

    def state(self, density: np.ndarray) -> np.ndarray:
        """A density, shape (k, j, i), 0 to 1, as `advance_state` takes it: flat, with a layer of nothing around."""
        return np.pad(np.where(self.domain, density, 0).astype(self.dtype), 1).ravel()

    def density(self, state: np.ndarray) -> np.ndarray:
        """The density of a state on the voxels, shape (k, j, i), zero outside the domain."""
        return state.reshape(self._shape)[1:-1, 1:-1, 1:-1].copy()

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
        largest = self.largest_step_days(diffusivity, rate)
        steps = max(1, math.ceil(days / largest)) if math.isfinite(largest) else 1
        half, full = (self.dtype(math.exp(rate * days / steps * part)) for part in (0.5, 1.0))
        step, one = self.dtype(diffusivity * days / steps), self.dtype(1)
        _grow(state, half, one)
        now, after = state, self._spare
        for n in range(steps):
            if job is not None:
                job.checkpoint()
            _advance(
                now,
                after,
                self._east,
                self._north,
                self._top,
                self.rows,
                self.first,
                self.last,
                *self.strides,
                step,
                full if n < steps - 1 else half,
                one,
            )
            now, after = after, now
        self._spare = after
        return now


def _face_coefficients(diffusivity: np.ndarray, axis: int, spacing_mm: float) -> np.ndarray:
    """Harmonic mean over h squared on each voxel's face to the next along the axis; zero where either is outside."""
    beyond = np.roll(diffusivity, -1, axis)
    total = diffusivity + beyond
    mean = np.divide(2.0 * diffusivity * beyond, total, out=np.zeros_like(total), where=total > 0)
    return mean / spacing_mm**2


def _row_spans(domain: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flat offset of each row that meets the domain, its first voxel there and the one past its last; unsigned."""
    lines = domain.reshape(-1, domain.shape[2])
    rows = np.flatnonzero(lines.any(axis=1))
    first = lines[rows].argmax(axis=1)
    last = domain.shape[2] - lines[rows][:, ::-1].argmax(axis=1)
    return (rows * domain.shape[2]).astype(np.uint64), first.astype(np.uint64), last.astype(np.uint64)
