"""Fusion alone, from a case file or from images named on the command line, to files that other programs read."""

import json
import re
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import SimpleITK as sitk
from stand_in import stand_in_register
from typer.testing import CliRunner

from Testing.fusion.dicom_files import pet_slices, save, slices
from Testing.fusion.dicom_objects import four_dimensional
from TwinApp.commands import app
from TwinApp.fusing import fuse
from TwinApp.loading import load_case, load_files
from TwinApp.named_images import case_of_images
from TwinApp.outputs import file_names
from TwinApp.pipeline import run_case
from TwinCore import Grid, Image, InvalidInput, Job, JobCancelled, MissingInput, TwinError, resample
from TwinCore.itk import from_sitk, to_sitk
from TwinCore.scene import load, new_scene, node_to_sequence, node_to_transform
from TwinCore.scene.transforms import chain
from TwinFusionLib import step as step_module
from TwinFusionLib import time_series
from TwinFusionLib.linear import LinearResult
from TwinFusionLib.registration import Found

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "TwinApp/results_schema.json").read_text("utf-8"))
FILES = {"twin.mrb", "results.json", "provenance.json", "fusion.html", "fused", "transforms", "pictures"}
CASE = """
[patient]
name = "Anna <b>"
[[image]]
name = "T1"
path = "t1.nii.gz"
modality = "MR"
reference = true
[[image]]
name = "CT 1"
path = "ct.nii.gz"
modality = "CT"
[[outline]]
path = "labels.nii.gz"
image = "T1"
segments = { 1 = "GTV" }
[fusion]
"""
GRID = Grid.isotropic((12, 14, 16), 4.0, (-30, -20, -10))


@pytest.fixture
def shifts(monkeypatch):
    """Frames move as set here, without any engine."""
    chosen = {"CT 1": (4, 0, 0), "ct": (4, 0, 0)}
    monkeypatch.setattr(step_module, "register", stand_in_register(chosen))
    return chosen


@pytest.fixture
def folder(tmp_path):
    """A T1, a CT and labels on the T1."""
    rng = np.random.default_rng(0)
    labels = np.zeros(GRID.shape, np.uint8)
    labels[4:7, 5:8, 6:9] = 1
    for name, values in (
        ("t1", rng.uniform(0, 100, GRID.shape).astype(np.float32)),
        ("ct", rng.uniform(-1000, 900, GRID.shape).astype(np.int16)),
        ("labels", labels),
    ):
        sitk.WriteImage(to_sitk(Image(values, GRID)), str(tmp_path / f"{name}.nii.gz"))
    return tmp_path


def written(folder: Path, fusion: str = "") -> Path:
    path = folder / "case.toml"
    path.write_text(CASE + fusion)
    return path


def fused(folder: Path, fusion: str = "") -> Path:
    """The folder of results of the case with these lines under [fusion]."""
    fuse(load_case(written(folder, fusion)), folder / "out")
    return folder / "out"


def test_all_files_are_there_and_say_the_same(folder, shifts):
    out = fused(folder)
    assert {path.name for path in out.iterdir()} == FILES
    results = json.loads((out / "results.json").read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(results)
    assert results["registration_way"]["value"] == "CT 1 to T1 (CT-MR, rigid)"
    ct = from_sitk(sitk.ReadImage(str(folder / "ct.nii.gz")))
    there = from_sitk(sitk.ReadImage(str(out / "fused/CT_1.nii.gz")))
    assert there.grid.same_as(GRID)
    np.testing.assert_allclose(there.array[:, :, 1:], ct.array[:, :, :-1], atol=1e-3)
    new_scene()
    [twin] = load(out / "twin.mrb")
    assert [n.GetName() for n in twin.nodes("fused")] == ["T1 fused", "CT 1 fused"]
    page = (out / "fusion.html").read_text()
    assert "Anna &lt;b&gt;" in page
    assert "CT 1 to T1 (CT-MR, rigid)" in page
    assert page.count("data:image/png;base64") == len(list((out / "pictures").glob("*.png"))) == 1
    assert re.search(r'class="light (good|check|failed)"', page)
    assert not re.findall(r"(?:src|href)=[\"']https?:", page)


@pytest.mark.parametrize(("motion", "suffix", "nodes"), [("rigid", "tfm", 1), ("deformable", "h5", 2)])
def test_slicer_reads_the_transform_files(folder, shifts, motion, suffix, nodes):
    import slicer

    out = fused(folder, f'motion = "{motion}"')
    scene = new_scene()
    [twin] = load(out / "twin.mrb")
    own = twin.node("transform")
    assert len(chain(own)) == nodes
    storage = slicer.vtkMRMLTransformStorageNode()
    storage.SetFileName(str(out / f"transforms/CT_1.{suffix}"))
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode")
    assert storage.ReadData(node)
    points = GRID.to_ras(np.random.default_rng(0).uniform(2, 9, (20, 3)))
    expected = node_to_transform(own).pull(points)
    from vtkmodules.vtkCommonTransforms import vtkGeneralTransform

    pull = vtkGeneralTransform()
    node.GetTransformFromWorld(pull)
    np.testing.assert_allclose([pull.TransformPoint(p) for p in points], expected, atol=1e-3)
    ct = from_sitk(sitk.ReadImage(str(folder / "ct.nii.gz")), modality="CT")
    file = sitk.ReadTransform(str(out / f"transforms/CT_1.{suffix}"))
    by_itk = from_sitk(sitk.Resample(to_sitk(ct), to_sitk(ct), file))
    np.testing.assert_allclose(by_itk.array, resample(ct, GRID, node_to_transform(own)).array, atol=1.0)


def test_what_the_case_chooses_reaches_the_step(folder, shifts):
    points = "[[0, 0, 0], [30, 0, 0], [0, 30, 0]]"
    out = fused(
        folder,
        f"""
        preset = "follow-up with a tumour"
        outside = "GTV"
        spacing_mm = 2.0
        stack = true
        region_ras_mm = [[-20, -10, 0], [0, 10, 20]]
        [[fusion.frame]]
        name = "CT 1"
        motion = "affine"
        landmarks_ras_mm = {points}
        landmarks_reference_ras_mm = {points}
        """,
    )
    [(_, _, preset, landmarks)] = shifts["asked"]
    assert (preset.name, preset.motion, preset.outside) == ("follow-up with a tumour", "affine", "tumour")
    assert landmarks[0].shape == (3, 3)
    record = json.loads((out / "provenance.json").read_text())["runs"][0]["parameters"]
    assert record["outside"] == ["T1"]
    channels = sitk.ReadImage(str(out / "channels.nii.gz"))
    assert channels.GetNumberOfComponentsPerPixel() == 2
    assert np.allclose(channels.GetSpacing(), 2.0)
    assert max(channels.GetSize()) <= 14


@pytest.mark.parametrize(
    ("fusion", "error", "words"),
    [
        ('preset = "knee"', InvalidInput, "Preset 'knee' is not known; there are: .*CT-MR"),
        ('motion = "elastic"', InvalidInput, "Motion 'elastic' is not known"),
        ("spacing_mm = -1", InvalidInput, "'spacing_mm' is -1"),
        ('preset = "follow-up with a tumour"', MissingInput, "needs the tumour masked"),
        ('inside = "lungs"', MissingInput, "fusion.inside names the segment 'lungs'"),
        ('focus = "GTV"', MissingInput, "not outlined on any image to be moved"),
        ('[[fusion.frame]]\nname = "US"', InvalidInput, "fusion.frame names the frame 'US'; there are: T1, CT 1"),
        ('[[fusion.frame]]\nname = "CT 1"\nlandmarks_ras_mm = [[0, 0, 0]]', InvalidInput, "landmarks need both"),
        (
            '[[fusion.frame]]\nname = "CT 1"\nlandmarks_ras_mm = [[0, 0, 0]]\nlandmarks_reference_ras_mm = [[0, 0, 0]]',
            InvalidInput,
            "Landmarks of 'CT 1' on 'T1'",
        ),
    ],
)
def test_what_cannot_be_is_told_and_nothing_is_written(folder, shifts, fusion, error, words):
    with pytest.raises(error, match=words):
        fused(folder, fusion)
    assert shifts["asked"] == []
    assert not (folder / "out").exists()


def test_cancelling_at_any_moment_leaves_the_earlier_results(folder, shifts):
    loaded, out, reports = load_case(written(folder)), folder / "out", []
    fuse(loaded, out, Job(reports.append))
    (out / "mark").touch()
    before = sorted(folder.iterdir())
    for stop in range(1, len(reports), 3):
        count = iter(range(1, 1000))
        job = Job(lambda _: job.cancel() if next(count) == stop else None)  # noqa: B023
        with pytest.raises(JobCancelled):
            fuse(loaded, out, job)
        assert (out / "mark").exists()
        assert sorted(folder.iterdir()) == before


def test_a_run_asks_for_question_and_target(folder):
    with pytest.raises(MissingInput, match="no question"):
        run_case(written(folder), folder / "out")
    case = written(folder)
    case.write_text(f'question = "What happens?"\n{case.read_text()}')
    with pytest.raises(MissingInput, match=r"no \[target\].*digitaltwin fuse"):
        run_case(case, folder / "out")


def test_images_are_named_on_the_command_line(folder, shifts):
    out = folder / "out"
    command = ["fuse", str(folder / "t1.nii.gz"), str(folder / "ct.nii.gz"), "--modality", "MR", "--modality", "CT"]
    answer = CliRunner().invoke(app, [*command, "--out", str(out), "--spacing", "3"], catch_exceptions=False)
    assert answer.exit_code == 0
    assert "ct to t1 (CT-MR, rigid)" in answer.stdout
    assert {path.name for path in out.iterdir()} == FILES | {"channels.nii.gz"}
    with pytest.raises(InvalidInput, match="no options but --out"):
        CliRunner().invoke(app, ["fuse", str(written(folder)), "--spacing", "3"], catch_exceptions=False)


def test_figures_that_are_not_known_are_said_to_be(folder, shifts):
    shifts["ct"] = (900, 0, 0)
    command = ["fuse", str(folder / "t1.nii.gz"), str(folder / "ct.nii.gz"), "--modality", "MR", "--modality", "CT"]
    answer = CliRunner().invoke(app, [*command, "--out", str(folder / "out")], catch_exceptions=False)
    assert re.search("verdict +failed", answer.stdout)
    assert re.search("registration_z_score +not known", answer.stdout)


def test_a_dicom_study_says_itself_what_it_holds(folder):
    pet, mr = pet_slices(), slices()
    for d in mr:
        d.SeriesDescription = "T1"
    save(folder / "study", pet)
    save(folder / "study", mr, "m")
    save(folder / "fixed", slices(modality="CT"))
    case, base = case_of_images([folder / "fixed", folder / "study"])
    assert [(i.name, i.modality, i.reference) for i in case.image] == [
        ("axial", "CT", True),
        ("T1", "MR", False),
        ("axial 2", "PT", False),
    ]
    assert {i.frame for i in case.image} == {"axial", "T1", "axial 2"}
    loaded = load_files(case, base)
    assert loaded.images["axial 2"].unit == "g/mL"
    for d in mr:
        d.PatientID = "somebody else"
    save(folder / "other", mr)
    case, base = case_of_images([folder / "fixed", folder / "other"])
    with pytest.raises(InvalidInput, match="not of the same patient"):
        load_files(case, base)


@pytest.mark.parametrize(
    ("names", "modalities", "words"),
    [
        (["t1.nii.gz", "no.nii.gz"], ["MR", "CT"], "no 'no.nii.gz'"),
        (["t1.nii.gz", "ct.nii.gz"], ["MR"], "What is 'ct.nii.gz'"),
        (["t1.nii.gz", "ct.nii.gz"], ["MR", "XA"], "'XA' is not one of CT, MR"),
        (["t1.nii.gz", "ct.nii.gz"], ["MR", "CT", "CT"], "CT is left over"),
        (["t1.nii.gz"], ["MR"], "Only one image"),
        (["study", "t1.nii.gz"], ["MR"], "it is the reference, but it holds 2 image series"),
    ],
)
def test_what_is_wrong_with_named_images_is_told(folder, names, modalities, words):
    save(folder / "study", pet_slices())
    save(folder / "study", slices(), "m")
    with pytest.raises(TwinError, match=words):
        case_of_images([folder / name for name in names], modalities)


@pytest.fixture
def still(monkeypatch):
    """Time points of a series that do not move, without any engine."""

    def register(fixed, moving, preset, start, seed, job, preparation):
        return Found(start, (start,), LinearResult(start, (start,), 1.2, 1.0, 0.9, 0.0, 0.0))

    monkeypatch.setattr(time_series, "register", register)


def series(folder: Path, days: str) -> Path:
    """A case with a NIfTI file of three volumes beside the T1, of which the second shows most."""
    rng = np.random.default_rng(1)
    volumes = [to_sitk(Image(rng.uniform(0, top, GRID.shape).astype(np.float32), GRID)) for top in (3, 9, 6)]
    sitk.WriteImage(sitk.JoinSeries(volumes), str(folder / "pet.nii.gz"))
    case = written(folder)
    entry = 'name = "PET"\npath = "pet.nii.gz"\nmodality = "PT"\nunit = "g/mL"\ntime_point = "all"'
    case.write_text(case.read_text().replace("[[outline]]", f"[[image]]\n{entry}\n{days}\n[[outline]]"))
    return case


def test_a_series_over_time_is_fused_point_by_point(folder, shifts, still):
    shifts["PET"] = (0, 4, 0)
    loaded = load_case(series(folder, "times_days = [0.0, 0.5, 2.0]"))
    fuse(loaded, folder / "out")
    there = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "out/fused/PET.nii.gz")))
    assert there.shape == (3, *GRID.shape)
    for point, image in zip(there, loaded.series["PET"]):
        np.testing.assert_allclose(point[:, 1:, 1:], image.array[:, :-1, :-1], atol=1e-3)  # by way of the CT
    move = sitk.AffineTransform(sitk.ReadTransform(str(folder / "out/transforms/PET.tfm")))
    np.testing.assert_allclose(move.TransformPoint((0.0, 0.0, 0.0)), (4, 4, 0), atol=1e-6)  # LPS, reference to image
    assert (folder / "out/pictures/PET.png").exists()
    new_scene()
    [twin] = load(folder / "out/twin.mrb")
    assert [n.GetName() for n in twin.nodes("sequence")] == ["PET fused", "PET"]
    assert [i.time for i in node_to_sequence(twin.node("sequence"))] == [0.0, 0.5, 2.0]


@pytest.mark.parametrize(
    ("days", "error", "words"),
    [
        ("", MissingInput, "'PET' is a series without times: say them as times_days"),
        ("times_days = [0.0, 1.0]", InvalidInput, "'PET' has 3 time points, but 2 times_days"),
        ("times_days = [0.0, 1.0, 2.0, 3.0]", InvalidInput, "no frame 3"),
        ("times_days = [0.0, 2.0, 1.0]", InvalidInput, "increasing times"),
        ("reference = true", InvalidInput, "cannot be the reference"),
    ],
)
def test_what_is_wrong_with_a_series_is_told(folder, days, error, words):
    with pytest.raises(error, match=words):
        load_case(series(folder, days))


def test_a_dicom_series_over_time_says_its_times_itself(folder):
    made = four_dimensional(AcquisitionTime=["110000", "110030", "110130"])
    save(folder / "dynamic", made)
    save(folder / "fixed", slices(modality="CT"))
    loaded = load_files(*case_of_images([folder / "fixed", folder / "dynamic"]))
    assert list(loaded.images) == ["axial"]
    assert np.allclose([i.time for i in loaded.series["axial 2"]], [0, 30 / 86400, 90 / 86400])


def test_names_of_files_are_safe_and_apart():
    names = file_names(["T1", "t1", "T1 (Gd)", "../T1", "…"])
    assert names == {"T1": "T1", "t1": "t1_2", "T1 (Gd)": "T1_Gd", "../T1": "T1_3", "…": "image"}
