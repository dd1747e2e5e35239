"""Levenberg-Marquardt for a handful of parameters with Gaussian priors and a forward model that is costly but smooth.

Minimises |(observed - forward(x)) / noise_sd|^2 + |(x - prior_mean) / prior_sd|^2; the Jacobian takes one forward run a
parameter. The posterior is Laplace's: Gaussian at the minimum with covariance (J' R^-1 J + P^-1)^-1, exact where the
model is linear.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from TwinCore import InvalidInput, Job

MOST_ITERATIONS = 25


@dataclass(frozen=True, eq=False)
class Laplace:
    """The most probable parameters, their covariance, and what the model says there.

    Parameters
    ----------
    mean : array, shape (n,)
    covariance : array, shape (n, n)
    predicted : array, shape (m,)
        The forward model at the mean.
    iterations : int
    converged : bool
        Whether the last step was below the tolerance, in prior standard deviations.
    """

    mean: np.ndarray
    covariance: np.ndarray
    predicted: np.ndarray
    iterations: int
    converged: bool


def levenberg_marquardt(
    forward: Callable[[np.ndarray], np.ndarray],
    observed: np.ndarray,
    noise_sd: np.ndarray,
    prior_mean: np.ndarray,
    prior_sd: np.ndarray,
    job: Job,
    difference: float = 0.05,
    tolerance: float = 1e-3,
) -> Laplace:
    """Fit, starting from the prior's mean.

    Parameters
    ----------
    forward : callable
        From parameters, shape (n,), to predictions, shape (m,).
    observed, noise_sd : arrays, shape (m,)
    prior_mean, prior_sd : arrays, shape (n,)
    job : Job
    difference : float
        Step of the forward differences of the Jacobian, in prior standard deviations.
    tolerance : float
        The fit ends when a step is below this many prior standard deviations.

    Raises
    ------
    InvalidInput
        If an observation or its noise is not a finite number, or the noise is not positive.
    """
    observed, noise_sd = np.asarray(observed, float), np.asarray(noise_sd, float)
    if not (np.isfinite(observed).all() and np.isfinite(noise_sd).all() and (noise_sd > 0).all()):
        raise InvalidInput("Observations must be finite numbers, each with a noise above zero.")
    prior_mean, prior_sd = np.asarray(prior_mean, float), np.asarray(prior_sd, float)

    def whitened(z):
        predicted = forward(prior_mean + prior_sd * z)
        return predicted, (observed - predicted) / noise_sd

    z, damping, converged, iteration = np.zeros(prior_mean.size), 1e-3, False, 0
    predicted, residual = whitened(z)
    cost = residual @ residual + z @ z
    for iteration in range(1, MOST_ITERATIONS + 1):
        job.report(iteration / (MOST_ITERATIONS + 1), f"calibration, step {iteration}, misfit {cost:.3g}")
        jacobian = _jacobian(whitened, z, residual, difference)
        gradient, curvature = jacobian.T @ residual + z, jacobian.T @ jacobian + np.eye(z.size)
        while damping < 1e6:
            step = -np.linalg.solve(curvature + damping * np.diag(np.diag(curvature)), gradient)
            trial_predicted, trial_residual = whitened(z + step)
            trial_cost = trial_residual @ trial_residual + (z + step) @ (z + step)
            if trial_cost <= cost:
                break
            damping *= 5.0
        else:
            break
        z, predicted, residual, cost, damping = z + step, trial_predicted, trial_residual, trial_cost, damping / 5.0
        if np.abs(step).max() < tolerance:
            converged = True
            break
    jacobian = _jacobian(whitened, z, residual, difference)
    covariance = np.linalg.inv(jacobian.T @ jacobian + np.eye(z.size)) * np.outer(prior_sd, prior_sd)
    return Laplace(prior_mean + prior_sd * z, covariance, predicted, iteration, converged)


def _jacobian(whitened, z: np.ndarray, residual: np.ndarray, difference: float) -> np.ndarray:
    columns = [(whitened(z + difference * unit)[1] - residual) / difference for unit in np.eye(z.size)]
    return np.stack(columns, axis=1)
