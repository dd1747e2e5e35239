"""An ensemble smoother with multiple data assimilation: a posterior without derivatives, to check Laplace's.

The observations are assimilated several times, each time with their noise variance inflated so that all together count
once; each time the members move by the regression of parameters on predictions (Emerick and Reynolds 2013, Computers &
Geosciences 55:3). Exact for a linear model with a Gaussian prior as the number of members grows; for a curved one it
averages slopes over the ensemble, where Laplace takes the slope at the minimum: that the two agree says that the
posterior is about Gaussian.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from TwinCore import InvalidInput, Job

from .differences import Forward
from .ensemble import normal_draws
from .levenberg_marquardt import checked_observations, prior_root

ASSIMILATIONS = 4


@dataclass(frozen=True, eq=False)
class Smoothed:
    """An ensemble of parameters given the observations.

    Parameters
    ----------
    members : array, shape (members, n)
    """

    members: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """Shape (n,)."""
        return self.members.mean(axis=0)

    @property
    def covariance(self) -> np.ndarray:
        """Shape (n, n)."""
        return np.cov(self.members, rowvar=False).reshape(self.members.shape[1], -1)


def ensemble_smoother(
    forward: Forward,
    observed: np.ndarray,
    noise_sd: np.ndarray,
    prior_mean: np.ndarray,
    prior_covariance: np.ndarray,
    job: Job,
    members: int = 128,
    seed: int = 0,
) -> Smoothed:
    """The posterior as an ensemble.

    Parameters
    ----------
    forward : callable
        From parameters, shape (n,), to predictions, shape (m,); it runs `members` times for each assimilation.
    observed, noise_sd : arrays, shape (m,)
    prior_mean : array, shape (n,)
    prior_covariance : array, shape (n, n)
    job : Job
    members, seed : int
        Size and seed of the ensemble.

    Raises
    ------
    InvalidInput
        As `levenberg_marquardt` does, and if there are no more members than parameters.
    """
    observed, noise_sd = checked_observations(observed, noise_sd)
    prior_mean, root = np.asarray(prior_mean, float), prior_root(prior_covariance)
    if members <= prior_mean.size + 1:
        raise InvalidInput(f"{prior_mean.size} parameters need more than {members} members of an ensemble.")
    ensemble = prior_mean + normal_draws(members, prior_mean.size, seed) @ root.T
    for part, assimilation in enumerate(job.split(**{f"assimilation_{n + 1}": 1.0 for n in range(ASSIMILATIONS)})):
        with assimilation:
            runs = [forward(ensemble[n]) for n in assimilation.each(range(members), "members of the ensemble")]
        predicted = np.array(runs) / noise_sd
        noise = np.sqrt(ASSIMILATIONS) * normal_draws(members, observed.size, seed + 1 + part)
        innovation = observed / noise_sd + noise - predicted
        moved, seen = ensemble - ensemble.mean(axis=0), predicted - predicted.mean(axis=0)
        # The gain by the matrix of members, not of observations, which may be all voxels of a map.
        spread = seen @ seen.T / (members - 1) + ASSIMILATIONS * np.eye(members)
        ensemble = ensemble + innovation @ (seen.T @ np.linalg.solve(spread, moved / (members - 1)))
    return Smoothed(ensemble)
