"""TwinSegment's panel beyond Apply: models, downloads, what was found, corrections by clicks, files."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from panel_steps import ready
from threshold_model import bright_and_dark

from TwinCore import Grid, Image
from TwinCore.scene import Twin, node_to_segmentation, snapshot

QUICK = "meshnet-model5_gw_ae"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder of models."""
    monkeypatch.setenv("DIGITALTWIN_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def choose_model(panel, name: str) -> None:
    box = panel.chooser.modelBox
    box.setCurrentIndex(box.findData(name))
    box.activated.emit(box.currentIndex)


def names_of(box) -> list[str]:
    return [box.itemData(n) for n in range(box.count)]


def brain_twin(scene) -> Twin:
    """One fused MR with a bright ball."""
    grid = Grid.isotropic((20, 22, 24), 2.0)
    ball = ((np.indices(grid.shape) - np.array([10, 11, 12])[:, None, None, None]) ** 2).sum(0) < 36
    image = Image(ball.astype(np.float32), grid, "MR", "1", 0.0, "T1")
    twin = Twin.create("Head", scene)
    twin.add_image(image, reference=True)
    with twin.run("TwinFusion", {}) as run:
        run.add_image(image, "fused", name="T1 fused")
    return twin


def test_models_are_those_that_suit_the_images(open_panel, phantom, until, folder):
    panel = open_panel("TwinSegment")
    ready(panel, phantom, until, open_panel.scene)
    offered = names_of(panel.chooser.modelBox)
    assert "monai-spleen-ct" in offered
    assert QUICK not in offered
    assert panel.chooser.aboutLabel.text == "7 more models need other images: 4 MR; MR."
    choose_model(panel, "monai-spleen-ct")
    assert not panel.job_bar.applyButton.enabled
    assert panel.job_bar.reasonLabel.text == "The model is not ready: to fetch, of unknown size."
    assert "portal venous phase" in panel.chooser.aboutLabel.text
    assert panel.parameters.model == "monai-spleen-ct"
    choose_model(panel, "totalsegmentator")
    assert panel.job_bar.reasonLabel.text == "The model is not ready: to install, TotalSegmentator."
    assert not panel.chooser.fetchButton.visible


def test_a_model_of_several_channels_asks_which_image_is_which(open_panel, until, folder):
    panel = open_panel("TwinSegment")
    twin = brain_twin(open_panel.scene)
    with twin.run("TwinFusion", {}) as run:
        for name in ("T1", "T1c", "T2", "FLAIR"):
            values = np.random.default_rng(0).uniform(0, 1, (4, 5, 6)).astype(np.float32)
            run.add_image(Image(values, Grid.isotropic((4, 5, 6)), "MR", "1"), "fused", name=f"{name} fused")
    until(lambda: "monai-brats-mri" in names_of(panel.chooser.modelBox))
    choose_model(panel, "monai-brats-mri")
    assert len(panel.chooser.channelBoxes) == 4
    box = panel.chooser.channelBoxes[0]
    box.setCurrentIndex(box.findData("T1c"))
    box.activated.emit(box.currentIndex)
    assert panel.chooser.images()[0] == "T1c"
    assert panel.parameters.modelImages.startswith('["T1c"')
    choose_model(panel, QUICK)
    assert panel.chooser.channelBoxes == []


@pytest.mark.parametrize("agreed", [True, False])
def test_a_download_says_its_size_and_asks_first(open_panel, until, folder, monkeypatch, agreed):
    import slicer

    asked, fetched = [], []
    panel = open_panel("TwinSegment")
    brain_twin(open_panel.scene)
    until(lambda: QUICK in names_of(panel.chooser.modelBox))
    choose_model(panel, QUICK)
    assert panel.chooser.fetchButton.text == "Download (0.0 MB from raw.githubusercontent.com)..."
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text: asked.append(text) or agreed)
    monkeypatch.setattr(sys.modules["TwinSegment"], "fetch", lambda entry, job: fetched.append(entry.name))
    panel.chooser.fetchButton.click()
    assert "Licence: MIT" in asked[0]
    until(lambda: not panel.job_bar.running)
    assert fetched == ([QUICK] if agreed else [])
    assert panel.job_bar.summaryLabel.text == ("The model is here now." if agreed else "")


def test_a_model_labels_with_its_uncertainty_over_the_images(open_panel, until, folder, monkeypatch):
    from TwinSegmentLib.models import apply, installed

    monkeypatch.setattr(apply, "load_model", lambda entry: bright_and_dark())
    monkeypatch.setattr(installed, "verify", lambda entry: None)
    panel = open_panel("TwinSegment")
    twin = brain_twin(open_panel.scene)
    view = open_panel.scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    until(lambda: QUICK in names_of(panel.chooser.modelBox))
    monkeypatch.setattr("TwinSegmentLib.models.catalogue.Entry.missing_files", lambda entry: ())
    choose_model(panel, QUICK)
    assert panel.job_bar.planLabel.text.startswith("Apply will label: brain: White and grey matter, quick on T1. Takes")
    panel.job_bar.applyButton.click()
    until(lambda: not panel.job_bar.running)
    assert node_to_segmentation(twin.node("segmentation")).names == ["bright"]
    table = panel.ui.volumesTable
    assert [table.item(0, column).text() for column in range(2)] == ["bright", "7.16"]
    assert view.GetBackgroundVolumeID() == twin.node("fused").GetID()
    panel.ui.uncertaintyBox.click()
    assert view.GetForegroundVolumeID() == twin.node("uncertainty").GetID()
    assert view.GetForegroundOpacity() == 0.5
    panel.ui.uncertaintyBox.click()
    assert view.GetForegroundVolumeID() is None


def test_clicks_correct_a_segment_and_revert_brings_it_back(open_panel, phantom, until):
    panel = open_panel("TwinSegment")
    twin = ready(panel, phantom, until, open_panel.scene)
    panel.job_bar.applyButton.click()
    until(lambda: not panel.job_bar.running)
    before = node_to_segmentation(twin.node("segmentation"))
    assert not panel.ui.correctButton.enabled
    assert panel.ui.clicksLabel.text.startswith("Click or paint in the slices")
    panel.ui.surplusButton.click()
    panel.parameters.surplusClicks.AddControlPointWorld(58.0, 72.0, 72.0)
    until(lambda: panel.ui.correctButton.enabled)
    assert panel.ui.clicksLabel.text == "Missed: 0 clicks. Does not belong: 1 clicks."
    panel.ui.reachSpinBox.value = 8
    scene_before = snapshot(open_panel.scene)
    panel.ui.correctButton.click()
    until(lambda: not panel.job_bar.running)
    after = node_to_segmentation(twin.node("segmentation"))
    assert after.volume_ml("tumour") < before.volume_ml("tumour")
    np.testing.assert_array_equal(after.mask("soft tissue"), before.mask("soft tissue"))
    panel.job_bar.revertButton.click()
    assert snapshot(open_panel.scene) == scene_before
    panel.ui.clearButton.click()
    until(lambda: not panel.ui.correctButton.enabled)


def test_a_brush_paints_what_does_not_belong_and_the_anatomy_follows(open_panel, phantom, until):
    panel = open_panel("TwinSegment")
    scene = open_panel.scene
    twin = ready(panel, phantom, until, scene)
    panel.job_bar.applyButton.click()
    until(lambda: not panel.job_bar.running)
    before, ui = node_to_segmentation(twin.node("segmentation")), panel.ui
    ui.edgesBox.setCurrentIndex(ui.edgesBox.findData("CT"))
    ui.edgesBox.activated.emit(ui.edgesBox.currentIndex)
    was = snapshot(scene)
    ui.surplusBrush.click()
    (editor,) = ui.brushPlace.findChildren(panel_editor())
    assert editor.hidden == [
        "segmentationNodeSelector",
        "sourceVolumeNodeSelector",
        "switchToSegmentationsButton",
        "unorderedEffects",
    ]
    stroke = before.mask("tumour").copy()
    stroke[:, :, np.argwhere(stroke.any((0, 1))).min() + 2 :] = False
    editor.paint(stroke.astype(np.uint8))
    until(lambda: ui.correctButton.enabled)
    assert ui.clicksLabel.text == f"Missed: 0 clicks. Does not belong: {stroke.sum()} voxels."
    ui.missedBrush.click()
    assert not ui.surplusBrush.checked
    assert editor.segment == "missedClicks"
    ui.missedBrush.click()
    assert editor.effect == ""
    ui.reachSpinBox.value = 4
    ui.correctButton.click()
    until(lambda: not panel.job_bar.running)
    after = node_to_segmentation(twin.node("segmentation"))
    assert not (after.mask("tumour") & stroke).any()
    assert after.volume_ml("tumour") > 0.6 * before.volume_ml("tumour")
    recorded = twin.provenance()[0]["parameters"]["outside_ras_mm"]
    assert len(recorded) == stroke.sum()
    panel.job_bar.revertButton.click()
    ui.clearButton.click()
    until(lambda: ui.clicksLabel.text.startswith("Click or paint"))
    assert snapshot(scene) == was


def test_strokes_are_not_saved_and_go_with_the_scene(open_panel, phantom, until, tmp_path):
    from TwinCore.scene import load, save

    panel = open_panel("TwinSegment")
    twin = ready(panel, phantom, until, open_panel.scene)
    panel.job_bar.applyButton.click()
    until(lambda: not panel.job_bar.running)
    panel.ui.missedBrush.click()
    save(twin, tmp_path / "twin.mrb")
    open_panel.scene.Clear(False)
    until(lambda: not panel.ui.missedBrush.checked)
    load(tmp_path / "twin.mrb", open_panel.scene)
    names = [n.GetName() for n in open_panel.scene.GetNodesByClass("vtkMRMLSegmentationNode")]
    assert names == ["Outlines", "Anatomy"]
    until(lambda: panel.ui.missedBrush.enabled)
    panel.ui.missedBrush.click()
    assert panel.ui.brushPlace.visible


def panel_editor():
    import slicer

    return slicer.qMRMLSegmentEditorWidget


@pytest.mark.parametrize("kind", ["rtstruct", "stl"])
def test_segments_are_exported_and_no_file_is_replaced(open_panel, phantom, until, tmp_path, monkeypatch, kind):
    import qt

    panel = open_panel("TwinSegment")
    ready(panel, phantom, until, open_panel.scene)
    panel.job_bar.applyButton.click()
    until(lambda: not panel.job_bar.running)
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path))
    panel.ui.exportBox.setCurrentIndex(panel.ui.exportBox.findData(kind))
    for _ in range(2):
        panel.ui.writeButton.click()
    files = {
        "rtstruct": {"anatomy_rtstruct.dcm", "anatomy_rtstruct_2.dcm"},
        "stl": {"tumour.stl", "tumour_2.stl", "soft_tissue.stl", "soft_tissue_2.stl"},
    }
    assert {path.name for path in tmp_path.iterdir() if path.suffix in (".dcm", ".stl")} == files[kind]
    assert panel.ui.exportLabel.text.startswith("Written: ")
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "gone"))
    panel.ui.writeButton.click()
    assert "There is no folder" in panel.ui.exportLabel.text


def test_a_damaged_catalogue_of_the_user_s_is_told_and_the_body_still_labelled(open_panel, until, folder):
    folder.mkdir()
    (folder / "catalogue.json").write_text("{")
    panel = open_panel("TwinSegment")
    twin = brain_twin(open_panel.scene)
    until(lambda: panel.selector.twin is not None)
    assert "cannot be read" in panel.chooser.aboutLabel.text
    assert panel.job_bar.reasonLabel.text.startswith("Choose a model, outlines")
    panel.parameters.body = twin.node("reference")
    assert panel.job_bar.planLabel.text.startswith("Apply will label: the body. Takes")
    panel.job_bar.applyButton.click()
    until(lambda: not panel.job_bar.running)
    assert node_to_segmentation(twin.node("segmentation")).names == ["soft tissue"]
