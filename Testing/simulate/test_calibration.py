"""Levenberg-Marquardt, Laplace's posterior and the ensembles."""

import numpy as np
import pytest

from TwinCore import InvalidInput, Job, LogNormal, Parameter
from TwinSimulateLib.inference.differences import forward_jacobian, richardson_jacobian
from TwinSimulateLib.inference.ensemble import band, normal_draws
from TwinSimulateLib.inference.levenberg_marquardt import levenberg_marquardt
from TwinSimulateLib.model import Estimate, Posterior


def linear_problem(seed, data=6, parameters=3):
    """A random linear-Gaussian problem and its exact posterior's mean and covariance."""
    random = np.random.default_rng(seed)
    matrix, offset = random.normal(size=(data, parameters)), random.normal(size=data)
    noise, root = random.uniform(0.1, 0.5, data), random.normal(size=(parameters, parameters))
    prior_mean, prior = random.normal(size=parameters), root @ root.T + 0.1 * np.eye(parameters)
    observed = matrix @ random.multivariate_normal(prior_mean, prior) + offset + noise * random.normal(size=data)
    gain = prior @ matrix.T @ np.linalg.inv(matrix @ prior @ matrix.T + np.diag(noise**2))
    mean = prior_mean + gain @ (observed - offset - matrix @ prior_mean)
    return lambda x: matrix @ x + offset, observed, noise, prior_mean, prior, mean, prior - gain @ matrix @ prior


@pytest.mark.parametrize("seed", range(5))
def test_a_linear_gaussian_problem_is_solved_exactly(seed):
    """The exact posterior is that of the Kalman gain, another formula than Laplace's."""
    *problem, mean, covariance = linear_problem(seed)
    fit = levenberg_marquardt(*problem, Job())
    assert fit.converged
    np.testing.assert_allclose(fit.mean, mean, atol=1e-6)
    np.testing.assert_allclose(fit.covariance, covariance, rtol=1e-6, atol=1e-6 * np.abs(covariance).max())


def test_the_jacobian_of_forward_runs_agrees_with_richardson_differences():
    """Of the logistic curve, whose derivatives are known, and of each other: one run a parameter, and four."""
    days, start = np.array([20.0, 40.0, 60.0]), 0.05

    def forward(logs):
        odds = start / (1 - start) * np.exp(np.exp(logs[0]) * days)
        return np.exp(logs[1]) * odds / (1 + odds)

    at = np.log([0.05, 3.0])
    u = forward(at) / np.exp(at[1])
    exact = np.stack([np.exp(at[1]) * u * (1 - u) * 0.05 * days, np.exp(at[1]) * u], axis=1)
    richardson = richardson_jacobian(forward, at, 0.02)
    np.testing.assert_allclose(richardson, exact, atol=1e-5 * np.abs(exact).max())
    one_run = forward_jacobian(forward, at, forward(at), 1e-6)
    np.testing.assert_allclose(one_run, richardson, atol=1e-5 * np.abs(exact).max())
    steps = [np.abs(richardson_jacobian(forward, at, h) - exact).max() for h in (0.4, 0.2)]
    assert np.log2(steps[0] / steps[1]) > 3.8


def test_a_curved_problem_reaches_its_minimum():
    fit = levenberg_marquardt(
        lambda x: np.array([np.exp(x[0]), x[0] * x[1]]),
        np.array([20.0, 6.0]),
        np.array([0.01, 0.01]),
        np.zeros(2),
        100.0 * np.eye(2),
        Job(),
    )
    assert fit.converged
    np.testing.assert_allclose(fit.mean, [np.log(20.0), 6.0 / np.log(20.0)], rtol=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_a_new_visit_updates_as_if_all_had_come_at_once(seed):
    forward, observed, noise, mean, covariance, all_mean, all_covariance = linear_problem(seed)
    for visit in (slice(0, 2), slice(2, 5), slice(5, 6)):
        seen = levenberg_marquardt(
            lambda x, v=visit: forward(x)[v], observed[visit], noise[visit], mean, covariance, Job()
        )
        mean, covariance = seen.mean, seen.covariance
    np.testing.assert_allclose(mean, all_mean, atol=1e-6)
    np.testing.assert_allclose(covariance, all_covariance, atol=1e-6 * np.abs(all_covariance).max())


def test_observations_without_noise_are_refused():
    with pytest.raises(InvalidInput, match="noise"):
        levenberg_marquardt(lambda x: x, np.ones(1), np.zeros(1), np.zeros(1), np.eye(1), Job())
    with pytest.raises(InvalidInput, match="positive definite"):
        levenberg_marquardt(lambda x: x, np.ones(1), np.ones(1), np.zeros(1), -np.eye(1), Job())


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
