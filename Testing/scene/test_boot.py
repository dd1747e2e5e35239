"""Booting: once, quietly, and with a clear word where slicer-core is missing."""

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from TwinCore import MissingPackage
from TwinCore.scene import boot, load, new_scene, save

ROOT = Path(__file__).resolve().parents[2]


def in_a_fresh_process(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)


def test_importing_the_scene_door_brings_in_neither_slicer_nor_vtk():
    done = in_a_fresh_process(
        "import sys, TwinCore.scene; print([m for m in ('slicer', 'vtkmodules', 'vtk') if m in sys.modules])"
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_without_slicer_core_boot_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "slicer", None)
    with pytest.raises(MissingPackage, match="pip install"):
        boot()


def test_the_scene_is_booted_once_and_is_slicer_s(scene):
    import slicer

    assert boot() is scene
    assert slicer.mrmlScene is scene
    assert slicer.modules.segmentations.logic().GetMRMLScene() is scene


def test_a_scene_that_is_running_already_is_taken(scene, monkeypatch):
    import slicer

    other = slicer.vtkMRMLScene()
    monkeypatch.setattr(slicer, "mrmlScene", other)
    assert boot() is other


def test_a_new_scene_is_empty_but_for_singletons(scene, image):
    from TwinCore.scene import image_to_node

    image_to_node(image, scene)
    again = new_scene()
    nodes = [again.GetNthNode(n) for n in range(again.GetNumberOfNodes())]
    assert nodes
    assert all(node.GetSingletonTag() for node in nodes)


def test_vtk_s_errors_go_to_logging_and_not_to_the_terminal(scene, caplog, capfd):
    from vtkmodules.vtkImagingCore import vtkImageReslice

    with caplog.at_level(logging.ERROR, "TwinCore.scene"):
        vtkImageReslice().Update()
    assert "is not optional" in caplog.text
    assert capfd.readouterr().err == ""


def test_a_whole_session_is_silent(tmp_path):
    code = f"""
import numpy as np
from TwinCore import Grid, Image, Segmentation
from TwinCore.scene import Twin, load, new_scene, save
grid = Grid.isotropic((4, 5, 6))
twin = Twin.create("A")
twin.add_image(Image(np.arange(120.0).reshape(4, 5, 6), grid), reference=True)
with twin.run("TwinSegment", {{}}) as run:
    run.add_segmentation(Segmentation.from_masks(grid, {{"a": np.ones(grid.shape, bool)}}))
save(twin, {str(tmp_path / "a.mrb")!r})
new_scene()
load({str(tmp_path / "a.mrb")!r})
"""
    done = in_a_fresh_process(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_loaded_twin_can_be_saved_again(twin, image, fill, tmp_path):
    with twin.run("TwinFusion", {}) as run:
        fill(run, image)
    for name in ("first.mrb", "second.mrb"):
        save(twin, tmp_path / name)
        new_scene()
        [twin] = load(tmp_path / name)
    np.testing.assert_array_equal(twin.image(twin.node("image")).array, image.array)
    assert len(twin.provenance()) == 1
