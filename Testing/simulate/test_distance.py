"""Signed distances against scipy's exact transform, and against a ball's."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from TwinCore import InvalidInput
from TwinSimulateLib.numerics.distance import signed_distance


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.5, 0.7, 1.1)])
@pytest.mark.parametrize("share", [0.0005, 0.5])
def test_distances_are_exact(spacing, share):
    mask = np.random.default_rng(0).random((24, 31, 40)) < share
    half = 0.5 * min(spacing)
    outside = distance_transform_edt(~mask, sampling=spacing) - half
    inside = half - distance_transform_edt(np.pad(mask, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    np.testing.assert_allclose(signed_distance(mask, spacing), np.where(mask, inside, outside), atol=1e-5)


def test_the_outline_of_a_ball_is_where_it_should_be():
    away = np.sqrt(((np.indices((41, 41, 41)) - 20.0) ** 2).sum(0))
    error = signed_distance(away <= 12.0, (1.0, 1.0, 1.0)) - (away - 12.0)
    assert np.abs(error).max() < 1.0
    assert np.abs(error.mean()) < 0.3


def test_what_reaches_the_edge_of_the_box_ends_there():
    assert signed_distance(np.ones((1, 1, 5), bool), (1.0, 1.0, 2.0)).ravel() == pytest.approx([-0.5] * 5)


def test_an_empty_mask_has_no_outline():
    with pytest.raises(InvalidInput, match="empty"):
        signed_distance(np.zeros((3, 3, 3), bool), (1.0, 1.0, 1.0))
