"""`digitaltwin dose` on DICOM files with known figures, and what it refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import jsonschema
import numpy as np
import pydicom
import pytest
from dose_phantoms import eclipse_outlines, eclipse_table
from typer.testing import CliRunner

from Testing.fusion.dicom_objects import dose, sequence, write
from Testing.fusion.test_dicom_plan import plan
from Testing.segment.test_rtstruct import FRAME, planes
from Testing.segment.test_rtstruct import write as write_structures
from TwinApp.commands import app
from TwinApp.dose_goals import read_goals
from TwinApp.dosing import evaluate_plan
from TwinCore import InvalidInput, Job, JobCancelled, MissingInput
from TwinCore.grid import LPS_FROM_RAS
from TwinCore.volume_file import read_volume

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "TwinApp/results_schema.json").read_text("utf-8"))
BOX = np.array([[5.0, 10], [9, 10], [9, 18], [5, 18]])
GOALS = """
patient = "Case 3"
[prescription]
fractions = 3
dose_gy = 8.0
[[goal]]
structure = "box"
metric = "D95%"
at_least = 7.0
acceptable = 5.0
[[goal]]
structure = "box"
metric = "V95%"
at_most = 90
[[complication]]
structure = "box"
organ = "lung"
[[control]]
structure = "target"
tumour = "soft-tissue sarcoma"
[what_if]
structures = ["box"]
shift_mm = 1.0
margins_mm = [0.5]
schedules = ["4 x 2 Gy"]
"""


@pytest.fixture
def files(tmp_path) -> dict[str, Path]:
    """A dose that rises by 1 Gy per mm from 2 Gy at z = 30 mm, and two boxes from z = 33 to 39 mm."""
    made = dose()
    made.FrameOfReferenceUID = FRAME
    regions = {"box": planes(BOX, [34, 36, 38]), "target": planes(BOX, [34, 36, 38]), "mark": planes(BOX[:1], [34])}
    prescribed = plan(fractions=3, doses=(8.0,))
    prescribed.PatientID, prescribed.PatientName = made.get("PatientID", ""), made.get("PatientName", "")
    made.ReferencedRTPlanSequence = sequence(ReferencedSOPInstanceUID=prescribed.SOPInstanceUID)
    (tmp_path / "goals.toml").write_text(GOALS)
    return {
        "dose": write(tmp_path / "rd.dcm", made),
        "structures": write_structures(tmp_path / "rs.dcm", regions),
        "goals": tmp_path / "goals.toml",
        "plan": write(tmp_path / "rp.dcm", prescribed),
    }


def run(files, out, **changes):
    chosen = {**files, **changes}
    return evaluate_plan(
        chosen["dose"], chosen["structures"], out, goals=chosen["goals"], plan=chosen.get("plan"), ends="slab"
    )


def test_the_command_writes_everything(files, tmp_path):
    out = tmp_path / "out"
    arguments = [f"--{name}={path}" for name, path in files.items()]
    result = CliRunner().invoke(app, ["dose", *arguments, "--ends", "slab", "--out", str(out)])
    assert result.exit_code == 0, result.output
    names = {"results.json", "dvh.csv", "dvh.png", "goals.csv", "provenance.json"}
    assert {path.name for path in out.iterdir()} == names
    results = json.loads((out / "results.json").read_text())
    jsonschema.validate(results, SCHEMA)
    assert results["patient"] == "Case 3"
    assert results["volume_ml, box"]["value"] == pytest.approx(4 * 8 * 6 / 1000, rel=0.02)
    assert results["mean_gy, box"]["value"] == pytest.approx(8.0, abs=0.03)  # the middle is 6 mm above 2 Gy
    assert results["goal, box, D95%"]["value"] == pytest.approx(5.3, abs=0.05)
    assert results["goal_verdict, box, D95%"]["value"] == "acceptable"
    assert results["goal, box, V95%"]["value"] == pytest.approx(100 * (11 - 7.6) / 6, abs=1.0)
    assert results["goals_verdict"]["value"] == "acceptable"
    assert results["d95_lowest_after_shift_gy, box"]["value"] == pytest.approx(4.3, abs=0.05)
    assert results["d2_highest_after_shift_gy, box"]["value"] == pytest.approx(11.88, abs=0.05)
    assert results["d95_gy, box +0.5 mm"]["value"] == pytest.approx(5.3 - 0.45, abs=0.1)
    for key in ("ntcp, box", "eqd2_geud_gy, box", "tcp, target"):
        low, high = results[key]["interval_90"]
        assert low <= results[key]["value"] <= high
    assert [row["scenario"] for row in results["scenarios"]] == ["as planned, 3 fractions", "4 x 2 Gy"]
    assert results["scenarios"][1]["dose"]["value"] == 8.0
    assert any("'mark'" in warning for warning in results["warnings"])
    assert any("stay where it is" in warning for warning in results["warnings"])
    rows = list(csv.DictReader((out / "dvh.csv").read_text().splitlines()))
    (column,) = (name for name in rows[0] if name.startswith("box ["))
    at_8 = next(row for row in rows if row["dose [Gy]"] == "8.0")
    assert float(at_8[column]) == pytest.approx(50.0, abs=1.0)
    goals = list(csv.DictReader((out / "goals.csv").read_text().splitlines()))
    assert [g["verdict"] for g in goals] == ["acceptable", "pass"]
    assert (out / "dvh.png").read_bytes().startswith(b"\x89PNG")
    (record,) = json.loads((out / "provenance.json").read_text())["runs"]
    assert record["parameters"]["prescription"] == {"fractions": 3, "dose_gy": 8.0}
    assert len(record["inputs"]) == 3


def test_without_goals_the_histograms_are_written(files, tmp_path):
    found = run(files, tmp_path / "out", goals=None)
    assert found["mean_gy, box"]["value"] == pytest.approx(8.0, abs=0.03)
    assert not (tmp_path / "out" / "goals.csv").exists()
    assert not any(key.startswith(("goal", "ntcp", "tcp")) for key in found)


def test_an_effective_dose_is_taken_when_asked_for_and_has_histograms_only(files, tmp_path):
    made = pydicom.dcmread(files["dose"])
    made.DoseType = "EFFECTIVE"
    write(files["dose"], made)
    chosen = [f"--{name}={files[name]}" for name in ("dose", "structures")]
    out = ["--out", str(tmp_path / "out")]
    with pytest.raises(InvalidInput, match="3004,0004. is EFFECTIVE"):
        CliRunner().invoke(app, ["dose", *chosen, *out], catch_exceptions=False)
    with pytest.raises(InvalidInput, match="computed of a physical dose"):
        evaluate_plan(files["dose"], files["structures"], tmp_path / "out", goals=files["goals"], effective=True)
    assert not (tmp_path / "out").exists()
    result = CliRunner().invoke(app, ["dose", *chosen, "--effective", *out])
    assert result.exit_code == 0, result.output
    assert any("effective one" in w for w in json.loads((tmp_path / "out" / "results.json").read_text())["warnings"])


def test_files_that_do_not_belong_together_are_refused(files, tmp_path):
    other = write(tmp_path / "other.dcm", plan())
    with pytest.raises(InvalidInput, match="another plan"):
        run(files, tmp_path / "out", plan=other)
    elsewhere = write(tmp_path / "elsewhere.dcm", dose())
    with pytest.raises(InvalidInput, match="no region of interest in it can be used"):
        run(files, tmp_path / "out", dose=elsewhere, plan=None)
    with pytest.raises(InvalidInput, match="not RTDOSE"):
        run(files, tmp_path / "out", dose=files["structures"])
    away = {"box": planes(BOX, [34, 36, 38]), "far": planes(BOX + 500, [34, 36, 38])}
    aside = write_structures(tmp_path / "aside.dcm", away)
    assert "mean_gy, far" not in run(files, tmp_path / "out", structures=aside, goals=None)
    files["goals"].write_text('[[goal]]\nstructure = "far"\nmetric = "mean"\nat_most = 26')
    with pytest.raises(InvalidInput, match="'far'.*inside the dose grid"):
        run(files, tmp_path / "other", structures=aside)
    assert not (tmp_path / "other").exists()


WRONG = {
    "no limit": ('[[goal]]\nstructure = "box"\nmetric = "mean"', "either at_least or at_most"),
    "two limits": ('[[goal]]\nstructure = "box"\nmetric = "mean"\nat_least = 1\nat_most = 2', "either at_least"),
    "unknown key": ("hello = 1", "hello"),
    "no metric": ('[[goal]]\nstructure = "box"\nmetric = "median"\nat_most = 2', "'median' is not understood"),
    "no organ": ('[[complication]]\nstructure = "box"\norganism = "lung"', "organ"),
    "unknown organ": ('[[complication]]\nstructure = "box"\norgan = "soul"', "no complication of 'soul'"),
    "unknown tumour": ('[[control]]\nstructure = "box"\ntumour = "wart"', "no tumour 'wart'"),
    "schedule": ('[what_if]\nschedules = ["twice a day"]', "'twice a day' is not understood"),
    "infinity": ("[prescription]\nfractions = 30\ndose_gy = inf", "dose_gy"),
    "fractions": ("[prescription]\nfractions = 0", "fractions"),
    "not TOML": ("<html>", "not a TOML file"),
    "twice": ('[[complication]]\nstructure = "a"\norgan = "lung"\n' * 2, "An organ has one structure"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_goals_are_refused_by_name(kind, tmp_path):
    text, words = WRONG[kind]
    (tmp_path / "goals.toml").write_text(text)
    with pytest.raises(InvalidInput, match=words):
        read_goals(tmp_path / "goals.toml")


def test_what_is_missing_is_said(files, tmp_path):
    with pytest.raises(MissingInput, match="no goals file 'absent.toml'"):
        read_goals(tmp_path / "absent.toml")
    files["goals"].write_text('[[goal]]\nstructure = "heart"\nmetric = "mean"\nat_most = 26')
    with pytest.raises(MissingInput, match="no region 'heart'.*box, target, mark"):
        run(files, tmp_path / "out")
    files["goals"].write_text('[[goal]]\nstructure = "mark"\nmetric = "mean"\nat_most = 26')
    with pytest.raises(InvalidInput, match="'mark'"):
        run(files, tmp_path / "out")
    files["goals"].write_text('[[complication]]\nstructure = "box"\norgan = "lung"')
    with pytest.raises(MissingInput, match="depends on its fractions"):
        run(files, tmp_path / "out", plan=None)
    files["goals"].write_text('[[goal]]\nstructure = "box"\nmetric = "V95%"\nat_least = 95')
    with pytest.raises(MissingInput, match="prescribed dose"):
        run(files, tmp_path / "out", plan=None)


def test_a_cancelled_evaluation_writes_nothing(files, tmp_path):
    job = Job(lambda report: report.fraction > 0.5 and job.cancel())
    with pytest.raises(JobCancelled):
        evaluate_plan(files["dose"], files["structures"], tmp_path / "out", goals=files["goals"], job=job)
    assert not (tmp_path / "out").exists()


def test_a_planning_systems_plan_through_dicom(tmp_path, data):
    """Eclipse's dose and outlines written as DICOM: the figures of its own table come back."""
    folder = data("rt")
    real = read_volume(folder / "EclipseEnt_Dose.nrrd", unit="Gy")
    made, lps = dose(), LPS_FROM_RAS @ real.grid.ijk_to_ras
    made.FrameOfReferenceUID, made.ImagePositionPatient = FRAME, lps[:3, 3].tolist()
    made.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    frames, made.Rows, made.Columns = real.grid.shape
    made.NumberOfFrames, made.PixelSpacing = frames, [2.5, 2.5]
    made.GridFrameOffsetVector = (np.arange(frames) * 2.5).tolist()
    made.PixelData = np.round(real.array / 1e-6).astype("<u4").tobytes()
    regions = {
        name: eclipse_outlines(folder, name) for name in read_goals(ROOT / "docs/cases/brain_goals.toml").structures()
    }
    goals = ROOT / "docs/cases/brain_goals.toml"
    found = evaluate_plan(
        write(tmp_path / "rd.dcm", made), write_structures(tmp_path / "rs.dcm", regions), tmp_path / "out", goals=goals
    )
    volume, histogram = eclipse_table(folder)["PTV1"]
    assert found["volume_ml, PTV1"]["value"] == pytest.approx(volume, rel=0.01)
    expected = np.interp(-95.0, -histogram[:, 1], histogram[:, 0])
    assert found["goal, PTV1, D95%"]["value"] == pytest.approx(expected, abs=0.2)
    assert found["goals_verdict"]["value"] == "pass"
    assert found["ntcp, BRSTEM"]["value"] < 0.05
    low, high = found["eqd2_geud_gy, BRSTEM"]["interval_90"]
    assert found["mean_gy, BRSTEM"]["value"] < low < high < found["max_gy, BRSTEM"]["value"]
