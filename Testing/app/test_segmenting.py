"""Segmentation by a model from the command line, to files that other programs read."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import SimpleITK as sitk
from threshold_model import bright_and_dark
from typer.testing import CliRunner

from TwinApp.commands import app
from TwinApp.segmenting import segment_images
from TwinCore import Grid, Image, InvalidInput, Job, JobCancelled
from TwinCore.itk import to_sitk
from TwinCore.scene import load, node_to_segmentation
from TwinSegmentLib.models import apply as apply_module
from TwinSegmentLib.models import installed as installed_module

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "TwinApp/results_schema.json").read_text("utf-8"))
MODEL = "meshnet-model5_gw_ae"
GRID = Grid.isotropic((20, 22, 24), 2.0, (-20, -10, 5))


@pytest.fixture
def ball(tmp_path, monkeypatch):
    """An image with a bright ball on disk; the model is a threshold."""
    monkeypatch.setattr(apply_module, "load_model", lambda entry: bright_and_dark())
    monkeypatch.setattr(installed_module, "verify", lambda entry: None)
    inside = ((np.indices(GRID.shape) - np.array([10, 11, 12])[:, None, None, None]) ** 2).sum(0) < 36
    path = tmp_path / "ball.nii.gz"
    sitk.WriteImage(to_sitk(Image(inside.astype(np.float32), GRID)), str(path))
    return path, inside


def test_labels_uncertainty_volumes_and_scene_are_written(ball, tmp_path):
    path, inside = ball
    result = CliRunner().invoke(
        app,
        ["segment", str(path), "--modality", "MR", "--model", MODEL, "--out", str(tmp_path / "out"), "--looks", "2"],
    )
    assert result.exit_code == 0, result.output
    out = tmp_path / "out"
    names = {"anatomy.nii.gz", "anatomy.csv", "anatomy.png", "uncertainty.nii.gz", "twin.mrb"}
    assert {p.name for p in out.iterdir()} == names | {"results.json", "provenance.json"}
    labels = sitk.ReadImage(str(out / "anatomy.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(labels) == 1, inside)
    assert labels.GetSpacing() == pytest.approx((2.0, 2.0, 2.0))
    (row,) = csv.DictReader((out / "anatomy.csv").read_text().splitlines())
    assert (row["segment"], row["code"]) == ("bright", "SCT 1")
    assert float(row["volume [mL]"]) == pytest.approx(inside.sum() * 0.008)
    results = json.loads((out / "results.json").read_text())
    jsonschema.validate(results, SCHEMA)
    assert results["volume_ml_bright"]["value"] == pytest.approx(inside.sum() * 0.008)
    (twin,) = load(out / "twin.mrb")
    assert node_to_segmentation(twin.node("segmentation")).names == ["bright"]
    assert twin.node("uncertainty") is not None
    records = json.loads((out / "provenance.json").read_text())["runs"]
    assert records[1]["parameters"]["model"] == MODEL


def test_too_many_images_and_unknown_models_are_refused(ball, tmp_path):
    path, _ = ball
    with pytest.raises(InvalidInput, match=r"takes 1 images \(MR\), not 2"):
        segment_images([path, path], tmp_path / "out", MODEL, modalities=["MR", "MR"])
    with pytest.raises(InvalidInput, match="no model 'heart'"):
        segment_images([path], tmp_path / "out", "heart", modalities=["MR"])
    assert not (tmp_path / "out").exists()


def test_a_cancelled_segmentation_writes_nothing(ball, tmp_path):
    path, _ = ball
    job = Job(lambda report: report.fraction > 0.4 and job.cancel())
    with pytest.raises(JobCancelled):
        segment_images([path], tmp_path / "out", MODEL, modalities=["MR"], job=job)
    assert not (tmp_path / "out").exists()


def test_the_models_are_listed(tmp_path, monkeypatch):
    monkeypatch.setenv("DIGITALTWIN_MODELS", str(tmp_path))
    result = CliRunner().invoke(app, ["models"])
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0].startswith("brain-anatomy ")
    assert "ready" in lines[0]
    assert any("meshnet-mindgrab" in line and "to fetch" in line for line in lines)
