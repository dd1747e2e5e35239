"""Reaction-diffusion u' = div(D grad u) + rho u (1 - u) in tissue that moves, told where each part of it lay at first.

u is the density per volume as it is now; a voxel is a part of the tissue, wherever it has come to. With the gradient F
of the place now by the place at first, J = det F, and F = R S (a stretch S, then a rotation), the amount J u of a voxel
changes by Div(J S^-1 D S^-1 Grad u) + rho J u (1 - u): nothing need be carried along, and no cell is lost. D turns with
the tissue, so that fibres stay in it.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from TwinCore import Job

from .diffusion import GROWTH_A_STEP, SAFETY, _row_spans
from .edges import MOST_REACH, edges, reach


class DeformedDiffusion:
    """The operator on one domain: as `ReactionDiffusion`, but `deform` may be called at any time.

    Parameters
    ----------
    domain : bool array, shape (k, j, i)
        Voxels that tissue fills; nothing crosses to the others.
    spacing_mm : three floats
        Voxel spacing along i, j, k, as `Grid.spacing` has it.
    relative_diffusivity : array, shape (k, j, i)
    tensor : array, shape (k, j, i, 3, 3), optional
    closed : bool array, shape (3, k, j, i), optional
        As `ReactionDiffusion` takes them: of the tissue where it lay at first.
    dtype : float32 or float64

    Attributes
    ----------
    volume : flat array
        Volume of each voxel now, relative to that at first.
    rows, first, last, strides : arrays and pair of unsigned integers
        As those of `ReactionDiffusion`.
    """

    def __init__(self, domain, spacing_mm, relative_diffusivity, tensor=None, closed=None, dtype=np.float32):
        self.domain, self.dtype = np.asarray(domain, bool), np.dtype(dtype).type
        self._spacing = np.asarray(spacing_mm, float)[::-1]
        self._relative = np.where(self.domain, relative_diffusivity, 0.0)
        own = np.broadcast_to(np.eye(3), (*self.domain.shape, 3, 3)) if tensor is None else tensor
        self._tensor = np.asarray(own, float)[self.domain]
        self._closed = None if closed is None else [self._padded(np.asarray(face, bool)) for face in closed]
        padded = self._padded(self.domain)
        self._shape = padded.shape
        self.rows, self.first, self.last = _row_spans(padded)
        self.strides = np.uint64(self._shape[2]), np.uint64(self._shape[1] * self._shape[2])
        self._spare = np.zeros(padded.size, self.dtype)
        whole = np.ones(self.domain.shape)
        self.deform(np.broadcast_to(np.eye(3), (*self.domain.shape, 3, 3)), whole, whole)

    def deform(self, inverse_stretch: np.ndarray, volume: np.ndarray, mobility: np.ndarray) -> None:
        """Take the tissue to have moved.

        Parameters
        ----------
        inverse_stretch : array, shape (k, j, i, 3, 3)
            S^-1, symmetric, along k, j, i.
        volume : array, shape (k, j, i)
            J: volume now relative to that at first.
        mobility : array, shape (k, j, i)
            By which the diffusivity is multiplied.
        """
        shrunk = inverse_stretch[self.domain]
        tensor = volume[self.domain][:, None, None] * (shrunk @ self._tensor @ shrunk)
        reach(tensor, self._spacing)  # refuses tensors whose steps would leave the margin
        relative = self._padded(self._relative * mobility)
        steps, weights = edges(self._padded(self.domain), self._spacing, relative, tensor, self._closed)
        self.volume = self._padded(np.where(self.domain, volume, 1.0), 1.0).astype(self.dtype).ravel()
        total = sum(w + np.roll(w, s, (0, 1, 2)) for s, w in zip(steps, weights)).ravel() / self.volume
        self._largest_outflow = float(total.max())
        self._weights = np.stack([w.astype(self.dtype).ravel() for w in weights])
        self._steps = (np.array(steps) @ [self.strides[1], self.strides[0], np.uint64(1)]).astype(np.uint64)

    def state(self, density: np.ndarray) -> np.ndarray:
        """A density, shape (k, j, i), 0 to 1, as `advance_state` takes it."""
        return self._padded(np.where(self.domain, density, 0).astype(self.dtype)).ravel()

    def density(self, state: np.ndarray) -> np.ndarray:
        """The density of a state on the voxels, shape (k, j, i), where the tissue lay at first."""
        inner = (slice(MOST_REACH, -MOST_REACH),) * 3
        return state.reshape(self._shape)[inner].copy()

    def advance_state(
        self, state: np.ndarray, diffusivity: float, rate: float, days: float, job: Job | None = None
    ) -> np.ndarray:
        """The state after `days` of tissue that stays as it is; the one handed in is used up.

        Arguments as those of `ReactionDiffusion.advance_state`; steps are explicit.
        """
        if days <= 0:
            return state
        longest = GROWTH_A_STEP / rate if rate > 0 else math.inf
        if diffusivity * self._largest_outflow > 0:
            longest = min(longest, SAFETY / (diffusivity * self._largest_outflow))
        steps = max(1, math.ceil(days / longest)) if math.isfinite(longest) else 1
        half, full = (self.dtype(math.exp(rate * days / steps * part)) for part in (0.5, 1.0))
        one, step = self.dtype(1), self.dtype(diffusivity * days / steps)
        state = half * state / (one + (half - one) * state)
        for n in range(steps):
            if job is not None:
                job.checkpoint()
            growth = full if n < steps - 1 else half
            where = self._steps, self._weights, self.rows, self.first, self.last
            _advance(state, self._spare, self.volume, *where, step, growth, one)
            state, self._spare = self._spare, state
        return state

    def _padded(self, values: np.ndarray, beyond: float = 0) -> np.ndarray:
        return np.pad(values, MOST_REACH, constant_values=beyond)


@njit(parallel=True, nogil=True, cache=True)
def _advance(u, v, volume, steps, weights, rows, first, last, step, growth, one):
    """One explicit step of diffusion, then exact logistic growth by the factor `growth` of the odds; from u into v."""
    gain = growth - one
    for r in prange(rows.size):
        begin, end = rows[r] + first[r], rows[r] + last[r]
        gained = np.zeros(end - begin, u.dtype)
        for m in range(steps.size):
            away, weight = steps[m], weights[m]
            for n in range(begin, end):
                gained[n - begin] += weight[n] * (u[n + away] - u[n]) - weight[n - away] * (u[n] - u[n - away])
        for n in range(begin, end):
            diffused = u[n] + step * gained[n - begin] / volume[n]
            v[n] = growth * diffused / (one + gain * diffused)
