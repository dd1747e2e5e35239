"""Levenberg-Marquardt, Laplace's posterior and the ensembles."""

import numpy as np
import pytest

from TwinCore import InvalidInput, Job, LogNormal, Parameter
from TwinSimulateLib.inference.ensemble import band, normal_draws
from TwinSimulateLib.inference.levenberg_marquardt import levenberg_marquardt
from TwinSimulateLib.model import Estimate, Posterior


def test_a_linear_gaussian_problem_is_solved_exactly():
    random = np.random.default_rng(3)
    matrix, offset = random.normal(size=(6, 3)), random.normal(size=6)
    observed, noise = random.normal(size=6), random.uniform(0.1, 0.5, 6)
    prior_mean, prior_sd = random.normal(size=3), random.uniform(0.5, 2.0, 3)
    fit = levenberg_marquardt(
        lambda x: matrix @ x + offset, observed, noise, prior_mean, prior_sd, Job(), tolerance=1e-9
    )
    precision = matrix.T @ np.diag(noise**-2) @ matrix + np.diag(prior_sd**-2)
    mean = np.linalg.solve(precision, matrix.T @ np.diag(noise**-2) @ (observed - offset) + prior_mean / prior_sd**2)
    assert fit.converged
    np.testing.assert_allclose(fit.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(fit.covariance, np.linalg.inv(precision), rtol=1e-6)


def test_a_curved_problem_reaches_its_minimum():
    fit = levenberg_marquardt(
        lambda x: np.array([np.exp(x[0]), x[0] * x[1]]),
        np.array([20.0, 6.0]),
        np.array([0.01, 0.01]),
        np.zeros(2),
        np.full(2, 10.0),
        Job(),
    )
    assert fit.converged
    np.testing.assert_allclose(fit.mean, [np.log(20.0), 6.0 / np.log(20.0)], rtol=1e-3)


def test_observations_without_noise_are_refused():
    with pytest.raises(InvalidInput, match="noise"):
        levenberg_marquardt(lambda x: x, np.ones(1), np.zeros(1), np.zeros(1), np.ones(1), Job())


def test_prior_draws_have_the_prior_s_quantiles():
    declared = Parameter("rate", "r", "/d", 0.05, 1e-4, 10.0, "", "", LogNormal(0.05, 3.0))
    drawn = [s["rate"] for s in Posterior.prior([declared]).samples(400, seed=1)]
    assert np.median(drawn) == pytest.approx(0.05, rel=0.02)
    assert np.quantile(drawn, 0.95) == pytest.approx(0.15, rel=0.05)
    assert Posterior.prior([declared]).interval("rate") == pytest.approx((0.05 / 3, 0.15))


def test_draws_are_seeded_and_stratified():
    first, again, other = normal_draws(48, 3, 5), normal_draws(48, 3, 5), normal_draws(48, 3, 6)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1
    assert np.abs(first.mean(axis=0)).max() < 0.05


def test_intervals_allow_events_that_have_not_come():
    estimate = Estimate.of_members(np.array([10.0, 20.0, 30.0, np.inf, np.inf]), "d")
    assert estimate.value == 30.0
    assert estimate.interval_90 == (10.0, np.inf)
    assert band(np.arange(101.0), 90.0) == pytest.approx([5, 95], abs=1)
