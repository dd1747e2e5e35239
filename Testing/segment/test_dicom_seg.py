"""DICOM segmentations: the same voxels on their own grid and on others, and named refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import RLELossless

from Testing.segment.dicom_seg_files import FRAME, item, seg, write
from TwinCore import Grid, InvalidInput, Job, MissingInput
from TwinSegmentLib.dicom_seg import read_dicom_seg, seg_names

MATRIX = np.eye(4)
MATRIX[:3, :3] = np.linalg.qr(np.random.default_rng(6).normal(size=(3, 3)))[0] * [1.5, 0.75, 2.5]
MATRIX[:3, 0] *= np.sign(np.linalg.det(MATRIX[:3, :3]))  # planes are stacked along the normal of rows and columns
MATRIX[:3, 3] = [-11.0, 7.0, 40.0]
GRID = Grid((8, 11, 13), MATRIX)


def masks() -> dict[str, np.ndarray]:
    tumour, oedema = np.zeros(GRID.shape, bool), np.zeros(GRID.shape, bool)
    tumour[2:5, 3:7, 4:9] = True
    oedema[1:7, 5:9, 2:12] = True
    return {"tumour": tumour, "oedema": oedema}


def apart() -> dict[str, np.ndarray]:
    made = masks()
    made["oedema"] &= ~made["tumour"]
    return made


def refused(path, *words, grid=GRID, **options):
    with pytest.raises(InvalidInput) as caught:
        read_dicom_seg(path, grid, **options)
    for word in words:
        assert word in str(caught.value)
    assert "Roe" not in str(caught.value)
    assert str(path.parent) not in str(caught.value)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
@pytest.mark.parametrize("compressed", [False, True])
def test_the_same_voxels_on_the_grid_they_were_drawn_on(tmp_path, kind, compressed):
    drawn = apart() if kind == "LABELMAP" else masks()
    made = seg(GRID, {name: mask.astype(float) for name, mask in drawn.items()}, kind)
    if compressed and kind != "BINARY":
        made.compress(RLELossless)
    path = write(tmp_path / "seg.dcm", made)
    found = read_dicom_seg(path, GRID, FRAME)
    assert found.names == ["tumour", "oedema"] == seg_names(path)
    for name, mask in drawn.items():
        np.testing.assert_array_equal(found.mask(name), mask)
    assert found.segments[0].code == ("SCT", "4147007", "Mass")
    np.testing.assert_allclose(found.segments[0].colour, [1.0, 0.0, 0.0], atol=0.01)


def test_its_own_grid_holds_the_planes_that_were_kept(tmp_path):
    path = write(tmp_path / "seg.dcm", seg(GRID, masks()))
    found = read_dicom_seg(path)
    assert found.grid.same_as(GRID.crop((1, 0, 0), (7, 11, 13)), 1e-6)
    np.testing.assert_array_equal(found.mask("tumour"), masks()["tumour"][1:7])
    alone = read_dicom_seg(path, segment_names=["tumour"])
    assert alone.names == ["tumour"]
    assert alone.volume_ml("tumour") == pytest.approx(60 * GRID.voxel_volume_ml)


def test_planes_between_kept_ones_are_empty(tmp_path):
    drawn = {"parts": masks()["oedema"]}
    drawn["parts"][3:5] = False
    found = read_dicom_seg(write(tmp_path / "seg.dcm", seg(GRID, drawn)), GRID)
    np.testing.assert_array_equal(found.mask("parts"), drawn["parts"])


def test_on_a_finer_grid_the_volume_stays(tmp_path):
    path = write(tmp_path / "seg.dcm", seg(GRID, masks()))
    fine = read_dicom_seg(path, GRID.with_spacing(0.5))
    assert fine.volume_ml("oedema") == pytest.approx(read_dicom_seg(path).volume_ml("oedema"), rel=0.03)


def test_a_single_plane_is_as_thick_as_it_says(tmp_path):
    drawn = {"slab": np.zeros(GRID.shape, bool)}
    drawn["slab"][4, 3:8, 4:10] = True
    path = write(tmp_path / "seg.dcm", seg(GRID, drawn))
    assert read_dicom_seg(path).grid.shape == (1, 11, 13)
    np.testing.assert_array_equal(read_dicom_seg(path, GRID).mask("slab"), drawn["slab"])


def test_a_share_of_one_half_belongs(tmp_path):
    share = {"tumour": masks()["tumour"] * np.linspace(0.05, 1.0, 13)}
    found = read_dicom_seg(write(tmp_path / "seg.dcm", seg(GRID, share, "FRACTIONAL", full=200)), GRID)
    np.testing.assert_array_equal(found.mask("tumour"), share["tumour"] >= 0.5)


def test_names_are_safe_and_told_apart(tmp_path):
    made = seg(GRID, masks())
    for n, segment in enumerate(made.SegmentSequence):
        segment.SegmentLabel = "=GTV<b>"
        segment.SegmentNumber = n + 1
        del segment.RecommendedDisplayCIELabValue
        del segment.SegmentedPropertyTypeCodeSequence
    path = write(tmp_path / "seg.dcm", made)
    found = read_dicom_seg(path, GRID)
    assert found.names == ["GTV b", "GTV b (2)"]
    assert found.segments[0].code is None
    assert found.segments[0].colour != found.segments[1].colour
    with pytest.raises(MissingInput, match="no segment 'CTV'; there are: GTV b, GTV b .2."):
        read_dicom_seg(path, GRID, segment_names=["CTV"])


def test_segments_without_voxels_are_left_out_unless_they_are_asked_for(tmp_path):
    drawn, job = {**masks(), "nothing": np.zeros(GRID.shape, bool)}, Job()
    path = write(tmp_path / "seg.dcm", seg(GRID, drawn))
    assert read_dicom_seg(path, GRID, job=job).names == ["tumour", "oedema"]
    assert "nothing" in job.warnings[0]
    refused(path, "nothing", "empty", segment_names=["nothing"])


def test_another_frame_of_reference_or_place(tmp_path):
    path = write(tmp_path / "seg.dcm", seg(GRID, masks()))
    refused(path, "frame of reference", "2.3.4.5", frame_of_reference_uid="9.9.9")
    elsewhere = MATRIX.copy()
    elsewhere[:3, 3] += 500
    refused(path, "Segment 'tumour'", "off the grid", grid=Grid(GRID.shape, elsewhere))


def frames(made):
    return made.PerFrameFunctionalGroupsSequence


def moved(n, by):
    def change(made):
        plane = frames(made)[n].PlanePositionSequence[0]
        plane.ImagePositionPatient = (np.array(plane.ImagePositionPatient, float) + by).tolist()

    return change


def twice(made):
    frames(made)[1].PlanePositionSequence = frames(made)[0].PlanePositionSequence


def turned(made):
    frames(made)[2].PlaneOrientationSequence = [item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])]


def without_thickness(made):
    del made.PerFrameFunctionalGroupsSequence[1:]
    made.NumberOfFrames = 1
    measures = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    del measures.SpacingBetweenSlices, measures.SliceThickness


NORMAL = -np.cross(MATRIX[:3, 0], MATRIX[:3, 1]) * [1, 1, -1]


def with_all(**values):
    return lambda made: [setattr(made, k, v) for k, v in values.items()]


WRONG = {
    "another object": (with_all(Modality="MR"), ("modality", "SEG")),
    "unknown type": (with_all(SegmentationType="MESH"), ("0062,0001", "MESH")),
    "microscope slide": (with_all(TotalPixelMatrixColumns=9), ("microscope",)),
    "no segments": (with_all(SegmentSequence=[]), ("no segment in it",)),
    "a segment's number twice": (lambda m: setattr(m.SegmentSequence[1], "SegmentNumber", 1), ("0062,0004", "twice")),
    "planes doubled": (twice, ("same segment", "same place")),
    "a plane between others": (moved(1, 0.4 * NORMAL), ("between the others",)),
    "a plane moved sideways": (moved(1, 3.0 * MATRIX[:3, 1] * [-1, -1, 1]), ("sideways",)),
    "a plane turned": (turned, ("orientation",)),
    "a plane far away": (moved(1, 1e6 * NORMAL), ("measures",)),
    "a plane without a place": (lambda m: frames(m)[1].__delattr__("PlanePositionSequence"), ("3 finite numbers",)),
    "a plane of no segment": (lambda m: frames(m)[1].__delattr__("SegmentIdentificationSequence"), ("0062,000B",)),
    "frames that are not described": (with_all(NumberOfFrames=10**8), ("1e+08 frames", "5200,9230")),
    "no thickness": (without_thickness, ("0018,0088", "0018,0050")),
    "truncated": (lambda m: setattr(m, "PixelData", m.PixelData[:20]), ("truncated",)),
    "no pixel data": (lambda m: m.__delattr__("PixelData"), ("no pixel data",)),
    "sizes of another image": (with_all(Rows=600, Columns=600), ("truncated",)),
    "sizes beyond any memory": (with_all(Rows=65535, Columns=65535), ("65535",)),
    "lossy": (with_all(LossyImageCompression="01"), ("lossy",)),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_segmentation_is_refused(tmp_path, kind):
    change, words = WRONG[kind]
    made = seg(GRID, masks())
    change(made)
    if kind.startswith("sizes beyond"):
        words = ()
    refused(write(tmp_path / "seg.dcm", made), *words)


def test_fractions_beyond_their_maximum_are_refused(tmp_path):
    made = seg(GRID, {"tumour": masks()["tumour"].astype(float)}, "FRACTIONAL")
    made.MaximumFractionalValue = 100
    refused(write(tmp_path / "seg.dcm", made), "values reach 255", "0062,000E")
    made.MaximumFractionalValue = 0
    refused(write(tmp_path / "seg.dcm", made), "0062,000E", "from 1 to 255")


def test_files_that_are_not_dicom(tmp_path):
    (tmp_path / "page.dcm").write_bytes(b"<html>" * 99)
    refused(tmp_path / "page.dcm", "not a DICOM file")
    with pytest.raises(MissingInput, match="no file 'absent.dcm'"):
        read_dicom_seg(tmp_path / "absent.dcm")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
def test_a_file_cut_anywhere_is_refused(tmp_path, share):
    path = write(tmp_path / "seg.dcm", seg(GRID, masks()))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    refused(path)


def test_no_random_damage_escapes_as_another_error(tmp_path):
    path, rng, refusals = write(tmp_path / "seg.dcm", seg(GRID, masks())), np.random.default_rng(8), 0
    content = path.read_bytes()
    for _ in range(150):
        changed = bytearray(content)
        for _ in range(rng.integers(1, 6)):
            changed[int(rng.integers(132, len(changed)))] = int(rng.integers(256))
        path.write_bytes(changed)
        try:
            read_dicom_seg(path, GRID)
        except (InvalidInput, MissingInput):
            refusals += 1
    assert refusals > 30


def test_one_plane_of_a_real_liver(tmp_path):
    """pydicom's wheel holds one plane, of 512 x 512, of a segmented liver, whose header still describes all three."""
    path = Path(get_testdata_file("liver_1frame.dcm", download=False))
    refused(path, "1 frames", "5200,9230", "for 3", grid=None)
    dataset = pydicom.dcmread(path)
    expected = dataset.pixel_array
    del dataset.PerFrameFunctionalGroupsSequence[1:]
    found = read_dicom_seg(write(tmp_path / "liver.dcm", dataset))
    assert found.names == seg_names(path) == ["Liver"]
    assert found.grid.shape == (1, 512, 512)
    np.testing.assert_array_equal(found.mask("Liver")[0], expected > 0)
