"""Enhanced and 4D series: the same values and places as their classic slices, and named refusals."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from Testing.fusion.dicom_files import pet_slices, save, slices
from Testing.fusion.dicom_objects import clip, dose, enhanced, four_dimensional, sequence, ultrasound_volume, write
from TwinCore import InvalidInput
from TwinCore.itk import grid_of
from TwinFusionLib.dicom_folder import list_series
from TwinFusionLib.dicom_series import read_frames, read_series
from TwinFusionLib.suv import suv_factor, to_suv

OBLIQUE = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))[0][:2].ravel()


def scaled(modality):
    made = slices(modality=modality, cosines=OBLIQUE)
    for n, d in enumerate(made):
        d.RescaleSlope, d.RescaleIntercept = 0.5 + n, -3.0 * n
    return made


def refused(path, *words, **options):
    with pytest.raises(InvalidInput) as caught:
        read_series(path, **options)
    for word in words:
        assert word in str(caught.value)
    assert "Roe" not in str(caught.value)


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("compressed", [False, True])
def test_an_enhanced_object_is_its_classic_slices(tmp_path, modality, compressed):
    classic = read_series(save(tmp_path / "classic", scaled(modality)))
    made = scaled(modality)
    whole = enhanced([made[n] for n in (3, 0, 4, 2, 1)])
    whole.AcquisitionTime = "110000"
    if compressed:
        whole.compress(RLELossless)
    ours = read_series(write(tmp_path / "enhanced.dcm", whole))
    assert ours.image.grid.same_as(classic.image.grid, 1e-6)
    np.testing.assert_array_equal(ours.image.array, classic.image.array)
    assert (ours.image.unit, ours.image.time) == (classic.image.unit, classic.image.time)
    assert ours.patient == classic.patient != ""
    assert ours.frame_of_reference_uid == whole.FrameOfReferenceUID
    assert "PixelData" not in ours.headers[0]


@pytest.mark.parametrize("cosines", [(1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), OBLIQUE])
def test_geometry_and_values_agree_with_simpleitk(tmp_path, cosines):
    made = slices(cosines=cosines)
    for d in made:
        d.RescaleSlope, d.RescaleIntercept = 2.0, -5.0
    whole = enhanced(made)
    whole.SOPClassUID = whole.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"  # enhanced MR
    path = write(tmp_path / "mr.dcm", whole)
    ours, theirs = read_series(path).image, sitk.ReadImage(str(path))
    assert ours.grid.same_as(grid_of(theirs), 1e-4)
    np.testing.assert_array_equal(ours.array, sitk.GetArrayFromImage(theirs))


def test_a_real_pet_as_one_enhanced_object(tmp_path, data):
    folder = data("sts_001_raw") / "PET_dicom"
    classic = read_series(folder)
    made = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    for d in made:
        d.remove_private_tags()
    ours = read_series(write(tmp_path / "pet.dcm", enhanced(made)))
    assert ours.image.grid.same_as(classic.image.grid, 1e-6)
    np.testing.assert_array_equal(ours.image.array, classic.image.array)
    np.testing.assert_allclose(suv_factor(ours.headers), suv_factor(classic.headers))


def test_slices_may_be_spread_over_several_enhanced_files(tmp_path):
    made = slices(count=6)
    classic = read_series(save(tmp_path / "classic", slices(count=6)))
    write(tmp_path / "parts" / "a.dcm", enhanced(made[4:]))
    write(tmp_path / "parts" / "b.dcm", enhanced(made[:4]))
    np.testing.assert_array_equal(read_series(tmp_path / "parts").image.array, classic.image.array)


ORDERED = {
    "TemporalPositionIdentifier": ([3, 1, 2], None),
    "TriggerTime": ([80.5, 0.0, 40.25], ["11:00:00.000", "11:00:00.040", "11:00:00.080"]),
    "FrameReferenceTime": ([120_000.0, 0.0, 60_000.0], ["11:00:00.000", "11:01:00.000", "11:02:00.000"]),
    "AcquisitionTime": (["110210", "110000", "110030.5"], ["11:00:00.000", "11:00:30.500", "11:02:10.000"]),
}
FRAME_ORDERED = {
    "TemporalPositionIndex": ([3, 1, 2], None),
    "NominalCardiacTriggerDelayTime": ([80.0, 0.0, 40.0], ["11:00:00.000", "11:00:00.040", "11:00:00.080"]),
    "TemporalPositionTimeOffset": ([5.0, 1.0, 3.0], ["11:00:01.000", "11:00:03.000", "11:00:05.000"]),
    "FrameAcquisitionDateTime": (
        ["20200305120000", "20200305110000", "20200305113000"],
        ["11:00:00.000", "11:30:00.000", "12:00:00.000"],
    ),
}


@pytest.mark.parametrize(
    ("keyword", "is_enhanced"), [*((k, False) for k in ORDERED), *((k, True) for k in FRAME_ORDERED)]
)
def test_time_points_come_in_the_order_of_time(tmp_path, keyword, is_enhanced):
    values, times = (FRAME_ORDERED if is_enhanced else ORDERED)[keyword]
    made = four_dimensional(3, 4, **{keyword: values})
    if keyword != "AcquisitionTime":
        for d in made:
            d.AcquisitionTime = "110000"
    path = write(tmp_path / "all.dcm", enhanced(made)) if is_enhanced else save(tmp_path / "all", made)
    found = read_frames(path)
    assert [f.image.array.min() for f in found] == [1000, 2000, 0]
    assert [(f.frame, f.frames) for f in found] == [(0, 3), (1, 3), (2, 3)]
    expected = [f"2020-03-05T{time}" for time in times] if times else [None] * 3
    assert [f.image.time for f in found] == expected
    refused(path, "3 time points", "frame 0 to 2")
    refused(path, "no frame 3", frame=3)
    np.testing.assert_array_equal(read_series(path, frame=1).image.array, found[1].image.array)
    (entry,) = list_series(path.parent if is_enhanced else path)
    assert (entry.kind, entry.times, entry.images) == ("4D", 3, 12)


def test_a_counted_series_takes_its_times_from_the_temporal_resolution(tmp_path):
    made = four_dimensional(3, 4, TemporalPositionIdentifier=[1, 2, 3])
    for d in made:
        d.AcquisitionTime, d.TemporalResolution = "110000", 250.0
    times = [f.image.time[-12:] for f in read_frames(save(tmp_path / "dce", made))]
    assert times == ["11:00:00.000", "11:00:00.250", "11:00:00.500"]


def test_frames_of_a_single_volume_are_one(tmp_path):
    (only,) = read_frames(save(tmp_path / "mr", slices()))
    assert (only.frame, only.frames, only.image.time) == (0, 1, "2020-03-05T11:00:00")


def test_ultrasound_volumes_leave_flow_frames_out(tmp_path):
    path = write(tmp_path / "us.dcm", ultrasound_volume())
    first, second = read_frames(path)
    assert first.image.modality == "US"
    assert first.image.grid.shape == (5, 6, 7)
    np.testing.assert_allclose(first.image.grid.spacing, [0.75, 1.5, 2.5])
    np.testing.assert_allclose(first.image.grid.origin, [10.0, 20.0, 30.0])
    np.testing.assert_array_equal(second.image.array, first.image.array + 1000)
    assert first.frame_of_reference_uid
    assert [s.image.time[-6:] for s in (first, second)] == ["00.000", "00.040"]


def pet(**values):
    """An enhanced PET: activity by a real-world value mapping, decay-corrected to a moment an hour after injection."""
    made = pet_slices()
    for d in made:
        for keyword in ("Units", "DecayCorrection", "CorrectedImage", "RescaleSlope", "RescaleIntercept"):
            del d[keyword]
    whole = enhanced(made)
    whole.DecayCorrected, whole.AttenuationCorrected, whole.DecayCorrectionDateTime = "YES", "YES", "20200305110000"
    for keyword, value in values.items():
        setattr(whole, keyword, value)
    for n, group in enumerate(whole.PerFrameFunctionalGroupsSequence):
        group.RealWorldValueMappingSequence = sequence(
            RealWorldValueSlope=1.0 + n,
            RealWorldValueIntercept=0.0,
            MeasurementUnitsCodeSequence=sequence(CodeValue="Bq/ml", CodingSchemeDesignator="UCUM"),
        )
    return whole


def test_enhanced_pet_becomes_suv_like_classic_pet(tmp_path):
    classic = to_suv(read_series(save(tmp_path / "classic", pet_slices())))
    series = read_series(write(tmp_path / "pet.dcm", pet()))
    assert series.image.unit == "Bq/mL"
    np.testing.assert_allclose(to_suv(series).array, classic.array, rtol=1e-6)


def test_enhanced_pet_that_is_not_corrected_is_refused(tmp_path):
    for values, word in (({"DecayCorrectionDateTime": ""}, "0054,1102"), ({"AttenuationCorrected": "NO"}, "ATTN")):
        series = read_series(write(tmp_path / "pet.dcm", pet(**values)))
        with pytest.raises(InvalidInput, match=word):
            suv_factor(series.headers)


def test_a_time_point_of_a_dynamic_pet_says_to_which_moment_it_is_corrected(tmp_path):
    made = pet_slices() + pet_slices()
    for n, d in enumerate(made):
        d.SeriesInstanceUID, d.FrameOfReferenceUID = made[0].SeriesInstanceUID, made[0].FrameOfReferenceUID
        d.FrameReferenceTime = 60_000.0 * (n // 5)
    with pytest.raises(InvalidInput, match="2 time points.*0054,1102"):
        to_suv(read_frames(save(tmp_path / "dynamic", made))[1])
    for d in made:
        d.DecayCorrection = "ADMIN"
    assert to_suv(read_frames(save(tmp_path / "dynamic", made))[1]).unit == "g/mL"


def test_what_there_is_in_a_folder(tmp_path):
    ct, mr, us, plan = slices(modality="CT"), enhanced(slices(count=4)), clip(), dose()
    outlines = slices(count=1, modality="RTSTRUCT")[0]
    numbered = slices(count=3)
    for d in numbered:
        d.SeriesNumber, d.SeriesDescription = 7, "=late|<b>"
    save(tmp_path / "study" / "ct", ct)
    save(tmp_path / "study" / "late", numbered)
    for name, one in (("mr", mr), ("us", us), ("rd", plan), ("rs", outlines)):
        write(tmp_path / "study" / "rest" / f"{name}.dcm", one)
    found = list_series(tmp_path / "study")
    assert [(e.modality, e.description, e.kind, e.images) for e in found] == [
        ("CT", "axial", "volume", 5),
        ("MR", "axial", "multi-frame", 4),
        ("MR", "late b", "volume", 3),
        ("RTDOSE", "plan", "dose", 6),
        ("RTSTRUCT", "axial", "outlines", 1),
        ("US", "carotid", "ultrasound", 3),
    ]
    assert found[0].frame_of_reference_uid == ct[0].FrameOfReferenceUID
    assert len(found[0].files) == 5
    assert "Roe" not in "".join(map(str, found))
    assert read_series(tmp_path / "study", found[1].uid).image.grid.shape[0] == 4


def groups(whole):
    return whole.PerFrameFunctionalGroupsSequence


def drop(n):
    def change(whole):
        groups(whole).pop(n)
        whole.NumberOfFrames -= 1
        whole.PixelData = whole.PixelData[84 * (n + 1) :] + whole.PixelData[: 84 * n]

    return change


def place(n, **values):
    return lambda whole: [setattr(groups(whole)[n].PlanePositionSequence[0], k, v) for k, v in values.items()]


def orient(whole):
    for group in groups(whole):
        group.PlaneOrientationSequence = whole.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    groups(whole)[3].PlaneOrientationSequence = sequence(ImageOrientationPatient=[0, 1, 0, 0, 0, -1])


def respace(whole):
    groups(whole)[2].PixelMeasuresSequence = sequence(PixelSpacing=[2.0, 2.0])


def without_position(whole):
    del groups(whole)[1].PlanePositionSequence


def whole_with(**values):
    return lambda whole: [setattr(whole, k, v) for k, v in values.items()]


WRONG = {
    "a frame missing": (drop(2), ("slices are missing", "32.50 and 37.50")),
    "a frame doubled": (place(2, ImagePositionPatient=[-10, -20, 32.5]), ("where another one already is",)),
    "a frame moved sideways": (place(2, ImagePositionPatient=[-10, 5, 35]), ("sideways",)),
    "a frame turned": (orient, ("orientation",)),
    "a frame of other pixels": (respace, ("differ in pixel spacing",)),
    "a frame without a place": (without_position, ("ImagePositionPatient",)),
    "more frames announced than described": (whole_with(NumberOfFrames=10**9), ("1e+09 frames", "for 5", "5200,9230")),
    "no functional groups": (lambda whole: whole.__delattr__("PerFrameFunctionalGroupsSequence"), ("for 0",)),
    "larger frames than there are data": (whole_with(Rows=6000, Columns=6000), ("truncated", "420 of 360000000")),
    "larger frames than any memory": (whole_with(Rows=60000, Columns=60000), ("GB of memory",)),
    "no rows": (whole_with(Rows=0), ("three positive dimensions",)),
    "truncated": (lambda whole: whole.__setattr__("PixelData", whole.PixelData[:-90]), ("truncated", "330 of 420")),
    "no pixel data": (lambda whole: whole.__delattr__("PixelData"), ("no pixel data",)),
    "colour": (whole_with(SamplesPerPixel=3, PhotometricInterpretation="RGB"), ("colour",)),
    "lossy": (whole_with(LossyImageCompression="01"), ("lossy",)),
    "13 bits a voxel": (whole_with(BitsAllocated=13), ("cannot be decoded",)),
    "a position that is no number": (place(2, ImagePositionPatient=[1, 2]), ("3 finite numbers",)),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_volume_is_refused(tmp_path, kind):
    change, words = WRONG[kind]
    whole = enhanced(slices())
    change(whole)
    refused(write(tmp_path / "mr.dcm", whole), *words)


def as_text(dataset, keyword):
    """A sequence whose value is words."""
    dataset[keyword] = DataElement(tag_for_keyword(keyword), "LO", "words")


def test_sequences_that_are_text_are_refused(tmp_path):
    path = tmp_path / "one.dcm"
    for place, keyword in (
        (lambda d: d, "PerFrameFunctionalGroupsSequence"),
        (lambda d: d, "SharedFunctionalGroupsSequence"),
        (lambda d: d.PerFrameFunctionalGroupsSequence[1], "PlanePositionSequence"),
        (lambda d: d.PerFrameFunctionalGroupsSequence[1], "RealWorldValueMappingSequence"),
    ):
        whole = enhanced(slices())
        as_text(place(whole), keyword)
        refused(write(path, whole), f"{keyword} must be a sequence")
    picture = clip()
    as_text(picture, "SequenceOfUltrasoundRegions")
    refused(write(path, picture), "SequenceOfUltrasoundRegions must be a sequence")
    made = pet_slices()
    as_text(made[0], "RadiopharmaceuticalInformationSequence")
    with pytest.raises(InvalidInput, match="RadiopharmaceuticalInformationSequence must be a sequence"):
        suv_factor(made)


def test_time_points_that_are_not_clear_are_refused(tmp_path):
    incomplete = four_dimensional(3, 4, TriggerTime=[0.0, 10.0, 20.0])[:-1]
    refused(save(tmp_path / "incomplete", incomplete), "2 images lie at 37.50 mm", "3 at the other places")
    echoes = four_dimensional(2, 4, TriggerTime=[0.0, 10.0], EchoTime=[2.0, 5.0])
    refused(save(tmp_path / "echoes", echoes), "differ in EchoTime", "several contrasts")
    copies = four_dimensional(2, 4)
    refused(save(tmp_path / "copies", copies), "nothing tells them apart in time", "0018,1060")
    moved = four_dimensional(2, 4, TriggerTime=[0.0, 10.0])
    for d in moved[4:]:
        d.ImagePositionPatient[0] += 5.0
    refused(save(tmp_path / "moved", moved), "time point 1 lies elsewhere", "table was moved")


def test_a_deflated_file_is_read_and_a_bomb_is_not_inflated(tmp_path, monkeypatch):
    whole = enhanced(slices())
    plain = read_series(write(tmp_path / "plain.dcm", whole)).image.array
    whole.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    np.testing.assert_array_equal(read_series(write(tmp_path / "deflated.dcm", whole)).image.array, plain)
    whole.PixelData = bytes(64_000_000)
    path = write(tmp_path / "bomb.dcm", whole)
    assert path.stat().st_size < 100_000
    monkeypatch.setattr("TwinCore.guard.available_memory", lambda: 20_000_000)
    refused(path, "bomb.dcm", "GB of memory")


def test_sequences_nested_without_end_are_refused(tmp_path):
    whole = enhanced(slices())
    content = write(tmp_path / "mr.dcm", whole).read_bytes()
    opening = b"\x40\x00\x75\x02SQ\x00\x00\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    at = content.index(b"\x28\x00\x02\x00US")  # before the image's own elements
    (tmp_path / "mr.dcm").write_bytes(content[:at] + opening * 20_000)
    refused(tmp_path / "mr.dcm", "mr.dcm", "damaged")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
def test_a_file_cut_anywhere_is_refused(tmp_path, share):
    path = write(tmp_path / "mr.dcm", enhanced(slices()))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    refused(path)


def test_no_random_damage_escapes_as_another_error(tmp_path):
    path, rng, refusals = write(tmp_path / "mr.dcm", enhanced(scaled("MR"))), np.random.default_rng(7), 0
    content = path.read_bytes()
    for _ in range(150):
        changed = bytearray(content)
        for _ in range(rng.integers(1, 6)):
            changed[int(rng.integers(132, len(changed)))] = int(rng.integers(256))
        path.write_bytes(changed)
        try:
            read_frames(path)
            list_series(tmp_path)
        except InvalidInput:
            refusals += 1
    assert refusals > 30
