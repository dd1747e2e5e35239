"""What must hold of every panel: it opens light, copies no volume, ends cleanly, and tells errors in words."""

from __future__ import annotations

import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from panel_steps import Holding, ready

from TwinCore.scene import set_meaning, snapshot

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("TwinFusion", "TwinSegment", "TwinSimulate")
SIDE = 512
HEAVY = ("torch", "numba", "matplotlib", "openvino", "monai")

OPENED = """
import sys
sys.path[:0] = {folders!r}
import desktop_double
from TwinCore.scene import boot
boot()
with desktop_double.desktop():
    before = set(sys.modules)
    panel = desktop_double.open_panel(desktop_double.load_module({name!r}))
    print(sorted(set({heavy!r}) & {{name.partition(".")[0] for name in set(sys.modules) - before}}))
"""


@pytest.mark.parametrize("name", MODULES)
def test_a_panel_opens_without_what_computes(desktop, name):
    folders = [str(ROOT / folder) for folder in (".", *MODULES, "Testing/panel")]
    script = OPENED.format(folders=folders, name=name, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


@pytest.fixture
def large(desktop, open_panel):
    """A CT of 512 x 512 x 512 voxels of a byte."""
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData

    values = np.zeros(SIDE**3, np.uint8)
    values[0] = 1
    voxels = vtkImageData()
    voxels.SetDimensions(SIDE, SIDE, SIDE)
    voxels.GetPointData().SetScalars(numpy_to_vtk(values))
    node = open_panel.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Large CT")
    node.SetAndObserveImageData(voxels)
    set_meaning(node, "CT", "[hnsf'U]")
    return node


@pytest.mark.parametrize("name", MODULES)
def test_a_large_ct_in_a_panel_costs_no_copy(open_panel, large, until, name):
    panel = open_panel(name)
    selector = panel.selector
    until(lambda: selector.table.rowCount == 1)
    tracemalloc.start()
    selector.table.cellWidget(0, 1).setCurrentIndex(2)
    selector.patientEdit.text = "Patient 1"
    selector.newButton.click()
    selector.twin.set_nodes("fused", [large.GetID()])
    panel.enter()
    for field in ("outlinesImage", "body"):
        if hasattr(panel.parameters, field):
            setattr(panel.parameters, field, large)
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert selector.twin.nodes("image") == [large]
    assert peak < SIDE**3 / 4


@pytest.mark.parametrize("name", MODULES)
def test_closing_the_scene_ends_a_run_and_nothing_of_it_arrives(open_panel, phantom, until, desktop, name):
    panel = open_panel(name)
    ready(panel, phantom, until, open_panel.scene)
    step, before = Holding(name), threading.active_count()
    panel.logic.step = lambda *_, **__: step
    panel.job_bar.applyButton.click()
    until(step.computing.is_set)
    open_panel.scene.Clear(False)
    assert not panel.job_bar.running
    empty = snapshot(open_panel.scene)
    until(lambda: threading.active_count() <= before)
    for _ in range(3):
        desktop.let_events_happen()
    assert snapshot(open_panel.scene) == empty
    assert "Make a twin first" in panel.job_bar.reasonLabel.text


def test_cancel_does_not_wait_for_what_cannot_be_interrupted(open_panel, phantom, until):
    panel = open_panel("TwinFusion")
    twin = ready(panel, phantom, until, open_panel.scene)
    step, bar, before = Holding("TwinFusion"), panel.job_bar, snapshot(open_panel.scene)
    step.compute = lambda _inputs, _job: (step.computing.set(), step.go_on.wait())
    panel.logic.step = lambda *_, **__: step
    bar.applyButton.click()
    until(step.computing.is_set)
    bar.applyButton.click()
    until(lambda: not bar.running)
    assert bar.summaryLabel.text == "Cancelled. The scene is as it was before."
    following = Holding("TwinFusion")
    panel.logic.step = lambda *_, **__: following
    bar.applyButton.click()
    step.go_on.set()  # only now may another enter the kernels
    until(following.computing.is_set)
    assert snapshot(open_panel.scene) == before
    following.go_on.set()
    until(lambda: not bar.running)
    assert len(twin.nodes("report")) == 1


@pytest.mark.parametrize("when", ["read", "compute", "write"])
def test_an_unforeseen_error_is_told_in_words_and_logged(open_panel, phantom, until, caplog, capsys, when):
    panel = open_panel("TwinFusion")
    ready(panel, phantom, until, open_panel.scene)
    step = Holding("TwinFusion", ZeroDivisionError("patient 4711") if when == "compute" else None)
    step.go_on.set()

    def fail(*_args):
        raise ZeroDivisionError("patient 4711")

    if when != "compute":
        setattr(step, when, fail)
    panel.logic.step = lambda *_, **__: step
    before = snapshot(open_panel.scene)
    panel.job_bar.applyButton.click()
    until(lambda: not panel.job_bar.running)
    assert panel.job_bar.summaryLabel.text.startswith("The run failed and has changed nothing (ZeroDivisionError).")
    assert "Traceback" not in panel.job_bar.summaryLabel.text
    assert snapshot(open_panel.scene) == before
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_another_twin_has_its_own_images_results_and_runs(open_panel, phantom, until):
    panel = open_panel("TwinSegment")
    first = ready(panel, phantom, until, open_panel.scene)
    panel.job_bar.applyButton.click()
    until(lambda: not panel.job_bar.running)
    assert panel.ui.volumesTable.rowCount == 2
    second = phantom.phantom_twin(open_panel.scene)
    panel.choose(second)
    assert panel.selector.twin == second
    assert panel.job_bar.reasonLabel.text == "The twin has no fused images yet: run TwinFusion first."
    assert not panel.ui.resultsButton.visible
    assert not panel.job_bar.revertButton.enabled
    assert second.nodes("segmentation") == []
    panel.choose(first)
    assert panel.ui.volumesTable.rowCount == 2


def test_the_next_module_opens_on_the_same_twin(open_panel, phantom, until, desktop):
    panel = open_panel("TwinFusion")
    first = ready(panel, phantom, until, open_panel.scene)
    phantom.phantom_twin(open_panel.scene)
    until(lambda: panel.selector.twinBox.count == 2)
    panel.choose(first)
    assert not panel.job_bar.continueButton.visible
    with first.run("TwinFusion", {}) as run:
        for node, image in first.images():
            run.add_image(image, "fused", name=f"{node.GetName()} fused")
    until(lambda: panel.job_bar.continueButton.visible)
    panel.job_bar.continueButton.click()
    following = desktop.OPEN["TwinSegment"]
    assert following.selector.twin == first
    desktop.close_panel(following)


def test_the_state_of_a_panel_is_kept_in_a_bundle(open_panel, phantom, until, tmp_path):
    from TwinCore.scene import load, save

    panel = open_panel("TwinSegment")
    twin = ready(panel, phantom, until, open_panel.scene)
    panel.ui.looksSpinBox.value = 3
    panel.ui.closeSpinBox.value = 2.5
    panel.ui.fillHolesBox.click()
    save(twin, tmp_path / "twin.mrb")
    open_panel.scene.Clear(False)
    load(tmp_path / "twin.mrb", open_panel.scene)
    until(lambda: panel.selector.twin is not None)
    values = {"looks": 3, "closeMm": 2.5, "fillHoles": True, "keepLargest": False}
    assert {name: getattr(panel.parameters, name) for name in values} == values
    assert panel.ui.looksSpinBox.value == 3
    assert panel.job_bar.applyButton.enabled


def test_volumes_without_a_twin_are_registered_by_one_call(open_panel, phantom, until):
    import slicer

    from TwinCore import InvalidInput
    from TwinCore.scene import image_to_node

    logic = open_panel("TwinFusion").logic
    ct, pet, _ = phantom.phantom_images()
    nodes = [image_to_node(image, slicer.mrmlScene) for image in (ct, ct.with_array(ct.array + 5.0, name="Later CT"))]
    set_meaning(nodes[1], "", "1")
    with pytest.raises(InvalidInput, match="Later CT does not say its modality"):
        logic.register(*nodes)
    set_meaning(nodes[1], "CT", "[hnsf'U]")
    transform = logic.register(*nodes, preset="follow-up", seed=1)
    assert transform.GetNodeReference(transform.GetMovingNodeReferenceRole()) is nodes[1]
    assert np.abs(slicer.util.arrayFromTransformMatrix(transform)[:3, 3]).max() < 1.0
