"""Both cases from their images to their report, as a user runs them; and runs that are stopped or fail."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from TwinApp.outputs import whole_folder
from TwinApp.pipeline import run_case
from TwinApp.virtual_patient import make_virtual_patient
from TwinCore import InvalidInput, Job, JobCancelled, MissingInput

ROOT = Path(__file__).resolve().parents[2]
FILES = {"twin.mrb", "results.json", "report.html", "provenance.json"}
ROLES = "reference image transform fused segmentation field sequence table plot run"
RELOAD = """
import json, sys
from TwinCore.scene import load, node_to_segmentation, node_to_transform
twin, = load(sys.argv[1])
print(json.dumps({
    "patient": twin.patient,
    "roles": {role: len(twin.nodes(role)) for role in sys.argv[2].split()},
    "segments": node_to_segmentation(twin.node("segmentation")).names,
    "units": sorted({image.unit for _, image in twin.images()}),
    "shift": node_to_transform(twin.node("transform")).matrix[:3, 3].tolist(),
}))
"""


def fewer_members(text: str) -> str:
    """A case with a small ensemble: the tests look at images and errors, not at the last digit of a band."""
    return re.sub(r"members = \d+", "members = 8", text)


def reloaded(path: Path) -> dict:
    """What a fresh process finds in a bundle."""
    folders = [str(ROOT), *(str(ROOT / name) for name in ("TwinFusion", "TwinSegment", "TwinSimulate"))]
    code = f"import sys; sys.path[:0] = {folders!r}\n{RELOAD}"
    answer = subprocess.run([sys.executable, "-c", code, str(path), ROLES], capture_output=True, text=True, check=True)
    return json.loads(answer.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def virtual(tmp_path_factory):
    """The virtual patient's folder of results."""
    folder = tmp_path_factory.mktemp("virtual")
    case = make_virtual_patient(folder / "patient", seed=0)
    case.write_text(fewer_members(case.read_text()))
    run_case(case, folder / "out")
    return folder / "out"


def test_virtual_patient_prints_each_error_and_they_are_small(virtual):
    results = json.loads((virtual / "results.json").read_text())
    assert results["virtual"] is True
    assert results["verdict"]["value"] == "good"
    assert results["error_registration_PET_mm"]["value"] < 1.0
    assert abs(results["error_volume_ml"]["value"]) < 0.2 * results["volume_ml"]["value"]
    for name in ("proliferation_rate", "diffusivity"):
        assert abs(results[f"error_{name}"]["value"]) < 0.25 * results[name]["value"]
    report = (virtual / "report.html").read_text()
    assert "VIRTUAL PATIENT" in report
    assert "Against the known truth" in report


def test_all_four_files_are_there_and_the_report_is_self_contained(virtual):
    assert {path.name for path in virtual.iterdir()} == FILES
    report = (virtual / "report.html").read_text()
    assert report.count("data:image/png;base64") >= 3
    assert not re.findall(r"(?:src|href)=[\"']https?:", report)
    runs = json.loads((virtual / "provenance.json").read_text())["runs"]
    assert [run["module"] for run in runs] == ["TwinFusion", "TwinSegment", "TwinSimulate"]
    assert all(re.fullmatch("[0-9a-f]{64}", node["sha256"]) for run in runs for node in run["inputs"])


@pytest.mark.parametrize(
    "wrong", [{}, {"volume_ml": 366.1}, {"suv_max": {"value": 25.4}}, {"verdict": {"value": "fine", "unit": ""}}]
)
def test_results_follow_their_schema_and_wrong_ones_do_not(virtual, wrong):
    schema = json.loads((ROOT / "TwinApp/results_schema.json").read_text())
    document = {**json.loads((virtual / "results.json").read_text()), **wrong}
    assert jsonschema.Draft202012Validator(schema).is_valid(document) is (not wrong)


def test_scenarios_have_their_biologically_effective_dose(virtual):
    scenarios = {row["scenario"]: row for row in json.loads((virtual / "results.json").read_text())["scenarios"]}
    assert set(scenarios) == {"none", "25 x 2 Gy", "5 x 6 Gy"}
    # the members' median alpha/beta is the prior's 8 Gy to within the ensemble's scatter: 50 (1 + 2/8), 30 (1 + 6/8)
    assert scenarios["25 x 2 Gy"]["bed"]["value"] == pytest.approx(62.5, rel=0.03)
    assert scenarios["5 x 6 Gy"]["bed"]["value"] == pytest.approx(52.5, rel=0.06)
    assert scenarios["25 x 2 Gy"]["volume"]["value"] < scenarios["none"]["volume"]["value"]


def test_the_bundle_opens_in_a_fresh_process(virtual):
    twin = reloaded(virtual / "twin.mrb")
    assert twin["patient"] == "Virtual patient 0"
    assert twin["roles"]["image"] == 2
    assert twin["roles"]["fused"] == 2
    assert twin["roles"]["transform"] == 1
    assert twin["roles"]["run"] == 3
    assert all(count for count in twin["roles"].values())
    assert {"tumour", "white matter", "grey matter", "cerebrospinal fluid"} <= set(twin["segments"])
    assert twin["units"] == ["1", "g/mL"]


def test_real_sarcoma_reaches_the_published_figures(data, tmp_path, monkeypatch):
    folder = data("sts_001_raw").parent
    monkeypatch.setenv("DIGITALTWIN_DATA", str(folder))
    case = tmp_path / "sarcoma.toml"
    case.write_text(fewer_members((ROOT / "docs/cases/sarcoma.toml").read_text()))
    reference = json.loads((folder / "sts_001_raw/reference.json").read_text())
    results = run_case(case, tmp_path / "out")
    assert results["suv_max"]["value"] == pytest.approx(reference["SUV"]["ref_SUVmax"], abs=0.005)
    assert results["suv_mean_target"]["value"] == pytest.approx(reference["SUV"]["ref_SUVmean_GTV"], abs=0.002)
    assert results["volume_ml"]["value"] == pytest.approx(reference["PET_GTV_ml"], abs=0.1)
    assert results["centroid_error_mm"]["value"] < 5.0
    assert results["carried_dice"]["value"] > 0.85
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    shift = reloaded(tmp_path / "out/twin.mrb")["shift"]
    assert abs(shift[2] + 779) < 60  # turned about the hip as well, so not the bare translation


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    return make_virtual_patient(tmp_path_factory.mktemp("stopped") / "patient", seed=1)


def test_cancelling_leaves_no_half_output_and_keeps_the_earlier_one(patient, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "results.json").write_text("{}")
    job = Job(lambda report: job.cancel() if report.path[:1] == ("computing",) and report.fraction > 0.1 else None)
    with pytest.raises(JobCancelled):
        run_case(patient, out, job)
    assert [path.name for path in out.iterdir()] == ["results.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("old", "new", "error", "words"),
    [
        ('preset = "glioma"', 'preset = "melanoma"', InvalidInput, "'melanoma'.*glioma"),
        ('"5 x 6 Gy"', '"five times six"', InvalidInput, "'five times six' is not understood"),
        ('model = "tumour_growth"', 'model = "astrology"', InvalidInput, "astrology"),
        ('pet_rule = "41 % of maximum"', 'pet_rule = "my rule"', InvalidInput, "'my rule'"),
        ("[fusion]", '[fusion]\nfocus = "nobody"', MissingInput, "'nobody'"),
    ],
)
def test_a_wrong_choice_is_told_before_anything_is_computed(patient, tmp_path, old, new, error, words):
    folder = tmp_path / "patient"
    shutil.copytree(patient.parent, folder)
    case = folder / patient.name
    case.write_text(case.read_text().replace(old, new))
    reports = []
    with pytest.raises(error, match=words):
        run_case(case, tmp_path / "out", Job(reports.append))
    assert not any(report.path[:1] == ("computing",) for report in reports)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_things_is_not_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InvalidInput, match="other things"), whole_folder(tmp_path):
        pass
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_the_command_tells_errors_in_a_sentence(tmp_path):
    answer = subprocess.run(
        [sys.executable, "-m", "TwinApp", "run", str(tmp_path / "no.toml")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={
            "PYTHONPATH": ":".join([str(ROOT), *(str(ROOT / n) for n in ("TwinFusion", "TwinSegment", "TwinSimulate"))])
        },
    )
    assert answer.returncode == 1
    assert answer.stderr.strip().endswith("Error: There is no case file 'no.toml'.")
    assert "Traceback" not in answer.stderr
