"""Tables, charts, sequences, surfaces and texts as nodes."""

import numpy as np
import pytest

from TwinCore import InvalidInput, Segmentation, Table
from TwinCore.scene import (
    Twin,
    load,
    model_to_node,
    new_scene,
    node_to_image,
    node_to_model,
    node_to_segmentation,
    node_to_segmentations,
    node_to_sequence,
    node_to_table,
    plot_to_node,
    save,
    segmentations_to_node,
    sequence_to_node,
    snapshot,
    table_to_node,
    text_of,
    text_to_node,
)
from TwinCore.scene.sequences import browser_of
from TwinCore.surface import surfaces_of


@pytest.fixture
def table() -> Table:
    columns = {
        "time": [0, 30, 60],
        "low": [1.0, 2.0, 3.0],
        "high": np.array([1.5, np.nan, 4.0]),
        "arm": ["none", "5 × 6 Gy", ""],
    }
    return Table("Volumes", columns, {"time": "d", "low": "mL", "high": "mL"})


def test_table_round_trip(scene, table):
    again = node_to_table(table_to_node(table, scene))
    assert again.name == "Volumes"
    assert again.units == table.units
    assert list(again.columns) == list(table.columns)
    assert again.columns["arm"] == table.columns["arm"]
    for name in ("time", "low", "high"):
        np.testing.assert_array_equal(again.columns[name], table.columns[name])


def test_chart_draws_its_columns_and_names_their_units(scene, table):
    chart = plot_to_node("Growth", table_to_node(table, scene), "time", ["low", "high"], scene)
    assert chart.GetXAxisTitle() == "time (d)"
    assert [chart.GetNthPlotSeriesNode(n).GetYColumnName() for n in range(chart.GetNumberOfPlotSeriesNodes())] == [
        "low",
        "high",
    ]


def test_chart_of_a_missing_column_is_refused(scene, table):
    with pytest.raises(InvalidInput, match="has no column \\['mass'\\]"):
        plot_to_node("Growth", table_to_node(table, scene), "time", ["mass"], scene)


def test_sequence_round_trip_and_browser(scene, image):
    images = [image.with_array(image.array + day, time=float(day)) for day in (0, 0.5, 30)]
    sequence, browser = sequence_to_node(images, scene, "Growth")
    again = node_to_sequence(sequence)
    assert [i.time for i in again] == [0.0, 0.5, 30.0]
    for before, after in zip(images, again):
        np.testing.assert_array_equal(after.array, before.array)
        assert after.grid.same_as(before.grid, 1e-6)
        assert (after.unit, after.modality) == ("g/mL", "PT")
    assert browser.GetMasterSequenceNode() is sequence
    assert browser.GetProxyNode(sequence).GetImageData() is not None


def test_time_points_of_a_heartbeat_stay_apart(scene, image, tmp_path):
    twin, days = Twin.create("Anna", scene), [0.0, 4e-7, 8e-7]
    twin.add_series([image.with_array(image.array + n, time=day) for n, day in enumerate(days)], "cine")
    save(twin, tmp_path / "twin.mrb")
    new_scene()
    [loaded] = load(tmp_path / "twin.mrb")
    [(_, again)] = loaded.series()
    assert [i.time for i in again] == days
    assert [float((i.array - image.array).mean()) for i in again] == pytest.approx([0, 1, 2], abs=1e-3)


@pytest.mark.parametrize("times", [[0.0, 0.0], [3.0, 1.0], ["2024-01-01", "2024-02-01"], []])
def test_sequences_need_increasing_times(scene, image, times):
    with pytest.raises(InvalidInput, match="increasing times in days"):
        sequence_to_node([image.with_array(image.array, time=t) for t in times], scene)


def test_sequences_need_one_grid(scene, image):
    with pytest.raises(InvalidInput, match="on one grid"):
        sequence_to_node(
            [
                image.with_array(image.array, time=0.0),
                image.crop((0, 0, 0), (2, 2, 2)).with_array(image.array[:2, :2, :2], time=1.0),
            ],
            scene,
        )


@pytest.fixture
def growing(image) -> dict[float, Segmentation]:
    """Two segments over time, of which one is empty at first."""
    return {
        day: Segmentation.from_masks(image.grid, {"core": image.array > 9 - day, "whole": image.array > 1 - day / 9})
        for day in (0.0, 4e-7, 9.0)
    }


def test_a_sequence_of_segmentations_is_shown_item_by_item(scene, growing):
    sequence, browser = segmentations_to_node(growing, scene, "Outline")
    again = node_to_segmentations(sequence)
    assert list(again) == [0.0, 4e-7, 9.0]
    shown = browser.GetProxyNode(sequence)
    for number, (day, one) in enumerate(growing.items()):
        browser.SetSelectedItemNumber(number)
        for seen in (again[day], node_to_segmentation(shown)):
            assert seen.segments[0].colour == pytest.approx(one.segments[0].colour)
            for name in one.names:
                np.testing.assert_array_equal(seen.mask(name), one.mask(name))
    assert not again[0.0].mask("core").any()
    assert not shown.GetDisplayNode().GetVisibility2DFill()


def test_one_browser_moves_images_and_segmentations(scene, image, growing):
    images = [image.with_array(image.array + day, time=day) for day in growing]
    played, browser = sequence_to_node(images, scene, "Growth")
    outlines, same = segmentations_to_node(growing, scene, "Outline", beside=played)
    assert same is browser
    assert [browser_of(s) for s in (played, outlines)] == [browser, browser]
    assert scene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode") == 1
    browser.SetSelectedItemNumber(2)
    assert node_to_image(browser.GetProxyNode(played)).array[0, 0, 0] == pytest.approx(image.array[0, 0, 0] + 9)
    np.testing.assert_array_equal(
        node_to_segmentation(browser.GetProxyNode(outlines)).mask("whole"), growing[9.0].mask("whole")
    )


def test_surfaces_of_a_sequence_follow_its_item(scene, growing):
    surfaces = {day: surfaces_of(one) for day, one in growing.items()}
    sequence, browser = segmentations_to_node(growing, scene, "Outline", surfaces)
    shown = browser.GetProxyNode(sequence)
    for number, (day, one) in enumerate(growing.items()):
        browser.SetSelectedItemNumber(number)
        for name in one.names:
            identifier = shown.GetSegmentation().GetSegmentIdBySegmentName(name)
            points = shown.GetClosedSurfaceInternalRepresentation(identifier).GetNumberOfPoints()
            assert points == (len(surfaces[day][name].points) if one.mask(name).any() else 0)


def test_a_run_that_fails_leaves_an_earlier_browser_as_it_was(scene, twin, image, growing):
    with twin.run("TwinFusion", {}) as run:
        played = run.add_sequence([image.with_array(image.array, time=day) for day in growing])
    before, browser = snapshot(scene), browser_of(played)

    def fail():
        with twin.run("TwinSegment", {}) as run:
            run.add_segmentations(growing, "Outline", beside=played)
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert snapshot(scene) == before
    with twin.run("TwinSegment", {}) as run:
        run.add_segmentations(growing, "Outline", beside=played)
    browser.SetSelectedItemNumber(1)
    twin.revert_last_run()
    browser.SetSelectedItemNumber(0)
    assert snapshot(scene) == before
    assert browser.GetNumberOfSynchronizedSequenceNodes(True) == 1


def test_sequences_of_segmentations_need_times_and_the_same_segments(scene, image, growing):
    other = Segmentation.from_masks(image.grid, {"core": image.array > 0})
    with pytest.raises(InvalidInput, match="the same segments on one grid"):
        segmentations_to_node({**growing, 10.0: other}, scene)
    for wrong in ({}, {1.0: other, 0.5: other}, {float("nan"): other}):
        with pytest.raises(InvalidInput, match="increasing times in days"):
            segmentations_to_node(wrong, scene)
    sequence, browser = segmentations_to_node(growing, scene)
    with pytest.raises(InvalidInput, match="not one of images"):
        node_to_sequence(sequence)
    scene.RemoveNode(browser)
    with pytest.raises(InvalidInput, match="no browser"):
        segmentations_to_node(growing, scene, beside=sequence)


def test_model_round_trip(scene):
    points = np.random.default_rng(0).normal(size=(4, 3)) * 50
    triangles = np.array([[0, 1, 2], [0, 2, 3]])
    again = node_to_model(model_to_node(points, triangles, scene))
    np.testing.assert_allclose(again[0], points, atol=1e-9)
    np.testing.assert_array_equal(again[1], triangles)


def test_model_with_a_triangle_between_no_points_is_refused(scene):
    with pytest.raises(InvalidInput, match="triangles"):
        model_to_node(np.eye(3), [[0, 1, 3]], scene)


def test_text_round_trip(scene):
    assert text_of(text_to_node("Größe 5 × 6 Gy\n", scene)) == "Größe 5 × 6 Gy\n"
