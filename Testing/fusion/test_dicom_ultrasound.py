"""Ultrasound pictures and clips: the region of tissue, its size and times, and named refusals."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.uid import RLELossless

from Testing.fusion.dicom_objects import clip, sequence, write
from TwinCore import InvalidInput, Job
from TwinFusionLib.dicom_folder import list_series
from TwinFusionLib.dicom_series import read_frames, read_series


def stored(made):
    shape = (int(made.NumberOfFrames), made.Rows, made.Columns, made.SamplesPerPixel)
    return np.frombuffer(made.PixelData, np.uint8).reshape(shape)


def test_a_clip_is_its_region_frame_by_frame(tmp_path):
    made = clip()
    found = read_frames(write(tmp_path / "us.dcm", made))
    assert [s.image.array.shape for s in found] == [(1, 30, 40)] * 3
    for n, series in enumerate(found):
        np.testing.assert_array_equal(series.image.array[0], stored(made)[n, 5:35, 10:50, 0])
        assert (series.image.modality, series.image.unit, series.image.name) == ("US", "1", "carotid")
        assert (series.frame, series.frames, series.frame_of_reference_uid) == (n, 3, "")
    np.testing.assert_allclose(found[0].image.grid.spacing, [0.5, 0.4, 1.0])
    assert [s.image.time[-6:] for s in found] == ["00.000", "00.040", "00.080"]
    assert found[0].patient != ""
    (entry,) = list_series(tmp_path)
    assert (entry.kind, entry.images) == ("ultrasound", 3)


def test_single_pictures_and_uneven_frame_times(tmp_path):
    assert read_series(write(tmp_path / "one.dcm", clip(frames=1))).image.time == "2020-03-05T11:00:00"
    made = clip()
    made.FrameTimeVector = [0.0, 10.0, 25.0]
    path = write(tmp_path / "clip.dcm", made)
    assert [s.image.time[-3:] for s in read_frames(path)] == ["000", "010", "035"]
    with pytest.raises(InvalidInput, match="3 time points.*frame 0 to 2"):
        read_series(path)
    np.testing.assert_array_equal(read_series(path, frame=2).image.array, read_frames(path)[2].image.array)


def test_times_that_are_not_given_are_not_guessed(tmp_path):
    made, job = clip(), Job()
    del made.FrameTime
    assert [s.image.time for s in read_frames(write(tmp_path / "us.dcm", made), job=job)] == [None] * 3
    assert "0018,1063" in job.warnings[0]


def test_colours_that_are_grey_become_grey(tmp_path):
    plain = read_frames(write(tmp_path / "grey.dcm", clip()))
    coloured = read_frames(write(tmp_path / "rgb.dcm", clip(colour=True)))
    np.testing.assert_array_equal(coloured[1].image.array, plain[1].image.array)


def test_a_few_coloured_marks_are_told_of(tmp_path):
    made, job = clip(colour=True), Job()
    pixels = stored(made).copy()
    pixels[:, 6, 11:14] = [255, 200, 0]
    made.PixelData = pixels.tobytes()
    read_frames(write(tmp_path / "us.dcm", made), job=job)
    assert any("coloured marks" in words for words in job.warnings)


def doppler_colours(made):
    pixels = stored(made).copy()
    pixels[:, 10:20, 20:30] = [200, 20, 10]
    made.PixelData = pixels.tobytes()


def second_region(**values):
    def change(made):
        other = sequence(**{e.keyword: e.value for e in made.SequenceOfUltrasoundRegions[0]})
        for keyword, value in values.items():
            setattr(other[0], keyword, value)
        made.SequenceOfUltrasoundRegions = [made.SequenceOfUltrasoundRegions[0], *other]

    return change


def region(**values):
    return lambda made: [setattr(made.SequenceOfUltrasoundRegions[0], k, v) for k, v in values.items()]


def whole(**values):
    return lambda made: [setattr(made, k, v) for k, v in values.items()]


WRONG = {
    "no calibration": (lambda made: made.__delattr__("SequenceOfUltrasoundRegions"), "0018,6011"),
    "colour flow": (second_region(RegionDataType=2), "colour Doppler.*velocities"),
    "coloured pixels": (doppler_colours, "% of its pixels are coloured"),
    "M-mode": (region(RegionSpatialFormat=2), "0 of its 1 regions.*M-mode"),
    "two pictures": (second_region(RegionLocationMinX0=5), "2 of its 2 regions"),
    "seconds across": (region(PhysicalUnitsXDirection=4), "along X .0018,6024. is s;"),
    "unknown unit": (region(PhysicalUnitsYDirection=99), "along Y .0018,6026. is code 99"),
    "no pixel size": (region(PhysicalDeltaX=0.0), "along X .0018,602C. is missing"),
    "pixel size in metres": (region(PhysicalDeltaX=0.0005, PhysicalDeltaY=0.0004), "spacing is 0.005"),
    "region off the picture": (region(RegionLocationMaxX1=60), "not inside the picture of 60 x 40"),
    "palette": (whole(PhotometricInterpretation="PALETTE COLOR", SamplesPerPixel=1), "PALETTE"),
    "black": (lambda made: made.__setattr__("PixelData", bytes(len(made.PixelData))), "every pixel"),
    "truncated": (lambda made: made.__setattr__("PixelData", made.PixelData[:500]), "truncated"),
    "more frames than there are": (whole(NumberOfFrames=2_000_000), "truncated|memory"),
    "bad frame times": (whole(FrameTimeVector=[0.0, 1.0]), "FrameTimeVector must be 3"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_picture_of_tissue_is_refused(tmp_path, kind):
    change, words = WRONG[kind]
    made = clip(colour=True)
    change(made)
    with pytest.raises(InvalidInput, match=words):
        read_frames(write(tmp_path / "us.dcm", made))


@pytest.mark.parametrize("frames", [4, 2_000_000_000])
def test_more_compressed_frames_announced_than_there_are(tmp_path, frames):
    made = clip()
    made.compress(RLELossless)
    path = write(tmp_path / "us.dcm", made)
    np.testing.assert_array_equal(read_frames(path)[2].image.array[0], stored(clip())[2, 5:35, 10:50, 0])
    made.NumberOfFrames = frames
    with pytest.raises(InvalidInput, match="frames are there|cannot be decoded|memory"):
        read_frames(write(path, made))


def test_several_pictures_of_a_series_are_not_mixed(tmp_path):
    first, second = clip(), clip()
    second.SeriesInstanceUID = first.SeriesInstanceUID
    write(tmp_path / "us" / "a.dcm", first)
    path = write(tmp_path / "us" / "b.dcm", second)
    with pytest.raises(InvalidInput, match="2 files are separate pictures"):
        read_frames(tmp_path / "us")
    assert len(read_frames(path)) == 3


def test_lossy_compression_is_told_of(tmp_path):
    made, job = clip(), Job()
    made.LossyImageCompression = "01"
    read_frames(write(tmp_path / "us.dcm", made), job=job)
    assert any("lossy" in words for words in job.warnings)


def test_a_real_frame_as_a_picture(tmp_path, data):
    """A curvilinear B-mode frame of 600 x 400 pixels, which comes as MetaImage."""
    frame = sitk.GetArrayFromImage(sitk.ReadImage(str(data("ultrasound") / "BkCurvilinearScanConvertedData.igs.mha")))
    frame = frame.reshape(frame.shape[-2:])
    rows, columns = frame.shape
    made = clip(1, rows, columns, RegionLocationMaxX1=columns - 1, RegionLocationMaxY1=rows - 1)
    made.PixelData = frame.tobytes()
    image = read_series(write(tmp_path / "us.dcm", made)).image
    np.testing.assert_array_equal(image.array[0], frame[5:, 10:])


def test_no_random_damage_escapes_as_another_error(tmp_path):
    path, rng, refusals = write(tmp_path / "us.dcm", clip(colour=True)), np.random.default_rng(9), 0
    content = path.read_bytes()
    header = content.index(b"\xe0\x7f\x10\x00")
    for _ in range(150):
        changed = bytearray(content)
        for _ in range(rng.integers(1, 6)):
            changed[int(rng.integers(132, header + 12))] = int(rng.integers(256))
        path.write_bytes(changed)
        try:
            read_frames(path)
        except InvalidInput:
            refusals += 1
    assert refusals > 30
