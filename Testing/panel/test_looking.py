"""What is only looked at: checkerboard, live preview; on Slicer's own slice compositor, and gone afterwards."""

from __future__ import annotations

import numpy as np
import pytest
from panel_steps import Holding, ready

from TwinCore import Grid, Image
from TwinCore.scene import load, save, snapshot


@pytest.fixture
def slice_view(open_panel):
    """Slicer's own compositor of a slice view: `slice_view()` is its picture, red, green, blue and opacity."""
    import slicer
    from vtkmodules.util.numpy_support import vtk_to_numpy

    logic = slicer.vtkMRMLSliceLogic()
    logic.SetMRMLScene(open_panel.scene)
    logic.AddSliceNode("Red")

    def picture():
        logic.ResizeSliceNode(200, 200)
        logic.FitSliceToAll()
        logic.UpdatePipeline()
        logic.GetBlend().Update()
        image = logic.GetBlend().GetOutput()
        return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(*image.GetDimensions()[1::-1], -1)

    yield picture
    logic.SetMRMLScene(None)
    for name in ("Slice", "SliceComposite", "SliceDisplay"):  # singletons, which outlive the scene's clearing
        for node in list(open_panel.scene.GetNodesByClass(f"vtkMRML{name}Node")):
            open_panel.scene.RemoveNode(node)


def fused(panel, phantom, until, scene):
    """A panel with two fused images to compare."""
    twin = ready(panel, phantom, until, scene)
    with twin.run("TwinFusion", {}) as run:
        for node, image in twin.images():
            run.add_image(image, "fused", name=f"{node.GetName()} fused")
    until(lambda: panel.ui.compareButton.visible)
    return twin


def test_a_checkerboard_shows_both_images_on_slicer_s_compositor(open_panel, phantom, until, slice_view):
    panel = open_panel("TwinFusion")
    fused(panel, phantom, until, open_panel.scene)
    panel.ui.blendSlider.value = 0
    reference = slice_view().astype(int)
    panel.ui.blendSlider.value = 100
    image = slice_view().astype(int)
    before = snapshot(open_panel.scene)
    panel.ui.squaresSpinBox.value = 16
    panel.ui.squaresBox.click()
    both = slice_view().astype(int)
    differ = np.abs(reference - image).max(-1) > 30
    as_reference, as_image = (np.abs(both - other).max(-1) < 3 for other in (reference, image))
    assert (as_reference | as_image)[differ].mean() > 0.9  # the rest is where squares meet between voxels
    assert 0.3 < as_image[differ].mean() < 0.7
    assert "PET" in panel.ui.compareLabel.text
    assert not panel.ui.blendSlider.enabled
    panel.ui.squaresBox.click()
    assert snapshot(open_panel.scene) == before
    np.testing.assert_allclose(slice_view(), image, atol=2)


@pytest.mark.parametrize("end", ["flicker", "exit", "revert", "close"])
def test_a_checkerboard_leaves_nothing_behind(open_panel, phantom, until, end):
    panel = open_panel("TwinFusion")
    fused(panel, phantom, until, open_panel.scene)
    panel.ui.squaresBox.click()
    assert [n.GetName() for n in temporary(open_panel.scene)] == ["PET fused"]
    assert panel.selector.table.rowCount == 2
    {
        "flicker": panel.ui.flickerBox.click,
        "exit": panel.exit,
        "revert": panel.job_bar.revertButton.click,
        "close": lambda: open_panel.scene.Clear(False),
    }[end]()
    until(lambda: temporary(open_panel.scene) == [])
    assert not panel.ui.squaresBox.checked
    panel.ui.flickerBox.checked = False


def temporary(scene) -> list:
    import slicer

    volumes = slicer.util.getNodesByClass("vtkMRMLVolumeNode")
    return [node for node in volumes if not node.GetSaveWithScene()]


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.float32])
def test_squares_are_told_from_the_image_in_any_type(desktop, kind):
    from TwinPanel.compare import checkerboard

    values = np.arange(4 * 5 * 6).reshape(4, 5, 6).astype(kind)
    values[0, 0, 0] = np.iinfo(kind).min if np.issubdtype(kind, np.integer) else 0
    squares, low, high = checkerboard(Image(values, Grid.isotropic((4, 5, 6), 2.0)), 4.0)
    shown = squares.array >= low
    assert (low, high) == (values.min(), values.max())
    np.testing.assert_array_equal(squares.array[shown], values[shown])
    assert shown[0, 0].tolist() == [False, False, True, True, False, False]
    np.testing.assert_array_equal(shown[0, 2], ~shown[0, 0])
    np.testing.assert_array_equal(shown[2], ~shown[0])


def live(panel, phantom, until, scene):
    twin = ready(panel, phantom, until, scene)
    panel.run_form.boxes["horizon"].value = 60
    panel.ui.liveBox.click()
    until(lambda: "by one run" in panel.ui.liveLabel.text)
    return twin


def drag(slider, *values) -> None:
    slider.sliderDown = True
    for value in values:
        slider.value = value


def test_a_value_that_is_dragged_is_answered_at_once_and_exactly_when_let_go(open_panel, phantom, until):
    panel = open_panel("TwinSimulate")
    scene = open_panel.scene
    view = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    live(panel, phantom, until, scene)
    ui, slider = panel.ui, panel.question.values.sliders["proliferation_rate"]
    assert ui.daySlider.value == 60
    (volume,) = temporary(scene)
    assert view.GetForegroundVolumeID() == volume.GetID()
    before = ml(ui)
    drag(slider, 120, 160, 199)
    until(lambda: "coarse" in ui.liveLabel.text and ml(ui) > before)
    assert panel.parameters.values == "{}"
    assert len(temporary(scene)) == 1
    slider.sliderDown = False
    until(lambda: "by one run" in ui.liveLabel.text)
    assert '"proliferation_rate"' in panel.parameters.values
    grown = ml(ui)
    ui.daySlider.value = 0
    until(lambda: ui.liveLabel.text.startswith("Day 0, none") and "by one run" in ui.liveLabel.text)
    assert ml(ui) == pytest.approx(14.1, rel=0.02)  # a ball of 15 mm radius
    ui.daySlider.value = 60
    ui.treatmentBox.setCurrentIndex(1)
    ui.treatmentBox.activated.emit(1)
    until(lambda: ui.liveLabel.text.startswith("Day 60, 25 x 2 Gy") and "by one run" in ui.liveLabel.text)
    assert ml(ui) < grown


def ml(ui) -> float:
    return float(ui.liveLabel.text.partition(" mL")[0].split()[-1])


@pytest.mark.parametrize("end", ["box", "apply", "exit", "close"])
def test_a_preview_leaves_nothing_behind(open_panel, phantom, until, end):
    panel = open_panel("TwinSimulate")
    twin = ready(panel, phantom, until, open_panel.scene)
    before = snapshot(open_panel.scene)
    panel.ui.liveBox.click()
    until(lambda: bool(temporary(open_panel.scene)))
    if end == "apply":
        step = Holding("TwinSimulate")
        panel.logic.step = lambda *_, **__: step
        panel.job_bar.applyButton.click()
        until(step.computing.is_set)  # the preview has let go of the kernels
        assert not panel.ui.liveBox.enabled
        panel.job_bar.applyButton.click()
        until(lambda: not panel.job_bar.running)
    elif end == "close":
        open_panel.scene.Clear(False)
    else:
        {"box": panel.ui.liveBox.click, "exit": panel.exit}[end]()
    assert not panel.ui.liveBox.checked
    assert temporary(open_panel.scene) == []
    if end != "close":
        assert own(snapshot(open_panel.scene)) == own(before)
        assert twin.nodes("field") == []


def own(taken) -> dict:
    """A snapshot without the table of colours, which stays once it was needed where Slicer's own is not."""
    nodes = {i: node for i, node in taken["nodes"].items() if node["name"] != "DigitalTwin viridis"}
    return {**taken, "nodes": nodes}


def test_a_preview_is_not_saved(open_panel, phantom, until, tmp_path):
    panel = open_panel("TwinSimulate")
    twin = live(panel, phantom, until, open_panel.scene)
    save(twin, tmp_path / "twin.mrb")
    open_panel.scene.Clear(False)
    load(tmp_path / "twin.mrb", open_panel.scene)
    names = [n.GetName() for n in open_panel.scene.GetNodesByClass("vtkMRMLVolumeNode")]
    assert names == ["CT", "PET", "CT fused", "PET fused"]
