"""Outlines of masks: filled again they are the mask, and their area is what the voxels' corners leave of it."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.path import Path
from scipy import ndimage

from TwinSegmentLib.outlines import outline
from TwinSegmentLib.rasterise import area, crosses_itself, fill


def blobs(seed: int) -> np.ndarray:
    """Noise on uneven shapes down to one voxel, and smooth blobs with holes and islands in them."""
    rng = np.random.default_rng(seed)
    if seed % 3 == 0:
        return ndimage.gaussian_filter(rng.random((40, 50)), 2) > 0.5
    return rng.random(rng.integers(1, 40, 2)) < rng.uniform(0.1, 0.95)


@pytest.mark.parametrize("seed", range(30))
def test_filled_again_they_are_the_mask(seed):
    mask = blobs(seed)
    polygons = outline(mask)
    np.testing.assert_array_equal(fill(polygons, mask.shape), mask)
    together = np.zeros_like(mask)
    for polygon in polygons:
        together |= fill([polygon], mask.shape)  # by one who unites the outlines of a plane
        assert not crosses_itself(polygon)
    np.testing.assert_array_equal(together, mask)


@pytest.mark.parametrize("seed", range(6))
def test_another_filler_agrees(seed):
    mask = blobs(seed)
    j, i = np.indices(mask.shape)
    centres = np.column_stack([i.ravel(), j.ravel()])
    inside = [Path([*p, p[0]], closed=True).contains_points(centres) for p in outline(mask)]
    np.testing.assert_array_equal(np.any(inside, axis=0).reshape(mask.shape), mask)


@pytest.mark.parametrize("seed", range(12))
def test_each_part_is_one_polygon_half_a_voxel_smaller_and_each_hole_too(seed):
    mask = blobs(seed)
    polygons = outline(mask)
    parts = ndimage.label(mask)[1]
    holes = ndimage.label(np.pad(~mask, 1, constant_values=True), np.ones((3, 3)))[1] - 1
    assert len(polygons) == parts
    assert sum(area(p) for p in polygons) == pytest.approx(mask.sum() - parts / 2 + holes / 2, abs=1e-9)


def test_no_centre_is_near_an_outline_and_straight_lines_have_two_points():
    mask = np.zeros((9, 12), bool)
    mask[2:7, 3:10] = True
    (polygon,) = outline(mask)
    assert len(polygon) == 8
    np.testing.assert_allclose(np.abs(polygon * 2 - np.round(polygon * 2)), 0)
    assert {tuple(p) for p in polygon.tolist()} >= {(2.5, 2.0), (3.0, 1.5), (9.5, 6.0)}
    assert outline(np.zeros((4, 4), bool)) == []
