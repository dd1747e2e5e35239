"""A vertebra from one click: on a made-up spine, and on a patient's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from TwinCore import Grid, Image, InvalidInput
from TwinCore.units import HOUNSFIELD
from TwinCore.volume_file import read_volume
from TwinSegmentLib.measure import dice
from TwinSegmentLib.presets.vertebra import vertebra
from TwinSegmentLib.random_walker import random_walk

LEVELS_MM = (-35.0, 0.0, 35.0)


@pytest.fixture(scope="module")
def spine() -> tuple[Image, list[np.ndarray]]:
    """Three vertebrae of dark marrow in a bright shell, each with an arch that ends beside the next one's, in noise."""
    matrix = np.diag([-1.5, 1.5, -1.5, 1.0])
    matrix[:3, 3] = [45, -45, 60]
    grid = Grid((80, 60, 60), matrix)
    x, y, z = np.moveaxis(grid.to_ras(np.moveaxis(np.indices(grid.shape), 0, -1)[..., ::-1]), -1, 0)
    masks, hounsfield = [], np.full(grid.shape, 40.0)
    for level in LEVELS_MM:
        up = z - level
        body = (np.hypot(x, y - 15) < 20) & (np.abs(up) < 12)
        ring = np.abs(np.hypot(x, y + 13) - 11) < 3.5
        arch = ring & (np.abs(up) < 6)
        spine_of = (np.abs(x) < 3.5) & (y < -20) & (y > -40) & (np.abs(up + 4) < 6)
        whole = body | arch | spine_of
        shell = whole & ~ndimage.binary_erosion(whole)
        hounsfield[whole], hounsfield[shell] = 100.0, 600.0
        hounsfield[(arch | spine_of) & ~body] = 450.0
        masks.append(whole)
    noise = np.random.default_rng(0).normal(0, 40, grid.shape)
    return Image((hounsfield + noise).astype(np.float32), grid, "CT", HOUNSFIELD, name="spine"), masks


def test_the_vertebra_that_was_clicked_and_not_its_neighbours(spine):
    ct, masks = spine
    found = vertebra(ct, (2.0, 13.0, LEVELS_MM[1] + 1.0))
    assert dice(found, masks[1]) > 0.9
    assert not (found & (masks[0] | masks[2])).any()


def test_clicks_that_cannot_be_are_refused(spine):
    ct, _ = spine
    with pytest.raises(InvalidInput, match="outside 'spine'"):
        vertebra(ct, (500.0, 0, 0))
    with pytest.raises(InvalidInput, match="is no CT"):
        vertebra(ct.with_array(ct.array, modality="MR", unit="1"), (0, 15, 0))


def test_the_vertebra_of_a_patient(data):
    """A noisy lumbar CT of 1.5 mm against manual masks: measured 0.850 to 0.852."""
    ct = read_volume(data("spine") / "sub-ct_label-22_ct.nii.gz", "CT", HOUNSFIELD)
    level = read_volume(data("spine") / "sub-ct_seg-vert_label-22_msk.nii.gz").array == 22
    parts = read_volume(data("spine") / "sub-ct_seg-subreg_label-22_msk.nii.gz").array
    middle = ct.grid.to_ras(np.argwhere((parts == 49) & level).mean(0)[::-1])
    assert dice(vertebra(ct, middle), level) > 0.84


def test_a_walker_between_two_plates_ends_by_distance_and_stays_before_an_edge():
    """Without edges the probability is linear between the sides; with one, all of the fall is there."""
    values = np.zeros((1, 1, 21))
    inside, outside = np.zeros(values.shape, bool), np.zeros(values.shape, bool)
    inside[..., 0] = outside[..., -1] = True
    even = random_walk(values, (1, 1, 1), inside, outside, 1.0)
    np.testing.assert_allclose(even[0, 0], np.linspace(1, 0, 21), atol=0.01)
    values[..., 15:] = 100.0
    values += np.random.default_rng(0).normal(0, 0.1, values.shape)
    divided = random_walk(values, (1, 1, 1), inside, outside, 3.0)[0, 0]
    assert divided[14] > 0.9
    assert divided[15] < 0.1
