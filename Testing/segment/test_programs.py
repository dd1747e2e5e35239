"""TotalSegmentator and nnU-Net as programs that the user has installed: stand-ins that the tests write are run."""

from __future__ import annotations

import json
import os
import pickle
import stat
import sys
import threading
import time
import zipfile

import numpy as np
import pytest

from TwinCore import Grid, Image, InvalidInput, Job, JobCancelled, MissingInput, MissingPackage
from TwinCore.scene import Twin, execute, node_to_segmentation
from TwinSegmentLib.models import catalogue as catalogue_module
from TwinSegmentLib.models.apply import label_by
from TwinSegmentLib.models.catalogue import find_model
from TwinSegmentLib.models.installed import check_ready, state_in_words
from TwinSegmentLib.models.nnunet import CHECKPOINT, check_checkpoint, read_results
from TwinSegmentLib.models.programs import run_program
from TwinSegmentLib.step import SegmentStep

GRID = Grid((8, 9, 10), np.array([[-1.5, 0, 0, 30], [0, -1.5, 0, 20], [0, 0, 2.0, -7], [0, 0, 0, 1]]))
BRIGHT = np.zeros(GRID.shape, np.float32)
BRIGHT[2:5, 3:7, 4:6] = 300.0
CT = Image(BRIGHT - 100.0, GRID, "CT", "[hnsf'U]", name="CT")

TOTALSEGMENTATOR = """
import sys, SimpleITK as sitk
from pathlib import Path
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert given["--task"] == "total", sys.argv
image = sitk.ReadImage(given["-i"])
for name, mask in (("kidney_left", image > 0), ("tail", (image < 0) & (image > -90)), ("new_part", image < -99)):
    sitk.WriteImage(sitk.Cast(mask, sitk.sitkUInt8), str(Path(given["-o"]) / (name + ".nii.gz")))
"""
NNUNET = """
import sys, numpy as np, SimpleITK as sitk
from pathlib import Path
def given(name): return sys.argv[sys.argv.index(name) + 1]
assert Path(given("-m"), "fold_" + given("-f"), given("-chk")).is_file() and "--save_probabilities" in sys.argv
files = sorted(Path(given("-i")).iterdir())
assert [f.name for f in files] == [f"case_{n:04d}.nii.gz" for n in range(len(files))]
image = sitk.GetArrayFromImage(sitk.ReadImage(str(files[-1])))
p = np.where(image > 0, 0.9, 0.2).astype(np.float32)
np.savez_compressed(given("-o") + "/case.npz", probabilities=np.stack(STACK))
"""


def install(folder, monkeypatch, name: str, script: str) -> None:
    """An executable of that name, alone on the search path."""
    if os.name == "nt":
        pytest.skip("The stand-in is a script with a first line of POSIX.")
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{script}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))


def test_totalsegmentators_masks_become_coded_segments(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, "TotalSegmentator", TOTALSEGMENTATOR)
    found = label_by(find_model("totalsegmentator"), [CT], looks=1)
    assert found.segmentation.names == ["left kidney", "new part"]
    np.testing.assert_array_equal(found.segmentation.mask("left kidney"), BRIGHT > 0)
    assert found.segmentation.segments[0].code == ("SCT", "64033007", "Kidney")
    assert found.segmentation.segments[1].code is None
    assert found.uncertainty is None
    assert np.isnan(found.volumes.columns["volume, low"]).all()


def test_its_segments_are_carried_to_another_grid_and_reach_the_scene(tmp_path, monkeypatch, scene):
    install(tmp_path, monkeypatch, "TotalSegmentator", TOTALSEGMENTATOR)
    coarser = GRID.with_spacing(3.0)
    volume = label_by(find_model("totalsegmentator"), [CT], coarser).segmentation.volume_ml("left kidney")
    assert volume == pytest.approx((BRIGHT > 0).sum() * GRID.voxel_volume_ml, rel=0.3)
    twin = Twin.create("Anna", scene)
    twin.add_image(CT, reference=True)
    with twin.run("TwinFusion", {}) as run:
        run.add_image(CT, "fused", name="CT fused")
    execute(twin, SegmentStep(model="totalsegmentator", model_images=["CT"]))
    np.testing.assert_array_equal(node_to_segmentation(twin.node("segmentation")).mask("left kidney"), BRIGHT > 0)
    assert not twin.nodes("uncertainty")


def test_a_program_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(MissingPackage, match="pip install TotalSegmentator"):
        SegmentStep(model="totalsegmentator").check()
    assert state_in_words(find_model("totalsegmentator")) == "to install, TotalSegmentator"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("import sys; print('licence needed'); sys.exit(3)", "failed with exit code 3: licence needed"),
        ("raise ValueError('<b>out of memory</b>')", "failed with exit code 1: ValueError b out of memory b"),
        ("pass", "finds nothing"),
        (TOTALSEGMENTATOR.replace("sitk.Cast(mask,", "sitk.Cast(mask[1:],"), "on another grid than the image's"),
        (
            "import sys; open(sys.argv[sys.argv.index('-o') + 1] + '/liver.nii.gz', 'wb').write(b'<html>')",
            "not an image but a web page",
        ),
    ],
)
def test_a_program_that_fails_or_writes_what_it_should_not(tmp_path, monkeypatch, script, message):
    install(tmp_path, monkeypatch, "TotalSegmentator", script)
    with pytest.raises(InvalidInput, match=message):
        label_by(find_model("totalsegmentator"), [CT])


def test_an_image_of_another_modality_is_refused_before_anything_runs(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, "TotalSegmentator", "open('ran', 'w')")
    with pytest.raises(InvalidInput, match="takes CT, and image 'T1' is MR"):
        label_by(find_model("totalsegmentator"), [Image(BRIGHT, GRID, "MR", name="T1")])


def test_a_cancelled_program_is_killed_with_its_children(tmp_path):
    """The stand-in starts a child and both would write for a minute; after the cancel neither does."""
    child = f"import time\nfor n in range(600): open({str(tmp_path / 'child')!r}, 'a').write('x'); time.sleep(0.1)"
    parent = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])"
    job = Job()

    def cancel_when_it_runs():
        while not (tmp_path / "child").exists():
            time.sleep(0.02)
        job.cancel()

    threading.Thread(target=cancel_when_it_runs, daemon=True).start()
    with pytest.raises(JobCancelled):
        run_program([sys.executable, "-c", parent], tmp_path, job)
    size = (tmp_path / "child").stat().st_size
    time.sleep(0.5)
    assert (tmp_path / "child").stat().st_size == size


def test_words_of_a_shell_are_words_to_a_program(tmp_path):
    argument = "; touch hacked; $(touch hacked) `touch hacked`"
    run_program([sys.executable, "-c", "import sys; open('said', 'w').write(sys.argv[1])", argument], tmp_path, Job())
    assert (tmp_path / "said").read_text() == argument
    assert not (tmp_path / "hacked").exists()


PLANS = {
    "image_reader_writer": "SimpleITKIO",
    "configurations": {
        "3d_fullres": {
            "architecture": {
                "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
                "arch_kwargs": {"conv_op": "torch.nn.modules.conv.Conv3d", "dropout_op": None},
                "_kw_requires_import": ["conv_op", "dropout_op"],
            }
        }
    },
}
DATASET = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "bright": 1}, "file_ending": ".nii.gz"}
REGIONS = {"channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, "whole": [1, 2], "core": [2]}}


def checkpoint(path, content=None) -> None:
    """What nnU-Net writes: weights, numbers of numpy, a device, and dictionaries."""
    torch = pytest.importorskip("torch")
    usual = {
        "network_weights": torch.nn.Conv3d(1, 2, 1).state_dict(),
        "logging": {"dice": [np.float64(0.8), np.float32(0.7)], "when": np.arange(3)},
        "init_args": {"plans": PLANS, "device": torch.device("cpu")},
        "trainer_name": "nnUNetTrainer",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(usual if content is None else content, path)


def results(folder, plans=PLANS, dataset=DATASET):
    folder.mkdir(exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    checkpoint(folder / "fold_0" / CHECKPOINT)
    return folder


def entry_of(tmp_path, monkeypatch, **changes):
    """An entry of the user's own for results that are put into the folder of models."""
    monkeypatch.setenv(catalogue_module.CACHE_VARIABLE, str(tmp_path))
    row = {"name": "mine", "title": "Bright", "system": "none", "kind": "nnunet", "modalities": ["CT"], "files": []}
    row |= {"labels": [{"name": "background"}, {"name": "bright"}], "licence": "none", "source": "here"}
    row |= {"seconds": 1, "memory_gb": 1, "limits": "", "volume_factors": {"bright": 1.0}} | changes
    (tmp_path / "catalogue.json").write_text(json.dumps([row]))
    return find_model("mine")


def test_a_trained_nnunet_gives_labels_with_uncertainty_and_intervals(tmp_path, monkeypatch):
    install(tmp_path / "bin", monkeypatch, "nnUNetv2_predict_from_modelfolder", NNUNET.replace("STACK", "[1 - p, p]"))
    entry = entry_of(tmp_path, monkeypatch)
    with pytest.raises(MissingInput, match="put nnU-Net's results .* into"):
        check_ready(entry)
    results(entry.folder)
    assert state_in_words(entry) == "ready"
    found = label_by(entry, [CT])
    np.testing.assert_array_equal(found.segmentation.mask("bright"), BRIGHT > 0)
    entropy = -(0.9 * np.log2(0.9) + 0.1 * np.log2(0.1))
    np.testing.assert_allclose(found.uncertainty.array[BRIGHT > 0], entropy, atol=1e-5)
    doubt = (0.09 * (BRIGHT > 0).sum() + 0.16 * (BRIGHT == 0).sum()) * GRID.voxel_volume_ml
    high = found.volumes.columns["volume, high"][0]
    assert high - found.segmentation.volume_ml("bright") == pytest.approx(doubt, rel=1e-4)


def test_regions_of_an_nnunet_overlap(tmp_path, monkeypatch):
    script = NNUNET.replace("STACK", "[p, np.where(image > 250, 0.8, 0.1)]").replace("0.9, 0.2", "0.9, 0.2")
    install(tmp_path / "bin", monkeypatch, "nnUNetv2_predict_from_modelfolder", script)
    labels, modalities = [{"name": "whole"}, {"name": "core"}], ["MR", "MR"]
    entry = entry_of(tmp_path, monkeypatch, labels=labels, modalities=modalities, overlapping=True)
    results(entry.folder, dataset=REGIONS)
    array = BRIGHT.copy()
    array[2, 3, 4] = 200.0
    shifted = Image(array, GRID, "MR", name="T2")
    found = label_by(entry, [Image(BRIGHT, GRID, "MR", name="T1"), shifted])
    np.testing.assert_array_equal(found.segmentation.mask("whole"), array > 0)
    np.testing.assert_array_equal(found.segmentation.mask("core"), array > 250)


def test_a_catalogue_that_says_something_else_than_the_results_is_refused(tmp_path, monkeypatch):
    install(tmp_path / "bin", monkeypatch, "nnUNetv2_predict_from_modelfolder", "open('ran', 'w')")
    entry = entry_of(tmp_path, monkeypatch, labels=[{"name": "background"}, {"name": "a"}, {"name": "b"}])
    results(entry.folder)
    with pytest.raises(InvalidInput, match="says 3 classes, 1 images.*results have 2, 1"):
        label_by(entry, [CT])


@pytest.mark.parametrize(
    ("stack", "message"),
    [("[p]", r"holds \(1, 8, 9, 10\)"), ("[p, p + 5]", "not between 0 and 1"), ("[p * np.nan, p]", "not between")],
)
def test_probabilities_that_cannot_be_are_refused(tmp_path, monkeypatch, stack, message):
    install(tmp_path / "bin", monkeypatch, "nnUNetv2_predict_from_modelfolder", NNUNET.replace("STACK", stack))
    entry = entry_of(tmp_path, monkeypatch)
    results(entry.folder)
    with pytest.raises(InvalidInput, match=message):
        label_by(entry, [CT])


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def zipped_pickle(path, pickled: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)


def test_a_checkpoint_that_would_call_something_is_not_given_to_nnunet(tmp_path):
    hacked, path = str(tmp_path / "hacked"), tmp_path / "fold_0" / CHECKPOINT
    checkpoint(path)
    check_checkpoint(path)
    checkpoint(path, {"network_weights": Evil(hacked)})
    with pytest.raises(InvalidInput, match=r"fold_0/checkpoint_final.pth .*would call '(io|__builtin__|_io).open'"):
        check_checkpoint(path)
    for protocol, message in ((4, "STACK_GLOBAL"), (0, "would call")):
        zipped_pickle(path, pickle.dumps(Evil(hacked), protocol))
        with pytest.raises(InvalidInput, match=message):
            check_checkpoint(path)
    for content in (pickle.dumps(Evil(hacked)), b"", b"PK\x03\x04 no zip"):
        path.write_bytes(content)
        with pytest.raises(InvalidInput, match="not given to nnU-Net"):
            check_checkpoint(path)
    assert not (tmp_path / "hacked").exists()


def test_a_torchscript_archive_is_no_checkpoint(tmp_path):
    torch = pytest.importorskip("torch")
    torch.jit.save(torch.jit.script(torch.nn.Conv3d(1, 2, 1)), str(tmp_path / "model.pth"))
    with pytest.raises(InvalidInput, match="not a checkpoint alone"):
        check_checkpoint(tmp_path / "model.pth")


def _architecture(**changes):
    plans = json.loads(json.dumps(PLANS))
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    architecture.update({k: v for k, v in changes.items() if k != "conv_op"})
    architecture["arch_kwargs"]["conv_op"] = changes.get("conv_op", "torch.nn.Conv3d")
    return plans


@pytest.mark.parametrize(
    ("plans", "dataset", "message"),
    [
        (_architecture(network_class_name="subprocess.Popen"), DATASET, "'subprocess.Popen' is none of nnU-Net's"),
        (_architecture(conv_op="os.system"), DATASET, "'os.system' is no part of a network"),
        (_architecture(conv_op="torch.nn.Conv3d;os"), DATASET, "is no part of a network"),
        (PLANS | {"image_reader_writer": "NibabelIOWithReorient"}, DATASET, "read by 'NibabelIOWithReorient'"),
        (PLANS, DATASET | {"file_ending": ".exe"}, "end in '.exe'"),
        (PLANS, DATASET | {"labels": {"bright": 1}}, "has no background"),
        (PLANS, {"labels": {"background": 0}}, "channel_names"),
        ([1, 2], DATASET, "plans.json .*no object"),
        ({}, DATASET, "configurations"),
    ],
)
def test_plans_that_nnunet_would_not_have_written_are_refused(tmp_path, plans, dataset, message):
    with pytest.raises(InvalidInput, match=message):
        read_results(results(tmp_path / "mine", plans, dataset))


def test_results_without_a_checkpoint_are_missing_it(tmp_path):
    folder = results(tmp_path / "mine")
    (folder / "fold_0" / CHECKPOINT).unlink()
    with pytest.raises(MissingInput, match="no fold with a checkpoint_final.pth"):
        read_results(folder)
