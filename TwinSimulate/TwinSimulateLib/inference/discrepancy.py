"""Where a model fits worse than the noise allows: the noise is widened, and the pattern of the misfit is told.

The widened noise s^2 R is that of greatest evidence, s^2 = r'r / (m - g), with r the residuals in stated standard
deviations, m their number and g the number of parameters that the data determine, g = n - tr(C P^-1) (MacKay 1992,
Neural Computation 4:415). It is only widened where the residuals are improbably large under the stated noise and there
is an observation to spare, m - g >= 1; it is never narrowed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from TwinCore import Job

from .differences import Forward
from .levenberg_marquardt import Laplace, levenberg_marquardt

IMPROBABLE = 0.05
MOST_REFITS = 8
SAME_FACTOR = 0.02
FEWEST_IN_A_ROW = 4


@dataclass(frozen=True, eq=False)
class Discrepancy:
    """What the observations say against the model.

    Parameters
    ----------
    noise_factor : float
        By which the stated noise had to be widened; 1 where the model fits as well as the noise allows.
    residuals : array, shape (m,)
        Observed less fitted, in stated standard deviations, in the order of the observations.
    probability : float
        Of residuals as large as under the stated noise, if that and the prior are right.
    """

    noise_factor: float
    residuals: np.ndarray
    probability: float

    @property
    def is_improbable(self) -> bool:
        """Whether the model does not fit the observations to their stated noise."""
        return self.probability < IMPROBABLE

    @property
    def bias(self) -> float:
        """Mean of the residuals: away from zero where the model is too low (or high) all along."""
        return float(self.residuals.mean())

    @property
    def autocorrelation(self) -> float:
        """Correlation of each residual with the next: near 1 where the misfit has a trend; NaN for fewer than four."""
        power = self.residuals @ self.residuals
        if self.residuals.size < FEWEST_IN_A_ROW or power == 0:
            return float("nan")
        return float(self.residuals[:-1] @ self.residuals[1:] / power)


def fit_with_discrepancy(
    forward: Forward,
    observed: np.ndarray,
    noise_sd: np.ndarray,
    prior_mean: np.ndarray,
    prior_covariance: np.ndarray,
    job: Job,
) -> tuple[Laplace, Discrepancy]:
    """`levenberg_marquardt`, with the noise widened to what the residuals show where they do not fit the stated one.

    Parameters and errors are those of `levenberg_marquardt`; observations should come in the order of time.
    """
    observed, noise_sd = np.asarray(observed, float), np.asarray(noise_sd, float)
    factor = 1.0
    first, refits = job.split(fit=1, discrepancy=1)
    with first:
        fit = levenberg_marquardt(forward, observed, noise_sd, prior_mean, prior_covariance, first)
    with refits:
        residuals = (observed - fit.predicted) / noise_sd
        probability = _probability(residuals, fit, prior_covariance)
        if probability < IMPROBABLE and observed.size - _determined(fit, prior_covariance) >= 1.0:
            for _ in range(MOST_REFITS):
                spare = observed.size - _determined(fit, prior_covariance)
                before, factor = factor, max(float(np.sqrt(residuals @ residuals / spare)), 1.0)
                fit = levenberg_marquardt(forward, observed, factor * noise_sd, prior_mean, prior_covariance, refits)
                residuals = (observed - fit.predicted) / noise_sd
                if abs(factor - before) < SAME_FACTOR * before:
                    break
    return fit, Discrepancy(factor, residuals, probability)


def _shares(fit: Laplace, prior_covariance: np.ndarray) -> np.ndarray:
    """Posterior over prior variance along the directions that the data tell apart, ascending, 0 to 1."""
    shares = np.linalg.eigvals(np.linalg.solve(prior_covariance, fit.covariance)).real
    return np.sort(np.clip(shares, 0.0, 1.0))


def _determined(fit: Laplace, prior_covariance: np.ndarray) -> float:
    return float((1.0 - _shares(fit, prior_covariance)).sum())


def _probability(residuals: np.ndarray, fit: Laplace, prior_covariance: np.ndarray) -> float:
    """Of residuals as large as these, if noise and prior are as stated.

    r'r is a sum of squares whose variances are the shares and, for the data beyond the parameters, 1; it is taken for a
    scaled chi-squared with the same mean and variance (Satterthwaite 1946, Biometrics Bulletin 2:110).
    """
    shares = _shares(fit, prior_covariance)[: residuals.size]
    mean = shares.sum() + max(residuals.size - shares.size, 0)
    squares = (shares**2).sum() + max(residuals.size - shares.size, 0)
    return float(chi2.sf(residuals @ residuals * mean / squares, mean**2 / squares)) if mean > 0 else 1.0
