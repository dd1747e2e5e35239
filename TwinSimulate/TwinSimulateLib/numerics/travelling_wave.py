"""The exact travelling wave of u' = D u'' + rho u (1 - u), and the spacing a grid needs to carry it.

The wave is u = [1 + exp((x - c t) / L)]^-2 with L = sqrt(6 D / rho) and c = 5 sqrt(D rho / 6): Ablowitz and Zeppetella,
Bulletin of Mathematical Biology 41 (1979) 835.
"""

from __future__ import annotations

import math

import numpy as np

from TwinCore import Job, NotResolved

WELL_RESOLVED = 0.7
"""Least sqrt(D/rho) in voxels at which the wave's speed is right to 5 % (measured: docs/models/tumour_growth.md)."""
RESOLVED = 0.36
"""Least sqrt(D/rho) in voxels at which the wave's speed is right to 20 %."""


def front_length_mm(diffusivity: float, rate: float) -> float:
    """L, in mm, for a diffusivity in mm2/day and a rate per day."""
    return math.sqrt(6.0 * diffusivity / rate)


def front_speed_mm_per_day(diffusivity: float, rate: float) -> float:
    """c, in mm/day, for a diffusivity in mm2/day and a rate per day."""
    return 5.0 * math.sqrt(diffusivity * rate / 6.0)


def front_profile(distance_mm: np.ndarray, length_mm: float | np.ndarray, threshold: float) -> np.ndarray:
    """The wave's density at a signed distance ahead of the surface where it equals the threshold."""
    # beyond 40 lengths the density is nil, and its powers would overflow in single precision
    steepness = np.minimum(np.asarray(distance_mm) / length_mm, 40.0)
    return 1.0 / np.square(1.0 + (threshold**-0.5 - 1.0) * np.exp(steepness))


def front_reach_mm(diffusivity: float, rate: float, days: float, threshold: float, density: float) -> float:
    """How far ahead of where the wave equalled the threshold it will come to a lower density, after a time."""
    ahead = front_length_mm(diffusivity, rate) * math.log((density**-0.5 - 1.0) / (threshold**-0.5 - 1.0))
    return front_speed_mm_per_day(diffusivity, rate) * days + ahead


def check_resolution(diffusivity: float, rate: float, spacing_mm: float, tissue: str, job: Job) -> None:
    """Warn if the front's speed may be wrong by more than 5 % on this grid.

    Parameters
    ----------
    diffusivity, rate : float
        In mm2/day and per day.
    spacing_mm : float
        The coarsest spacing of the grid.
    tissue : str
        Where, for the message.
    job : Job
        Takes the warning.

    Raises
    ------
    NotResolved
        If the speed may be wrong by more than 20 %.
    """
    width = math.sqrt(diffusivity / rate)
    if width < RESOLVED * spacing_mm * (1 - 1e-9):
        raise NotResolved(
            f"The tumour front in {tissue} is {width:.2g} mm wide (sqrt(D/rho)): at {spacing_mm:.2g} mm its speed "
            f"would be "
            "wrong by more than 20 %.",
            width / WELL_RESOLVED,
        )
    if width < WELL_RESOLVED * spacing_mm * (1 - 1e-9):
        job.warn(
            f"The tumour front in {tissue} is thin for a grid of {spacing_mm:.2g} mm: its speed may be wrong by 5 "
            f"to 20 %."
        )
