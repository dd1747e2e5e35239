"""Segmentations as DICOM SEG and RTSTRUCT: read again they are the same, and they belong to their images."""

from __future__ import annotations

import sys

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from Testing.segment.dicom_seg_files import item
from TwinCore import Grid, InvalidInput, Job, MissingInput, MissingPackage, Segmentation
from TwinCore.dicom.file import read_dicom
from TwinCore.grid import LPS_FROM_RAS
from TwinFusionLib.dicom_series import read_series
from TwinSegmentLib.dicom_meaning import category_of, cielab, code_item, read_code, read_colour
from TwinSegmentLib.dicom_seg import read_dicom_seg
from TwinSegmentLib.dicom_seg_writer import write_dicom_seg
from TwinSegmentLib.label_map import read_label_map
from TwinSegmentLib.measure import dice
from TwinSegmentLib.rtstruct import read_rtstruct
from TwinSegmentLib.rtstruct_writer import write_rtstruct

WRITERS = [write_dicom_seg, write_rtstruct]
CODES = {"tumour": ("SCT", "4147007", "Mass"), "Läsion α": ("DCM", "130252", "Example meaning")}


def awkward_grid(seed: int, shape=(9, 8, 10)) -> Grid:
    """Oblique and anisotropic, flipped as often as not."""
    rng = np.random.default_rng(seed)
    matrix = np.eye(4)
    matrix[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.choice([-1, 1], 3) * rng.uniform(0.4, 5.0, 3)
    matrix[:3, 3] = rng.uniform(-300, 300, 3)
    return Grid(shape, matrix)


def made_up(seed: int, overlapping: bool = True) -> Segmentation:
    """Noise, which has holes, islands, and planes and corners of every kind; one segment is on two planes far apart."""
    rng, grid = np.random.default_rng(seed), awkward_grid(seed)
    masks = {"tumour": rng.random(grid.shape) > 0.5, "Läsion α": rng.random(grid.shape) > 0.4, "apart": None}
    masks["apart"] = np.zeros(grid.shape, bool)
    masks["apart"][1, 3:7, 4:9] = masks["apart"][7, 2:5, 3:5] = True
    if not overlapping:
        masks["Läsion α"] &= ~masks["tumour"] & ~masks["apart"]
        masks["tumour"] &= ~masks["apart"]
    return Segmentation.from_masks(grid, masks, CODES, {"apart": (0.2, 1.0, 0.0)})


def read_again(writer, path, grid: Grid, frame: str | None = None) -> Segmentation:
    return (read_dicom_seg if writer is write_dicom_seg else read_rtstruct)(path, grid, frame)


def slices_of(grid: Grid, count: int, rows: int = 0) -> list[Dataset]:
    """Headers of CT slices on the first planes of a grid, in no order; or, for rows along j, in planes across it."""
    lps = LPS_FROM_RAS @ grid.ijk_to_ras
    direction = lps[:3, :3] / grid.spacing
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    return [
        item(
            SOPClassUID="1.2.840.10008.5.1.4.1.1.2",
            SOPInstanceUID=generate_uid(),
            StudyInstanceUID=study,
            SeriesInstanceUID=series,
            FrameOfReferenceUID=frame,
            Modality="CT",
            PatientName="Roe^Jane",
            PatientID="4711",
            PatientSex="F",
            StudyDate="20200102",
            Rows=grid.shape[1],
            Columns=grid.shape[2],
            ImagePositionPatient=[f"{v:.10g}" for v in lps[:3] @ [0, 0, k, 1]],
            ImageOrientationPatient=[f"{v:.10g}" for v in (*direction[:, rows], *direction[:, rows + 1])],
            PixelSpacing=[f"{v:.10g}" for v in grid.spacing[[1, 0]]],
        )
        for k in reversed(range(count))
    ]


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("overlapping", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_read_again_it_is_the_same(tmp_path, writer, seed, overlapping):
    segmentation = made_up(seed, overlapping)
    again = read_again(writer, writer(segmentation, tmp_path / "x.dcm", patient="Doe^J"), segmentation.grid)
    assert again.names == segmentation.names
    for before, after in zip(segmentation.segments, again.segments):
        np.testing.assert_array_equal(again.mask(after.name), segmentation.mask(before.name))
        assert after.code == before.code
        np.testing.assert_allclose(after.colour, before.colour, atol=0.5001 / 255)


def test_another_reader_finds_the_same_voxels_at_the_same_places(tmp_path):
    segmentation = made_up(1)
    read = highdicom.seg.segread(write_dicom_seg(segmentation, tmp_path / "x.dcm", patient="A"))
    assert [read.get_segment_description(n).segment_label for n in (1, 2, 3)] == segmentation.names
    volume = read.get_volume(combine_segments=False)
    for number, name in enumerate(segmentation.names):
        places = LPS_FROM_RAS[:3, :3] @ segmentation.grid.to_ras(np.argwhere(segmentation.mask(name))[:, ::-1]).T
        kji = np.round(np.linalg.inv(volume.affine) @ np.vstack([places, np.ones(places.shape[1])])).astype(int)[:3]
        assert volume.array[..., number].sum() == places.shape[1]
        assert volume.array[(*kji, number)].all()


@pytest.mark.parametrize("writer", WRITERS)
def test_the_same_input_gives_the_same_file_but_for_its_dates(tmp_path, writer):
    once, twice = (pydicom.dcmread(writer(made_up(0), tmp_path / n, patient="A")) for n in ("1.dcm", "2.dcm"))
    other = pydicom.dcmread(writer(made_up(1), tmp_path / "3.dcm", patient="A"))
    for file in (once, twice):
        for element in list(file.iterall()):
            if element.VR in ("DA", "TM", "DT"):
                element.value = ""
    assert once == twice
    assert other.SOPInstanceUID != once.SOPInstanceUID
    assert other.StudyInstanceUID != once.StudyInstanceUID


def test_all_that_is_written_of_one_twin_belongs_together(tmp_path):
    seg, rt = (read_dicom(writer(made_up(2), tmp_path / "x.dcm", patient="A")) for writer in WRITERS)
    assert (seg.StudyInstanceUID, seg.FrameOfReferenceUID) == (rt.StudyInstanceUID, rt.FrameOfReferenceUID)
    assert seg.SeriesInstanceUID != rt.SeriesInstanceUID
    assert seg.SegmentSequence[0].SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    assert "SourceImageSequence" not in seg
    assert "ReferencedSeriesSequence" not in seg


@pytest.mark.parametrize("writer", WRITERS)
def test_it_becomes_part_of_the_images_study_and_refers_to_their_slices(tmp_path, writer):
    segmentation = made_up(3)
    images = slices_of(segmentation.grid, 9)
    path = writer(segmentation, tmp_path / "x.dcm", images)
    file = read_dicom(path)
    for keyword in ("PatientName", "PatientID", "PatientSex", "StudyInstanceUID", "StudyDate", "FrameOfReferenceUID"):
        assert file[keyword].value == images[0][keyword].value
    again = read_again(writer, path, segmentation.grid, images[0].FrameOfReferenceUID)
    np.testing.assert_array_equal(again.mask("tumour"), segmentation.mask("tumour"))
    by_place = {i.SOPInstanceUID: np.array(i.ImagePositionPatient, float) for i in images}
    if writer is write_dicom_seg:
        assert len(file.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 9
        for frame in file.PerFrameFunctionalGroupsSequence:
            to = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
            place = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
            np.testing.assert_allclose(place, by_place[to], atol=1e-4)
    else:
        for contour in file.ROIContourSequence[0].ContourSequence:
            to = by_place[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            normal = LPS_FROM_RAS[:3, :3] @ segmentation.grid.direction[:, 2]
            np.testing.assert_allclose((points - to) @ normal, 0, atol=1e-3)


@pytest.mark.parametrize("writer", WRITERS)
def test_images_on_other_planes_are_named_as_a_series_only(tmp_path, writer):
    segmentation = made_up(3)
    file = read_dicom(writer(segmentation, tmp_path / "x.dcm", slices_of(segmentation.grid, 5, rows=1)))
    assert not any(e.keyword in ("DerivationImageSequence", "SourceImageSequence") for e in file.iterall())
    if writer is write_rtstruct:
        assert not any("ContourImageSequence" in c for c in file.ROIContourSequence[0].ContourSequence)


@pytest.mark.parametrize("writer", WRITERS)
def test_what_cannot_be_written_is_refused_by_name(tmp_path, writer):
    segmentation, path = made_up(0), tmp_path / "x.dcm"
    grid = segmentation.grid
    with pytest.raises(MissingInput, match="patient's name"):
        writer(segmentation, path)
    sheared = np.array(grid.ijk_to_ras)
    sheared[:3, 0] += 0.2 * sheared[:3, 1]
    with pytest.raises(InvalidInput, match="grid: the axes are not at right angles"):
        writer(Segmentation(Grid(grid.shape, sheared), segmentation.layers, segmentation.segments), path, patient="A")
    with pytest.raises(InvalidInput, match="no segment has a voxel"):
        writer(Segmentation.from_masks(grid, {"nothing": np.zeros(grid.shape, bool)}), path, patient="A")
    mixed = [*slices_of(grid, 2), *slices_of(grid, 1)]
    with pytest.raises(InvalidInput, match="not of one series"):
        writer(segmentation, path, mixed)
    bare = slices_of(grid, 1)
    bare[0].FrameOfReferenceUID = ""
    with pytest.raises(InvalidInput, match="no FrameOfReferenceUID"):
        writer(segmentation, path, bare)
    assert not path.exists()


@pytest.mark.parametrize("writer", WRITERS)
def test_segments_without_voxels_are_left_out_with_a_word(tmp_path, writer):
    full, job = made_up(0), Job()
    masks = {name: full.mask(name) for name in full.names} | {"nothing": np.zeros(full.grid.shape, bool)}
    path = writer(Segmentation.from_masks(full.grid, masks), tmp_path / "x.dcm", patient="A", job=job)
    assert read_again(writer, path, full.grid).names == full.names
    assert "nothing" in job.warnings[0]


def test_without_highdicom_it_is_said_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(MissingPackage, match="pip install"):
        write_dicom_seg(made_up(0), tmp_path / "x.dcm", patient="A")


def test_words_of_a_patient_go_into_the_file_and_nowhere_else(tmp_path, caplog, capsys, recwarn):
    images = slices_of(made_up(0).grid, 3)
    for image in images:
        image.PatientName = "Röe^Jané" + "x" * 90
        image.SpecificCharacterSet = "ISO_IR 100"
        image.PatientBirthDate = pydicom.valuerep.DA("19500203")
    for writer in WRITERS:
        file = read_dicom(writer(made_up(0), tmp_path / "x.dcm", images))
        assert str(file.PatientName) == str(images[0].PatientName)
    seen = caplog.text + "".join(capsys.readouterr()) + "".join(str(w.message) for w in recwarn)
    assert "Röe" not in seen


@pytest.mark.parametrize("seed", range(3))
def test_colours_and_codes_are_what_they_were(seed):
    rng = np.random.default_rng(seed)
    for colour in (*rng.random((20, 3)).tolist(), [0, 0, 0], [1, 1, 1], [0, 0, 1]):
        made = item(RecommendedDisplayCIELabValue=cielab(colour))
        np.testing.assert_allclose(read_colour(made), colour, atol=0.5 / 255)
        theirs = highdicom.color.CIELabColor.from_rgb(*(255 * c for c in colour)).value
        np.testing.assert_allclose(cielab(colour), theirs, atol=10)  # of 65535: their constants have four digits
    long = ("99TWIN", "a-value-of-more-than-sixteen", "")
    observed = item(RTROIIdentificationCodeSequence=[code_item(long)])
    assert read_code(observed, "RTROIIdentificationCodeSequence", "x")[:2] == long[:2]
    assert category_of(None) == ("SCT", "85756007", "Tissue")
    assert category_of(("SCT", "10200004", "Liver"))[2] == "Anatomical Structure"


@pytest.mark.parametrize("writer", WRITERS)
def test_a_patients_tumour_goes_back_to_its_pet(tmp_path, data, writer):
    """STS_001: the outline of the PET, written as part of the PET's study, covers the same voxels."""
    folder = data("sts_001_raw")
    pet = read_series(folder / "PET_dicom")
    drawn = read_rtstruct(folder / "PET_rtstruct.dcm", pet.image.grid, pet.frame_of_reference_uid)
    path = writer(drawn, tmp_path / "x.dcm", pet.headers)
    again = read_again(writer, path, pet.image.grid, pet.frame_of_reference_uid)
    assert again.names == drawn.names
    for name in drawn.names:
        np.testing.assert_array_equal(again.mask(name), drawn.mask(name))


@pytest.mark.parametrize("writer", WRITERS)
def test_many_structures_of_a_ct(tmp_path, data, writer):
    labels = data("ct_totalseg") / "example_seg.nii.gz"
    every = read_label_map(labels)
    anatomy = Segmentation(every.grid, every.layers, every.segments[::4])
    again = read_again(writer, writer(anatomy, tmp_path / "x.dcm", patient="A"), anatomy.grid)
    assert [dice(again.mask(n), anatomy.mask(n)) for n in anatomy.names] == [1.0] * len(anatomy.names)
