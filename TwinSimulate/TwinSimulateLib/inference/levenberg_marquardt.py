"""Levenberg-Marquardt for a handful of parameters with a Gaussian prior and a forward model that is costly but smooth.

Minimises |(observed - forward(x)) / noise_sd|^2 + (x - m)' P^-1 (x - m), the prior being N(m, P); while it moves the
Jacobian takes one forward run a parameter, at the minimum four. The posterior is Laplace's: Gaussian at the minimum
with covariance (J' R^-1 J + P^-1)^-1, exact where the model is linear.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from TwinCore import InvalidInput, Job

from .differences import Forward, forward_jacobian, richardson_jacobian

MOST_ITERATIONS = 25
MOST_DAMPING = 1e6


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
        Whether the step that was left is below the tolerance, in prior standard deviations.
    """

    mean: np.ndarray
    covariance: np.ndarray
    predicted: np.ndarray
    iterations: int
    converged: bool


def levenberg_marquardt(
    forward: Forward,
    observed: np.ndarray,
    noise_sd: np.ndarray,
    prior_mean: np.ndarray,
    prior_covariance: np.ndarray,
    job: Job,
    difference: float = 0.05,
    tolerance: float = 1e-3,
    start: np.ndarray | None = None,
) -> Laplace:
    """Fit.

    Parameters
    ----------
    forward : callable
        From parameters, shape (n,), to predictions, shape (m,).
    observed, noise_sd : arrays, shape (m,)
    prior_mean : array, shape (n,)
    prior_covariance : array, shape (n, n)
    job : Job
    difference : float
        Step of the differences of the Jacobian, in prior standard deviations.
    tolerance : float
        The fit ends when the undamped step is below this many prior standard deviations.
    start : array, shape (n,), optional
        Where the fit begins; the prior's mean if left out.

    Raises
    ------
    InvalidInput
        If an observation or its noise is not a finite number, the noise is not positive, or the prior's covariance is
        not positive definite.
    """
    observed, noise_sd = checked_observations(observed, noise_sd)
    prior_mean, root = np.asarray(prior_mean, float), prior_root(prior_covariance)

    def whitened(z):
        return forward(prior_mean + root @ z) / noise_sd

    def cost(predicted, z):
        residual = observed / noise_sd - predicted
        return residual @ residual + z @ z

    z = np.zeros(prior_mean.size) if start is None else np.linalg.solve(root, np.asarray(start, float) - prior_mean)
    damping, converged, iteration, exactly = 1e-3, False, 0, False
    predicted = whitened(z)
    for iteration in range(1, MOST_ITERATIONS + 1):
        now = cost(predicted, z)
        job.report(iteration / (MOST_ITERATIONS + 1), f"calibration, step {iteration}, misfit {now:.3g}")
        jacobian = (
            richardson_jacobian(whitened, z, difference)
            if exactly
            else forward_jacobian(whitened, z, predicted, difference)
        )
        gradient, curvature = z - jacobian.T @ (observed / noise_sd - predicted), _curvature(jacobian)
        while damping < MOST_DAMPING:
            step = -np.linalg.solve(curvature + damping * np.diag(np.diag(curvature)), gradient)
            trial = whitened(z + step)
            if cost(trial, z + step) <= now:
                z, predicted, damping = z + step, trial, damping / 5.0
                break
            damping *= 5.0
        converged = np.abs(np.linalg.solve(curvature, gradient)).max(initial=0.0) < tolerance
        if converged or (exactly and damping >= MOST_DAMPING):
            break
        if damping >= MOST_DAMPING:
            # one-run differences point uphill near the minimum of a curved model that does not fit
            damping, exactly = 1e-3, True
    # The differences that led here may be of first order: the last step and the covariance take better ones.
    jacobian = richardson_jacobian(whitened, z, difference)
    step = np.linalg.solve(_curvature(jacobian), jacobian.T @ (observed / noise_sd - predicted) - z)
    trial = whitened(z + step)
    if cost(trial, z + step) <= cost(predicted, z):
        z, predicted = z + step, trial
    covariance = root @ np.linalg.inv(_curvature(jacobian)) @ root.T
    return Laplace(prior_mean + root @ z, covariance, predicted * noise_sd, iteration, converged)


def checked_observations(observed: np.ndarray, noise_sd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as floats; `InvalidInput` unless all are finite and the noise is positive."""
    observed, noise_sd = np.asarray(observed, float), np.asarray(noise_sd, float)
    if not (np.isfinite(observed).all() and np.isfinite(noise_sd).all() and (noise_sd > 0).all()):
        raise InvalidInput("Observations must be finite numbers, each with a noise above zero.")
    return observed, noise_sd


def prior_root(covariance: np.ndarray) -> np.ndarray:
    """Lower triangular root of the prior's covariance; `InvalidInput` unless it is positive definite."""
    try:
        return np.linalg.cholesky(np.asarray(covariance, float))
    except np.linalg.LinAlgError:
        raise InvalidInput("The prior's covariance must be positive definite.") from None


def _curvature(jacobian: np.ndarray) -> np.ndarray:
    return jacobian.T @ jacobian + np.eye(jacobian.shape[1])
