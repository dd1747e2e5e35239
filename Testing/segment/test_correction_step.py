"""Corrections by clicks as a run on a twin, what models lack and suit, and files of segments."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import dcmread

from TwinCore import Grid, Image, InvalidInput, MissingInput, MissingPackage, Segmentation, Table
from TwinCore.scene import Twin, execute, node_to_segmentation, node_to_table, snapshot
from TwinSegmentLib.correction_step import CorrectionStep, with_mask
from TwinSegmentLib.expected import expected
from TwinSegmentLib.export import KINDS, export_segments
from TwinSegmentLib.models import installed
from TwinSegmentLib.models.catalogue import find_model
from TwinSegmentLib.models.offers import images_for, offers
from TwinSegmentLib.rtstruct import read_rtstruct

GRID = Grid.isotropic((30, 32, 34), 2.0)


def ball(centre, radius_mm) -> np.ndarray:
    k, j, i = np.indices(GRID.shape)
    x, y, z = (a * 2.0 - c for a, c in zip((i, j, k), centre))
    return x**2 + y**2 + z**2 <= radius_mm**2


ORGAN = ball((34, 32, 30), 20)
BITE = ball((34, 32, 48), 7) & ORGAN
NEIGHBOUR = ball((34, 32, 30), 26) & ~ORGAN


@pytest.fixture
def twin(scene):
    """A bright organ of which a bite was missed, in a darker neighbour, with intervals of an earlier model."""
    noise = np.random.default_rng(0).normal(0, 2, GRID.shape)
    image = Image((100 * ORGAN + 20 * NEIGHBOUR + noise).astype(np.float32), GRID, "CT", "[hnsf'U]", name="CT fused")
    twin = Twin.create("Patient", scene)
    masks = {"organ": ORGAN & ~BITE, "neighbour": NEIGHBOUR | BITE, "far": ball((5, 5, 5), 4)}
    anatomy = Segmentation.from_masks(GRID, masks)
    columns = {"segment": anatomy.names, "volume": [1.0, 1.0, 1.0], "volume, low": [1.0] * 3, "volume, high": [2.0] * 3}
    with twin.run("TwinFusion", {}) as run:
        run.add_image(image, "fused")
    with twin.run("TwinSegment", {}) as run:
        run.add_segmentation(anatomy, "Anatomy")
        run.add_table(Table("Segments", columns, {name: "mL" for name in columns if name != "segment"}))
    return twin


def test_a_click_brings_back_what_was_missed_from_the_neighbour(twin):
    run = execute(twin, CorrectionStep("organ", inside_ras_mm=[(34, 32, 47)], reach_mm=14))
    anatomy = node_to_segmentation(twin.node("segmentation"))
    wrong = lambda mask: int((mask ^ ORGAN).sum())  # noqa: E731
    assert wrong(anatomy.mask("organ")) < 0.25 * BITE.sum()
    assert not (anatomy.mask("organ") & anatomy.mask("neighbour")).any()
    assert run.results["after_ml"].value > run.results["before_ml"].value
    table = node_to_table(twin.node("table"))
    low = dict(zip(table.columns["segment"], table.columns["volume, low"]))
    assert low["far"] == 1.0
    assert np.isnan([low["organ"], low["neighbour"]]).all()


def test_reverting_brings_the_anatomy_before_back(twin):
    before = snapshot(twin.scene)
    execute(twin, CorrectionStep("neighbour", outside_ras_mm=[(34, 32, 47)], reach_mm=14))
    assert snapshot(twin.scene) != before
    twin.revert_last_run()
    assert snapshot(twin.scene) == before


@pytest.mark.parametrize(
    ("step", "error", "words"),
    [
        (CorrectionStep("heart", [(34, 32, 47)]), MissingInput, "There is no segment 'heart'"),
        (CorrectionStep("organ"), InvalidInput, "There is nothing to correct by"),
        (CorrectionStep("organ", [(900, 0, 0)]), InvalidInput, "A click lies outside"),
        (CorrectionStep("organ", [(34, 32, 47)], image="T1"), MissingInput, "no fused image 'T1'; it has: CT"),
    ],
)
def test_what_cannot_be_is_named_and_the_scene_is_left_alone(twin, step, error, words):
    before = snapshot(twin.scene)
    with pytest.raises(error, match=words):
        execute(twin, step)
    assert snapshot(twin.scene) == before


def test_only_segments_of_the_same_layer_lose_what_one_gains():
    whole = Segmentation.from_masks(GRID, {"tumour": ORGAN, "core": BITE, "rest": NEIGHBOUR})
    grown = with_mask(whole, "rest", NEIGHBOUR | BITE)
    assert not (grown.mask("tumour") & BITE).any()
    np.testing.assert_array_equal(grown.mask("core"), BITE)


def test_models_are_offered_for_the_images_that_there_are(tmp_path, monkeypatch):
    monkeypatch.setenv("DIGITALTWIN_MODELS", str(tmp_path))
    there = {"a": "MR", "ct": "CT", "b": "MR", "c": "MR", "d": "MR"}
    assert images_for(find_model("monai-brats-mri"), there) == tuple("abcd")
    assert images_for(find_model("monai-brats-mri"), {"a": "MR", "b": "MR", "c": "MR"}) is None
    found, trouble = offers({"T1": "MR"})
    offered = {offer.name: offer for offer in found}
    assert trouble == ""
    quick = offered["meshnet-model5_gw_ae"]
    assert quick.images == ("T1",)
    assert quick.download == "0.0 MB from raw.githubusercontent.com"
    assert quick.lacks == "The model is not ready: to fetch, 0.0 MB."
    assert offered["monai-spleen-ct"].images is None
    assert offered["monai-spleen-ct"].lacks == ""


def test_a_model_whose_packages_are_not_installed_says_which(monkeypatch):
    entry = find_model("meshnet-model5_gw_ae")
    monkeypatch.setattr(installed, "verify", lambda _entry: None)
    monkeypatch.setattr("TwinSegmentLib.models.catalogue.Entry.missing_files", lambda _entry: ())
    monkeypatch.setattr(installed, "find_spec", lambda name: None)
    assert installed.state_in_words(entry) == "to install, openvino"
    assert installed.state_in_words(find_model("monai-spleen-ct")) == "to install, torch, monai"
    with pytest.raises(MissingPackage, match="openvino"):
        installed.check_ready(entry)
    monkeypatch.setattr(installed, "find_spec", lambda name: name == "torch" or None)
    assert installed.state_in_words(entry) == "ready"


def test_what_a_segmentation_takes_is_what_the_catalogue_knows():
    entry = find_model("meshnet-model18cls")
    once, thrice = (expected(1_000_000, 1, entry, looks) for looks in (1, 3))
    assert thrice.seconds - once.seconds == pytest.approx(2 * entry.seconds)
    assert once.memory_bytes == pytest.approx(1e9 * entry.memory_gb + 8e6)
    assert expected(1_000_000, 1, find_model("monai-spleen-ct")).seconds is None


def test_segments_are_written_and_read_again(tmp_path):
    anatomy = Segmentation.from_masks(GRID, {"organ": ORGAN, "organ ": NEIGHBOUR})
    (path,) = export_segments(anatomy, tmp_path, "rtstruct", "Patient A")
    np.testing.assert_array_equal(read_rtstruct(path, GRID).mask("organ"), ORGAN)
    assert dcmread(path).PatientName == "Patient A"
    names = [p.name for p in export_segments(anatomy, tmp_path, "stl")]
    assert names == ["organ.stl", "organ_2.stl"]
    with pytest.raises(InvalidInput, match="not as 'docx'"):
        export_segments(anatomy, tmp_path, "docx")
    with pytest.raises(InvalidInput, match="no folder"):
        export_segments(anatomy, tmp_path / "gone", "stl")
    assert set(KINDS) == {"seg", "rtstruct", "stl", "obj", "vtk"}
