"""Labelled scans on disk, and the commands that learn from them."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

from TwinApp.commands import app
from TwinApp.training import COMPARISON, labelled_scans
from TwinCore import Grid, Image, InvalidInput, MissingInput
from TwinCore.itk import to_sitk
from TwinSegmentLib.generator import read_recipe


@pytest.fixture
def head() -> Image:
    grid = Grid.isotropic((48, 48, 48))
    distance = np.sqrt(((np.indices(grid.shape) - 23.5) ** 2).sum(0))
    labels = np.select([distance < 10, distance < 15, distance < 20], [2, 3, 507], 0)
    return Image(labels.astype(np.int16), grid, name="head")


def write_volume(image: Image, path) -> None:
    sitk.WriteImage(to_sitk(image), str(path))


def keep(folder, name: str, head: Image) -> None:
    folder.mkdir(exist_ok=True)
    write_volume(head.with_array((100.0 - head.array / 10).astype(np.float32)), folder / f"{name}.nii.gz")
    write_volume(head, folder / f"{name}_labels.nii.gz")


def test_scans_are_found_with_their_labels(tmp_path, head):
    for name in ("second", "first"):
        keep(tmp_path / "scans", name, head)
    (first, labels), (second, _) = labelled_scans(tmp_path / "scans", read_recipe("brain"), "MR")
    assert (first.name, second.name, first.modality) == ("first.nii.gz", "second.nii.gz", "MR")
    np.testing.assert_array_equal(labels.array, head.array)


def test_labels_may_be_named_by_a_table_beside_them(tmp_path, head):
    keep(tmp_path, "scan", head)
    write_volume(head.with_array((head.array == 2).astype(np.int16) * 7), tmp_path / "scan_labels.nii.gz")
    (tmp_path / "scan_labels.csv").write_text("label,segment\n7,thalamus\n")
    recipe = read_recipe("brain")
    ((_, labels),) = labelled_scans(tmp_path, recipe, "MR")
    assert set(np.unique(labels.array)) == {0, recipe.label("thalamus")}


def test_a_scan_without_labels_is_named(tmp_path, head):
    keep(tmp_path, "scan", head)
    write_volume(head, tmp_path / "odd.nii.gz")
    with pytest.raises(MissingInput, match=r"odd\.nii\.gz.*odd_labels\.nii\.gz"):
        labelled_scans(tmp_path, read_recipe("brain"), "MR")
    for path in tmp_path.glob("*d.nii.gz"):
        path.unlink()
    (tmp_path / "scan.nii.gz").unlink()
    with pytest.raises(MissingInput, match="only labels"):
        labelled_scans(tmp_path, read_recipe("brain"), "MR")


def test_a_comparison_needs_scans_on_both_sides(tmp_path, head):
    pytest.importorskip("torch")
    from TwinApp.training import compare_training

    keep(tmp_path / "scans", "only", head)
    write_volume(head, tmp_path / "map.nii.gz")
    with pytest.raises(InvalidInput, match="Of 1 scans, 1 cannot be held out"):
        compare_training([tmp_path / "map.nii.gz"], tmp_path / "scans", tmp_path / "out")


def test_the_command_compares_and_says_so(tmp_path, head):
    pytest.importorskip("torch")
    for name in ("a", "b"):
        keep(tmp_path / "scans", name, head)
    write_volume(head, tmp_path / "map.nii.gz")
    words = ["compare-training", tmp_path / "map.nii.gz", "--scans", tmp_path / "scans", "--steps", 1]
    said = CliRunner().invoke(app, [str(word) for word in [*words, "--out", tmp_path / "out"]])
    assert said.exit_code == 0, said.output
    assert "real and synthetic" in said.output
    rows = list(csv.reader((tmp_path / "out" / COMPARISON).read_text().splitlines()))
    assert rows[0] == ["class", "synthetic", "real", "real and synthetic"]
    assert rows[-1][0] == "mean"
    assert all(0 <= float(value) <= 1 for value in rows[-1][1:])
