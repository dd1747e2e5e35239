"""Calibration of tumour growth on images: recovery, operators and their derivatives, correlated noise, errors."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.ndimage import gaussian_filter

from TwinCore import Grid, Image, InvalidInput, Job
from TwinCore.parameter import complete
from TwinSimulateLib import registry
from TwinSimulateLib.inference.differences import forward_jacobian, richardson_jacobian
from TwinSimulateLib.model import Anatomy, Observation
from TwinSimulateLib.numerics.diffusion import ReactionDiffusion
from TwinSimulateLib.numerics.level_set import share_above
from TwinSimulateLib.tumour_observations import Cellularity, Outline, Uptake, days_between
from TwinSimulateLib.tumour_read_outs import Visit, cut_off_mean, cut_off_variance, read_outs

SHAPE = (30, 30, 30)
GRID = Grid.isotropic(SHAPE)
TRUTH = {"proliferation_rate": 0.035, "diffusivity": 0.04}
DAYS = (0.0, 30.0)
FITTED = ("proliferation_rate", "diffusivity")


@pytest.fixture(scope="module")
def thigh():
    axes = np.meshgrid(*[np.arange(n) - 14.5 for n in SHAPE], indexing="ij")
    return Anatomy(GRID, {"tumour": sum(a**2 for a in axes) < 6.0**2, "soft tissue": np.ones(SHAPE, bool)})


@pytest.fixture(scope="module")
def model():
    return registry.find("tumour_growth", "soft-tissue sarcoma")


@pytest.fixture(scope="module")
def exact():
    """The same model on the anatomy's own grid, so that images of its runs are what it shows, to the last digit."""
    found = registry.find("tumour_growth", "soft-tissue sarcoma")
    found.spacing_mm = 1.0
    return found


@pytest.fixture(scope="module")
def densities(exact, thigh):
    return exact.frames(thigh, TRUTH, DAYS, Job())


@pytest.fixture(scope="module")
def stage(model, thigh):
    stages = model._stages(thigh)
    (spacing,) = stages.plan([complete(model.parameters, TRUTH)], 40.0, Job())
    return stages.stage(spacing)


def part_within(density, threshold=0.5):
    """The part of each voxel within an outline."""
    equation = ReactionDiffusion(np.ones(SHAPE, bool), GRID.spacing)
    return Image(share_above(equation, density.array, threshold), GRID, name="outline")


def noisy(density, seed, sd=0.26, correlation_mm=3.0):
    error = gaussian_filter(np.random.default_rng(seed).standard_normal(SHAPE), correlation_mm / 2**0.5)
    return density.with_array(np.clip(density.array + sd * error / error.std(), 0, 1).astype(np.float32))


@pytest.mark.parametrize("kind", ["cellularity", "outlines", "uptake", "all"])
def test_growth_is_recovered_from_images_without_noise(exact, thigh, densities, kind):
    maps = [Cellularity(t, d, noise_sd=0.01) for t, d in zip(DAYS, densities)]
    outlines = [Outline(DAYS[1], part_within(densities[1], t), 0.01, t) for t in (0.5, 0.16)]
    uptakes = [
        Uptake(t, d.with_array(1.5 + 4.0 * d.array, unit="g/mL"), noise_sd=0.04) for t, d in zip(DAYS, densities)
    ]
    seen = {"cellularity": maps, "outlines": outlines, "uptake": uptakes, "all": [*maps, *outlines, *uptakes]}[kind]
    posterior = exact.calibrate(thigh, seen, Job())
    for name in FITTED:
        assert posterior.map[name] == pytest.approx(TRUTH[name], rel=0.01)
    if kind == "outlines":  # maps without noise lack what is cut off from noisy ones
        assert np.abs(posterior.fit.columns["residual_in_sd"]).max() < 0.1
    assert posterior.fit.columns["quantity"] == [o.quantity for o in sorted(seen, key=lambda o: o.time_days)]


def test_a_noisy_patient_is_within_the_interval_and_narrower_than_the_prior(model, thigh, densities):
    seen = [Cellularity(t, noisy(d, 3 + n)) for n, (t, d) in enumerate(zip(DAYS, densities))]
    seen.append(Outline(DAYS[1], part_within(densities[1]), 0.1))
    posterior, prior = model.calibrate(thigh, seen, Job()), model.prior()
    for name in FITTED:
        low, high = posterior.interval(name)
        assert low < TRUTH[name] < high
        wide = prior.interval(name)
        assert np.log(high / low) < 0.6 * np.log(wide[1] / wide[0])
    assert posterior.discrepancy.noise_factor == 1.0


def test_the_jacobian_of_each_read_out_is_that_of_richardson_differences(stage):
    """In double precision, one run a parameter with a step of 1e-6; relative to the largest entry."""
    precise = ReactionDiffusion(stage.equation.domain, stage.grid.spacing, dtype=np.float64)
    doubled = {name: getattr(stage, name).astype(float) for name in ("distance_mm", "relative_width")}
    stage = replace(stage, equation=precise, **doubled)

    def density(logs):
        return precise.advance(stage.start(*np.exp(logs), 0.5), *np.exp(logs), 20.0)

    at = np.log([TRUTH["diffusivity"], TRUTH["proliferation_rate"]])
    image = Image(np.clip(density(at + 0.1), 0, 1), stage.grid)
    mask = image.with_array(image.array >= 0.5)
    seen = [Cellularity(20.0, image), Uptake(20.0, image), Outline(20.0, mask)]
    for out in read_outs(seen, stage):

        def forward(logs, out=out):
            return out.shown(Visit({"detection_threshold": 0.5}, {}, density(logs), stage))

        richardson = richardson_jacobian(forward, at, 0.01)
        one_run = forward_jacobian(forward, at, forward(at), 1e-6)
        np.testing.assert_allclose(one_run, richardson, atol=1e-5 * np.abs(richardson).max())
        assert np.abs(richardson).max() > 0.05


def test_laplace_agrees_with_the_smoother_on_a_voxel_map(model, thigh, densities):
    image, near = noisy(densities[1], 5), sum((a - 14.5) ** 2 for a in np.indices(SHAPE)) < 10.0**2
    seen, job = [Cellularity(DAYS[1], image.with_array(np.where(near, image.array, np.nan)))], Job()
    posterior = model.calibrate(thigh, seen, Job())
    table = model.check_calibration(thigh, seen, posterior, job)
    fitted = [n for n, name in enumerate(table.columns["parameter"]) if name in FITTED]
    assert np.abs(np.array(table.columns["shift_in_sd"])[fitted]).max() < 0.4
    assert not job.warnings


def test_noise_cut_off_at_the_ends_has_the_mean_and_variance_of_integration():
    sd = 0.26
    for u in (0.0, 0.05, 0.4, 0.97, 1.0):

        def expected(power, u=u):
            def integrand(e):
                return np.clip(u + sd * e, 0, 1) ** power * np.exp(-0.5 * e**2) / np.sqrt(2 * np.pi)

            return quad(integrand, -9, 9, points=[-u / sd, (1 - u) / sd], limit=200)[0]

        mean = expected(1)
        assert cut_off_mean(np.array([u]), sd)[0] == pytest.approx(mean, abs=1e-9)
        assert cut_off_variance(np.array([u]), sd)[0] == pytest.approx(expected(2) - mean**2, abs=1e-9)


def test_voxels_that_err_together_never_make_an_interval_too_narrow(stage):
    """The exact covariance of the least-squares estimate under correlated errors, against the stated one."""
    sd, length = 0.26, 2.0
    centre = (np.array(stage.grid.shape) - 1) / 2
    box = np.array([5, 5, 5])
    low = (centre - box).astype(int)
    known = np.zeros(stage.grid.shape, bool)
    known[tuple(slice(a, a + 2 * b) for a, b in zip(low, box))] = True
    image = Image(np.where(known, 0.5, np.nan), stage.grid)
    (out,) = read_outs([Cellularity(0.0, image, sd, length)], stage)
    at = np.argwhere(known) * stage.grid.spacing[::-1]
    apart = ((at[:, None] - at[None]) ** 2).sum(-1)
    covariance = sd**2 * np.exp(-apart / (2 * length**2))
    assert np.linalg.eigvalsh(covariance).max() <= out.sd[0] ** 2
    middle = at - at.mean(axis=0)
    random = np.random.default_rng(0)
    for sensitivity in (
        np.ones(len(at)),
        middle[:, 0],
        np.exp(-((middle[:, 1] / 2) ** 2)),
        random.normal(size=len(at)),
    ):
        power = sensitivity @ sensitivity
        true = sensitivity @ covariance @ sensitivity / power**2
        assert true <= out.sd[0] ** 2 / power
    assert out.effective == pytest.approx(
        len(at) * 1000 * stage.grid.voxel_volume_ml / ((2 * np.pi) ** 1.5 * length**3), rel=0.1
    )


def test_uptake_does_not_depend_on_gain_and_offset(model, thigh, densities):
    plain = noisy(densities[1], 7)
    scaled = plain.with_array(2.5 + 7.0 * plain.array, unit="g/mL")
    first, second = (model.calibrate(thigh, [Uptake(DAYS[1], image)], Job()) for image in (plain, scaled))
    np.testing.assert_allclose(first.log_mean, second.log_mean, atol=2e-3)
    np.testing.assert_allclose(first.log_covariance, second.log_covariance, atol=2e-3)


def test_an_outline_tells_of_growth_what_its_volume_does(model, thigh, densities):
    outline = part_within(densities[1])
    volume = float(outline.array.sum() * GRID.voxel_volume_ml)
    by_outline = model.calibrate(thigh, [Outline(DAYS[1], outline, 0.1)], Job())
    by_volume = model.calibrate(thigh, [Observation("volume", DAYS[1], volume, 0.1)], Job())
    np.testing.assert_allclose(by_outline.log_mean, by_volume.log_mean, atol=0.05)
    deviations = [np.sqrt(np.diag(p.log_covariance)) for p in (by_outline, by_volume)]
    np.testing.assert_allclose(*deviations, rtol=0.1)
    assert by_outline.fit.columns["observed"][0] == pytest.approx(volume, rel=0.01)


def test_a_later_visit_is_foretold_from_the_earlier_ones(model, thigh, densities):
    seen = [Outline(15.0, part_within(densities[0]), 0.1), Outline(30.0, part_within(densities[1]), 0.1)]
    seen.append(Uptake(30.0, noisy(densities[1], 2)))
    held_out = model.calibrate(thigh, seen, Job()).held_out.columns
    assert held_out["quantity"] == ["outline"]
    assert held_out["low_90"][0] < held_out["predicted"][0] < held_out["high_90"][0]


def test_a_map_may_take_the_place_of_the_wave_at_the_start(exact, thigh, densities):
    """The density of the wave as a map starts the same tumour; where nothing is known, the wave does."""
    for known in (thigh.tissues["tumour"], np.zeros(SHAPE, bool), np.indices(SHAPE)[0] < 15):
        start = densities[0].with_array(np.where(known, densities[0].array, np.nan))
        mapped = replace(thigh, images={"cellularity": start})
        (_, later) = exact.frames(mapped, TRUTH, DAYS, Job())
        np.testing.assert_allclose(later.array, densities[1].array, atol=1e-5)
    half = replace(thigh, images={"cellularity": densities[0].with_array(0.5 * densities[0].array)})
    assert exact.frames(half, TRUTH, DAYS, Job())[1].array.sum() < 0.95 * densities[1].array.sum()


def far(image):
    return replace(image, grid=Grid.isotropic(image.grid.shape, origin_ras=(300.0, 0.0, 0.0)))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda d: Cellularity(-1.0, d), "before the reference scan"),
        (lambda d: Cellularity(30.0, d.with_array(1.2 * d.array + 0.1)), "from 0 to 1"),
        (lambda d: Cellularity(30.0, d.with_array(np.full(SHAPE, np.nan))), "no voxel has a value"),
        (lambda d: Cellularity(30.0, d, noise_sd=0.0), "noise must be above 0"),
        (lambda d: Cellularity(30.0, d, correlation_mm=-1.0), "correlation length"),
        (lambda d: Cellularity(30.0, far(d)), "frame of that scan"),
        (lambda d: Cellularity(30.0, d.with_array(np.stack([d.array] * 2, -1))), "one channel"),
        (lambda d: Outline(30.0, d.with_array(np.zeros(SHAPE, bool))), "nothing is outlined"),
        (lambda d: Outline(30.0, d.with_array(3 * (d.array > 0.5))), "from 0 to 1"),
        (lambda d: Outline(30.0, d.with_array(np.indices(SHAPE)[0] < 3)), "does not meet the tumour"),
        (lambda d: Outline(30.0, d.with_array(d.array > 0.5), threshold=1.5), "threshold between 0 and 1"),
        (lambda d: Uptake(30.0, d.with_array(np.ones(SHAPE))), "same value"),
    ],
)
def test_an_image_that_cannot_be_is_refused(model, thigh, densities, make, words):
    with pytest.raises(InvalidInput, match=words):
        model.calibrate(thigh, [make(densities[1])], Job())


def test_visits_are_placed_by_their_dates():
    assert days_between("2024-02-27", "2024-03-01") == 3.0
    assert days_between("2024-05-01T23:50:00", "2024-05-02") == 1.0
    for reference, visit, words in (
        ("2024-05-02", "2024-05-01", "before the reference scan"),
        (None, "2024-05-01", "has no date"),
        (0.0, "2024-05-01", "has no date"),
        ("2024-05-02", "1 May", "not an ISO date"),
    ):
        with pytest.raises(InvalidInput, match=words):
            days_between(reference, visit)
