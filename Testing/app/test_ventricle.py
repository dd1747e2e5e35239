"""The left ventricle of a cine from the command line and as a step: labels, volumes, a sequence that is played."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

from Testing.segment.test_presets import beating
from TwinApp.commands import app
from TwinApp.series_files import read_series
from TwinApp.ventricle import segment_ventricle
from TwinCore import InvalidInput, Job, JobCancelled, MissingInput
from TwinCore.itk import to_sitk
from TwinCore.scene import Twin, execute, load, new_scene, node_to_segmentations, snapshot
from TwinCore.scene.sequences import browser_of
from TwinSegmentLib.ventricle_step import VentricleStep

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "TwinApp/results_schema.json").read_text("utf-8"))
RADII = np.array([22.0, 19.0, 17.0, 19.0])
BASE, APEX = (48.0, 48.0, 32.0), (48.0, 48.0, 8.0)
CLICKS = ["--base", "48", "48", "32", "--apex", "48", "48", "8"]


@pytest.fixture(scope="module")
def cine(tmp_path_factory) -> Path:
    """A beating blood pool of four slices, a time each 40 ms, which the file says."""
    path = tmp_path_factory.mktemp("cine") / "cine.nii.gz"
    whole = sitk.JoinSeries([to_sitk(image) for image in beating(RADII)], 0.0, 0.04)
    whole.SetMetaData("xyzt_units", "10")
    sitk.WriteImage(whole, str(path))
    return path


def test_labels_volumes_and_a_played_sequence_are_written(cine, tmp_path):
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["ventricle", str(cine), *CLICKS, "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "ejection_fraction" in result.output
    results = json.loads((out / "results.json").read_text())
    jsonschema.validate(results, SCHEMA)
    true = np.pi * RADII**2 * 4 * 8 / 1000  # four slices of 8 mm
    assert results["end_diastolic_volume_ml"]["value"] == pytest.approx(true[0], rel=0.09)
    assert results["ejection_fraction"]["value"] == pytest.approx(1 - (17 / 22) ** 2, abs=0.04)
    assert results["end_systole_ms"] == {"value": pytest.approx(80, abs=0.1), "unit": "ms"}
    rows = list(csv.reader((out / "ventricle.csv").read_text().splitlines()))
    assert [row[0] for row in rows] == ["time [ms]", "0.0", "40.0", "80.0", "120.0"]
    labels = sitk.ReadImage(str(out / "ventricle.nii.gz"))
    assert labels.GetSize() == (64, 64, 6, 4)
    assert labels.GetSpacing()[3] == pytest.approx(0.04, rel=1e-3)
    (twin,) = load(out / "twin.mrb")
    drawn, played = twin.nodes("sequence")
    over_time = node_to_segmentations(drawn)
    np.testing.assert_array_equal(
        [one.mask("left ventricle") for one in over_time.values()], sitk.GetArrayFromImage(labels) == 1
    )
    assert browser_of(drawn) is browser_of(played)
    assert list(over_time) == [image.time for image in dict(twin.series())[played]]
    assert over_time[0.0].segments[0].code == ("SCT", "87878005", "Left ventricle")


def test_a_step_reverts_and_what_it_cannot_do_leaves_the_twin_alone(cine):
    twin = Twin.create("A", new_scene())
    with pytest.raises(MissingInput, match="no series over time"):
        execute(twin, VentricleStep(BASE, APEX))
    images = read_series(cine, None, Job())
    for name in ("cine", "other"):
        twin.add_series(images, name)
    before = snapshot(twin.scene)
    for step, words in (
        (VentricleStep(BASE, APEX), "Which series is meant. The twin has: cine, other"),
        (VentricleStep(BASE, APEX, 4, "cine"), "no time 4 in the cine; there are 0 to 3"),
        (VentricleStep((48, 48, 200), APEX, 0, "cine"), "lies outside"),
    ):
        with pytest.raises((InvalidInput, MissingInput), match=words):
            execute(twin, step)
    run = execute(twin, VentricleStep(BASE, APEX, 0, "other"))
    assert run.results["stroke_volume_ml"].value > 5
    assert [node.GetName() for node in twin.nodes("plot")] == ["Volume of the left ventricle"]
    twin.revert_last_run()
    assert snapshot(twin.scene) == before


def test_a_cine_says_its_times_or_they_are_asked_for(cine, tmp_path):
    assert [round(86_400_000 * image.time) for image in read_series(cine, 50.0, Job())] == [0, 50, 100, 150]
    silent = sitk.JoinSeries([to_sitk(image) for image in beating(RADII[:2])])
    sitk.WriteImage(silent, str(tmp_path / "silent.nrrd"))
    with pytest.raises(MissingInput, match="give --interval"):
        read_series(tmp_path / "silent.nrrd", None, Job())
    with pytest.raises(InvalidInput, match="below 10 s, not 0 ms"):
        read_series(cine, 0.0, Job())
    sitk.WriteImage(to_sitk(beating(RADII[:1])[0]), str(tmp_path / "one.nii.gz"))
    with pytest.raises(InvalidInput, match="a single volume"):
        read_series(tmp_path / "one.nii.gz", None, Job())
    with pytest.raises(MissingInput, match="no 'none.nii'"):
        read_series(tmp_path / "none.nii", None, Job())


def test_a_cancelled_run_writes_nothing(cine, tmp_path):
    job = Job(lambda report: report.fraction > 0.3 and job.cancel())
    with pytest.raises(JobCancelled):
        segment_ventricle(cine, tmp_path / "out", BASE, APEX, job=job)
    assert not (tmp_path / "out").exists()


def test_the_ventricle_of_a_patient_agrees_with_experts(data, tmp_path):
    folder = data("cardiac_sunnybrook") / "SC-HF-I-2"
    expert = json.loads((folder / "reference.json").read_text())
    base, apex = (-22.0, 48.9, 10.8), (-68.9, 109.1, -15.3)
    found = segment_ventricle(folder / "cine_4d.nii.gz", tmp_path / "out", base, apex, clicked=expert["ed_frame"])
    assert found["end_diastolic_volume_ml"]["value"] == pytest.approx(expert["edv_ml"], rel=0.05)
    assert found["end_systolic_volume_ml"]["value"] == pytest.approx(expert["esv_ml"], rel=0.05)
    assert 100 * found["ejection_fraction"]["value"] == pytest.approx(expert["ef_pct"], abs=3)
