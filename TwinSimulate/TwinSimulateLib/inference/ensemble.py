"""Ensembles: seeded draws that cover the normal distribution evenly, and the bands that members span."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm, qmc


def normal_draws(members: int, parameters: int, seed: int) -> np.ndarray:
    """Standard-normal deviates, shape (members, parameters), by Latin hypercube."""
    if parameters == 0:
        return np.zeros((members, 0))
    return norm.ppf(qmc.LatinHypercube(parameters, rng=np.random.default_rng(seed)).random(members))


def band(values: np.ndarray, percent: float) -> np.ndarray:
    """Lower and upper bound, shape (2, ...), of the central `percent` of the members, which run along the first axis.

    Each bound is the value of a member, so that members at infinity (an event that has not come) are allowed.
    """
    tail = (100.0 - percent) / 200.0
    return np.quantile(values, [tail, 1.0 - tail], axis=0, method="closest_observation")
