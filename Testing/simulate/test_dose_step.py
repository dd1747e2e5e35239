"""The radiotherapy model and a calibration as runs on a twin, and the answers that lead to them."""

from __future__ import annotations

import numpy as np
import pytest

from TwinCore import Grid, Image, InvalidInput, MissingInput, Segmentation
from TwinCore.scene import Twin, execute, node_to_image, node_to_table
from TwinSimulateLib import registry
from TwinSimulateLib.asked import step_for, treatment_of
from TwinSimulateLib.calibration_step import CalibrationStep
from TwinSimulateLib.dose_step import DoseStep
from TwinSimulateLib.expected import Work, expected
from TwinSimulateLib.radiotherapy import Schedule

GRID = Grid.isotropic((20, 22, 24), 2.0)
TUMOUR = ((np.indices(GRID.shape) - np.array([10, 11, 12])[:, None, None, None]) ** 2).sum(0) < 25


@pytest.fixture
def twin(scene):
    twin = Twin.create("Patient", scene)
    with twin.run("TwinSegment", {}) as run:
        run.add_segmentation(Segmentation.from_masks(GRID, {"GTV": TUMOUR, "Body": ~TUMOUR}), "Anatomy")
    return twin


def uniform(gy: float, **changes) -> Image:
    return Image(np.full(GRID.shape, gy, np.float32), GRID, name="Plan", **{"unit": "Gy", **changes})


def step(**changes) -> DoseStep:
    plans = [Schedule.of(25, 2.0), Schedule.of(5, 5.0)]
    chosen = {"dose": uniform(50.0), "segments": {"tumour": "GTV"}, "scenarios": plans, "members": 8, **changes}
    return DoseStep("glioma", **chosen)


def test_a_uniform_dose_in_fractions_of_2_gy_is_its_own_equivalent(twin):
    run = execute(twin, step())
    assert run.results["eqd2_mean_tumour, 25 x 2 Gy"].value == pytest.approx(50.0, rel=1e-3)
    field = node_to_image(twin.nodes("field")[0])
    assert (field.name, field.unit) == ("EQD2, 25 x 2 Gy", "Gy")
    np.testing.assert_allclose(field.array, 50.0, rtol=1e-3)
    # EQD2 = D (d + a/b) / (2 + a/b) at the preset's alpha/beta of 8 Gy: 25 Gy x 13 / 10
    np.testing.assert_allclose(node_to_image(twin.nodes("field")[1]).array, 32.5, rtol=1e-3)
    table = node_to_table(twin.node("table"))
    assert list(table.columns["scenario"]) == ["25 x 2 Gy", "5 x 5 Gy"]


def test_another_alpha_beta_moves_the_equivalent(twin):
    execute(twin, step(values={"alpha_beta": 2.0}))
    np.testing.assert_allclose(node_to_image(twin.nodes("field")[1]).array, 25.0 * 7.0 / 4.0, rtol=1e-3)
    assert twin.provenance()[0]["parameters"]["values"] == {"alpha_beta": 2.0}


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"dose": uniform(50.0, unit="g/mL")}, InvalidInput, "'Plan' is no dose in Gy"),
        ({"dose": uniform(-1.0)}, InvalidInput, "no dose in Gy"),
        ({"scenarios": ()}, MissingInput, "give the schedule"),
        ({"segments": {"tumour": "PTV"}}, MissingInput, "no segment 'PTV'"),
        ({"segments": {"tumour": "GTV", "nose": "GTV"}}, InvalidInput, "no use for 'nose'"),
        ({"members": 1}, InvalidInput, "from 2 to 10000"),
        ({"values": {"gamma": 1.0}}, InvalidInput, "Unknown parameter 'gamma'"),
    ],
)
def test_what_cannot_be_is_named(twin, changes, error, words):
    with pytest.raises(error, match=words):
        execute(twin, step(**changes))
    assert twin.nodes("field") == []


def test_a_calibration_moves_the_belief_towards_what_was_seen(twin):
    chosen = {"segments": {"tumour": "GTV", "soft tissue": "Body"}}
    start = float(TUMOUR.sum() * GRID.voxel_volume_ml)
    fast, slow = (
        execute(
            twin, step_for("soft-tissue sarcoma", calibrate=True, observations=[(20, factor * start, 5)], **chosen)
        ).results["proliferation_rate"]
        for factor in (3.0, 1.05)
    )
    assert fast.value > slow.value
    assert fast.interval_90[0] < fast.interval_50[0] < fast.value < fast.interval_50[1] < fast.interval_90[1]
    assert [node_to_table(node).name for node in twin.nodes("table")] == ["Fit", "Fit"]
    with pytest.raises(MissingInput, match="nothing to calibrate on"):
        execute(twin, CalibrationStep("soft-tissue sarcoma"))


def test_answers_lead_to_the_step_of_the_model():
    assert treatment_of(25, 2.0).name == "25 x 2 Gy"
    grown = step_for("glioma", treatments=[(5, 6.0, 14)], received="25 x 2 Gy", observations=[(90, 31.0, 10)])
    assert [s.name for s in grown.scenarios] == ["none", "5 x 6 Gy from day 14"]
    assert (grown.received.name, grown.observations[0].log_sd) == ("25 x 2 Gy", 0.1)
    planned = step_for("glioma", "radiotherapy", treatments=[(30, 2.0)], dose=uniform(60.0))
    assert [s.name for s in planned.scenarios] == ["30 x 2 Gy"]
    with pytest.raises(InvalidInput, match="'radiotherapy' takes no observations"):
        step_for("glioma", "radiotherapy", dose=uniform(60.0), observations=[(90, 31.0, 10)])


@pytest.mark.parametrize("name", registry.MODELS)
def test_what_is_declared_is_what_the_model_has(name):
    for preset, title in registry.presets_of(name).items():
        model, declared = registry.find(name, preset), registry.declared(name, preset)
        assert (model.parameters, model.requires()) == (declared.parameters, declared.requires)
        assert model.presets[preset] == title
    assert model.title == registry.MODELS[name].title


def test_a_parameter_at_another_value_is_believed_to_lie_about_it():
    model = registry.find("tumour_growth", "glioma", {"diffusivity": 0.2, "detection_threshold": 0.5})
    assert model.prior().map["diffusivity"] == pytest.approx(0.2)
    assert model.prior().map["alpha"] == pytest.approx(0.06)
    assert next(p for p in model.parameters if p.name == "detection_threshold").default == 0.5
    with pytest.raises(InvalidInput, match="must be a number from"):
        registry.find("tumour_growth", "glioma", {"diffusivity": 99.0})


def test_time_grows_with_the_work():
    values = {"diffusivity": 0.05, "proliferation_rate": 0.02}
    one = expected(Work(10, 2, 60.0, values), 1_000_000, 1e6, 15.0)
    assert one.seconds == pytest.approx(10 * 2 * 0.055, rel=0.5)  # measured: 0.05 s a run
    assert expected(Work(20, 3, 60.0, values), 1_000_000, 1e6, 15.0).seconds == pytest.approx(3 * one.seconds)
    assert expected(Work(10, 2, 180.0, values), 1_000_000, 1e6, 15.0).seconds > one.seconds
    assert expected(Work(10, 2, 60.0, values), 1_000_000, 1e6, 200.0).seconds > one.seconds
    assert expected(Work(10, 2, 60.0, values), 1_000_000, 20.0, 15.0).seconds < one.seconds  # the grid is all there is
    assert expected(Work(10, 2, 0.0, {}), 1000, 1e6).seconds == pytest.approx(0.5)
    late = expected(Work(10, 2, 60.0, values, first_s=65.0), 1_000_000, 1e6, 15.0)
    assert late.seconds == pytest.approx(65.0 + one.seconds)
    assert one.memory_bytes == 64_000_000
