"""The three panels on the desktop's double and a real scene: what they ask for, run, cancel and revert."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from panel_steps import Holding, ready

from TwinCore import Grid, Image, MissingInput
from TwinCore.scene import image_to_node, meaning, snapshot

MODULES = ("TwinFusion", "TwinSegment", "TwinSimulate")


@pytest.mark.parametrize("name", MODULES)
def test_module_says_what_slicer_asks_for(desktop, name):
    module = getattr(desktop.load_module(name), name)
    said = module(SimpleNamespace()).parent
    assert said.title == name
    assert said.categories == ["Digital Twin"]
    assert all([said.contributors, said.helpText, said.acknowledgementText])


@pytest.mark.parametrize("name", MODULES)
def test_self_test_of_the_module(desktop, name):
    getattr(desktop.load_module(name), f"{name}Test")().runTest()


@pytest.mark.parametrize("name", MODULES)
def test_without_a_twin_the_panel_says_so(open_panel, name):
    bar = open_panel(name).job_bar
    assert not bar.applyButton.enabled
    assert not bar.revertButton.enabled
    assert bar.reasonLabel.text == "Make a twin first: choose its volumes above."


@pytest.mark.parametrize(
    ("name", "reason"), [("TwinSegment", "run TwinFusion first"), ("TwinSimulate", "run TwinSegment first")]
)
def test_what_an_earlier_module_makes_is_asked_for(open_panel, phantom, until, name, reason):
    panel = open_panel(name)
    phantom.phantom_twin(open_panel.scene)
    until(lambda: panel.selector.twin is not None)
    assert reason in panel.job_bar.reasonLabel.text
    assert not panel.job_bar.applyButton.enabled


def test_each_missing_input_of_segmentation_is_named(open_panel, phantom, until):
    panel = open_panel("TwinSegment")
    ready(panel, phantom, until, open_panel.scene)
    chosen, bar = panel.parameters, panel.job_bar
    assert bar.applyButton.enabled
    chosen.outlinesImage = None
    assert "drawn on" in bar.reasonLabel.text
    chosen.outlines = chosen.body = None
    assert "PET rule" in bar.reasonLabel.text
    panel.ui.petRuleBox.setCurrentIndex(1)
    assert "box" in bar.reasonLabel.text
    panel.ui.targetEdit.text = " "
    assert "Name the segment" in bar.reasonLabel.text
    assert not bar.applyButton.enabled


def test_a_twin_is_made_only_from_volumes_that_say_what_they_are(open_panel, until):
    panel = open_panel("TwinFusion")
    grid = Grid.isotropic((4, 5, 6))
    for name in ("First", "Second"):
        values = np.random.default_rng(0).uniform(-1000, 500, grid.shape).astype(np.float32)
        image_to_node(Image(values, grid, name=name), open_panel.scene)
    selector = panel.selector
    until(lambda: selector.table.rowCount == 2)

    def choose(row, part="", modality="", unit=""):
        for column, code in zip((1, 2, 3), (part, modality, unit)):
            box = selector.table.cellWidget(row, column)
            box.setCurrentIndex(box.findData(code))

    selector.patientEdit.text = "Patient 1"
    assert not selector.newButton.enabled
    selector.table.cellWidget(0, 1).setCurrentIndex(2)
    assert selector.reasonLabel.text == "Say the modality and unit of: First."
    choose(0, "reference")
    assert selector.reasonLabel.text == "Say the modality and unit of: First."
    choose(0, "reference", "CT")
    assert not selector.newButton.enabled
    assert selector.reasonLabel.text == "Say the modality and unit of: First."
    choose(0, "reference", "CT", "[hnsf'U]")
    assert selector.newButton.enabled
    selector.newButton.click()
    twin = selector.twin
    assert twin.patient == "Patient 1"
    assert [(node.GetName(), meaning(node)["unit"]) for node in twin.nodes("image")] == [("First", "[hnsf'U]")]
    assert twin.node("reference").GetName() == "First"
    assert panel.job_bar.reasonLabel.text == "The twin has one image only: add another to fuse it with."

    choose(1, "image", "PT", "g/mL")
    assert not selector.newButton.enabled
    selector.addButton.click()
    assert [node.GetName() for node in twin.nodes("image")] == ["First", "Second"]
    assert panel.job_bar.applyButton.enabled


@pytest.mark.parametrize("name", MODULES)
def test_apply_runs_and_revert_undoes(open_panel, phantom, until, name):
    panel = open_panel(name)
    twin = ready(panel, phantom, until, open_panel.scene)
    if name == "TwinFusion":
        for row in range(2):
            panel.ui.framesTable.item(row, 1).setText("PET/CT")
    if name == "TwinSimulate":
        panel.run_form.boxes["members"].value = 2
        panel.run_form.boxes["horizon"].value = 7
    bar, before = panel.job_bar, snapshot(open_panel.scene)
    bar.applyButton.click()
    assert bar.applyButton.text == "Cancel"
    until(lambda: not bar.running)
    assert twin.provenance()[0]["module"] == name
    assert bar.applyButton.text == "Apply"
    assert bar.summaryLabel.text.startswith("Done in ")
    assert bar.revertButton.text == f"Revert last run ({name})"
    bar.revertButton.click()
    assert snapshot(open_panel.scene) == before
    assert bar.summaryLabel.text == f"Reverted: what {name} had added is removed."


@pytest.mark.parametrize("name", MODULES)
def test_cancel_leaves_the_scene_as_it_was(open_panel, phantom, until, name):
    panel = open_panel(name)
    ready(panel, phantom, until, open_panel.scene)
    step, bar, before = Holding(name), panel.job_bar, snapshot(open_panel.scene)
    panel.logic.step = lambda *_, **__: step
    bar.applyButton.click()
    until(step.computing.is_set)
    until(lambda: bar.progressBar.value == 250)
    assert "Waiting" in bar.progressBar.format
    assert not bar.revertButton.enabled
    bar.applyButton.click()
    assert bar.applyButton.text == "Cancelling..."
    until(lambda: not bar.running)
    assert snapshot(open_panel.scene) == before
    assert bar.summaryLabel.text == "Cancelled. The scene is as it was before."
    assert bar.applyButton.enabled


def test_verdict_and_results_are_shown_in_words(open_panel, phantom, until):
    panel = open_panel("TwinFusion")
    ready(panel, phantom, until, open_panel.scene)
    step = Holding("TwinFusion")
    step.go_on.set()
    panel.logic.step = lambda *_, **__: step
    panel.job_bar.applyButton.click()
    until(lambda: not panel.job_bar.running)
    assert panel.job_bar.verdict.label.text == "Check it by eye: blurred"
    assert "Volume: 12.3 mL" in panel.job_bar.summaryLabel.text


def test_an_error_of_the_user_s_is_shown_in_its_own_words(open_panel, phantom, until):
    panel = open_panel("TwinFusion")
    ready(panel, phantom, until, open_panel.scene)
    step = Holding("TwinFusion", MissingInput("There is no image."))
    step.go_on.set()
    panel.logic.step = lambda *_, **__: step
    panel.job_bar.applyButton.click()
    until(lambda: not panel.job_bar.running)
    assert panel.job_bar.summaryLabel.text == "There is no image."


def test_closing_the_scene_ends_the_run(open_panel, phantom, until):
    panel = open_panel("TwinFusion")
    ready(panel, phantom, until, open_panel.scene)
    step = Holding("TwinFusion")
    panel.logic.step = lambda *_, **__: step
    panel.job_bar.applyButton.click()
    until(step.computing.is_set)
    open_panel.scene.Clear(False)
    assert not panel.job_bar.running
    assert panel.selector.twin is None
    assert "Make a twin first" in panel.job_bar.reasonLabel.text
    phantom.phantom_twin(open_panel.scene)
    until(lambda: panel.job_bar.applyButton.enabled)


def test_two_twins_do_not_mix(open_panel, phantom, until):
    panel = open_panel("TwinFusion")
    first, second = phantom.phantom_twin(open_panel.scene), phantom.phantom_twin(open_panel.scene)
    until(lambda: panel.selector.twinBox.count == 2)
    step = Holding("TwinFusion")
    step.go_on.set()
    panel.logic.step = lambda *_, **__: step
    panel.selector.twinBox.setCurrentIndex(0)
    panel.selector.twinBox.activated.emit(0)
    panel.job_bar.applyButton.click()
    until(lambda: not panel.job_bar.running)
    assert len(first.nodes("report")) == 1
    assert second.nodes("report") == []


def test_choices_outlive_the_panel(open_panel, phantom, until):
    panel = open_panel("TwinSimulate")
    ready(panel, phantom, until, open_panel.scene)
    panel.scenarios.addButton.click()
    panel.scenarios.box(2, 0).value = 30
    panel.run_form.boxes["members"].value = 12
    again = open_panel("TwinSimulate")
    assert [row[:3] for row in again.scenarios.rows()] == [[25, 2, 0], [5, 6, 0], [30, 2, 0]]
    assert again.run_form.values() == {"horizon": 120.0, "members": 12.0, "seed": 0.0}
    assert again.selector.twin == panel.selector.twin
