"""DICOM series: geometry, per-slice values, and a named refusal of what is no volume."""

from __future__ import annotations

import warnings

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import ExplicitVRBigEndian, JPEGBaseline8Bit, RLELossless

from Testing.fusion.dicom_files import save, slices
from TwinCore import InvalidInput, MissingInput
from TwinCore.itk import grid_of
from TwinFusionLib.dicom_folder import list_series
from TwinFusionLib.dicom_series import read_series
from TwinFusionLib.series import parse_moment, patient_hash

OBLIQUE = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0][:2].ravel()


def refused(folder, *words, **options):
    with pytest.raises(InvalidInput) as caught:
        read_series(folder, **options)
    for word in words:
        assert word in str(caught.value)
    assert str(folder.parent) not in str(caught.value)
    assert "Roe" not in str(caught.value)


@pytest.mark.parametrize("cosines", [(1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), (-1, 0, 0, 0, 1, 0), OBLIQUE])
def test_geometry_and_values_agree_with_simpleitk(tmp_path, cosines):
    folder = save(tmp_path / "mr", slices(cosines=cosines))
    ours = read_series(folder).image
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    theirs = reader.Execute()
    assert ours.grid.same_as(grid_of(theirs), 1e-4)
    np.testing.assert_array_equal(ours.array, sitk.GetArrayFromImage(theirs))
    assert (ours.modality, ours.unit, ours.time, ours.name) == ("MR", "1", "2020-03-05T11:00:00", "axial")


def test_each_slice_has_its_own_scale(tmp_path):
    made = slices()
    for n, d in enumerate(made):
        d.RescaleSlope, d.RescaleIntercept = 0.5 * (n + 1), -float(n)
    array = read_series(save(tmp_path / "mr", made)).image.array
    for n in range(5):
        np.testing.assert_allclose(array[n].ravel(), (np.arange(42) + 100 * n) * 0.5 * (n + 1) - n)


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, RLELossless])
def test_other_ways_of_coding_give_the_same_values(tmp_path, syntax):
    plain = read_series(save(tmp_path / "plain", slices())).image.array
    made = slices()
    for d in made:
        if syntax == RLELossless:
            d.compress(RLELossless)
        else:
            d.file_meta.TransferSyntaxUID = syntax
            d.PixelData = np.frombuffer(d.PixelData, "<i2").astype(">i2").tobytes()
    folder = tmp_path / "other"
    folder.mkdir()
    for n, d in enumerate(made):
        big = syntax == ExplicitVRBigEndian
        pydicom.dcmwrite(folder / f"{n}.dcm", d, little_endian=not big, implicit_vr=False, enforce_file_format=True)
    np.testing.assert_array_equal(read_series(folder).image.array, plain)


def test_rounded_positions_are_one_stack(tmp_path):
    made = slices(count=40, spacing=3.27)
    for n, d in enumerate(made[20:]):
        d.ImagePositionPatient[2] = round(float(d.ImagePositionPatient[2]) + 0.02, 2)
        assert n < 20
    assert read_series(save(tmp_path / "pet", made)).image.grid.spacing[2] == pytest.approx(3.27, abs=0.001)


def test_several_series_are_listed_and_one_is_chosen(tmp_path):
    first, second = slices(), slices(count=3)
    save(tmp_path / "both", first, "a")
    folder = save(tmp_path / "both", second, "b")
    (folder / "notes.txt").write_text("not DICOM")
    refused(folder, "2 series", "5 images", "3 images", first[0].SeriesInstanceUID, second[0].SeriesInstanceUID)
    assert read_series(folder, second[0].SeriesInstanceUID).image.grid.shape[0] == 3
    entries = {entry.uid: entry for entry in list_series(folder)}
    frame = first[0].FrameOfReferenceUID[-12:]
    line = str(entries[first[0].SeriesInstanceUID])
    assert line == f"MR series 'axial': volume, 5 images, frame of reference ...{frame}"
    with pytest.raises(MissingInput, match="no series 1.2.3"):
        read_series(folder, "1.2.3")


def without(keyword):
    return lambda made: [d.__delattr__(keyword) for d in made[2:3]]


def with_one(index=2, **values):
    return lambda made: [setattr(made[index], key, value) for key, value in values.items()]


def with_all(**values):
    return lambda made: [setattr(d, key, value) for d in made for key, value in values.items()]


def shift(header, n):
    header.ImagePositionPatient = [-10, -20 + n, 30 + 2.5 * n]


WRONG = {
    "missing slice": (lambda made: made.pop(2), ("slices are missing", "between 32.50 and 37.50")),
    "two slices missing": (lambda made: [made.pop(2), made.pop(2)], ("2 or more slices are missing",)),
    "doubled slice": (with_one(ImagePositionPatient=[-10, -20, 32.5]), ("where another one already is",)),
    "uneven spacing": (with_one(ImagePositionPatient=[-10, -20, 35.6]), ("unevenly spaced",)),
    "shifted sideways": (lambda made: [shift(d, n) for n, d in enumerate(made)], ("sideways", "gantry")),
    "mixed size": (with_one(Rows=7), ("differ in size",)),
    "mixed pixel spacing": (with_one(PixelSpacing=[2, 2]), ("differ in pixel spacing",)),
    "mixed orientation": (with_one(ImageOrientationPatient=[0, 1, 0, 1, 0, 0]), ("orientation",)),
    "mixed frames": (with_one(FrameOfReferenceUID="1.2.3"), ("differ in frame of reference",)),
    "directions not at right angles": (with_all(ImageOrientationPatient=[1, 0, 0, 0.7, 0.7, 0]), ("right angles",)),
    "zero pixel spacing": (with_all(PixelSpacing=[0, 1]), ("above 0",)),
    "pixel spacing in micrometres": (with_all(PixelSpacing=[750, 750]), ("micrometres",)),
    "no position": (without("ImagePositionPatient"), ("ImagePositionPatient",)),
    "position with two numbers": (with_one(ImagePositionPatient=[1, 2]), ("3 finite numbers",)),
    "colour": (with_one(SamplesPerPixel=3, PhotometricInterpretation="RGB"), ("colour", "RGB")),
    "palette": (with_one(PhotometricInterpretation="PALETTE COLOR"), ("colour", "PALETTE")),
    "lossy mark": (with_one(LossyImageCompression="01"), ("lossy",)),
    "multi-frame": (with_one(NumberOfFrames=4), ("multi-frame",)),
    "truncated pixel data": (with_one(PixelData=bytes(50)), ("truncated", "50 of 84 bytes")),
    "no pixel data": (without("PixelData"), ("no pixel data",)),
    "mosaic": (with_all(ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"]), ("mosaic of many slices",)),
    "slope 0": (with_one(RescaleSlope=0), ("rescale slope",)),
    "no image": (with_all(Modality="SR"), ("modality", "SR")),
    "RT structure set": (with_all(Modality="RTSTRUCT"), ("modality", "RTSTRUCT")),
    "PET without units": (with_all(Modality="PT"), ("units (0054,1001)",)),
    "CT not in HU": (with_all(Modality="CT", RescaleType="US"), ("rescale type", "US")),
    "constant": (with_all(PixelData=bytes(84)), ("every voxel",)),
    "single slice": (lambda made: made.__delitem__(slice(1, None)), ("single slice",)),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_volume_is_refused(tmp_path, kind):
    made = slices()
    change, words = WRONG[kind]
    change(made)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = save(tmp_path / "series", made)
    refused(folder, *words)


def test_a_unit_that_is_given_overrules_the_header(tmp_path):
    made = slices()
    with_all(Modality="CT", RescaleType="US")(made)
    assert read_series(save(tmp_path / "ct", made), unit="1").image.unit == "1"


def test_lossy_syntax_and_syntax_missing(tmp_path):
    made = slices()
    folder = save(tmp_path / "mr", made)
    made[1].file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    made[1].PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
    made[1]["PixelData"].VR = "OB"
    made[1].save_as(folder / "s71.dcm", enforce_file_format=True)
    refused(folder, "lossy")
    content = (folder / "s71.dcm").read_bytes()
    at = content.index(b"\x02\x00\x10\x00UI")
    (folder / "s71.dcm").write_bytes(content[: at + 2] + b"\x11\x01" + content[at + 4 :])
    refused(folder, "transfer syntax")


def test_files_that_are_not_dicom(tmp_path):
    folder = save(tmp_path / "mr", slices())
    (folder / "broken.dcm").write_bytes(b"not DICOM at all")
    refused(folder, "broken.dcm", "not a DICOM file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingInput, match="no DICOM file in the folder 'empty'"):
        read_series(tmp_path / "empty")
    with pytest.raises(MissingInput, match="no folder 'absent'"):
        read_series(tmp_path / "absent")


@pytest.mark.parametrize("share", [0.2, 0.5, 0.75, 0.9, 0.99])
def test_a_file_cut_anywhere_is_refused(tmp_path, share):
    folder = save(tmp_path / "mr", slices())
    victim = sorted(folder.iterdir())[2]
    victim.write_bytes(victim.read_bytes()[: int(share * victim.stat().st_size)])
    with pytest.raises((InvalidInput, MissingInput)):
        read_series(folder)


def test_hostile_words_do_not_reach_the_user(tmp_path):
    made = slices()
    with_all(SeriesDescription="=cmd|<b>../..", PatientName="Иванов^Иван", SpecificCharacterSet="ISO_IR 192")(made)
    image = read_series(save(tmp_path / "mr", made)).image
    assert image.name == "cmd b .. .."


def test_the_patient_is_only_compared(tmp_path):
    one, same, other = slices()[0], slices()[0], slices()[0]
    same.PatientName, other.PatientID = "ROE^Jane^^", "4711"
    assert patient_hash(one) == patient_hash(same) != patient_hash(other)
    assert "0815" not in patient_hash(one)
    one.PatientName, one.PatientID = "", ""
    assert patient_hash(one) == ""
    assert "Roe" not in repr(read_series(save(tmp_path / "mr", slices())))


def test_moments():
    assert parse_moment("20200305110012.5").isoformat() == "2020-03-05T11:00:12.500000"
    assert parse_moment("20200305110012.5+0100").hour == 11
    assert parse_moment("202003051100").isoformat() == "2020-03-05T11:00:00"
    assert [parse_moment(text) for text in ("", "20200305", "20209905110012", "yesterday")] == [None] * 4


def test_real_pet_series(data):
    series = read_series(data("sts_001_raw") / "PET_dicom")
    assert series.image.grid.shape == (71, 128, 128)
    assert series.image.grid.spacing[2] == pytest.approx(3.2703, abs=1e-4)
    assert (series.image.unit, series.image.time) == ("Bq/mL", "2000-09-07T11:20:11")
    assert series.frame_of_reference_uid.endswith("122304118088")


def test_real_ct_whose_values_are_no_hounsfield_units(data):
    folder = data("ct_head_dicom")
    refused(folder, "rescale type")
    refused(folder, "Hounsfield units + 1000", unit="[hnsf'U]")
    assert read_series(folder, unit="1").image.grid.shape == (93, 64, 64)
