"""Tidying segments: by exact distances, in the segment's own box, and without touching its neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import cKDTree

from TwinCore import Grid, InvalidInput, Segmentation
from TwinCore.volume_file import read_volume
from TwinSegmentLib.measure import dice
from TwinSegmentLib.tidy import Tidy, tidied, tidied_segments

MATRIX = np.eye(4)
MATRIX[:3, :3] = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))[0] * [1.0, -1.4, 2.5]
GRID = Grid((14, 17, 20), MATRIX)


def random_mask(seed: int, share: float = 0.08) -> np.ndarray:
    return np.random.default_rng(seed).random(GRID.shape) < share


@pytest.mark.parametrize("radius_mm", [1.5, 3.0, 6.1])
@pytest.mark.parametrize("seed", range(3))
def test_closing_is_what_no_ball_beside_the_segment_reaches(seed, radius_mm):
    """Its definition, centre by centre: a voxel stays out if a ball that misses the segment holds it."""
    mask = np.zeros(GRID.shape, bool)
    mask[3:11, 4:13, 5:15] = random_mask(seed, 0.15)[3:11, 4:13, 5:15]
    wide = np.pad(mask, 8)
    at = np.argwhere(wide | ~wide)[:, ::-1] * GRID.spacing
    beside = ndimage.distance_transform_edt(~wide, sampling=GRID.spacing[::-1]).ravel() > radius_mm
    expected = (cKDTree(at[beside]).query(at)[0] > radius_mm).reshape(wide.shape)[8:-8, 8:-8, 8:-8]
    found = tidied(mask, GRID, Tidy(close_mm=radius_mm))
    np.testing.assert_array_equal(found, expected)
    assert found.sum() > mask.sum()


def test_a_gap_is_closed_if_it_is_narrower_than_the_ball_and_nothing_is_lost_at_the_grids_edge():
    mask = np.zeros(GRID.shape, bool)
    mask[:, :5] = mask[:, 7:] = True  # centres 4.2 mm apart
    closed = tidied(mask, GRID, Tidy(close_mm=2.2))
    assert closed[1:-1, :, 3:-3].all()
    assert closed[mask].all()
    np.testing.assert_array_equal(tidied(mask, GRID, Tidy(close_mm=1.3)), mask)


def test_islands_go_and_holes_are_filled_in_this_order():
    mask = np.zeros(GRID.shape, bool)
    mask[2:9, 2:9, 2:9] = True
    mask[4:6, 4:6, 4:6] = False  # a hole
    mask[5, 5, 5] = True  # an island in it
    mask[11, 12, 13] = True
    mask[9, 9, 9] = True  # touches by a corner only
    whole = np.zeros(GRID.shape, bool)
    whole[2:9, 2:9, 2:9] = True
    np.testing.assert_array_equal(tidied(mask, GRID, Tidy(keep_largest=True, fill_holes=True)), whole)
    only = tidied(mask, GRID, Tidy(fill_holes=True))
    assert only[11, 12, 13]
    assert only.sum() == whole.sum() + 2
    np.testing.assert_array_equal(tidied(mask, GRID, Tidy()), mask)
    assert not tidied(mask & False, GRID, Tidy(2.0, True, True)).any()


def test_neighbours_are_left_alone():
    """A ventricle in white matter is no hole to be filled; two that gain the same gap do not overlap."""
    outer = np.zeros(GRID.shape, bool)
    outer[2:10, 2:10, 2:10] = True
    ventricle = np.zeros(GRID.shape, bool)
    ventricle[4:7, 4:7, 4:7] = True
    gap = np.zeros(GRID.shape, bool)
    gap[8, 8, 8] = True
    before = Segmentation.from_masks(
        GRID, {"white": outer & ~ventricle & ~gap, "ventricle": ventricle}, {"white": ("SCT", "1", "x")}
    )
    after = tidied_segments(before, Tidy(close_mm=3.0, keep_largest=True, fill_holes=True))
    np.testing.assert_array_equal(after.mask("ventricle"), ventricle)
    np.testing.assert_array_equal(after.mask("white"), outer & ~ventricle)
    assert after.segments == before.segments
    both = Segmentation.from_masks(GRID, {"a": random_mask(1), "b": random_mask(2) & ~random_mask(1)})
    closed = tidied_segments(both, Tidy(close_mm=4.0))
    assert not (closed.mask("a") & closed.mask("b")).any()
    assert (closed.mask("a") | ~both.mask("a")).all()


@pytest.mark.parametrize("radius", [-1.0, 60.0, float("nan")])
def test_a_radius_that_makes_no_sense_is_refused(radius):
    with pytest.raises(InvalidInput, match="0 to 50 mm"):
        Tidy(close_mm=radius)


def test_a_damaged_heart_is_mended(data):
    """A heart of a CTA with a hundredth of its voxels taken out and as many put beside it comes back."""
    labels = read_volume(data("cta_aorta") / "heart.nii.gz")
    heart = labels.array > 0
    rng = np.random.default_rng(0)
    damaged = (heart & (rng.random(heart.shape) > 0.01)) | (rng.random(heart.shape) < 0.0005)
    mended = tidied(damaged, labels.grid, Tidy(keep_largest=True, fill_holes=True))
    assert dice(mended, heart) > 0.995 > dice(damaged, heart)
