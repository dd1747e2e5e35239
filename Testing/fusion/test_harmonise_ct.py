"""Values and field of view of a CT: what is wrong is found, and nothing in a CT that is right."""

import numpy as np
import pytest

from TwinCore import Grid, Image
from TwinCore.dicom.file import read_dicom
from TwinCore.volume_file import read_volume
from TwinFusionLib.ct_values import air_check, field_of_view
from TwinFusionLib.dicom_series import read_series

SHAPE = (24, 80, 90)
GOOD = [
    "ct_chest/LIDC-IDRI-0314_3mm.nii.gz",
    "ct_totalseg/example_ct.nii.gz",
    "ct_totalseg/example_ct_sm.nii.gz",
    "cta_aorta/ct_cropped.nii.gz",
    "spine/sub-ct_label-22_ct.nii.gz",
    "brain_ct/ct_brain_atlas_1mm.nii.gz",
    "lung_elastix/3DCT_lung_baseline_small.mha",
    "lung_elastix/3DCT_lung_followup_registered_2x.nii.gz",
    "sts_petctmr/STS_002/CT_image.nii.gz",
    "sts_petctmr/STS_008/CT_image.nii.gz",
    "sts_petctmr/STS_025/CT_image.nii.gz",
]


def trunk(air: float = -1000.0, noise: float = 15.0) -> np.ndarray:
    """Fat around muscle around a bone and two lungs, in room air; HU."""
    _, j, i = np.indices(SHAPE)
    r = np.hypot((j - 40) / 30, (i - 45) / 38)
    hu = np.where(r < 1, -100.0, air)
    hu[r < 0.85] = 50.0
    hu[np.hypot(j - 58, i - 45) < 5] = 500.0
    for side in (-1, 1):
        hu[np.hypot((j - 36) / 14, (i - 45 - 15 * side) / 10) < 1] = -850.0
    return hu + noise * np.random.default_rng(4).standard_normal(SHAPE)


def circle(radius: float = 41.0) -> np.ndarray:
    _, j, i = np.indices(SHAPE)
    return np.hypot(j - 39.5, i - 44.5) < radius


def ct(array: np.ndarray) -> Image:
    return Image(array, Grid.isotropic(SHAPE, 4.0), "CT", "[hnsf'U]", name="trunk")


@pytest.mark.parametrize("path", GOOD)
def test_no_good_ct_is_reported(data, path):
    folder, name = path.split("/", 1)
    image = read_volume(data(folder) / name, "CT")
    seen = field_of_view(image)
    assert air_check(image.array if seen is None else image.array[seen]).report == ""


def test_the_head_whose_intercept_is_missing_is_reported(data):
    image = read_series(data("ct_head_dicom"), unit="1").image
    seen = field_of_view(image)
    assert seen is not None
    assert np.array_equal(~seen, image.array == 0)  # its corners
    check = air_check(image.array[seen])
    assert check.offset == 1024
    assert "intercept" in check.report
    inside = read_dicom(next(data("ct_head_dicom").glob("*.dcm")))
    assert float(inside.RescaleIntercept) == 0
    brain = image.array[78:88, 25:35, 28:36]
    assert abs(np.median(brain) - check.offset - 35) < 15


@pytest.mark.parametrize("offset", [1000.0, 1024.0, -1000.0, -1024.0])
def test_an_offset_is_found_exactly(offset):
    check = air_check(trunk() + offset)
    assert check.offset == offset
    assert check.report


def test_stored_values_of_a_body_without_air_are_reported():
    inside = trunk()[:, 57:63, 30:60]
    assert air_check(inside).report == ""
    assert air_check(inside + 1024).offset == pytest.approx(1000, abs=24)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        (trunk() * 0.5, "slope"),
        (trunk() + 500, "slope"),
        (trunk() - 400, "slope"),
        (np.clip((trunk() + 160) / 400 * 255, 0, 255), "window"),
    ],
)
def test_what_cannot_be_corrected_is_still_reported(values, word):
    check = air_check(values)
    assert word in check.report
    assert check.offset == 0


@pytest.mark.parametrize(
    "values",
    [
        trunk(air=-880.0),
        trunk(noise=60.0),
        np.clip(trunk(), -1000, 600),
        trunk()[:, 30:42, 25:36],  # lung alone
        trunk()[:, 55:62, 42:49],  # mostly bone
        np.round(trunk()).astype(np.int16),
        np.full((4, 4, 4), 30.0),
        np.empty((0,)),
    ],
)
def test_what_is_right_or_cannot_be_told_is_not_reported(values):
    assert air_check(values).report == ""


@pytest.mark.parametrize("padding", [-32768.0, -3024.0, -2000.0, -1024.0, 0.0])
def test_the_corners_outside_the_circle_are_found(padding):
    image = ct(np.where(circle(), trunk(), padding))
    seen = field_of_view(image)
    assert np.array_equal(seen, circle())


def test_a_blurred_edge_of_the_padding_is_not_seen_either():
    sharp = np.where(circle(), trunk(), -3024.0)
    blurred = sharp.copy()
    blurred[:, :, 1:-1] = (sharp[:, :, :-2] + 2 * sharp[:, :, 1:-1] + sharp[:, :, 2:]) / 4
    seen = field_of_view(ct(blurred))
    assert blurred[seen].min() > -1300
    assert np.mean(seen != circle()) < 0.03


@pytest.mark.parametrize(
    "array",
    [
        trunk(),
        np.clip(trunk(), -1000, None),  # half of its air is exactly -1000
        np.where(trunk(noise=0) > -200, trunk(noise=0), -1000.0),  # air without noise: its outline is the body's
        np.where(np.abs(trunk(noise=0) - 50) < 1, 50.0, 0.0),  # a masked organ, no air
    ],
)
def test_where_all_is_seen_there_is_no_mask(array):
    assert field_of_view(ct(array)) is None


def test_stored_values_with_padding_are_told_apart():
    stored = np.where(circle(), trunk() + 1024, -2000.0)
    seen = field_of_view(ct(stored))
    assert np.array_equal(seen, circle())
    assert air_check(stored[seen]).offset == 1024
