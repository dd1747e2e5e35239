"""RT structure sets: filling, other grids, refusals, and a real one with reference values."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from TwinCore import Grid, InvalidInput, Job, MissingInput, centroid
from TwinCore.volume_file import read_volume
from TwinSegmentLib.rasterise import area, crosses_itself, fill
from TwinSegmentLib.rtstruct import read_rtstruct, region_names

FRAME = "1.2.826.0.1.3680043.8.498.1"
GRID = Grid.isotropic((30, 64, 64), 1.0, (-32, -32, -15))
LPS = np.array([-1.0, -1.0, 1.0])


def circle(radius, centre=(0.0, 0.0), points=90) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.column_stack([centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)])


def planes(outline, heights) -> list[np.ndarray]:
    """An outline in x, y repeated at several z; RAS mm."""
    return [np.column_stack([outline, np.full(len(outline), z)]) for z in heights]


def write(path, regions: dict[str, list[np.ndarray]], kind="CLOSED_PLANAR", modality="RTSTRUCT"):
    d = Dataset()
    d.file_meta = FileMetaDataset()
    d.file_meta.MediaStorageSOPClassUID = d.SOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID = generate_uid()
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d.Modality, d.PatientName = modality, "Roe^Jane"
    d.SpecificCharacterSet = "ISO_IR 192"
    d.StructureSetROISequence, d.ROIContourSequence = [], []
    for number, (name, outlines) in enumerate(regions.items(), 1):
        declared, drawn = Dataset(), Dataset()
        declared.ROINumber, declared.ROIName, declared.ReferencedFrameOfReferenceUID = number, name, FRAME
        drawn.ReferencedROINumber, drawn.ROIDisplayColor, drawn.ContourSequence = number, [255, 128, 0], []
        for points in outlines:
            contour = Dataset()
            contour.ContourGeometricType, contour.NumberOfContourPoints = kind, len(points)
            contour.ContourData = [f"{v:.6f}" for v in (np.asarray(points) * LPS).ravel()]
            drawn.ContourSequence.append(contour)
        d.StructureSetROISequence.append(declared)
        d.ROIContourSequence.append(drawn)
    d.save_as(path, enforce_file_format=True)
    return path


def refused(path, *words, **options):
    with pytest.raises(InvalidInput) as caught:
        read_rtstruct(path, GRID, **options)
    for word in words:
        assert word in str(caught.value)
    assert "Roe" not in str(caught.value)


@pytest.mark.parametrize("seed", range(8))
def test_filling_agrees_with_the_winding_angle(seed):
    """A star-shaped polygon and a hole, each voxel judged by the angle that the outline turns about it."""
    rng = np.random.default_rng(seed)
    star = circle(1.0, points=17) * rng.uniform(6, 14, 17)[:, None] + [16.3, 15.7]
    hole = circle(2.5, (16.1, 15.2), 11)
    centres = np.stack(np.meshgrid(np.arange(32), np.arange(30)), axis=-1).astype(float)

    def turns(outline):
        spokes = outline - centres[:, :, None]
        following = np.roll(spokes, -1, axis=2)
        cross = spokes[..., 0] * following[..., 1] - spokes[..., 1] * following[..., 0]
        return np.abs(np.arctan2(cross, (spokes * following).sum(axis=-1)).sum(axis=-1)) > np.pi

    np.testing.assert_array_equal(fill([star], (30, 32)), turns(star))
    np.testing.assert_array_equal(fill([star, hole], (30, 32)), turns(star) ^ turns(hole))
    np.testing.assert_array_equal(fill([star[::-1]], (30, 32)), turns(star))


def test_corners_on_voxel_centres_count_once_and_parts_off_the_slice_are_cut():
    square = np.array([[2.0, 2], [6, 2], [6, 6], [2, 6]])
    assert fill([square], (9, 9)).sum() == 16
    assert fill([square, square + [4, 0]], (9, 11)).sum() == 32
    assert fill([square - 4], (9, 9)).sum() == 4
    assert fill([square + [100, 0]], (9, 9)).sum() == fill([square + [0, 100]], (9, 9)).sum() == 0


def test_area_and_crossing():
    square = np.array([[0.0, 0], [4, 0], [4, 4], [0, 4]])
    bow = square[[0, 2, 1, 3]]
    keyhole = np.array(
        [[0.0, 0], [9, 0], [9, 9], [0, 9], [0, 4], [3, 4], [3, 6], [6, 6], [6, 3], [3, 3], [3, 4], [0, 4]]
    )
    assert area(square) == -area(square[::-1]) == 16
    assert abs(area(bow)) < 1e-12
    assert [crosses_itself(o) for o in (square, bow, keyhole)] == [False, True, False]
    rng = np.random.default_rng(0)
    assert not crosses_itself(circle(1.0, points=500) * rng.uniform(1, 2, 500)[:, None])
    assert fill([keyhole + 0.5], (12, 12)).sum() == 81 - 9


def test_a_cylinder_with_a_hole(tmp_path):
    heights = np.arange(-8.0, 9.0)
    ring = planes(circle(20), heights) + planes(circle(10, (3, 0)), heights)
    path = write(tmp_path / "rs.dcm", {"ring": ring, "GTV": planes(circle(5.3), heights)})
    segmentation = read_rtstruct(path, GRID, FRAME)
    assert segmentation.names == region_names(path) == ["ring", "GTV"]
    assert segmentation.volume_ml("ring") == pytest.approx(np.pi * (400 - 100) * 17 / 1000, rel=0.01)
    assert segmentation.volume_ml("GTV") == pytest.approx(np.pi * 5.3**2 * 17 / 1000, rel=0.02)
    np.testing.assert_allclose(centroid(segmentation.mask("GTV"), GRID), [0, 0, 0], atol=0.1)
    assert segmentation.segments[0].colour == (1.0, pytest.approx(0.502, abs=0.001), 0.0)
    assert read_rtstruct(path, GRID, roi_names=["GTV"]).names == ["GTV"]
    with pytest.raises(MissingInput, match="no region 'CTV' in the structure set; there are: ring, GTV"):
        read_rtstruct(path, GRID, roi_names=["CTV"])


@pytest.mark.parametrize("step", [0.5, 2.0, 3.0, 5.0])
def test_outlines_further_apart_or_closer_than_slices(tmp_path, step):
    heights = np.arange(-2, 3) * step
    path = write(tmp_path / "rs.dcm", {"GTV": planes(circle(12, (4, -6)), heights)})
    mask = read_rtstruct(path, GRID).mask("GTV")
    assert mask.sum() == pytest.approx(np.pi * 144 * 5 * step, rel=0.21 if step == 0.5 else 0.07)
    away = np.abs(centroid(mask, GRID) - [4, -6, 0])
    assert (away <= [0.1, 0.1, 0.51]).all()  # along z the ends of the stack may fall on either of two slices


@pytest.mark.parametrize("seed", range(4))
def test_grid_turned_against_the_outlines(tmp_path, seed):
    path = write(tmp_path / "rs.dcm", {"GTV": planes(circle(12, (4, -6)), np.arange(-8.0, 9.0, 2.0))})
    matrix = np.eye(4)
    matrix[:3, :3] = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0] * [1.0, 1.5, 1.2]
    grid = Grid((60, 50, 70), matrix)
    matrix[:3, 3] = [4, -6, 0] - grid.centre
    turned = Grid(grid.shape, matrix)
    segmentation = read_rtstruct(path, turned)
    assert segmentation.volume_ml("GTV") == pytest.approx(np.pi * 144 * 18 / 1000, rel=0.02)
    np.testing.assert_allclose(centroid(segmentation.mask("GTV"), turned), [4, -6, 0], atol=0.1)


def test_oblique_slices_are_filled_where_they_were_drawn(tmp_path):
    matrix = np.eye(4)
    matrix[:3, :3] = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0] * [1.0, 1.0, 4.0]
    grid = Grid((12, 40, 44), matrix)
    drawn = [np.column_stack([circle(10, (20, 21)), np.full(90, k)]) for k in range(3, 9)]
    segmentation = read_rtstruct(write(tmp_path / "rs.dcm", {"GTV": [grid.to_ras(o) for o in drawn]}), grid)
    expected = fill([circle(10, (20, 21))], (40, 44))
    mask = segmentation.mask("GTV")
    assert [bool(plane.any()) for plane in mask] == [3 <= k < 9 for k in range(12)]
    assert (mask[5] ^ expected).sum() <= 4


def test_outlines_that_cross_themselves(tmp_path):
    bow = np.array([[-8.0, -8], [8, 8], [8, -8], [-8, 8]])
    refused(write(tmp_path / "rs.dcm", {"GTV": planes(bow, [0.0, 1.0])}), "'GTV'", "figure of eight")
    loop = np.vstack([circle(10, points=60), [[10.3, 0.2], [10.3, -0.2]]])
    job = Job()
    read_rtstruct(write(tmp_path / "rs.dcm", {"GTV": planes(loop, [0.0, 1.0])}), GRID, job=job)
    assert [w for w in job.warnings if "'GTV'" in w and "small loops" in w]


@pytest.mark.parametrize(
    ("outlines", "options", "words"),
    [
        (planes(circle(9), [0.0, 1.0]), {"kind": "OPEN_PLANAR"}, ("OPEN_PLANAR", "closed")),
        (planes(circle(9), [0.0, 1.0]), {"kind": "POINT"}, ("POINT",)),
        ([], {}, ("no outlines",)),
        ([np.array([[0.0, 0, 0], [1, 1, 0]])], {}, ("2 points",)),
        (planes(circle(9, (500, 0)), [0.0, 1.0]), {}, ("all of it lies off the image",)),
        (planes(circle(9, (28, 0)), [0.0, 1.0]), {}, ("points lie off the image",)),
        (planes(circle(0.2, (0.5, 0.5)), [0.0, 1.0]), {}, ("between the voxels",)),
        ([np.column_stack([circle(9), np.linspace(-9, 9, 90) ** 2 / 9])], {}, ("parallel planes",)),
    ],
)
def test_regions_that_cannot_be_filled_are_named(tmp_path, outlines, options, words):
    refused(write(tmp_path / "rs.dcm", {"GTV": outlines}, **options), "'GTV'", *words)


def test_coordinates_that_are_not_finite(tmp_path):
    path = write(tmp_path / "rs.dcm", {"GTV": planes(circle(9) + 0.123456, [0.0])})
    content = path.read_bytes()
    number = f"{-(circle(9)[0] + 0.123456)[0]:.6f}".encode()
    path.write_bytes(content.replace(number, b"nan".ljust(len(number)), 1))
    refused(path, "'GTV'", "not finite")


def test_another_frame_of_reference(tmp_path):
    path = write(tmp_path / "rs.dcm", {"GTV": planes(circle(9), [0.0, 1.0])})
    refused(path, "'GTV'", "frame of reference", frame_of_reference_uid="1.2.3.4")


def test_names_are_hostile_doubled_or_foreign(tmp_path):
    outlines = planes(circle(9), [0.0, 1.0])
    path = write(tmp_path / "rs.dcm", {"=GTV": outlines, "GTV": outlines, "../GTV": outlines, "опухоль": outlines})
    assert read_rtstruct(path, GRID).names == ["GTV", "GTV (2)", "GTV (3)", "опухоль"]


def test_files_that_are_no_structure_set(tmp_path):
    refused(write(tmp_path / "ct.dcm", {}, modality="CT"), "ct.dcm", "CT")
    refused(write(tmp_path / "rs.dcm", {}), "rs.dcm", "no region")
    (tmp_path / "page.dcm").write_text("<html>")
    refused(tmp_path / "page.dcm", "page.dcm", "not a DICOM file")
    with pytest.raises(MissingInput, match="no file 'absent.dcm'"):
        region_names(tmp_path / "absent.dcm")


def test_real_tumour_on_pet(data):
    """Another program's mask and values of the same outlines come with the data."""
    reference = json.loads((data("sts_001_raw") / "reference.json").read_text())
    folder = data("sts_petctmr") / "STS_001"
    published, suv = (
        read_volume(folder / "PET_mask.nii.gz"),
        read_volume(folder / "PET_image.nii.gz", "PT", unit="g/mL"),
    )
    path = data("sts_001_raw") / "PET_rtstruct.dcm"
    segmentation = read_rtstruct(path, suv.grid, roi_names=["GTV_Mass"])
    mask = segmentation.mask("GTV_Mass")
    np.testing.assert_array_equal(mask, published.array > 0)
    assert segmentation.volume_ml("GTV_Mass") == pytest.approx(reference["PET_GTV_ml"], abs=0.1)
    np.testing.assert_allclose(centroid(mask, suv.grid) * LPS, reference["PET_GTV_centroid"], atol=0.05)
    assert suv.array[mask].mean() == pytest.approx(reference["SUV"]["ref_SUVmean_GTV"], abs=0.002)
    finer = read_rtstruct(path, suv.grid.with_spacing(2.0), roi_names=["GTV_Mass"])
    assert finer.volume_ml("GTV_Mass") == pytest.approx(reference["PET_GTV_ml"], rel=0.01)


def test_real_tumour_on_mr(data):
    reference = json.loads((data("sts_001_raw") / "reference.json").read_text())
    grid = read_volume(data("sts_001_raw") / "MR_T1.nii.gz", "MR").grid
    path = data("sts_001_raw") / "MR_T1_rtstruct.dcm"
    segmentation = read_rtstruct(path, grid, roi_names=["GTV_Mass"])
    assert segmentation.volume_ml("GTV_Mass") == pytest.approx(reference["MR_T1_GTV_ml"], abs=0.1)
    found = centroid(segmentation.mask("GTV_Mass"), grid) * LPS
    np.testing.assert_allclose(found, reference["MR_T1_GTV_centroid"], atol=0.05)


def test_no_random_damage_escapes_as_another_error(tmp_path):
    outlines = planes(circle(9, points=12), [0.0, 1.0])
    path, rng, refusals = write(tmp_path / "rs.dcm", {"GTV": outlines, "CTV": outlines}), np.random.default_rng(5), 0
    content = path.read_bytes()
    for _ in range(150):
        changed = bytearray(content)
        for _ in range(rng.integers(1, 6)):
            at = int(rng.integers(len(changed)))
            changed[at : at + int(rng.integers(0, 4))] = rng.integers(
                0, 256, int(rng.integers(0, 4)), np.uint8
            ).tobytes()
        path.write_bytes(changed)
        try:
            read_rtstruct(path, GRID)
        except (InvalidInput, MissingInput):
            refusals += 1
    assert refusals > 50
