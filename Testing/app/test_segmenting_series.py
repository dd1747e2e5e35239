"""A series over time is labelled time by time, and played: from the command line and as a step."""

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
from TwinCore import Grid, Image, InvalidInput, Job, JobCancelled, MissingInput
from TwinCore.itk import to_sitk
from TwinCore.scene import Twin, execute, load, new_scene, node_to_segmentations, node_to_table, snapshot
from TwinCore.scene.sequences import browser_of
from TwinSegmentLib.models import apply as apply_module
from TwinSegmentLib.models import installed as installed_module
from TwinSegmentLib.series_step import SeriesStep

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "TwinApp/results_schema.json").read_text("utf-8"))
MODEL = "meshnet-model5_gw_ae"
GRID = Grid.isotropic((20, 22, 24), 2.0, (-20, -10, 5))
RADII = (6.0, 5.0, 4.0)


@pytest.fixture
def balls(monkeypatch):
    """A ball that shrinks; the model is a threshold."""
    monkeypatch.setattr(apply_module, "load_model", lambda entry: bright_and_dark())
    monkeypatch.setattr(installed_module, "verify", lambda entry: None)
    far = np.sqrt(((np.indices(GRID.shape) - np.array([10, 11, 12])[:, None, None, None]) ** 2).sum(0))
    return [far < radius for radius in RADII]


def test_labels_volumes_and_a_played_sequence_are_written(balls, tmp_path):
    path, out = tmp_path / "series.nii.gz", tmp_path / "out"
    sitk.WriteImage(sitk.JoinSeries([to_sitk(Image(b.astype(np.float32), GRID)) for b in balls], 0.0, 1.0), str(path))
    asked = ["segment-series", str(path), "--interval", "500", "--model", MODEL, "--out", str(out)]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    results = json.loads((out / "results.json").read_text())
    jsonschema.validate(results, SCHEMA)
    volumes = [ball.sum() * 0.008 for ball in balls]
    assert results["largest_volume_ml_bright"]["value"] == pytest.approx(volumes[0])
    assert results["smallest_volume_ml_bright"]["value"] == pytest.approx(volumes[2])
    labels = sitk.ReadImage(str(out / "anatomy.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(labels) == 1, balls)
    assert labels.GetSpacing()[3] == pytest.approx(0.5, rel=1e-3)
    rows = list(csv.reader((out / "volumes.csv").read_text().splitlines()))
    assert rows[0] == ["time [ms]", "bright [mL]"]
    np.testing.assert_allclose(np.array(rows[1:], float), np.transpose([[0, 500, 1000], volumes]), atol=1e-3)
    (twin,) = load(out / "twin.mrb")
    drawn, played = twin.nodes("sequence")
    assert [one.mask("bright").sum() for one in node_to_segmentations(drawn).values()] == [b.sum() for b in balls]
    assert browser_of(drawn) is browser_of(played)


def test_visits_have_days_and_what_cannot_be_done_leaves_the_twin_alone(balls):
    twin = Twin.create("A", new_scene())
    with pytest.raises(MissingInput, match="no series"):
        execute(twin, SeriesStep(MODEL))
    visits = [Image(b.astype(np.float32), GRID, "MR", "1", 40.0 * n, "visit") for n, b in enumerate(balls)]
    for name in ("visits", "others"):
        twin.add_series(visits, name)
    before = snapshot(twin.scene)
    with pytest.raises(MissingInput, match="Which series is meant. The twin has: visits, others"):
        execute(twin, SeriesStep(MODEL))
    with pytest.raises(InvalidInput, match="takes 4 images at once"):
        execute(twin, SeriesStep("monai-brats-mri", "visits"))
    job = Job(lambda report: report.fraction > 0.3 and job.cancel())
    with pytest.raises(JobCancelled):
        execute(twin, SeriesStep(MODEL, "visits"), job)
    assert snapshot(twin.scene) == before
    execute(twin, SeriesStep(MODEL, "visits"))
    table = node_to_table(twin.node("table"))
    assert table.columns["time"].tolist() == [0.0, 40.0, 80.0]
    assert table.units == {"time": "d", "bright": "mL"}
    twin.revert_last_run()
    assert snapshot(twin.scene) == before
