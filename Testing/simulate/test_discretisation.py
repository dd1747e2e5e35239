"""The error of a grid, estimated from two of them, beside the true one."""

import numpy as np
import pytest

from TwinCore import Grid, Job, NotResolved
from TwinSimulateLib import registry
from TwinSimulateLib.model import Anatomy
from TwinSimulateLib.numerics.diffusion import ReactionDiffusion
from TwinSimulateLib.numerics.discretisation import check_discretisation, discretisation_error
from TwinSimulateLib.numerics.travelling_wave import front_length_mm, front_profile, front_speed_mm_per_day

SHAPE = (44, 44, 44)
TIMES = (0.0, 30.0, 60.0)
PARAMETERS = {"diffusivity": 0.03, "proliferation_rate": 0.03}


@pytest.fixture(scope="module")
def thigh():
    axes = np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in SHAPE], indexing="ij")
    tumour = sum(a**2 for a in axes) < 8.0**2
    return Anatomy(Grid.isotropic(SHAPE), {"tumour": tumour, "soft tissue": np.ones(SHAPE, bool)})


def volumes(anatomy, spacing):
    model = registry.find("tumour_growth", "soft-tissue sarcoma")
    model.spacing_mm = spacing
    return model.simulate(anatomy, PARAMETERS, TIMES, Job()).curves["volume"].values, model


def test_errors_that_fall_with_the_square_of_the_spacing_are_told_exactly():
    assert discretisation_error(lambda h: np.array([1.0, 2.0 + 0.1 * h**2]), 1.5) == pytest.approx(0.225 / 2.225)
    assert discretisation_error(lambda h: np.zeros(2), 1.0) == 0.0


def test_the_mass_behind_a_travelling_wave_is_as_wrong_as_estimated():
    """Of the exact wave, the estimate is within a third of the true error while the front is resolved."""
    diffusivity, rate, days = 0.2, 0.05, 100.0
    length, travelled = front_length_mm(diffusivity, rate), front_speed_mm_per_day(diffusivity, rate) * days

    def mass(spacing):
        x = np.arange(-40.0, 90.0, spacing) + 0.5 * spacing
        equation = ReactionDiffusion(np.ones((3, 3, x.size), bool), (spacing,) * 3, dtype=np.float64)
        start = np.broadcast_to(front_profile(x, length, 0.5), (3, 3, x.size))
        return np.array([equation.advance(start, diffusivity, rate, days)[1, 1].sum() * spacing])

    fine = np.arange(-40.0, 90.0, 0.001) + 0.0005
    exact = front_profile(fine - travelled, length, 0.5).sum() * 0.001
    for spacing in (1.0, 2.0):
        true = abs(mass(spacing)[0] / exact - 1.0)
        assert discretisation_error(mass, spacing) == pytest.approx(true, rel=0.35)


def test_a_tumour_s_error_is_of_the_size_that_a_finer_grid_shows(thigh):
    reference, _ = volumes(thigh, 0.6)
    coarse, model = volumes(thigh, 2.0)
    true = np.abs(coarse - reference).max() / reference.max()
    estimated = model.volume_error(thigh, PARAMETERS, TIMES, Job())
    assert 0.003 < true < 0.05
    assert 0.4 * true < estimated < 2.5 * true


def test_predictions_tell_the_error_of_their_grid(thigh):
    model = registry.find("tumour_growth", "soft-tissue sarcoma")
    prediction = model.predict(thigh, model.prior(), TIMES, Job(), members=2)
    assert 0 < prediction.numbers["discretisation_error"].value < 0.05


def test_a_wrong_grid_is_warned_of_and_a_worse_one_refused():
    job = Job()
    check_discretisation(0.05, 2.0, "tumour volume", job)
    assert not job.warnings
    check_discretisation(0.10, 2.0, "tumour volume", job)
    assert "tumour volume wrong by about 10 %" in job.warnings[0]
    with pytest.raises(NotResolved, match="1 mm or finer") as caught:
        check_discretisation(0.2001, 2.0, "tumour volume", job)
    assert caught.value.spacing_mm == pytest.approx(1.0, rel=1e-3)
