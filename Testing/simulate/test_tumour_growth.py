"""The tumour growth model on small virtual anatomies: start, calibration, prediction, comparison."""

import threading

import numpy as np
import pytest

from TwinCore import Grid, InvalidInput, Job, JobCancelled, MissingInput, NotResolved
from TwinCore.parameter import complete
from TwinSimulateLib import registry
from TwinSimulateLib.model import Anatomy, Observation
from TwinSimulateLib.radiotherapy import NO_TREATMENT, SCENARIOS, Schedule
from TwinSimulateLib.tumour_run import run_member

SHAPE = (40, 44, 42)


def ball(radius_mm, spacing=(1.0, 1.0, 1.0), centre=(0.0, 0.0, 0.0), shape=SHAPE):
    axes = [(np.arange(n) - (n - 1) / 2) * h - c for n, h, c in zip(shape, spacing[::-1], centre)]
    return sum(a**2 for a in np.meshgrid(*axes, indexing="ij")) < radius_mm**2


@pytest.fixture(scope="module")
def thigh():
    """A tumour of 7 mm radius in 1 mm voxels, with a bone 12 mm to its side."""
    tumour, bone = ball(7.0), ball(5.0, centre=(0, 0, 14.0))
    return Anatomy(Grid.isotropic(SHAPE), {"tumour": tumour, "soft tissue": ~bone})


@pytest.fixture
def model():
    return registry.find("tumour_growth", "soft-tissue sarcoma")


def test_the_registry_names_what_there_is():
    with pytest.raises(InvalidInput, match="tumour_growth"):
        registry.find("heart", "")
    with pytest.raises(InvalidInput, match="glioma"):
        registry.find("tumour_growth", "lymphoma")


def test_every_preset_declares_its_parameters_with_source_and_bounds():
    for preset in registry.find("tumour_growth", "glioma").presets:
        for p in registry.find("tumour_growth", preset).parameters:
            assert p.low <= p.default <= p.high
            assert p.source
            assert p.prior is None or p.prior.median == p.default


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 1.0, 2.5)])
def test_the_start_reproduces_the_outline(spacing):
    model = registry.find("tumour_growth", "soft-tissue sarcoma")
    tumour = ball(8.0, spacing)
    anatomy = Anatomy(Grid(SHAPE, np.diag([*spacing, 1.0])), {"tumour": tumour, "soft tissue": np.ones(SHAPE, bool)})
    model.spacing_mm = 1.0 if spacing == (1.0, 1.0, 1.0) else None
    start = model.simulate(anatomy, {"detection_threshold": 0.6}, [0.0], Job())
    seen = start.fields["density"].array >= 0.6
    if model.spacing_mm:
        np.testing.assert_array_equal(seen, tumour)
    else:
        assert np.count_nonzero(seen ^ tumour) < 0.1 * np.count_nonzero(tumour)
    assert start.numbers["volume"].value == pytest.approx(
        np.count_nonzero(tumour) * anatomy.grid.voxel_volume_ml, rel=0.03
    )


def test_growth_stays_in_its_tissue_and_grows(model, thigh):
    result = model.simulate(thigh, {"diffusivity": 0.1, "proliferation_rate": 0.05}, range(0, 61, 10), Job())
    volume, density = result.curves["volume"].values, result.fields["density"].array
    assert (np.diff(volume) > 0).all()
    assert not density[thigh.tissues["soft tissue"] == 0].any()
    assert density.max() <= 1.0


def test_the_volume_hardly_depends_on_the_grid(thigh):
    volumes = []
    for spacing in (1.4, 1.0, 0.7):
        model = registry.find("tumour_growth", "soft-tissue sarcoma")
        model.spacing_mm = spacing
        volumes.append(model.simulate(thigh, {}, [0.0, 40.0], Job()).numbers["volume"].value)
    assert volumes == pytest.approx([volumes[-1]] * 3, rel=0.03)


def test_the_box_is_widened_until_the_front_fits(model):
    """A tumour that fills much of its box ends as in a box that is large from the start."""
    shape = (60, 60, 60)
    anatomy = Anatomy(Grid.isotropic(shape), {"tumour": ball(6.0, shape=shape), "soft tissue": np.ones(shape, bool)})
    parameters = {"diffusivity": 0.2, "proliferation_rate": 0.06}
    stages = model._stages(anatomy)
    (spacing,) = stages.plan([parameters], 1.0, Job())
    narrow = stages.stage(spacing).margin_mm
    member = complete(model.parameters, parameters)
    run = run_member(stages, spacing, member, NO_TREATMENT, np.array([0.0, 60.0]), (0.5,), Job())
    assert run.stage.margin_mm > narrow
    whole = model.simulate(anatomy, parameters, [0.0, 60.0], Job())
    assert run.volume_ml[-1, 0] == pytest.approx(whole.numbers["volume"].value, rel=0.01)


def test_missing_tissue_and_impossible_parameters_are_named(model, thigh):
    with pytest.raises(MissingInput, match="soft tissue"):
        model.simulate(Anatomy(thigh.grid, {"tumour": thigh.tissues["tumour"]}), {}, [0, 1], Job())
    with pytest.raises(InvalidInput, match="diffusivity"):
        model.simulate(thigh, {"diffusivity": -1.0}, [0, 1], Job())
    with pytest.raises(InvalidInput, match="ascending"):
        model.simulate(thigh, {}, [5, 1], Job())
    with pytest.raises(InvalidInput, match="empty"):
        model.simulate(Anatomy(thigh.grid, {**thigh.tissues, "tumour": np.zeros(SHAPE, bool)}), {}, [0, 1], Job())


def test_a_front_thinner_than_the_grid_is_refused(thigh):
    model = registry.find("tumour_growth", "soft-tissue sarcoma")
    model.spacing_mm = 2.0
    with pytest.raises(NotResolved, match="spacing"):
        model.simulate(thigh, {"diffusivity": 0.005, "proliferation_rate": 0.1}, [0, 1], Job())


def test_the_same_seed_gives_the_same_prediction(model, thigh):
    first, again, other = (
        model.predict(thigh, model.prior(), [0, 15, 30], Job(), members=4, seed=s) for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.curves["volume"].members, again.curves["volume"].members)
    assert np.abs(first.curves["volume"].members - other.curves["volume"].members).max() > 0
    low, high = first.curves["volume"].band(90)
    assert (low <= first.curves["volume"].values).all()
    assert (first.curves["volume"].values <= high).all()


def test_more_dose_leaves_less(model, thigh):
    scenarios = (*SCENARIOS, Schedule.of(2, 2.0))
    comparison = model.compare(thigh, model.prior(), scenarios, range(0, 61, 6), Job(), members=6, seed=3)
    burden = {name: p.curves["burden"].members[:, -1] for name, p in comparison.predictions.items()}
    assert (burden["25 x 2 Gy"] < burden["2 x 2 Gy"]).all()
    assert (burden["2 x 2 Gy"] < burden["none"]).all()
    columns = comparison.table.columns
    assert columns["scenario"] == [s.name for s in scenarios]
    assert columns["difference"][0] == 0.0
    assert columns["probability_of_benefit"][:2] == [0.0, 1.0]
    probability = comparison.predictions["none"].fields["probability"].array
    assert probability[thigh.tissues["tumour"]].min() == 1.0
    assert 0.0 < probability[~thigh.tissues["tumour"]].max() <= 1.0
    none = comparison.predictions["none"].numbers
    assert none["days_to_regrow"].value == 0.0
    assert comparison.predictions["2 x 2 Gy"].numbers["surviving_fraction"].value < 1.0


def test_regrowth_is_timed(model, thigh):
    result = model.predict(thigh, model.prior(), range(0, 121, 4), Job(), Schedule.of(1, 2.0), members=3, seed=0)
    days = result.numbers["days_to_regrow"].value
    volume = np.interp(days, result.curves["volume"].times_days, result.curves["volume"].values)
    assert 4 < days < 120
    assert volume == pytest.approx(result.curves["volume"].values[0], rel=0.1)


def test_growth_and_spread_are_recovered_from_two_visits(model, thigh):
    """The outline at day 0 is drawn at the model's own threshold; another one, at a lower threshold, sees farther."""
    truth = {"proliferation_rate": 0.035, "diffusivity": 0.03}
    random, days, observed = np.random.default_rng(5), [0, 30, 60], []
    for threshold in (None, 0.16):
        member = complete(model.parameters, truth)
        stages = model._stages(thigh)
        (spacing,) = stages.plan([member], 60.0, Job())
        level = member["detection_threshold"] if threshold is None else threshold
        run = run_member(stages, spacing, member, NO_TREATMENT, np.array(days, float), (level,), Job())
        observed += [
            Observation("volume", day, value * np.exp(0.05 * random.normal()), 0.05, threshold)
            for day, value in zip(days, run.volume_ml[:, 0])
            if day or threshold
        ]
    posterior = model.calibrate(thigh, observed, Job())
    prior = model.prior()
    for name, value in truth.items():
        low, high = posterior.interval(name)
        assert low < value < high
        prior_low, prior_high = prior.interval(name)
        assert high / low < 0.6 * prior_high / prior_low
    held_out = posterior.held_out.columns
    assert list(held_out["time"]) == [60, 60]
    assert (0.5 * np.array(held_out["observed"]) < held_out["predicted"]).all()
    assert (np.array(held_out["predicted"]) < 2 * np.array(held_out["observed"])).all()
    assert (np.array(held_out["low_90"]) < held_out["predicted"]).all()
    assert posterior.map["alpha"] == pytest.approx(prior.map["alpha"])


@pytest.mark.parametrize(
    "wrong", [{"value": 0.0}, {"log_sd": 0.0}, {"time_days": -1.0}, {"threshold": 1.0}, {"quantity": "mass"}]
)
def test_observations_that_cannot_be_are_refused(model, thigh, wrong):
    fields = {"quantity": "volume", "time_days": 30.0, "value": 2.0, "log_sd": 0.1, **wrong}
    with pytest.raises(InvalidInput, match="Observation"):
        model.calibrate(thigh, [Observation(**fields)], Job())


def test_cancelling_stops_an_ensemble(model, thigh):
    job = Job()
    threading.Timer(0.3, job.cancel).start()
    with pytest.raises(JobCancelled):
        model.predict(thigh, model.prior(), range(365), job, members=200)


def test_glioma_is_slower_in_grey_matter():
    shape = (40, 40, 60)
    white = np.zeros(shape, bool)
    white[:, :, 30:] = True
    anatomy = Anatomy(
        Grid.isotropic(shape), {"tumour": ball(7.0, shape=shape), "white matter": white, "grey matter": ~white}
    )
    job = Job()
    glioma = registry.find("tumour_growth", "glioma")
    density = glioma.simulate(anatomy, {}, [0, 50], job).fields["density"].array
    assert density[20, 20, 50] > 5 * density[20, 20, 9]
    assert any("grey matter" in warning for warning in job.warnings)
    assert [r.name for r in glioma.requires() if not r.optional] == ["tumour", "white matter", "grey matter"]
    assert [(r.kind, r.name) for r in glioma.requires() if r.optional] == [
        ("segment", "barrier"),
        ("image", "diffusion_tensor"),
        ("image", "dose"),
        ("image", "hypoxia"),
        ("image", "drug_delivery"),
        ("segment", "resection"),
    ]
