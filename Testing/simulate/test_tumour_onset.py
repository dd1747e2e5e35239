"""A glioma's onset from outlines of one day: known origins are found, and what cannot be known stays as uncertain."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from glioma_brains import TRUTH, brain, with_tumour

from TwinCore import Grid, Image, InvalidInput, Job, MissingInput, centroid, resample
from TwinSimulateLib.model import Anatomy, Observation
from TwinSimulateLib.numerics.level_set import voxels_above
from TwinSimulateLib.onset_forward import CELL_MM, OnsetForward
from TwinSimulateLib.onset_unknowns import FITTED, ORIGIN, OnsetPosterior, onset, prior
from TwinSimulateLib.tumour_growth import TumourGrowth
from TwinSimulateLib.tumour_onset import DETERMINED, TIME_SCALE, TumourOnset

VOXEL_MM = 2.0
"""Of the grid of the fit."""


@pytest.fixture(scope="module")
def patient() -> Anatomy:
    return with_tumour(brain(), TRUTH)


@pytest.fixture(scope="module")
def fit(patient):
    return TumourOnset().fit(patient, Job())


@pytest.fixture(scope="module")
def noisy():
    return TumourOnset().fit(with_tumour(brain(1), TRUTH, outline_sd_mm=2.0, seed=1), Job())


def _off_mm(posterior: OnsetPosterior) -> float:
    return math.dist([posterior.map[name] for name in ORIGIN], [TRUTH[name] for name in ORIGIN])


def _holds(posterior: OnsetPosterior) -> dict[str, bool]:
    held = {name: posterior.interval(name)[0] <= TRUTH[name] <= posterior.interval(name)[1] for name in FITTED}
    for name, (powers, _) in DETERMINED.items():
        _, low, high = posterior.combined(powers)
        held[name] = low <= math.prod(TRUTH[p] ** power for p, power in powers.items()) <= high
    return held


def test_the_origin_and_all_that_one_day_can_tell_are_found(fit):
    assert _off_mm(fit.posterior) < VOXEL_MM
    assert all(_holds(fit.posterior).values())
    assert fit.rms_mm < 0.5
    assert np.ptp(fit.starts) < 0.1 * max(fit.starts.min(), 1.0)


def test_outlines_that_are_off_by_2_mm_move_the_origin_by_little(noisy, fit):
    assert _off_mm(noisy.posterior) < 2 * VOXEL_MM
    held = _holds(noisy.posterior)
    assert all(held[name] for name in DETERMINED)
    assert noisy.independent < 0.7 * noisy.cubes
    wider = [np.diff(f.posterior.interval("origin_r"))[0] for f in (noisy, fit)]
    assert wider[0] > 1.2 * wider[1]


def test_the_time_scale_is_the_priors_alone(patient, fit):
    posterior, belief = fit.posterior, TumourOnset().prior(patient)
    weights = np.array([TIME_SCALE.get(p.name, 0.0) for p in posterior.parameters])
    assert weights @ posterior.log_covariance @ weights == pytest.approx(
        weights @ belief.log_covariance @ weights, rel=0.02
    )
    assert weights @ posterior.log_mean == pytest.approx(weights @ belief.log_mean, abs=0.05)
    told = dict(zip(posterior.fit.columns["parameter"], posterior.fit.columns["share_of_prior_sd"]))
    assert told["time_scale"] == pytest.approx(1.0, abs=0.01)
    assert told["growth_times_age"] < 0.3
    assert told["alpha"] == 1.0


def test_only_products_with_the_age_matter(patient):
    forward = OnsetForward(patient, 3.0)
    slower = {**TRUTH, "age": 3 * TRUTH["age"]}
    slower |= {name: TRUTH[name] / 3 for name in ("diffusivity", "proliferation_rate")}
    np.testing.assert_allclose(forward.density(TRUTH), forward.density(slower), rtol=1e-4, atol=1e-7)


def test_shares_of_cubes_add_up_to_the_volume(patient):
    forward = OnsetForward(patient, 2.0)
    density = forward.density(TRUTH)
    equation = forward._equation(TRUTH["white_to_grey_ratio"])
    for name in ("oedema_threshold", "detection_threshold"):
        cubes = forward.outline(density, TRUTH, TRUTH[name]).sum() * CELL_MM**3
        voxels, _ = voxels_above(equation, equation.state(density), TRUTH[name])
        assert cubes == pytest.approx(voxels * forward.grid.voxel_volume_ml * 1000.0, rel=0.03)


def test_tissue_stays_in_place_on_every_grid(patient):
    box = np.zeros(patient.grid.shape, bool)
    box[30:42, 20:50, 20:40] = True
    anatomy = replace(patient, tissues={**patient.tissues, "tumour": box, "flair": box})
    for spacing_mm in (3.0, 2.0, 1.0):
        forward = OnsetForward(anatomy, spacing_mm)
        np.testing.assert_allclose(centroid(forward.flair_share, forward.grid), centroid(box, patient.grid), atol=0.1)
        assert forward.flair_share.sum() * spacing_mm**3 == pytest.approx(box.sum() * 1.5**3, rel=0.01)


def test_the_grid_is_fine_enough(patient):
    volumes = []
    for spacing_mm in (2.0, 1.5, 1.0):
        forward = OnsetForward(patient, spacing_mm)
        volumes.append(
            forward.outline(forward.density(TRUTH), TRUTH, TRUTH["oedema_threshold"]).sum() * CELL_MM**3 / 1000
        )
    assert volumes == pytest.approx([volumes[2]] * 3, rel=0.005)


def test_the_ensemble_smoother_agrees(noisy):
    patient = with_tumour(brain(1), TRUTH, outline_sd_mm=2.0, seed=1)
    check = TumourOnset().check_calibration(patient, (), noisy.posterior, Job())
    sd, other = (np.array(check.columns[name]) for name in ("sd", "smoothed_sd"))
    assert np.abs(check.columns["shift_in_sd"]).max() < 1.0
    assert (other / sd).min() > 0.6
    assert (other / sd).max() < 2.0


def test_today_and_the_growth_that_goes_on_from_it(patient, fit):
    model = TumourOnset()
    today = model.today(patient, fit.posterior, Job(), members=8)
    assert today.numbers["dice_flair"].value > 0.95
    assert today.numbers["dice_t1"].value > 0.95
    assert today.fields["density"].grid.same_as(patient.grid)
    low, high = today.numbers["volume_t1"].interval_90
    observed_ml = np.count_nonzero(patient.tissue("tumour")) * patient.grid.voxel_volume_ml
    assert low <= observed_ml <= high
    assert today.numbers["beyond_flair_0.01"].value > today.numbers["beyond_flair_0.1"].value > 0
    ahead = model.predict(patient, fit.posterior, [0, 30], Job(), members=8).curves["volume"]
    assert np.median(ahead.members[:, 0]) == pytest.approx(today.numbers["volume_t1"].value, rel=0.06)
    assert (ahead.members[:, 1] > 1.05 * ahead.members[:, 0]).all()


def test_growth_starts_from_a_given_density():
    shape = (24, 24, 24)
    grid = Grid.isotropic(shape, 2.0)
    tissue = np.ones(shape, bool)
    tumour = np.zeros(shape, bool)
    tumour[8:16, 8:16, 8:16] = True
    given = np.where(tumour, 0.9, 0.05).astype(np.float32)
    anatomy = Anatomy(
        grid, {"tumour": tumour, "white matter": tissue, "grey matter": ~tissue}, {"density": Image(given, grid)}
    )
    model = TumourGrowth("glioma", spacing_mm=2.0)
    started = model.frames(anatomy, {}, [0], Job())[0].array
    np.testing.assert_allclose(started, given, atol=1e-6)
    burden = model.simulate(anatomy, {}, [0, 20], Job()).curves["burden"].values
    assert burden[0] == pytest.approx(given.sum() * grid.voxel_volume_ml, rel=1e-5)
    assert burden[1] > burden[0]
    wave = model.frames(replace(anatomy, images={}), {}, [0], Job())[0].array
    assert abs(wave - given).max() > 0.1


def test_a_pet_is_fitted_where_the_tumour_lives(patient):
    forward = OnsetForward(patient, 1.5)
    density = forward.density(TRUTH)
    shown = 0.3 + 2.0 * resample(forward.image(density), patient.grid).array
    tumour = patient.tissue("tumour")
    anatomy = replace(patient, images={"pet": Image(np.where(tumour, shown, 0.0), patient.grid)})
    model = TumourOnset()
    fit = model.fit(anatomy, Job())
    assert _off_mm(fit.posterior) < VOXEL_MM
    assert model.today(anatomy, fit.posterior, Job(), members=2).numbers["pet_correlation"].value > 0.95


def test_intervals_and_samples_are_in_each_parameters_own_unit():
    belief = prior(onset("glioma").parameters, np.array([-30.0, 10.0, 5.0]), 8.0)
    assert belief.map["origin_r"] == -30.0
    assert belief.map["white_to_grey_ratio"] == pytest.approx(10.0)
    assert belief.interval("origin_r") == pytest.approx((-30.0 - 1.645 * 8.0, -30.0 + 1.645 * 8.0), abs=0.01)
    low, high = belief.interval("detection_threshold")
    assert 0.4 < low < 0.7 < high < 0.9
    drawn = belief.samples(64, seed=0)
    assert min(m["white_to_grey_ratio"] for m in drawn) >= 1.0
    assert all(0.0 < m["oedema_threshold"] < 1.0 for m in drawn)
    middle, low, high = belief.combined({"proliferation_rate": 1.0, "age": 1.0})
    assert low < middle == pytest.approx(12.5)
    assert high > 12.5


def test_mistakes_are_named(patient):
    model = TumourOnset()
    empty = replace(patient, tissues={**patient.tissues, "tumour": np.zeros(patient.grid.shape, bool)})
    with pytest.raises(InvalidInput, match="empty"):
        model.fit(empty, Job())
    with pytest.raises(MissingInput, match="flair"):
        model.fit(replace(patient, tissues={n: t for n, t in patient.tissues.items() if n != "flair"}), Job())
    with pytest.raises(InvalidInput, match="one day alone"):
        model.calibrate(patient, [Observation("volume", 30.0, 12.0, 0.1)], Job())
    with pytest.raises(InvalidInput, match="sarcoma"):
        TumourOnset("soft-tissue sarcoma")
    with pytest.raises(InvalidInput, match="divide"):
        OnsetForward(patient, 2.5)
    with pytest.raises(MissingInput, match="anatomy"):
        model.prior()
