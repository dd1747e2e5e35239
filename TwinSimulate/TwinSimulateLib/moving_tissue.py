"""A tumour in tissue that it moves: growth, and the displacement that it causes, in turns.

The tissue stays in equilibrium with the growth so far: each part of it would, alone, have grown in every direction by
`mass_effect_strain` times the rise of its density since the reference scan, on which it is already displaced as it is
seen. Growth is followed where each part lay on that scan (`DeformedDiffusion`), so that tissues, barriers and fibres
move with it and nothing is resampled on the way. For an interval the tumour grows in the tissue as it will be half-way,
by the speed with which it moved before; then the tissue takes its new place, and the density falls where the volume
rises.
"""

from __future__ import annotations

import math

import numpy as np

from TwinCore import Grid, Image, Job, resample
from TwinCore.transform import GridTransform

from .mass_effect import Deformation, TissueMechanics
from .numerics.deformed_diffusion import DeformedDiffusion
from .numerics.hat_weights import HatWeights

INTERVAL_DAYS = 5.0
"""Longest time for which the tissue is held: docs/models/tumour_growth.md has what other intervals change."""


class MovingTissue:
    """An equation of growth as `ReactionDiffusion` is one, in tissue that moves.

    Parameters
    ----------
    mechanics : TissueMechanics
        Of the whole anatomy.
    equation : DeformedDiffusion
        On the tumour's box.
    grid : Grid
        Of the box.
    start : array, shape (k, j, i)
        Density at the reference scan, with which the tissue lies where it is seen.
    strain : float
        `mass_effect_strain`.
    stress_coupling : float
        Per kPa: diffusivity falls as exp(-stress_coupling * von Mises stress) (Weis and others 2013, Physics in
        Medicine and Biology 58:5851).
    interval_days : float

    Attributes
    ----------
    deformation : Deformation or None
        Since the reference scan.
    volume : array
        Volume of each voxel of a state now, relative to that at the reference scan.
    domain, rows, first, last, strides : arrays
        As those of `ReactionDiffusion`.
    """

    def __init__(
        self,
        mechanics: TissueMechanics,
        equation: DeformedDiffusion,
        grid: Grid,
        start: np.ndarray,
        strain: float,
        stress_coupling: float = 0.0,
        interval_days: float = INTERVAL_DAYS,
    ):
        self._mechanics, self._equation, self._grid = mechanics, equation, grid
        self._strain, self._stress_coupling, self._interval = strain, stress_coupling, interval_days
        self._weights = HatWeights(grid, mechanics.grid)
        self._first = self._weights.to_coarse(np.where(equation.domain, start, 0.0))
        self._corners = mechanics.at_rest
        self._speed = np.zeros_like(self._corners)
        self.deformation: Deformation | None = None
        self.volume = equation.volume
        self.domain, self.rows, self.first, self.last = equation.domain, equation.rows, equation.first, equation.last
        self.strides = equation.strides

    def state(self, density: np.ndarray) -> np.ndarray:
        """A density, shape (k, j, i), 0 to 1, where the tissue lay at the reference scan, as `advance_state` takes
        it."""
        return self._equation.state(density)

    def density(self, state: np.ndarray) -> np.ndarray:
        """The density of a state on the voxels, shape (k, j, i), where the tissue has come to."""
        density = self._equation.density(state)
        move = self.transform
        return density if move is None else resample(Image(density, self._grid), self._grid, move).array

    @property
    def transform(self) -> GridTransform | None:
        """The move of the tissue since the reference scan; none if it has not moved."""
        return None if self.deformation is None else self._mechanics.transform(self.deformation)

    def advance_state(
        self, state: np.ndarray, diffusivity: float, rate: float, days: float, job: Job | None = None
    ) -> np.ndarray:
        """The state after `days`, arguments as those of `ReactionDiffusion.advance_state`."""
        intervals = math.ceil(days / self._interval * (1 - 1e-9)) if days > 0 else 0
        for _ in range(intervals):
            state = self._interval_after(state, diffusivity, rate, days / intervals, job or Job())
        return state

    def _interval_after(self, state: np.ndarray, diffusivity: float, rate: float, days: float, job: Job) -> np.ndarray:
        """The state after growth in the tissue as it will be half-way, and the tissue's new place."""
        amount, first = state * self.volume, self.deformation is None
        if not first:
            self._hold(self._mechanics.deformation(self._corners + 0.5 * days * self._speed))
        held = self._equation.volume
        amount = held * self._equation.advance_state(amount / held, diffusivity, rate, days, job)
        before = self._corners
        after = before + days * self._speed
        for _ in range(2 if first else 1):  # a start without a speed is a guess of first order only
            volume = self._volume(self._mechanics.volume(after))
            risen = self._weights.to_coarse(self._equation.density(amount / volume)) - self._first
            after = self._mechanics.push(self._strain * risen, job, after)
        self._corners, self._speed = after, (after - before) / days
        self.deformation = self._mechanics.deformation(after)
        self.volume = self._volume(self.deformation.volume)
        return amount / self.volume

    def _hold(self, deformation: Deformation) -> None:
        change = self._weights.to_fine(deformation.inverse_stretch - np.eye(3))
        mobility = np.exp(-self._stress_coupling * self._weights.to_fine(deformation.stress_kpa))
        self._equation.deform(change + np.eye(3), self._on_box(deformation.volume), mobility)

    def _on_box(self, volume: np.ndarray) -> np.ndarray:
        return 1.0 + self._weights.to_fine(volume - 1.0)

    def _volume(self, volume: np.ndarray) -> np.ndarray:
        """Relative volume of the voxels of a state from that of the coarse voxels."""
        return 1 + self._equation.state(self._on_box(volume) - 1.0)
