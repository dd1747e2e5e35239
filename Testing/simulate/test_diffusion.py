"""The reaction-diffusion solver against exact solutions and conservation."""

import math
import threading

import numpy as np
import pytest

from TwinCore import InvalidInput, Job, JobCancelled, NotResolved
from TwinSimulateLib.numerics.diffusion import ReactionDiffusion
from TwinSimulateLib.numerics.level_set import voxels_above
from TwinSimulateLib.numerics.travelling_wave import (
    RESOLVED,
    WELL_RESOLVED,
    check_resolution,
    front_length_mm,
    front_profile,
    front_reach_mm,
    front_speed_mm_per_day,
)


def front_position(u, x, level=0.5):
    """Where a falling profile crosses a level, by linear interpolation of its phase."""
    n = np.flatnonzero((u[:-1] >= level) & (u[1:] < level))[-1]
    before, after, wanted = (np.log(value**-0.5 - 1) for value in (u[n], u[n + 1], level))
    return x[n] + (wanted - before) / (after - before) * (x[n + 1] - x[n])


def wave_error(diffusivity, rate, days, spacing):
    """Error of the front's position, in mm, and largest of the density, after a wave has travelled."""
    length, speed = front_length_mm(diffusivity, rate), front_speed_mm_per_day(diffusivity, rate)
    x = np.arange(-10 * length, speed * days + 12 * length, spacing)
    domain = np.ones((3, 3, x.size), bool)  # faces on all sides, so that the time step is that of a volume
    equation = ReactionDiffusion(domain, (spacing, spacing, spacing), dtype=np.float64)
    u = equation.advance(domain * front_profile(x, length, 0.5), diffusivity, rate, days)[1, 1]
    exact = front_profile(x - speed * days, length, 0.5)
    return front_position(u, x) - speed * days, np.abs(u - exact).max()


def test_travelling_wave_is_the_published_one():
    assert front_speed_mm_per_day(0.1, 0.05) * 400 == pytest.approx(57.735, abs=1e-3)
    assert front_speed_mm_per_day(0.3, 0.05) * 400 == pytest.approx(100.0, abs=1e-3)


def test_the_reach_of_a_wave_is_where_its_profile_says():
    diffusivity, rate, threshold, density = 0.1, 0.05, 0.8, 0.01
    length = front_length_mm(diffusivity, rate)
    for days in (0.0, 100.0):
        ahead = front_reach_mm(diffusivity, rate, days, threshold, density)
        travelled = days * front_speed_mm_per_day(diffusivity, rate)
        assert front_profile(ahead - travelled, length, threshold) == pytest.approx(density)


def test_travelling_wave_converges_at_second_order():
    errors = np.array([wave_error(0.1, 0.05, 400.0, spacing) for spacing in (1.0, 0.5, 0.25)])
    assert abs(errors[0, 0]) < 0.05
    assert abs(errors[1, 0]) < 0.015
    orders = np.log2(errors[:-1, 1] / errors[1:, 1])
    assert orders.min() > 1.8


@pytest.mark.parametrize("diffusivity", [0.1, 0.3])
def test_travelling_wave_is_where_it_should_be(diffusivity):
    """After 57.7 and 100 mm: at most 1.2, 0.25 and 0.05 mm off at 2, 1 and 0.5 mm."""
    for spacing, most in ((2.0, 1.2), (1.0, 0.25), (0.5, 0.05)):
        assert abs(wave_error(diffusivity, 0.05, 400.0, spacing)[0]) < most


def test_a_front_from_compact_data_has_the_speed_of_bramson():
    """2 sqrt(D rho) less 3/2 sqrt(D / rho) / t, to 0.2 % (Bramson 1983, Memoirs of the AMS 285), from 400 days on."""
    diffusivity, rate, days = 0.3, 0.05, (400.0, 800.0, 1000.0, 2000.0)
    speed, width = 2 * math.sqrt(diffusivity * rate), math.sqrt(diffusivity / rate)
    x = np.arange(speed * days[-1] + 40.0)
    equation = ReactionDiffusion(np.ones((3, 3, x.size), bool), (1.0, 1.0, 1.0), dtype=np.float64)
    u, places, now = np.broadcast_to(np.exp(-(x**2) / 18.0), (3, 3, x.size)), [], 0.0
    for time in days:
        u, now = equation.advance(u, diffusivity, rate, time - now), time
        places.append(front_position(u[1, 1], x))
    for n in (0, 2):
        passed = days[n + 1] - days[n]
        expected = speed - 1.5 * width * math.log(days[n + 1] / days[n]) / passed
        assert (places[n + 1] - places[n]) / passed == pytest.approx(expected, rel=2e-3)


def test_diffusion_of_a_cosine_converges_at_second_order():
    length, diffusivity, days = 32.0, 0.5, 40.0
    errors = []
    for cells in (16, 32, 64):
        x = (np.arange(cells) + 0.5) * length / cells
        mode = np.cos(math.pi * x / length)
        equation = ReactionDiffusion(np.ones((1, cells, 1), bool), (1.0, length / cells, 1.0), dtype=np.float64)
        u = equation.advance((0.5 + 0.3 * mode)[None, :, None], diffusivity, 0.0, days)[0, :, 0]
        exact = 0.5 + 0.3 * mode * math.exp(-diffusivity * (math.pi / length) ** 2 * days)
        errors.append(np.abs(u - exact).max())
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert orders.min() > 1.8


def test_heat_kernel_on_anisotropic_voxels_converges_at_second_order():
    diffusivity, days, width, errors = 0.4, 12.0, 6.0, []
    for refined in (1, 2):
        spacing = np.array([0.8, 1.0, 1.25]) / refined
        axes = [np.arange(-n, n + 1) * h for n, h in zip(np.ceil(16.0 / spacing[::-1]).astype(int), spacing[::-1])]
        squared = sum(a**2 for a in np.meshgrid(*axes, indexing="ij"))
        equation = ReactionDiffusion(np.ones(squared.shape, bool), spacing, dtype=np.float64)
        u = equation.advance(np.exp(-squared / (2 * width)), diffusivity, 0, days)
        later = width + 2 * diffusivity * days
        errors.append(np.abs(u - (width / later) ** 1.5 * np.exp(-squared / (2 * later))).max())
    assert errors[1] < 0.001
    assert np.log2(errors[0] / errors[1]) > 1.8


@pytest.mark.parametrize(("dtype", "most"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_mass_is_conserved_on_a_random_heterogeneous_mask(dtype, most):
    random = np.random.default_rng(0)
    domain = random.random((24, 20, 22)) < 0.7
    relative = random.uniform(0.05, 1.0, domain.shape)
    u = random.random(domain.shape) * domain
    equation = ReactionDiffusion(domain, (0.8, 1.1, 2.5), relative, dtype=dtype)
    after = equation.advance(u, 0.3, 0.0, 300.0)
    assert after.sum(dtype=float) == pytest.approx(u.sum(), rel=most)
    assert np.abs(after - u).max() > 0.1
    assert not after[~domain].any()


def test_logistic_growth_is_exact():
    equation = ReactionDiffusion(np.ones((3, 3, 3), bool), (1, 1, 1), dtype=np.float64)
    u = equation.advance(np.full((3, 3, 3), 0.02), 0.2, 0.07, 90.0)
    exact = 0.02 * math.exp(0.07 * 90) / (1 + 0.02 * (math.exp(0.07 * 90) - 1))
    np.testing.assert_allclose(u, exact, rtol=1e-12)


def test_nothing_leaks_across_a_barrier():
    domain = np.ones((9, 9, 21), bool)
    domain[:, :, 10] = False
    u = np.zeros(domain.shape)
    u[:, :, :5] = 1.0
    after = ReactionDiffusion(domain, (1, 1, 1)).advance(u, 1.0, 0.1, 200.0)
    assert not after[:, :, 10:].any()
    assert after[:, :, 9].min() > 0.5


def test_slower_layer_gets_the_harmonic_mean():
    """Steady flux through two layers in series is set by the sum of their resistances, exactly."""
    n, slow = 20, 0.1
    relative = np.ones((1, 1, n))
    relative[..., n // 2 :] = slow
    equation = ReactionDiffusion(np.ones((1, 1, n), bool), (1, 1, 1), relative, dtype=np.float64)
    resistance = np.concatenate([[0.0], np.cumsum(0.5 / relative[0, 0, :-1] + 0.5 / relative[0, 0, 1:])])
    steady = 1.0 - resistance / resistance[-1]
    after = equation.advance(steady[None, None], 1.0, 0.0, 0.5)[0, 0]
    np.testing.assert_allclose(after[2:-2], steady[2:-2], atol=1e-12)


def test_single_precision_agrees_with_double():
    random = np.random.default_rng(1)
    domain = random.random((12, 13, 14)) < 0.9
    u = random.random(domain.shape)
    single, double = (
        ReactionDiffusion(domain, (1, 2, 1), dtype=t).advance(u, 0.2, 0.05, 30.0) for t in (np.float32, np.float64)
    )
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, double, atol=1e-5)


@pytest.mark.parametrize("tensor", [False, True])
def test_no_density_is_too_small_for_a_normalised_number(tensor):
    """The processor takes a hundred times as long for those."""
    u = np.zeros((5, 5, 161))
    u[2, 2, 80] = 0.5
    along = np.broadcast_to(np.diag([0.5, 0.5, 2.0]), (*u.shape, 3, 3)) if tensor else None
    after = ReactionDiffusion(np.ones(u.shape, bool), (1, 1, 1), tensor=along).advance(u, 1.0, 0.05, 12.0)
    assert 1e-30 < after[after > 0].min() < 1e-27
    assert not after[:, :, 0].any()


def test_volume_of_a_ball_is_finer_than_a_voxel():
    axis = np.arange(-20, 21) * 1.0
    distance = np.sqrt(sum(a**2 for a in np.meshgrid(axis, axis, axis, indexing="ij")))
    equation = ReactionDiffusion(np.ones(distance.shape, bool), (1, 1, 1))
    for radius in (12.0, 12.2, 12.4):
        above, _ = voxels_above(equation, equation.state(front_profile(distance - radius, 4.0, 0.6)), 0.6)
        assert above == pytest.approx(4 / 3 * math.pi * radius**3, rel=5e-3)


@pytest.mark.parametrize(("ratio", "most"), [(WELL_RESOLVED, 0.05), (RESOLVED, 0.20)])
def test_speed_error_at_the_limits_of_resolution(ratio, most):
    diffusivity, rate = 0.2, 0.05
    spacing = math.sqrt(diffusivity / rate) / ratio
    days = 40 * spacing / front_speed_mm_per_day(diffusivity, rate)
    assert 0 < wave_error(diffusivity, rate, days, spacing)[0] / (40 * spacing) < most


def test_a_thin_front_is_warned_of_and_a_thinner_one_refused():
    job = Job()
    check_resolution(0.05, 0.05, 1.0 / WELL_RESOLVED, "white matter", job)
    assert not job.warnings
    check_resolution(0.05, 0.05, 2.0, "white matter", job)
    assert "white matter" in job.warnings[0]
    with pytest.raises(NotResolved, match=r"white matter.*1\.43 mm or finer") as caught:
        check_resolution(0.05, 0.05, 3.0, "white matter", job)
    check_resolution(0.05, 0.05, caught.value.spacing_mm, "white matter", Job())


def test_a_run_stops_when_its_job_is_cancelled():
    job = Job()
    equation = ReactionDiffusion(np.ones((40, 40, 40), bool), (1, 1, 1))
    threading.Timer(0.2, job.cancel).start()
    with pytest.raises(JobCancelled):
        equation.advance(np.full((40, 40, 40), 0.1), 1.0, 0.01, 1e7, job)


def test_bad_domains_are_refused():
    with pytest.raises(InvalidInput, match="empty"):
        ReactionDiffusion(np.zeros((3, 3, 3), bool), (1, 1, 1))
    with pytest.raises(InvalidInput, match="positive"):
        ReactionDiffusion(np.ones((3, 3, 3), bool), (1, 1, 1), np.zeros((3, 3, 3)))
