"""Doses added up through the registration of their images, as a step and from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

from TwinApp.commands import app
from TwinCore import Grid, GridTransform, Image, InvalidInput, LinearTransform, MissingInput, Segmentation
from TwinCore.itk import to_sitk
from TwinCore.scene import Twin, execute, load, new_scene, node_to_image, snapshot
from TwinSimulateLib.accumulation_step import AccumulationStep

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "TwinApp/results_schema.json").read_text("utf-8"))
GRID = Grid.isotropic((24, 24, 24), 2.0)


def ramp(gray_a_mm, name, start=10.0) -> Image:
    """A dose that rises to the patient's left (RAS -x has less)."""
    x = GRID.to_ras(np.stack(np.indices(GRID.shape)[::-1], axis=-1))[..., 0]
    return Image((start + gray_a_mm * x).astype(np.float32), GRID, unit="Gy", name=name)


@pytest.fixture
def twin():
    """A reference, a second CT moved by 4 mm to it, a dose on each, and a segment in the middle."""
    twin = Twin.create("A", new_scene())
    values = np.random.default_rng(0).normal(0, 50, GRID.shape).astype(np.float32)
    twin.add_image(Image(values, GRID, "CT", "1", name="CT"), reference=True)
    later = twin.add_image(Image(values, GRID, "CT", "1", name="CT later"))
    box = np.zeros(GRID.shape, bool)
    box[8:16, 8:16, 8:16] = True
    with twin.run("TwinSegment", {}) as run:
        run.add_segmentation(Segmentation.from_masks(GRID, {"box": box}), "Outlines")
    twin.add_field(ramp(0.5, "first"))
    twin.add_field(ramp(1.0, "second"), later)
    return twin


@pytest.mark.parametrize("kind", ["rigid", "deformable"])
def test_doses_are_added_where_their_images_were_moved(twin, kind):
    shift = np.eye(4)
    shift[0, 3] = 4.0
    field = GridTransform(np.broadcast_to([-4.0, 0, 0], (*GRID.shape, 3)).copy(), GRID)
    move = LinearTransform(shift) if kind == "rigid" else field
    with twin.run("TwinFusion", {}) as run:
        run.add_transform(move, twin.nodes("image")[1], twin.node("reference"))
    run = execute(twin, AccumulationStep(["first", "second"]))
    total = node_to_image(twin.node("field"))
    assert (total.unit, total.name) == ("Gy", "accumulated dose")
    x = GRID.to_ras([12, 12, 12])[0]
    expected = 10 + 0.5 * x + 10 + move.pull([x, 24.0, 24.0])[0]
    assert total.array[12, 12, 12] == pytest.approx(expected, abs=1e-3)
    middle = 20 + 0.5 * 23 + move.pull([23.0, 24.0, 24.0])[0]  # the box is from 15 to 31 mm
    assert run.results["accumulated_mean_gy, box"].value == pytest.approx(middle, abs=0.05)
    assert any("neither energy nor mass" in warning for warning in run.warnings) is (kind == "deformable")
    assert {"first", "second"} <= {entry["name"] for entry in run.provenance["inputs"]}


def test_doses_of_different_fractions_are_added_as_eqd2(twin):
    run = execute(twin, AccumulationStep(["first", "second"], {"first": 10, "second": 2}, 3.0))
    first, second = (10 + slope * 24.0 for slope in (0.5, 1.0))
    by_hand = first * (first / 10 + 3) / 5 + second * (second / 2 + 3) / 5
    total = run.outputs.total
    assert total.array[12, 12, 12] == pytest.approx(by_hand, rel=1e-5)
    assert total.name == "accumulated EQD2, alpha/beta 3 Gy"


@pytest.mark.parametrize(
    ("step", "error", "words"),
    [
        (AccumulationStep(["first"]), InvalidInput, "Two doses or more"),
        (AccumulationStep(["first", "first"]), InvalidInput, "each once"),
        (AccumulationStep(["first", "third"]), MissingInput, "no field 'third'; it has: .*second"),
        (AccumulationStep(["first", "second"], {"first": 10, "second": 2}), MissingInput, "needs alpha/beta"),
        (AccumulationStep(["first", "second"], {"first": 10}, 3.0), MissingInput, "fractions of every dose"),
        (AccumulationStep(["first", "second", "odd"]), InvalidInput, "added up, not 'cGy'"),
    ],
)
def test_what_cannot_be_added_is_said_and_leaves_the_scene_alone(twin, step, error, words):
    twin.add_field(Image(np.ones(GRID.shape, np.float32), GRID, unit="cGy", name="odd"))
    before = snapshot(twin.scene)
    with pytest.raises(error, match=words):
        execute(twin, step)
    assert snapshot(twin.scene) == before


CASE = """
[patient]
name = "Anna"
[[image]]
name = "CT"
path = "ct.nii.gz"
modality = "CT"
reference = true
frame = "A"
[[image]]
name = "CT later"
path = "ct.nii.gz"
modality = "CT"
frame = "A"
[[outline]]
path = "box.nii.gz"
image = "CT"
segments = {{ 1 = "box" }}
[[map]]
name = "first"
path = "first.nii.gz"
unit = "Gy"
{second}
"""
SECOND = '[[map]]\nname = "second"\npath = "second.nii.gz"\nimage = "CT later"\nunit = "Gy"'


def test_the_command_writes_the_sum(tmp_path):
    k, j, i = np.indices(GRID.shape)
    body = ((k - 12) ** 2 + (j - 12) ** 2 + (i - 12) ** 2 < 110).astype(np.float32)
    ct = np.where(body > 0, 40.0, -1000.0) + np.random.default_rng(0).normal(0, 10, GRID.shape)
    box = np.zeros(GRID.shape, np.uint8)
    box[8:16, 8:16, 8:16] = 1
    files = {"ct": ct.astype(np.float32), "box": box, "first": ramp(0.5, "").array, "second": ramp(1.0, "").array}
    for name, array in files.items():
        sitk.WriteImage(to_sitk(Image(array, GRID)), str(tmp_path / f"{name}.nii.gz"))
    (tmp_path / "case.toml").write_text(CASE.format(second=SECOND))
    out, sums = tmp_path / "out", ["--fractions", "first=10", "--fractions", "second=2", "--alpha-beta", "3"]
    result = CliRunner().invoke(app, ["accumulate", str(tmp_path / "case.toml"), *sums, "--out", str(out)])
    assert result.exit_code == 0, result.output
    results = json.loads((out / "results.json").read_text())
    jsonschema.validate(results, SCHEMA)
    total = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "accumulated.nii.gz")))
    assert results["accumulated_max_gy"]["value"] == pytest.approx(float(total.max()), rel=1e-5)
    assert results["accumulated_mean_gy, box"]["value"] == pytest.approx(total[8:16, 8:16, 8:16].mean(), rel=0.01)
    (twin,) = load(out / "twin.mrb")
    assert twin.node("field").GetName() == "accumulated EQD2, alpha/beta 3 Gy"
    (tmp_path / "case.toml").write_text(CASE.format(second=""))
    with pytest.raises(MissingInput, match="has 1 maps in Gy"):
        CliRunner().invoke(app, ["accumulate", str(tmp_path / "case.toml"), *out_of(tmp_path)], catch_exceptions=False)
    wrong = ["accumulate", str(tmp_path / "case.toml"), "--fractions", "first", *out_of(tmp_path)]
    with pytest.raises(InvalidInput, match="NAME=30, not 'first'"):
        CliRunner().invoke(app, wrong, catch_exceptions=False)


def out_of(folder: Path) -> list[str]:
    return ["--out", str(folder / "other")]
