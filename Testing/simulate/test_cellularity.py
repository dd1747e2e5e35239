"""Density of tumour cells from the apparent diffusion coefficient, and images averaged over coarser voxels."""

import numpy as np
import pytest

from TwinCore import Grid, Image, InvalidInput
from TwinSimulateLib.area_average import area_average
from TwinSimulateLib.cellularity import NOISE_SD, R_SQUARED, cellularity_of_adc, least_adc_mm2_per_s

SHAPE = (6, 7, 8)
INSIDE = np.zeros(SHAPE, bool)
INSIDE[2:5, 2:5, 2:6] = True


def adc_map(values=0.9e-3, unit="mm2/s"):
    return Image(np.full(SHAPE, values, np.float32), Grid.isotropic(SHAPE), unit=unit, name="ADC")


def test_density_is_linear_from_water_to_the_least_adc():
    adc = adc_map(0.9e-3)
    adc.array[2, 2, 2:5] = 3.0e-3, 1.8e-3, 0.6e-3
    density = cellularity_of_adc(adc, INSIDE, least_mm2_per_s=0.6e-3)
    np.testing.assert_allclose(density.array[2, 2, 2:6], [0.0, 0.5, 1.0, 0.875], atol=1e-6)
    assert np.isnan(density.array[~INSIDE]).all()
    in_um = cellularity_of_adc(adc.with_array(adc.array * 1e6, unit="um2/s"), INSIDE, least_mm2_per_s=0.6e-3)
    np.testing.assert_allclose(in_um.array, density.array, atol=1e-5)


def test_one_noisy_voxel_does_not_set_the_scale():
    shape = (10, 10, 10)
    adc = Image(np.linspace(0.8e-3, 1.2e-3, 1000).reshape(shape), Grid.isotropic(shape), unit="mm2/s")
    adc.array[5, 5, 5] = 1e-6
    assert least_adc_mm2_per_s(adc, np.ones(shape, bool)) == pytest.approx(0.804e-3, rel=0.01)


@pytest.mark.parametrize(
    ("adc", "inside", "least", "words"),
    [
        (adc_map(unit="1"), INSIDE, None, "in '1'"),
        (adc_map(900.0), INSIDE, None, "is its unit"),
        (adc_map(0.9e-3, "um2/s"), INSIDE, None, "is its unit"),
        (adc_map(), np.zeros(SHAPE, bool), None, "empty"),
        (adc_map(), INSIDE[1:], None, "not on the map's grid"),
        (adc_map(), INSIDE, 4e-3, "below 0.003"),
    ],
)
def test_what_is_no_adc_map_is_refused(adc, inside, least, words):
    with pytest.raises(InvalidInput, match=words):
        cellularity_of_adc(adc, inside, least)


def test_the_default_noise_leaves_the_share_that_biopsies_tell():
    random = np.random.default_rng(0)
    density = random.uniform(0, 1, 200_000)
    seen = density + NOISE_SD * random.standard_normal(density.size)
    assert np.corrcoef(density, seen)[0, 1] ** 2 == pytest.approx(R_SQUARED, abs=0.01)


def test_the_average_is_that_of_the_parts():
    """Of a voxel's eight parts exactly, also on a turned grid; where half of it is unknown it is not known."""
    turn = np.array([[0.8, -0.6, 0, 3], [0.6, 0.8, 0, -2], [0, 0, 1, 5], [0, 0, 0, 1]])
    fine = Grid((8, 6, 10), turn)
    values = np.random.default_rng(1).uniform(0, 1, fine.shape)
    coarse = fine.with_spacing(2.0)
    parts = values.reshape(4, 2, 3, 2, 5, 2).mean(axis=(1, 3, 5))
    averaged, known = area_average(Image(values, fine), coarse)
    np.testing.assert_allclose(averaged, parts, atol=1e-5)
    assert known.all()
    values[:2, :2, :2] = np.nan
    values[2:4, :1, :2] = np.nan
    _, known = area_average(Image(values, fine), coarse)
    assert not known[0, 0, 0]
    assert known[1, 0, 0]
    assert np.count_nonzero(known) == known.size - 1


def test_the_average_of_a_plane_is_the_plane_on_any_spacing():
    fine = Grid.isotropic((20, 20, 20))
    k, j, i = np.indices(fine.shape)
    for spacing in (0.7, 1.0, 1.41, 2.5):
        grid = fine.crop((5, 5, 5), (15, 15, 15)).with_spacing(spacing)
        ijk = fine.to_ijk(grid.to_ras(np.argwhere(np.ones(grid.shape))[:, ::-1]))
        averaged, _ = area_average(Image(k + 2.0 * j - i, fine), grid)
        np.testing.assert_allclose(averaged.ravel(), ijk @ [-1.0, 2.0, 1.0], atol=1e-3)
