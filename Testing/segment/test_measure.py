"""The table of segments: surfaces against a sphere's, and SUVpeak against its definition."""

from __future__ import annotations

import numpy as np
import pytest

from TwinCore import Grid, Image, Segmentation
from TwinCore.volume_file import read_volume
from TwinSegmentLib.measure import PEAK_RADIUS_MM, peak_means, segment_table


def oblique(shape, spacing, seed: int = 0) -> Grid:
    matrix = np.eye(4)
    matrix[:3, :3] = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0] * spacing * [1, -1, 1]
    return Grid(shape, matrix)


def centres(grid: Grid) -> np.ndarray:
    k, j, i = np.indices(grid.shape)
    return grid.to_ras(np.stack([i, j, k], axis=-1))


def test_a_ball_has_the_surface_of_a_sphere_and_an_empty_segment_none():
    grid = oblique((40, 40, 40), (1.0, 1.2, 1.4))
    ball = np.linalg.norm(centres(grid) - grid.centre, axis=-1) < 15
    table = segment_table(Segmentation.from_masks(grid, {"ball": ball, "nothing": ball & False}), [])
    assert table.columns["surface"][0] == pytest.approx(4 * np.pi * 1.5**2, rel=0.01)
    assert table.units["surface"] == "cm2"
    assert np.isnan(table.columns["surface"][1])


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (1.7, 2.3, 5.0), (8.0, 7.0, 9.0)])
def test_the_peak_is_the_mean_over_a_sphere_of_one_millilitre(spacing):
    """Voxel by voxel, as IBSI defines it: all centres within 6.2 mm, those in the image only."""
    assert 4 / 3 * np.pi * PEAK_RADIUS_MM**3 == pytest.approx(1000.0)
    grid = oblique((7, 9, 8), spacing)
    values = np.random.default_rng(2).gamma(2.0, 3.0, grid.shape).astype(np.float32)
    points = centres(grid).reshape(-1, 3)
    near = np.linalg.norm(points[:, None] - points[None], axis=-1) <= PEAK_RADIUS_MM
    expected = (near @ values.ravel() / near.sum(axis=1)).reshape(grid.shape)
    np.testing.assert_allclose(peak_means(Image(values, grid, "PT", "g/mL", name="PET")), expected, rtol=1e-5)


def test_only_a_pet_has_a_peak_and_it_lies_between_mean_and_maximum(data):
    folder = data("sts_petctmr") / "STS_002"
    pet = read_volume(folder / "PET_image.nii.gz", "PT", "g/mL")
    tumour = read_volume(folder / "PET_mask.nii.gz").array > 0
    images = [pet.with_array(pet.array, name="PET"), Image(pet.array, pet.grid, "MR", "1", name="MR")]
    columns = segment_table(Segmentation.from_masks(pet.grid, {"tumour": tumour}), images).columns
    assert "MR peak" not in columns
    assert columns["PET mean"][0] < columns["PET peak"][0] < columns["PET maximum"][0]
