"""`digitaltwin export`: a twin, or labels with their table, as files that other programs read."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

from TwinApp.commands import app
from TwinApp.exporting import KINDS, export
from TwinApp.label_table import read_labelled, write_label_table
from TwinCore import Grid, Image, InvalidInput, Job, MissingInput, Segmentation
from TwinCore.dicom.file import read_dicom
from TwinCore.itk import to_sitk
from TwinCore.scene import Twin, new_scene, save
from TwinFusionLib.dicom_series import read_series
from TwinSegmentLib.dicom_seg import read_dicom_seg
from TwinSegmentLib.measure import segment_table
from TwinSegmentLib.rtstruct import read_rtstruct

MATRIX = np.array([[0, -1.5, 0, 20], [-1.2, 0, 0, 30], [0, 0, 2.0, -10], [0, 0, 0, 1]])
GRID = Grid((14, 16, 18), MATRIX)
CODES = {"tumour": ("SCT", "4147007", "Mass")}


def anatomy(grid: Grid = GRID) -> Segmentation:
    away = np.indices(grid.shape) - (np.array(grid.shape) // 2)[:, None, None, None]
    ball = (away**2).sum(0) < 25
    return Segmentation.from_masks(grid, {"tumour": ball, "left lung": ~ball & (away[2] > 6)}, CODES)


@pytest.fixture
def labels(tmp_path):
    """A label map, with the table that `digitaltwin segment` writes beside it."""
    segmentation = anatomy()
    values = sum((n + 1) * segmentation.mask(name) for n, name in enumerate(segmentation.names)).astype(np.uint8)
    path = tmp_path / "anatomy.nii.gz"
    sitk.WriteImage(to_sitk(Image(values, GRID)), str(path))
    write_label_table(segmentation, segment_table(segmentation, []), tmp_path / "anatomy.csv")
    return path


def run(*words):
    return CliRunner().invoke(app, ["export", *map(str, words)])


def assert_same(again: Segmentation, segmentation: Segmentation) -> None:
    assert again.names == segmentation.names
    for before, after in zip(segmentation.segments, again.segments):
        np.testing.assert_array_equal(again.mask(after.name), segmentation.mask(before.name))
        np.testing.assert_allclose(after.colour, before.colour, atol=0.51 / 255)
        assert after.code == before.code


def test_labels_and_their_table_are_the_segmentation_again(labels):
    again = read_labelled(labels)
    assert again.grid.same_as(GRID, 1e-3)
    assert_same(again, anatomy())


def test_every_kind_at_once(labels, tmp_path):
    out = tmp_path / "out"
    kinds = [word for kind in KINDS for word in ("--as", kind)]
    result = run(labels, *kinds, "--patient", "Doe^J", "--out", out)
    assert result.exit_code == 0, result.output
    assert_same(read_dicom_seg(out / "anatomy_seg.dcm", GRID), anatomy())
    assert_same(read_rtstruct(out / "anatomy_rtstruct.dcm", GRID), anatomy())
    assert str(read_dicom(out / "anatomy_seg.dcm").PatientName) == "Doe^J"
    manifest = json.loads((out / "export.json").read_text("utf-8"))
    assert manifest["coordinates"] == "LPS, mm"
    assert len(manifest["files"]) == 2 + 4 * 2
    for entry in manifest["files"]:
        assert (out / entry["file"]).stat().st_size > 0
        if "volume_ml" in entry:
            assert entry["volume_ml"] == pytest.approx(anatomy().volume_ml(*entry["segments"]), rel=1e-3)
    assert {path.name for path in (out / "stl").iterdir()} == {"tumour.stl", "left_lung.stl"}
    assert run(labels, "--as", "vtp", "--out", out).exit_code == 0
    assert {path.name for path in out.iterdir()} == {"vtp", "export.json"}


def test_a_twins_newest_segmentation_with_its_patients_name(tmp_path):
    twin = Twin.create("Patient A", new_scene())
    values = np.random.default_rng(0).normal(size=GRID.shape).astype(np.float32)
    twin.add_image(Image(values, GRID, "MR", "1", name="T1"), reference=True)
    with twin.run("TwinSegment", {}) as made:
        made.add_segmentation(anatomy(), "Anatomy")
    save(twin, tmp_path / "twin.mrb")
    result = run(tmp_path / "twin.mrb", "--as", "rtstruct", "--segment", "tumour", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    path = tmp_path / "out" / "twin_rtstruct.dcm"
    again = read_rtstruct(path, GRID)
    assert again.names == ["tumour"]
    np.testing.assert_array_equal(again.mask("tumour"), anatomy().mask("tumour"))
    assert str(read_dicom(path).PatientName) == "Patient A"


def test_it_joins_the_study_of_its_images(data, tmp_path):
    """STS_001's PET: the outline of its tumour, as a label map, goes back into the PET's study."""
    folder = data("sts_001_raw")
    pet = read_series(folder / "PET_dicom")
    drawn = read_rtstruct(folder / "PET_rtstruct.dcm", pet.image.grid)
    name = drawn.names[0]
    path = tmp_path / "gtv.nii.gz"
    sitk.WriteImage(to_sitk(Image(drawn.mask(name).astype(np.uint8), pet.image.grid)), str(path))
    export(path, tmp_path / "out", ["seg"], images=folder / "PET_dicom")
    written = tmp_path / "out" / "gtv_seg.dcm"
    again = read_dicom_seg(written, pet.image.grid, pet.frame_of_reference_uid)
    np.testing.assert_array_equal(again.mask("label 1"), drawn.mask(name))
    header, source = read_dicom(written), pet.headers[0]
    assert (header.StudyInstanceUID, header.PatientID) == (source.StudyInstanceUID, source.PatientID)
    assert len(header.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 71
    assert all("DerivationImageSequence" in frame for frame in header.PerFrameFunctionalGroupsSequence)
    far = np.array(pet.image.grid.ijk_to_ras)
    far[2, 3] += 5000
    sitk.WriteImage(to_sitk(Image(drawn.mask(name).astype(np.uint8), Grid(pet.image.grid.shape, far))), str(path))
    with pytest.raises(InvalidInput, match="lie off the images in 'PET_dicom'"):
        export(path, tmp_path / "out", ["seg"], images=folder / "PET_dicom")


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["--as", "ply"], InvalidInput, "seg, rtstruct, stl, obj, vtk, vtp, not as ply"),
        (["--as", "seg"], MissingInput, "patient's name"),
        (["--as", "stl", "--segment", "liver"], MissingInput, "no segment 'liver'"),
        (["--as", "stl", "--table", "nowhere.csv"], MissingInput, "no file 'nowhere.csv'"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(labels, tmp_path, words, error, message):
    result = run(labels, *words, "--out", tmp_path / "out")
    assert isinstance(result.exception, error)
    assert message in str(result.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label,segment\n1,a\n1,b\n", "line 3: a row needs a label"),
        ("label,segment\n-1,a\n", "line 2"),
        ("name\nx\n", "line 2"),
        ("label,segment,red,green,blue\n1,a,300,0,0\n", "from 0 to 255"),
        ("label,segment\n9,a\n", "no label that is in"),
        ("", "no label that is in"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(labels, text, message):
    labels.with_name("anatomy.csv").write_text(text)
    with pytest.raises(InvalidInput, match=message):
        read_labelled(labels)


def test_a_short_table_is_enough_and_hostile_names_are_made_safe(labels):
    job = Job()
    labels.with_name("anatomy.csv").write_text("label,segment\n2,=../lung<b>\n7,lost\n")
    read = read_labelled(labels, job=job)
    assert read.names == ["lung b"]
    assert read.segments[0].code is None
    assert "lost" in job.warnings[0]
    labels.with_name("anatomy.csv").unlink()
    assert read_labelled(labels).names == ["label 1", "label 2"]


def test_other_folders_are_not_replaced(labels, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.txt").write_text("mine")
    with pytest.raises(InvalidInput, match="not replaced"):
        export(labels, tmp_path / "mine", ["stl"])
