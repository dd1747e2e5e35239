"""What normal tissue takes of a schedule, and which dose a fraction may have for it to take no more than of another."""

from __future__ import annotations

import math

import numpy as np

from TwinCore import InvalidInput

from .radiotherapy import Schedule

LATE_ALPHA_BETA_GY = 3.0
"""Of normal tissue that reacts late, conventional (2 to 3 Gy)."""


def tissue_bed_gy(schedule: Schedule, alpha_beta_gy: float, sparing: float = 1.0) -> float:
    """Biologically effective dose of tissue that gets the share `sparing` of the prescribed dose, over that share.

    n d (1 + sparing d / (alpha/beta)): proportional to what the tissue takes, which is all that a comparison needs.
    """
    d = schedule.dose_gy
    return schedule.fractions * d * (1.0 + sparing * d / alpha_beta_gy)


def same_effect_dose_gy(standard: Schedule, fractions: int, alpha_beta_gy: float, sparing: float = 1.0) -> float:
    """Dose of each of so many fractions, in Gy, with the effect of the standard schedule on a normal tissue.

    >>> round(same_effect_dose_gy(Schedule.of(30, 2.0), 15, 3.0), 2)
    3.27
    """
    if fractions < 1:
        raise InvalidInput(f"There must be one fraction at least, not {fractions}.")
    curvature = sparing / alpha_beta_gy
    limit = tissue_bed_gy(standard, alpha_beta_gy, sparing) / fractions
    return (math.sqrt(1.0 + 4.0 * curvature * limit) - 1.0) / (2.0 * curvature)


def effective_sparing(relative_dose: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The sparing of an organ whose dose varies, such that its mean effective dose is that of a uniform one.

    sum(r²) / sum(r) over its voxels' doses relative to the prescribed one: Unkelbach et al., Phys Med Biol 58 (2013)
    159, for an organ that works in parallel; of a serial one it is the largest r.

    Raises
    ------
    InvalidInput
        If the organ gets no dose.
    """
    r = np.asarray(relative_dose, float).ravel()
    share = np.ones_like(r) if weights is None else np.asarray(weights, float).ravel()
    if not (share * r).sum() > 0:
        raise InvalidInput("The organ at risk gets no dose: it limits no schedule.")
    return float((share * r**2).sum() / (share * r).sum())
