"""The step on a twin in a real scene: what it reads, what it leaves there."""

from dataclasses import replace

import numpy as np
import pytest

from TwinCore import (
    Grid,
    GridTransform,
    Image,
    InvalidInput,
    Job,
    JobCancelled,
    LinearTransform,
    MissingInput,
    MissingPackage,
    Segmentation,
)
from TwinCore.scene import (
    Twin,
    execute,
    new_scene,
    node_to_image,
    node_to_segmentations,
    node_to_sequence,
    node_to_table,
    node_to_transform,
    snapshot,
)
from TwinCore.scene.sequences import browser_of
from TwinSimulateLib.calibration_step import CalibrationStep
from TwinSimulateLib.model import Observation
from TwinSimulateLib.radiotherapy import SCENARIOS, Schedule
from TwinSimulateLib.search_space import SearchSpace
from TwinSimulateLib.step import SimulationStep
from TwinSimulateLib.treatment_text import parse
from TwinSimulateLib.tumour_observations import Cellularity, Outline

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
    played, drawn = twin.nodes("sequence")
    outlines = node_to_segmentations(drawn)
    assert browser_of(drawn) is browser_of(played)
    assert list(outlines) == [f.time for f in frames]
    assert outlines[0.0].names == [s.name for s in SCENARIOS]
    volumes = [outlines[f.time].volume_ml("none") for f in frames]
    assert volumes[0] == pytest.approx(start.value, rel=0.1)
    assert (np.diff(volumes) >= 0).all()
    assert volumes[-1] > volumes[0]
    (threshold,) = (p.default for p in step().check().parameters if p.name == "detection_threshold")
    assert volumes[-1] == pytest.approx(np.count_nonzero(frames[-1].array >= threshold) * 0.001)
    assert outlines[20.0].volume_ml("25 x 2 Gy") < volumes[-1]
    tables = {t.name: t for t in map(node_to_table, twin.nodes("table"))}
    assert list(tables["Scenarios"].columns["scenario"]) == ["none", "25 x 2 Gy", "5 x 6 Gy"]
    volumes = tables["Viable tumour volume"]
    assert volumes.units["none"] == "mL"
    assert (np.diff(volumes.columns["none"]) > 0).all()
    assert volumes.columns["none, 5 %"][0] <= start.value <= volumes.columns["none, 95 %"][0]
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


def test_images_at_follow_up_calibrate(twin):
    """The step takes them as observations and as a start; the record names each by its content."""
    k, j, i = np.mgrid[:26, :26, :26]
    radius = np.sqrt((k - 13.0) ** 2 + (j - 13.0) ** 2 + (i - 13.0) ** 2)
    grid = Grid.isotropic(SHAPE)
    grown = Image((1 / (1 + np.exp((radius - 8) / 2))).astype(np.float32), grid, name="cellularity, day 20")
    start = Image(np.where(radius < 6, 0.8, np.nan).astype(np.float32), grid, name="cellularity")
    seen = [Cellularity(20.0, grown), Outline(20.0, grown.with_array(radius < 8.5, name="outline"))]
    calibration = CalibrationStep(
        "soft-tissue sarcoma", step().segments, observations=seen, images={"cellularity": start}
    )
    run = execute(twin, calibration)
    assert run.results["proliferation_rate"].value > 0.02
    low, high = run.results["outline_scale"].interval_90
    assert low < 1.0 < high
    fit = next(t for t in map(node_to_table, twin.nodes("table")) if t.name == "Fit")
    assert list(fit.columns["quantity"]) == ["cellularity", "outline"]
    assert list(fit.columns["unit"]) == ["1", "mL"]
    recorded = twin.provenance()[0]["parameters"]
    assert [o["image"] for o in recorded["observations"]] == ["cellularity, day 20", "outline"]
    contents = [o["content"] for o in recorded["observations"]]
    assert len({*contents, recorded["images"]["cellularity"]["sha256"]}) == 3
    with pytest.raises(InvalidInput, match="count twice"):
        execute(twin, step(observations=seen, images={"cellularity": grown}))
    with pytest.raises(InvalidInput, match="before the reference scan"):
        execute(twin, step(observations=[Cellularity(-3.0, grown)]))


def test_a_visit_is_where_its_image_has_been_registered_to(twin):
    """The same outline, drawn in another frame: the same answer; a move that changes its size is refused."""
    k, j, i = np.mgrid[:26, :26, :26]
    grid, turn = Grid.isotropic(SHAPE), np.eye(4)
    seen = Image((k - 13.0) ** 2 + (j - 13.0) ** 2 + (i - 13.0) ** 2 < 8.0**2, grid, name="visit")
    turn[:3, :3], turn[:3, 3] = [[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]], [30.0, -12.0, 5.0]
    moved = replace(seen, grid=Grid(SHAPE, np.linalg.inv(turn) @ grid.ijk_to_ras))
    node = twin.add_image(Image(k.astype(np.float32), moved.grid, "MR", "1", 20.0, "T1 visit 1"))

    def rate(outline):
        asked = CalibrationStep("soft-tissue sarcoma", step().segments, observations=[outline])
        return execute(twin, asked).results["proliferation_rate"].value

    def register(move):
        with twin.run("TwinFusion", {}) as run:
            run.add_transform(move, node)

    register(LinearTransform(turn))
    there = rate(Outline(20.0, moved, frame="T1 visit 1"))
    assert there == pytest.approx(rate(Outline(20.0, seen)), rel=1e-3)
    assert there > 0.02
    with pytest.raises(MissingInput, match="frame of 'T2'; the twin has: T1 visit 1"):
        rate(Outline(20.0, moved, frame="T2"))
    register(LinearTransform(turn @ np.diag([1.02, 1.02, 1.02, 1.0])))
    with pytest.raises(InvalidInput, match=r"changes volumes by \+6.1 %"):
        rate(Outline(20.0, moved, frame="T1 visit 1"))
    register(GridTransform(np.zeros((3, 3, 3, 3)), Grid.isotropic((3, 3, 3), 10.0)))
    with pytest.raises(InvalidInput, match="take the tumour's growth away"):
        rate(Outline(20.0, moved, frame="T1 visit 1"))


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


def test_a_search_and_margins_are_left_in_the_scene(twin):
    space = SearchSpace(Schedule.of(5, 2.0), (2, 5), sparing=0.5)
    run = execute(twin, step(scenarios=[Schedule.of(5, 2.0)], search=space, margins_mm=[2.0, 4.0]))
    tables = {t.name: t for t in map(node_to_table, twin.nodes("table"))}
    best = run.results["best_schedule"]
    assert best == tables["Schedule search"].columns["scenario"][0] != "5 x 2 Gy"
    assert list(tables["Scenarios"].columns["scenario"]) == ["5 x 2 Gy", best]
    assert run.results["best_schedule_objective"].unit == "mL"
    assert 0 <= run.results["probability_of_better, best_schedule"].value <= 1
    assert list(tables["Margins of equal volume"].columns["margin"]) == [2.0, 4.0]
    record = twin.provenance()[0]["parameters"]
    assert record["search"]["standard"]["fractions"] == 5
    assert (record["margins_mm"], record["margins_day"]) == ([2.0, 4.0], 0.0)


def test_a_treatment_of_several_courses_is_recorded_whole(twin):
    both = parse("surgery day 0 margin 1 mm + 2 x 2 Gy from day 7")
    run = execute(twin, step(scenarios=[SCENARIOS[0], both]))
    assert run.results[f"predicted_volume_ml, {both.name}"].value < run.results["predicted_volume_ml, none"].value
    first, second = twin.provenance()[0]["parameters"]["scenarios"][1]["parts"]
    assert (first["margin_mm"], second["fractions"]) == (1.0, 2)


def test_a_dose_that_misses_part_of_the_tumour_leaves_more(twin):
    grid = Grid.isotropic(SHAPE)
    half = np.zeros(SHAPE, np.float32)
    half[:, :, :15] = 50.0
    dose = Image(half, grid, unit="Gy", name="plan")
    asked = {"scenarios": [Schedule.of(5, 4.0)]}
    whole = execute(twin, step(**asked)).results["predicted_volume_ml, 5 x 4 Gy"]
    missed = execute(twin, step(**asked, images={"dose": dose})).results["predicted_volume_ml, 5 x 4 Gy"]
    assert missed.value > 2 * whole.value + 0.01
    assert twin.provenance()[0]["parameters"]["images"]["dose"]["name"] == "plan"
