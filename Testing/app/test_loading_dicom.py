"""DICOM of every kind in a case: enhanced and 4D series, SUV by the unit that is asked for, outlines as SEG."""

from __future__ import annotations

import numpy as np
import pytest

from Testing.fusion.dicom_files import pet_slices, save, slices
from Testing.fusion.dicom_objects import clip, enhanced, four_dimensional, ultrasound_volume
from Testing.fusion.dicom_objects import write as write_object
from Testing.segment.dicom_seg_files import seg
from TwinApp.loading import load_case
from TwinCore import InvalidInput
from TwinFusionLib.dicom_series import read_series

CASE = """
question = "What happens?"
[patient]
name = "Anna"
[[image]]
name = "image"
path = "{path}"
modality = "{modality}"
reference = true
{image}
[target]
name = "tumour"
{outline}
"""


def load(folder, path, modality, image="", outline=""):
    case = folder / "case.toml"
    case.write_text(CASE.format(path=path, modality=modality, image=image, outline=outline))
    return load_case(case)


@pytest.mark.parametrize("path", ["mr.dcm", "no_ending"])
def test_one_file_is_a_whole_series(tmp_path, path):
    write_object(tmp_path / path, enhanced(slices()))
    image = load(tmp_path, path, "MR").images["image"]
    np.testing.assert_array_equal(image.array, read_series(tmp_path / path).image.array)


def test_a_time_point_of_a_4d_series(tmp_path):
    save(tmp_path / "cine", four_dimensional(3, 4, TriggerTime=[0.0, 40.0, 80.0]))
    assert load(tmp_path, "cine", "MR", "time_point = 2").images["image"].array.min() == 2000
    with pytest.raises(InvalidInput, match="3 time points"):
        load(tmp_path, "cine", "MR")
    write_object(tmp_path / "us.dcm", ultrasound_volume())
    assert load(tmp_path, "us.dcm", "US", "time_point = 1").images["image"].array.min() == 1000


@pytest.mark.parametrize("unit", ["g/mL", "g/mL{SUVlbm}", "cm2/mL"])
def test_the_unit_says_which_suv(tmp_path, unit):
    made = pet_slices()
    for d in made:
        d.PatientSize, d.PatientSex = 1.75, "F"
    save(tmp_path / "pet", made)
    assert load(tmp_path, "pet", "PT", f'unit = "{unit}"').images["image"].unit == unit
    with pytest.raises(InvalidInput, match="said to be in Bq/mL"):
        load(tmp_path, "pet", "PT", 'unit = "Bq/mL"')


def test_outlines_as_seg(tmp_path):
    made = slices()
    save(tmp_path / "mr", made)
    image = read_series(tmp_path / "mr").image
    tumour, cord = np.zeros(image.grid.shape, bool), np.zeros(image.grid.shape, bool)
    tumour[1:4, 2:5, 2:6], cord[:, 1:3, 1:3] = True, True
    drawn = seg(image.grid, {"tumour": tumour, "cord": cord})
    drawn.FrameOfReferenceUID = made[0].FrameOfReferenceUID
    write_object(tmp_path / "seg.dcm", drawn)
    outline = '[[outline]]\npath = "seg.dcm"\nimage = "image"\n'
    found = load(tmp_path, "mr", "MR", outline=outline).outlines["image"]
    assert found.names == ["tumour", "cord"]
    np.testing.assert_array_equal(found.mask("tumour"), tumour)
    each = outline + 'segments = ["cord"]\n' + outline + 'segments = ["tumour"]\n'
    both = load(tmp_path, "mr", "MR", outline=each).outlines["image"]
    assert both.names == ["cord", "tumour"]
    assert both.segments[0].code == ("SCT", "4147007", "Mass")
    with pytest.raises(InvalidInput, match="RTSTRUCT or SEG are a list"):
        load(tmp_path, "mr", "MR", outline=outline + 'segments = { 1 = "tumour" }')
    drawn.FrameOfReferenceUID = "9.9"
    write_object(tmp_path / "seg.dcm", drawn)
    with pytest.raises(InvalidInput, match="frame of reference"):
        load(tmp_path, "mr", "MR", outline=outline)


def test_a_single_picture_is_refused(tmp_path):
    write_object(tmp_path / "us.dcm", clip(frames=1))
    with pytest.raises(InvalidInput, match="'image' is a single picture"):
        load(tmp_path, "us.dcm", "US")
