"""Segments on layers, and their way to another grid."""

from __future__ import annotations

import numpy as np
import pytest

from TwinCore import Grid, InvalidInput, LinearTransform, MissingInput, Segment, Segmentation, centroid

RNG = np.random.default_rng(11)
GRID = Grid.isotropic((20, 22, 24), 2.0)


def ball(centre_kji, radius) -> np.ndarray:
    away = np.moveaxis(np.indices(GRID.shape), 0, -1) - centre_kji
    return np.sum(away**2, axis=-1) <= radius**2


def test_overlapping_segments_keep_all_their_voxels():
    masks = {f"part {n}": RNG.random(GRID.shape) < 0.3 for n in range(6)} | {
        "tumour": ball((9, 9, 9), 4),
        "liver": ball((9, 9, 9), 8),
    }
    segmentation = Segmentation.from_masks(GRID, masks, {"tumour": ("SCT", "4147007", "Mass")})
    assert segmentation.names == list(masks)
    for name, mask in masks.items():
        np.testing.assert_array_equal(segmentation.mask(name), mask)
        assert segmentation.volume_ml(name) == pytest.approx(mask.sum() * 0.008)
    assert [s.code for s in segmentation.segments if s.name == "tumour"] == [("SCT", "4147007", "Mass")]


def test_apart_segments_share_one_layer():
    masks = {f"cube {n}": np.zeros(GRID.shape, bool) for n in range(5)}
    for n, mask in enumerate(masks.values()):
        mask[n * 3 : n * 3 + 2] = True
    masks["empty"] = np.zeros(GRID.shape, bool)
    segmentation = Segmentation.from_masks(GRID, masks)
    assert len(segmentation.layers) == 1
    assert len({s.value for s in segmentation.segments}) == 6
    assert not segmentation.mask("empty").any()


def test_more_than_255_segments_need_a_second_layer():
    masks = {}
    for n in range(300):
        masks[str(n)] = np.zeros(GRID.shape, bool)
        masks[str(n)].flat[n] = True
    segmentation = Segmentation.from_masks(GRID, masks)
    assert len(segmentation.layers) == 2
    for n in (0, 254, 255, 299):
        assert np.flatnonzero(segmentation.mask(str(n))).tolist() == [n]


def test_empty_segments_beyond_255_stay_apart():
    masks = {str(n): np.zeros(GRID.shape, bool) for n in range(300)}
    masks["last"] = ball((9, 9, 9), 3)
    segmentation = Segmentation.from_masks(GRID, masks)
    np.testing.assert_array_equal(segmentation.mask("last"), masks["last"])
    assert not any(segmentation.mask(str(n)).any() for n in range(300))


def test_names_and_shapes_are_checked():
    segmentation = Segmentation.from_masks(GRID, {"liver": ball((9, 9, 9), 4)})
    with pytest.raises(MissingInput, match="no segment 'lung'; there are: liver"):
        segmentation.mask("lung")
    with pytest.raises(InvalidInput, match="same name"):
        Segmentation(GRID, segmentation.layers, segmentation.segments * 2)
    with pytest.raises(InvalidInput, match="does not fit"):
        Segmentation(GRID, (np.zeros((2, 2, 2), np.uint8),))
    with pytest.raises(InvalidInput, match="float"):
        Segmentation(GRID, (np.zeros(GRID.shape),))


def test_carried_to_another_grid_places_volumes_and_colours_stay():
    masks = {"tumour": ball((9, 9, 9), 5), "rim": ball((9, 9, 9), 7)}
    whole = Segmentation.from_masks(GRID, masks, {"tumour": ("SCT", "4147007", "Mass")})
    red = tuple(Segment(s.name, s.layer, s.value, (1.0, 0.0, 0.0), s.code) for s in whole.segments)
    whole = Segmentation(GRID, whole.layers, red)
    matrix = np.eye(4)
    matrix[:3, 3] = [4.0, -6.0, 3.0]
    moved = whole.on_grid(Grid.isotropic((50, 50, 50), 1.3, (-4, -8, -2)), LinearTransform(matrix))
    for name in masks:
        assert moved.volume_ml(name) == pytest.approx(whole.volume_ml(name), rel=0.03)
        shift = centroid(moved.mask(name), moved.grid) - centroid(whole.mask(name), GRID)
        np.testing.assert_allclose(shift, [4.0, -6.0, 3.0], atol=0.2)
    assert [(s.colour, s.code) for s in moved.segments] == [(s.colour, s.code) for s in whole.segments]
