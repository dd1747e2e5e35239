"""Three ways to a posterior beside each other: Laplace, the ensemble smoother and, as a slow oracle, emcee."""

import numpy as np
import pytest

from TwinCore import InvalidInput, Job
from TwinSimulateLib.inference.discrepancy import Discrepancy, fit_with_discrepancy
from TwinSimulateLib.inference.ensemble_smoother import ensemble_smoother
from TwinSimulateLib.inference.levenberg_marquardt import levenberg_marquardt

DAYS = np.array([0.0, 15.0, 30.0, 45.0, 60.0])


def log_growth(logs):
    """Logarithm of a logistic curve from its rate, per day, and its density at day 0."""
    rate, start = np.exp(logs)
    odds = start / (1 - start) * np.exp(rate * DAYS)
    return np.log(odds / (1 + odds))


PRIOR_MEAN, PRIOR = np.log([0.05, 0.05]), np.diag([0.5, 0.3]) ** 2
NOISE = np.full(DAYS.size, 0.15)
OBSERVED = log_growth(np.log([0.065, 0.04])) + NOISE * np.random.default_rng(4).normal(size=DAYS.size)


def test_the_smoother_is_exact_for_a_linear_model_of_many_members():
    matrix, noise = np.array([[1.0, 0.5], [0.0, 2.0], [1.0, -1.0]]), np.array([0.3, 0.5, 0.4])
    observed, prior_mean, prior = np.array([1.0, -1.0, 2.0]), np.array([0.2, 0.1]), np.array([[1.0, 0.3], [0.3, 0.5]])
    precision = matrix.T @ np.diag(noise**-2) @ matrix + np.linalg.inv(prior)
    mean = np.linalg.solve(precision, matrix.T @ (observed / noise**2) + np.linalg.solve(prior, prior_mean))
    sd = np.sqrt(np.diag(np.linalg.inv(precision)))
    smoothed = ensemble_smoother(lambda x: matrix @ x, observed, noise, prior_mean, prior, Job(), members=8000)
    assert np.abs((smoothed.mean - mean) / sd).max() < 0.05
    np.testing.assert_allclose(smoothed.covariance, np.linalg.inv(precision), atol=0.05 * sd.max() ** 2)


def test_laplace_smoother_and_markov_chain_agree_on_a_small_problem():
    """Means within 0.15 posterior deviations (0.3 for 128 members), deviations within 15 %."""
    emcee = pytest.importorskip("emcee")
    laplace = levenberg_marquardt(log_growth, OBSERVED, NOISE, PRIOR_MEAN, PRIOR, Job())
    smoothed = ensemble_smoother(log_growth, OBSERVED, NOISE, PRIOR_MEAN, PRIOR, Job(), members=2000, seed=1)
    few = ensemble_smoother(log_growth, OBSERVED, NOISE, PRIOR_MEAN, PRIOR, Job(), members=128, seed=1)

    def log_density(x):
        prior, misfit = (x - PRIOR_MEAN) / np.sqrt(np.diag(PRIOR)), (OBSERVED - log_growth(x)) / NOISE
        return -0.5 * (prior @ prior + misfit @ misfit)

    np.random.seed(0)  # noqa: NPY002 - emcee draws from numpy's global generator
    walkers = emcee.EnsembleSampler(24, 2, log_density)
    walkers.run_mcmc(laplace.mean + 0.05 * np.random.default_rng(0).normal(size=(24, 2)), 1200)
    chain = walkers.get_chain(discard=200, flat=True)
    mean, sd = chain.mean(axis=0), chain.std(axis=0)
    for found, most in ((laplace, 0.15), (smoothed, 0.15), (few, 0.3)):
        assert np.abs((found.mean - mean) / sd).max() < most
        np.testing.assert_allclose(np.sqrt(np.diag(found.covariance)), sd, rtol=0.15)
    correlation = np.corrcoef(chain, rowvar=False)[0, 1]
    assert correlation < -0.5
    for found in (laplace, smoothed):
        here = found.covariance[0, 1] / np.sqrt(np.prod(np.diag(found.covariance)))
        assert here == pytest.approx(correlation, abs=0.1)


def test_the_smoother_is_seeded_and_refuses_too_few_members():
    first, again, other = (
        ensemble_smoother(log_growth, OBSERVED, NOISE, PRIOR_MEAN, PRIOR, Job(), members=20, seed=s).members
        for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01
    with pytest.raises(InvalidInput, match="more than 3 members"):
        ensemble_smoother(log_growth, OBSERVED, NOISE, PRIOR_MEAN, PRIOR, Job(), members=3)


def patients(number, noise_factor):
    """Laplace's fits, with and without discrepancy, of patients whose noise is the stated one times a factor."""
    random = np.random.default_rng(7)
    for _ in range(number):
        truth = random.multivariate_normal(PRIOR_MEAN, PRIOR)
        observed = log_growth(truth) + noise_factor * NOISE * random.normal(size=DAYS.size)
        yield (
            truth,
            levenberg_marquardt(log_growth, observed, NOISE, PRIOR_MEAN, PRIOR, Job()),
            *fit_with_discrepancy(log_growth, observed, NOISE, PRIOR_MEAN, PRIOR, Job()),
        )


def covered(truth, fit):
    return np.abs(truth - fit.mean) < 1.645 * np.sqrt(np.diag(fit.covariance))


def test_intervals_of_ninety_percent_hold_the_truth_of_about_ninety_in_a_hundred_patients():
    found = [(covered(truth, plain), covered(truth, wide)) for truth, plain, wide, _ in patients(100, 1.0)]
    for share in np.mean(found, axis=0).ravel():
        assert 0.85 <= share <= 0.95


def test_noise_that_was_understated_is_found_and_the_intervals_widened():
    found = [
        (covered(truth, plain), covered(truth, wide), d.noise_factor) for truth, plain, wide, d in patients(60, 4.0)
    ]
    plain, wide = (np.mean([f[n] for f in found]) for n in (0, 1))
    assert plain < 0.65
    assert wide > plain + 0.15
    assert 2.5 < np.median([f[2] for f in found]) < 5.0


def test_the_residuals_tell_a_trend_from_scatter():
    """A tumour that slows as no logistic curve does leaves residuals that follow each other."""
    bent = log_growth(np.log([0.06, 0.05])) + 1.6 * np.sin(np.pi * DAYS / 60.0)
    _, discrepancy = fit_with_discrepancy(log_growth, bent, NOISE, PRIOR_MEAN, PRIOR, Job())
    assert discrepancy.noise_factor > 1.5
    alternating = Discrepancy(1.0, np.array([1.0, -1.0, 1.0, -1.0, 1.0]), 0.5)
    assert alternating.autocorrelation == pytest.approx(-0.8)
    assert Discrepancy(1.0, np.array([1.0, 1.1, 0.9, 1.0]), 0.5).autocorrelation > 0.7
    assert Discrepancy(1.0, np.array([1.0, 2.0, 3.0]), 0.5).bias == 2.0
    assert np.isnan(Discrepancy(1.0, np.array([1.0, 2.0, 3.0]), 0.5).autocorrelation)


def test_one_observation_that_does_not_fit_is_told_but_not_explained_away():
    for distance, improbable in ((1.0, False), (4.0, True)):
        fit, discrepancy = fit_with_discrepancy(
            lambda x: np.tanh(x), np.array([distance]), np.array([0.5]), np.zeros(1), np.eye(1), Job()
        )
        assert discrepancy.is_improbable is improbable
        assert discrepancy.noise_factor == 1.0
        assert fit.converged
