"""Dose grids: gray at the right place, the conventions of the frame offsets, and named refusals."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from Testing.fusion.dicom_files import save, slices
from Testing.fusion.dicom_objects import dose, write
from TwinCore import InvalidInput, Job, MissingInput
from TwinCore.grid import LPS_FROM_RAS
from TwinCore.transform import resample
from TwinCore.volume_file import read_volume
from TwinFusionLib.dicom_dose import is_effective, read_dose
from TwinFusionLib.dicom_series import read_series


def check_ramp(series, start=2.0, lowest=30.0):
    """The dose rises by 1 Gy per mm along z from the lowest plane, in RAS too."""
    grid = series.image.grid
    k = np.arange(grid.shape[0])
    z = grid.to_ras(np.stack([k * 0, k * 0, k], axis=-1))[:, 2]
    np.testing.assert_allclose(np.sort(series.image.array[:, 0, 0]), start + np.sort(z) - lowest, atol=1e-4)


def test_a_dose_grid_in_gray(tmp_path):
    made, job = dose(), Job()
    series = read_dose(write(tmp_path / "rd.dcm", made), job)
    assert (series.image.unit, series.image.modality, series.image.name) == ("Gy", "", "plan")
    assert series.frame_of_reference_uid == made.FrameOfReferenceUID
    assert series.patient
    np.testing.assert_allclose(series.image.grid.spacing, [2.0, 3.0, 2.5])
    np.testing.assert_allclose(series.image.grid.origin, [10.0, 20.0, 30.0])
    check_ramp(series)
    assert job.warnings == ()


CONVENTIONS = {
    "relative": {},
    "absolute": {"offsets": 30.0 + np.arange(6) * 2.5},
    "falling": {"offsets": -np.arange(6) * 2.5},
    "absolute, normal downwards": {"offsets": 30.0 - np.arange(6) * 2.5, "cosines": (1, 0, 0, 0, -1, 0)},
    "relative, normal downwards": {"cosines": (1, 0, 0, 0, -1, 0)},
    "relative at z = 0": {"origin": (-10.0, -20.0, 0.0)},
}


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_frame_offsets_by_either_convention(tmp_path, convention):
    series = read_dose(write(tmp_path / "rd.dcm", dose(**CONVENTIONS[convention])))
    z = np.sort(series.image.grid.corners()[:, 2])[[0, -1]]
    expected = (0.0, 12.5) if convention.endswith("0") else (17.5, 30.0)
    if convention in ("relative", "absolute"):
        expected = (30.0, 42.5)
    np.testing.assert_allclose(z, expected)
    assert series.image.array.min() == pytest.approx(2.0)
    assert series.image.array.max() == pytest.approx(14.5)


def test_uneven_planes_are_interpolated_and_told_of(tmp_path):
    job = Job()
    made = dose(offsets=[0.0, 2.5, 5.0, 10.0, 15.0, 17.5])
    series = read_dose(write(tmp_path / "rd.dcm", made), job)
    assert series.image.grid.shape[0] == 8
    assert series.image.grid.spacing[2] == pytest.approx(2.5)
    check_ramp(series)
    assert "unevenly spaced" in job.warnings[0]


def test_uneven_planes_stay_as_they_are(tmp_path):
    """Distances of 3, 2 and 5 mm are whole numbers of 1 mm: every plane, and the peak on one of them, is kept."""
    made, places = dose(offsets=[0.0, 3.0, 5.0, 8.0, 10.0, 15.0]), np.array([0, 3, 5, 8, 10, 15])
    stored = np.round(np.random.default_rng(0).uniform(1, 60, (6, 6, 7)) * 1e6).astype("<u4")
    made.PixelData = stored.tobytes()
    image = read_dose(write(tmp_path / "rd.dcm", made)).image
    assert image.grid.shape[0] == 16
    np.testing.assert_allclose(image.array[places], stored * 1e-6, rtol=1e-5)
    np.testing.assert_allclose(image.array[1], (2 * image.array[0] + image.array[3]) / 3, rtol=1e-5)


def test_what_kind_of_dose_it_is_is_told(tmp_path):
    made, job = dose(), Job()
    made.DoseType, made.DoseSummationType = "EFFECTIVE", "BEAM"
    path = write(tmp_path / "rd.dcm", made)
    with pytest.raises(InvalidInput, match=r"EFFECTIVE.*count the effect twice.*--effective"):
        read_dose(path)
    assert is_effective(read_dose(path, job, effective=True))
    assert len(job.warnings) == 2
    assert "BEAM" in job.warnings[1]


def with_all(**values):
    return lambda made: [setattr(made, k, v) for k, v in values.items()]


def offsets(*values):
    return with_all(GridFrameOffsetVector=list(values))


WRONG = {
    "relative dose": (with_all(DoseUnits="RELATIVE"), "3004,0002. are RELATIVE"),
    "no units": (with_all(DoseUnits=""), "3004,0002. are not given"),
    "difference of doses": (with_all(DoseType="ERROR"), "3004,0004. is ERROR"),
    "no scale": (lambda made: made.__delattr__("DoseGridScaling"), "3004,000E. is 0"),
    "centigray": (with_all(DoseGridScaling=1e-4), "may be in cGy"),
    "another object": (with_all(Modality="MR"), "not RTDOSE"),
    "no offsets": (lambda made: made.__delattr__("GridFrameOffsetVector"), "must be 6 finite"),
    "too few offsets": (offsets(0.0, 2.5, 5.0), "must be 6 finite"),
    "offsets from elsewhere": (offsets(7, 9, 11, 13, 15, 17), "starts at 7 mm"),
    "doubled planes": (offsets(0, 2.5, 2.5, 5, 7.5, 10), "same place"),
    "planes of no system": (offsets(0, 0.01, 200, 300, 400, 500), "divides all of theirs"),
    "planes without a common distance": (offsets(0, 2.5, 5.0, 7.533, 10.611, 13.0), "between 2.389 and 3.078 mm"),
    "planes in metres": (offsets(0, 2e4, 4e4, 6e4, 8e4, 1e5), "micrometres|measures"),
    "single plane": (with_all(NumberOfFrames=1), "single plane"),
    "truncated": (with_all(PixelData=bytes(100)), "truncated: 100 of 1008"),
    "more frames than there are": (with_all(NumberOfFrames=400, GridFrameOffsetVector=list(range(400))), "truncated"),
    "nothing but zeros": (with_all(PixelData=bytes(1008)), "not 0 everywhere"),
    "turned axes": (with_all(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), "right angles"),
    "colour": (with_all(PhotometricInterpretation="RGB"), "colour"),
    "no spacing": (with_all(PixelSpacing=[0.0, 1.0]), "above 0"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_dose_is_refused(tmp_path, kind):
    change, words = WRONG[kind]
    made = dose()
    change(made)
    with pytest.raises(InvalidInput, match=words):
        read_dose(write(tmp_path / "rd.dcm", made))


def test_a_dose_is_no_series_of_images(tmp_path):
    with pytest.raises(InvalidInput, match="RTDOSE"):
        read_series(write(tmp_path / "rd.dcm", dose()))
    with pytest.raises(InvalidInput, match="not RTDOSE"):
        read_dose(sorted(save(tmp_path / "mr", slices()).iterdir())[0])
    with pytest.raises(MissingInput, match="no file 'absent.dcm'"):
        read_dose(tmp_path / "absent.dcm")


def test_a_real_dose_grid_written_as_rtdose(tmp_path, data):
    """The planning system's dose comes as NRRD; as RTDOSE it is the same to half a unit of the scaling."""
    real = read_volume(data("rt") / "EclipseEnt_Dose.nrrd", unit="Gy")
    made = dose()
    lps = LPS_FROM_RAS @ real.grid.ijk_to_ras
    np.testing.assert_allclose(np.abs(lps[:3, :3]), np.diag(real.grid.spacing), atol=1e-9)
    across, down, along = np.sign(np.diag(lps[:3, :3]))
    made.ImagePositionPatient = lps[:3, 3].tolist()
    made.ImageOrientationPatient = [across, 0, 0, 0, down, 0]
    frames, made.Rows, made.Columns = real.grid.shape
    made.NumberOfFrames, made.PixelSpacing = frames, real.grid.spacing[[1, 0]].tolist()
    made.GridFrameOffsetVector = (np.arange(frames) * real.grid.spacing[2] * along * across * down).tolist()
    made.PixelData = np.round(real.array / 1e-6).astype("<u4").tobytes()
    image = read_dose(write(tmp_path / "rd.dcm", made)).image
    centre = np.unravel_index(real.array.argmax(), real.grid.shape)[::-1]
    np.testing.assert_allclose(image.array.max(), real.array.max(), atol=1e-5)
    hottest = np.unravel_index(image.array.argmax(), image.grid.shape)[::-1]
    np.testing.assert_allclose(image.grid.to_ras(hottest), real.grid.to_ras(centre), atol=1e-6)
    np.testing.assert_allclose(resample(image, real.grid).array, real.array, atol=1e-4)


def test_no_random_damage_escapes_as_another_error(tmp_path):
    path, rng, refusals = write(tmp_path / "rd.dcm", dose()), np.random.default_rng(9), 0
    content = path.read_bytes()
    for _ in range(150):
        changed = bytearray(content)
        for _ in range(rng.integers(1, 6)):
            changed[int(rng.integers(132, len(changed)))] = int(rng.integers(256))
        path.write_bytes(changed)
        try:
            read_dose(path)
        except InvalidInput:
            refusals += 1
    assert refusals > 20


def test_a_planning_systems_relative_dose_is_refused_and_read_once_it_is_called_gray(tmp_path):
    """pydicom's wheel holds a dose grid of a planning system: 15 planes of 10 x 10, in relative units."""
    path = get_testdata_file("rtdose.dcm", download=False)
    with pytest.raises(InvalidInput, match="RELATIVE"):
        read_dose(path)
    dataset = pydicom.dcmread(path)
    dataset.DoseUnits = "GY"
    image = read_dose(write(tmp_path / "rd.dcm", dataset)).image
    np.testing.assert_allclose(image.array, dataset.pixel_array * 1e-6, rtol=1e-6)
    np.testing.assert_allclose(image.grid.spacing, [10.0, 10.0, 5.0])
    np.testing.assert_allclose(image.grid.origin, [-189.43125, -199.43125, -761.87])
