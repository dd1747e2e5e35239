"""Smoothing and thinning of volumes."""

import numpy as np
import pytest
from scipy import ndimage

from TwinCore import Grid, Image
from TwinFusionLib.filters import TRUNCATE, at_resolution, gaussian


@pytest.mark.parametrize("sigma", [(0.0, 1.3, 2.0), (2.5, 0.0, 0.7), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)])
@pytest.mark.parametrize("stride", [(1, 1, 1), (2, 3, 1), (1, 2, 4)])
def test_is_the_gaussian_at_the_voxels_kept(sigma, stride):
    array = np.random.default_rng(0).standard_normal((23, 31, 37))
    expected = ndimage.gaussian_filter(array, sigma, mode="nearest", truncate=TRUNCATE)
    kept = expected[:: stride[0], :: stride[1], :: stride[2]]
    assert np.allclose(gaussian(array, sigma, stride), kept, atol=1e-5)


def test_a_wide_blob_keeps_its_place_and_gets_the_width_asked_for():
    grid = Grid(
        (40, 80, 60), [[0.0, -1.5, 0.0, 30.0], [1.0, 0.0, 0.0, -20.0], [0.0, 0.0, 3.0, 5.0], [0.0, 0.0, 0.0, 1.0]]
    )
    centre = grid.centre + (3.0, -2.0, 4.0)
    points = grid.to_ras(np.stack(np.indices(grid.shape)[::-1], -1))
    own = 4.0
    blob = Image(np.exp(-0.5 * ((points - centre) ** 2).sum(-1) / own**2).astype(np.float32), grid, "MR")
    smooth = at_resolution(blob, 9.0, own)
    assert smooth.grid.size < grid.size / 50
    weight = smooth.array / smooth.array.sum()
    where = smooth.grid.to_ras(np.stack(np.indices(smooth.grid.shape)[::-1], -1))
    mean = (weight[..., None] * where).sum((0, 1, 2))
    assert np.allclose(mean, centre, atol=0.2)
    variance = (weight[..., None] * (where - mean) ** 2).sum((0, 1, 2))
    assert np.allclose(np.sqrt(variance), 9.0, rtol=0.06)
