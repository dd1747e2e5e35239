"""Sobol indices against the Ishigami function's own, beside SALib's, and of the tumour growth model's read-outs."""

import numpy as np
import pytest
from scipy.stats import norm

from TwinCore import Grid, InvalidInput, Job, JobCancelled
from TwinSimulateLib import registry
from TwinSimulateLib.inference.sobol import sobol
from TwinSimulateLib.model import Anatomy, Posterior
from TwinSimulateLib.radiotherapy import Schedule
from TwinSimulateLib.sensitivity import sensitivity

A, B = 7.0, 0.1


def ishigami(x):
    return np.sin(x[0]) + A * np.sin(x[1]) ** 2 + B * x[2] ** 4 * np.sin(x[0])


def exact_indices():
    """First-order and total (Sobol and Levitan 1999, Computer Physics Communications 117:52)."""
    alone = 0.5 * (1 + B * np.pi**4 / 5) ** 2, A**2 / 8, 0.0
    together = B**2 * np.pi**8 * 8 / 225
    variance = sum(alone) + together
    return np.array(alone) / variance, (np.array(alone) + [together, 0.0, together]) / variance


def test_the_ishigami_function_has_its_exact_indices():
    first, total = exact_indices()
    np.testing.assert_allclose(first, [0.3139, 0.4424, 0.0], atol=1e-4)
    np.testing.assert_allclose(total, [0.5576, 0.4424, 0.2437], atol=1e-4)
    found = sobol(lambda z: [ishigami(np.pi * (2 * norm.cdf(z) - 1)), 3.0], 3, Job(), samples=4096, seed=1)
    np.testing.assert_allclose(found.first[0], first, atol=0.02)
    np.testing.assert_allclose(found.total[0], total, atol=0.02)
    assert not found.first[1].any()


def test_salib_finds_the_same():
    analyze = pytest.importorskip("SALib.analyze.sobol")
    sample = pytest.importorskip("SALib.sample.sobol")
    problem = {"num_vars": 3, "names": ["a", "b", "c"], "bounds": [[-np.pi, np.pi]] * 3}
    points = sample.sample(problem, 4096, calc_second_order=False, seed=3)
    theirs = analyze.analyze(problem, ishigami(points.T), calc_second_order=False, seed=3)
    ours = sobol(lambda z: [ishigami(np.pi * (2 * norm.cdf(z) - 1))], 3, Job(), samples=4096, seed=2)
    np.testing.assert_allclose(ours.first[0], theirs["S1"], atol=0.02)
    np.testing.assert_allclose(ours.total[0], theirs["ST"], atol=0.02)


@pytest.fixture(scope="module")
def anatomy():
    shape = (24, 24, 24)
    axes = np.meshgrid(*[np.arange(n) - 11.5 for n in shape], indexing="ij")
    tumour = sum(a**2 for a in axes) < 5.0**2
    return Anatomy(Grid.isotropic(shape), {"tumour": tumour, "soft tissue": np.ones(shape, bool)})


@pytest.fixture(scope="module")
def model():
    return registry.find("tumour_growth", "soft-tissue sarcoma")


def test_what_drives_a_tumour_s_volume(model, anatomy):
    schedule, job = Schedule.of(2, 2.0), Job()
    table = sensitivity(model, anatomy, model.prior(), [0.0, 20.0], job, samples=16, treatment=schedule)
    rows = zip(table.columns["read_out"], table.columns["parameter"], table.columns["total"])
    total = {(read_out, parameter): share for read_out, parameter, share in rows}
    assert total["surviving_fraction", "proliferation_rate"] == total["surviving_fraction", "diffusivity"] == 0.0
    assert total["surviving_fraction", "alpha"] > 4 * total["surviving_fraction", "alpha_beta"] > 0.0
    assert min(total["volume", p.name] for p in model.prior().parameters) > 0.0
    assert not job.warnings


def test_correlations_are_warned_of_and_bad_numbers_refused(model, anatomy):
    belief, job = model.prior(), Job()
    covariance = belief.log_covariance.copy()
    covariance[0, 1] = covariance[1, 0] = -0.8 * np.sqrt(covariance[0, 0] * covariance[1, 1])
    together = Posterior(belief.parameters, belief.log_mean, covariance)
    sensitivity(model, anatomy, together, [0.0, 5.0], job, samples=2)
    assert any("proliferation_rate and diffusivity" in warning for warning in job.warnings)
    with pytest.raises(InvalidInput, match="power of two"):
        sensitivity(model, anatomy, belief, [0.0, 5.0], Job(), samples=3)
    with pytest.raises(InvalidInput, match="no uncertain parameter"):
        sensitivity(model, anatomy, Posterior((), np.zeros(0), np.zeros((0, 0))), [0.0, 5.0], Job())
    job.cancel()
    with pytest.raises(JobCancelled):
        sensitivity(model, anatomy, belief, [0.0, 5.0], job)
