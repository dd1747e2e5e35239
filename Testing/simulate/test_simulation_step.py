"""The step on a twin in a real scene: what it reads, what it leaves there."""

import numpy as np
import pytest

from TwinCore import Grid, InvalidInput, Job, JobCancelled, MissingInput, MissingPackage, Segmentation
from TwinCore.scene import (
    Twin,
    execute,
    new_scene,
    node_to_image,
    node_to_sequence,
    node_to_table,
    node_to_transform,
    snapshot,
)
from TwinSimulateLib.model import Observation
from TwinSimulateLib.radiotherapy import SCENARIOS, Schedule
from TwinSimulateLib.step import SimulationStep

SHAPE = (26, 26, 26)


@pytest.fixture
def twin():
    try:
        scene = new_scene()
    except MissingPackage as error:
        pytest.skip(str(error))
    twin = Twin.create("Virtual", scene)
    k, j, i = np.mgrid[:26, :26, :26]
    tumour = (k - 13) ** 2 + (j - 13) ** 2 + (i - 13) ** 2 < 36
    anatomy = Segmentation.from_masks(Grid.isotropic(SHAPE), {"GTV": tumour, "Body": np.ones(SHAPE, bool)})
    with twin.run("TwinSegment", {}) as run:
        run.add_segmentation(anatomy, "Anatomy")
    return twin


def step(**changes):
    chosen = {"segments": {"tumour": "GTV", "soft tissue": "Body"}, "horizon_days": 20, "members": 3, **changes}
    return SimulationStep("soft-tissue sarcoma", **chosen)


def test_a_prediction_is_left_in_the_scene(twin):
    run = execute(twin, step())
    start = run.results["volume_ml"]
    assert start.unit == "mL"
    assert run.results["predicted_volume_ml, none"].value > start.value
    assert len(twin.nodes("field")) == 2 * len(SCENARIOS)
    fields = [node_to_image(node) for node in twin.nodes("field")]
    assert all(f.unit == "1" and f.time == 20.0 and 0 <= f.array.min() <= f.array.max() <= 1 for f in fields)
    frames = node_to_sequence(twin.node("sequence"))
    assert [f.time for f in frames] == pytest.approx(np.linspace(0, 20, 7))
    tables = {t.name: t for t in map(node_to_table, twin.nodes("table"))}
    assert list(tables["Scenarios"].columns["scenario"]) == ["none", "25 x 2 Gy", "5 x 6 Gy"]
    volumes = tables["Viable tumour volume"]
    assert volumes.units["none"] == "mL"
    assert (np.diff(volumes.columns["none"]) > 0).all()
    assert volumes.columns["none"][0] == pytest.approx(start.value, rel=0.03)
    assert twin.nodes("plot")
    assert 0 < run.results["discretisation_error"].value < 0.05
    assert twin.provenance()[0]["parameters"]["seed"] == 0


def test_tissue_that_moves_leaves_its_move_in_the_scene(twin):
    tissues = {"tumour": "GTV", "white matter": "Body", "grey matter": "Body"}
    given = {"horizon_days": 5, "members": 2, "scenarios": SCENARIOS[:1], "values": {"mass_effect_strain": 0.2}}
    run = execute(twin, SimulationStep("glioma", tissues, **given))
    move = node_to_transform(twin.node("transform"))
    shift = next(f for f in map(node_to_image, twin.nodes("field")) if f.unit == "mm")
    assert shift.array.max() == pytest.approx(run.results["largest_displacement"].value)
    assert shift.array.max() > 0
    assert np.abs(move.pull(shift.grid.centre + [8.0, 0, 0]) - shift.grid.centre - [8.0, 0, 0]).max() > 0


def test_follow_up_calibrates_the_prediction(twin):
    before = execute(twin, step()).results
    after = execute(
        twin, step(observations=[Observation("volume", 10.0, 3.0 * before["volume_ml"].value, 0.05)])
    ).results
    assert after["predicted_volume_ml, none"].value > 1.5 * before["predicted_volume_ml, none"].value
    assert after["proliferation_rate"].value > before["proliferation_rate"].value
    assert after["noise_factor"].value == 1.0
    assert "noise_factor" not in before


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"segments": {"tumour": "GTV"}}, MissingInput, "soft tissue.*Body"),
        ({"segments": {"tumor": "GTV"}}, InvalidInput, "takes: tumour"),
        ({"horizon_days": 0}, InvalidInput, "horizon"),
        ({"model": "weather"}, InvalidInput, "tumour_growth"),
        ({"scenarios": (Schedule("a"), Schedule("a"))}, InvalidInput, "distinct"),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_the_scene_alone(twin, changes, error, words):
    before = snapshot(twin.scene)
    with pytest.raises(error, match=words):
        execute(twin, step(**changes))
    assert snapshot(twin.scene) == before


def test_a_cancelled_run_leaves_the_scene_alone(twin):
    before, job = snapshot(twin.scene), Job()
    job.cancel()
    with pytest.raises(JobCancelled):
        execute(twin, step(), job)
    assert snapshot(twin.scene) == before
