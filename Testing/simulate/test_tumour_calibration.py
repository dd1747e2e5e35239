"""Calibration of the tumour growth model: its Jacobian, visits in sequence, the smoother's check, the discrepancy."""

from dataclasses import replace

import numpy as np
import pytest

from TwinCore import Grid, InvalidInput, Job
from TwinCore.parameter import complete
from TwinSimulateLib import registry
from TwinSimulateLib.inference.differences import forward_jacobian, richardson_jacobian
from TwinSimulateLib.model import Anatomy, Observation
from TwinSimulateLib.numerics.diffusion import ReactionDiffusion
from TwinSimulateLib.radiotherapy import NO_TREATMENT
from TwinSimulateLib.tumour_run import observed_volumes

SHAPE = (32, 32, 32)
TRUTH = {"proliferation_rate": 0.035, "diffusivity": 0.03}
LOG_SD = 0.05


@pytest.fixture(scope="module")
def thigh():
    axes = np.meshgrid(*[np.arange(n) - 15.5 for n in SHAPE], indexing="ij")
    return Anatomy(
        Grid.isotropic(SHAPE), {"tumour": sum(a**2 for a in axes) < 6.0**2, "soft tissue": np.ones(SHAPE, bool)}
    )


@pytest.fixture(scope="module")
def model():
    return registry.find("tumour_growth", "soft-tissue sarcoma")


@pytest.fixture(scope="module")
def visits(model, thigh):
    """Two visits, each with the volume at the model's own threshold and at a lower one, with their noise."""
    asked = [Observation("volume", day, 1.0, LOG_SD, t) for day in (30.0, 60.0) for t in (None, 0.16)]
    member, stages = complete(model.parameters, TRUTH), model._stages(thigh)
    (spacing,) = stages.plan([member], 60.0, Job())
    seen = observed_volumes(stages, spacing, member, asked, NO_TREATMENT, Job())
    noise = np.exp(LOG_SD * np.random.default_rng(2).normal(size=len(asked)))
    return [replace(o, value=value) for o, value in zip(asked, seen * noise)]


def test_the_jacobian_of_the_solver_is_that_of_richardson_differences():
    """Of masses and of a density, in double precision, one run a parameter with a step of 1e-6."""
    equation = ReactionDiffusion(np.ones((9, 10, 11), bool), (1.0, 1.0, 1.0), dtype=np.float64)
    start = np.zeros((9, 10, 11))
    start[3:6, 3:6, 3:6] = 0.4

    def forward(logs):
        early = equation.advance(start, np.exp(logs[0]), np.exp(logs[1]), 9.0)
        late = equation.advance(early, np.exp(logs[0]), np.exp(logs[1]), 9.0)
        return np.log([early.sum(), late.sum(), late[4, 4, 4]])

    at = np.log([0.21, 0.06])
    richardson = richardson_jacobian(forward, at, 0.02)
    np.testing.assert_allclose(forward_jacobian(forward, at, forward(at), 1e-6), richardson, atol=1e-5)
    assert np.abs(richardson).min(axis=0).max() > 0.1


def test_a_new_visit_updates_the_posterior_of_the_earlier_one(model, thigh, visits):
    joint = model.calibrate(thigh, visits, Job())
    before = model.calibrate(thigh, visits[:2], Job())
    after = model.calibrate(thigh, visits[2:], Job(), prior=before)
    sd = np.sqrt(np.diag(joint.log_covariance))
    assert np.abs((after.log_mean - joint.log_mean) / sd).max() < 0.15
    np.testing.assert_allclose(np.sqrt(np.diag(after.log_covariance)), sd, rtol=0.05)
    assert (np.sqrt(np.diag(before.log_covariance))[:2] > 1.2 * sd[:2]).all()
    assert list(after.held_out.columns["time"]) == [60.0, 60.0]
    np.testing.assert_allclose(after.held_out.columns["predicted"], joint.held_out.columns["predicted"], rtol=0.02)


def test_the_smoother_agrees_with_laplace(model, thigh, visits):
    posterior, job = model.calibrate(thigh, visits, Job()), Job()
    table = model.check_calibration(thigh, visits, posterior, job)
    assert np.abs(table.columns["shift_in_sd"]).max() < 0.3
    assert not job.warnings
    for name, low, high in zip(*(table.columns[c] for c in ("parameter", "smoothed_low_90", "smoothed_high_90"))):
        np.testing.assert_allclose([low, high], posterior.interval(name), rtol=0.1)
    odd = replace(posterior, log_mean=posterior.log_mean + 2 * np.sqrt(np.diag(posterior.log_covariance)))
    model.check_calibration(thigh, visits, odd, job)
    assert any("proliferation_rate" in w and "disagree" in w for w in job.warnings)


def test_visits_that_no_growth_explains_widen_the_interval(model, thigh, visits):
    job = Job()
    odd = [replace(o, value=o.value * factor) for o, factor in zip(visits, (1.3, 1.3, 0.75, 0.75))]
    plain, wide = model.calibrate(thigh, visits, Job()), model.calibrate(thigh, odd, job)
    assert plain.discrepancy.noise_factor == 1.0
    assert wide.discrepancy.noise_factor > 2.0
    assert wide.log_covariance[0, 0] > 4 * plain.log_covariance[0, 0]
    assert any("widened" in warning for warning in job.warnings)
    np.testing.assert_allclose(wide.fit.columns["residual_in_sd"], wide.discrepancy.residuals)


def test_a_prior_of_another_model_is_refused(model, thigh, visits):
    other = registry.find("radiotherapy", "glioma").prior()
    with pytest.raises(InvalidInput, match="proliferation_rate"):
        model.calibrate(thigh, visits, Job(), prior=other)
