"""Dose-volume histograms against exact ones, on outlines and on voxels, and read-outs against arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from dose_phantoms import MIDDLE_GY, RADIUS, VOLUME_ML, exact_percent, gradient, outlines

from TwinCore import Grid, Image, InvalidInput, Job
from TwinSegmentLib.structures import structure
from TwinSimulateLib.dose_volume import DoseVolume, dose_volume

DOSES = MIDDLE_GY + np.linspace(-11.9, 11.9, 120)
CONVENTION = {"sphere": (0.5, "slab"), "cylinder": (0.5, "slab"), "cone": (0.0, "cut")}
"""Where the lowest plane lies, in plane distances above the body's end, and the end that this implies."""


@pytest.mark.parametrize("distance", [1.0, 2.0])
@pytest.mark.parametrize("body", VOLUME_ML)
def test_bodies_in_linear_gradients_within_a_percent(body, distance):
    """The phantoms of Nelms et al. 2015 (Med Phys 42:4435): sphere, cylinder and cone of 24 mm."""
    start, ends = CONVENTION[body]
    drawn = structure(outlines(body, distance, start * distance), body, ends)
    for axis in (0, 2):
        found = dose_volume(gradient(axis), drawn)
        exact = exact_percent(body, axis, DOSES)
        assert np.abs(found.cumulative(DOSES) - exact).max() < (0.2 if distance == 1.0 else 0.6)
        assert found.total_ml == pytest.approx(VOLUME_ML[body], rel=2e-3)
        for percent in (95, 50, 5):
            expected = np.interp(-percent, -exact, DOSES)
            assert found.dose_to_percent(percent) == pytest.approx(expected, abs=0.24)  # 1 % of the range of doses


@pytest.mark.parametrize("spacing", [1.0, 3.0])
def test_the_doses_voxels_do_not_matter_in_a_linear_gradient(spacing):
    found = dose_volume(gradient(0, spacing), structure(outlines("sphere", 1.0, 0.5), "sphere", "slab"))
    assert np.abs(found.cumulative(DOSES) - exact_percent("sphere", 0, DOSES)).max() < 0.2


def test_a_turned_and_flipped_dose_grid_gives_the_same():
    """The same gradient on a grid whose axes lie across, along and against the patient's."""
    turn, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = turn * [2.0, -3.0, 2.5]
    matrix[:3, 3] = -matrix[:3, :3] @ [20, 15, 18]
    grid = Grid((37, 31, 41), matrix)
    x = grid.to_ras(np.stack(np.indices(grid.shape)[::-1], axis=-1))[..., 0]
    found = dose_volume(
        Image(MIDDLE_GY + x, grid, unit="Gy"), structure(outlines("cylinder", 2.0, 1.0), "cylinder", "slab")
    )
    assert found.outside_ml == 0.0
    assert np.abs(found.cumulative(DOSES) - exact_percent("cylinder", 0, DOSES)).max() < 0.2


def test_a_sphere_of_voxels_with_fractions_at_its_edge():
    """Voxels as coarse as the dose's: the fraction of each, from distances to the centre, gives the volume."""
    dose = gradient(2)
    ras = dose.grid.to_ras(np.stack(np.indices(dose.grid.shape)[::-1], axis=-1))
    fine = (np.arange(5) - 2) * 0.5
    offsets = np.stack(np.meshgrid(fine, fine, fine), axis=-1).reshape(-1, 3)
    fraction = np.mean([np.linalg.norm(ras + o, axis=-1) <= RADIUS for o in offsets], axis=0)
    found = dose_volume(dose, Image(fraction, dose.grid, name="sphere"))
    assert found.total_ml == pytest.approx(VOLUME_ML["sphere"], rel=0.01)
    assert np.abs(found.cumulative(DOSES) - exact_percent("sphere", 2, DOSES)).max() < 1.0


def test_read_outs_of_a_dose_that_rises_evenly():
    dose = np.linspace(0.0, 100.0, 100_001)
    ramp = DoseVolume("ramp", dose, np.full(dose.size, 50.0 / dose.size))
    assert ramp.mean_gy == pytest.approx(50.0)
    assert (ramp.min_gy, ramp.max_gy, ramp.total_ml) == pytest.approx((0.0, 100.0, 50.0))
    assert ramp.dose_to_percent(95) == pytest.approx(5.0, abs=2e-3)
    assert ramp.dose_to_ml(0.5) == pytest.approx(99.0, abs=2e-3)
    assert ramp.dose_to_ml(1000.0) == 0.0
    assert ramp.percent_above(20.0) == pytest.approx(80.0, abs=2e-3)
    assert ramp.ml_above(20.0) == pytest.approx(40.0, abs=1e-3)
    assert ramp.percent_above(101.0) == 0.0
    np.testing.assert_allclose(ramp.cumulative(np.array([0.0, 25.0, 100.1])), [100.0, 75.0, 0.0], atol=2e-3)
    np.testing.assert_allclose(ramp.differential(np.array([0.0, 10.0, 30.0])), [5.0, 10.0], atol=1e-3)
    squared = ramp.mapped(np.square)
    assert squared.percent_above(400.0) == ramp.percent_above(20.0)
    short = ramp.condensed(0.1)
    assert short.dose_gy.size == 1001
    assert short.mean_gy == pytest.approx(ramp.mean_gy, rel=1e-12)
    for wrong in (-1.0, 101.0, float("nan")):
        with pytest.raises(InvalidInput, match="share of a volume"):
            ramp.dose_to_percent(wrong)


def test_what_lies_outside_the_dose_is_told_and_not_counted():
    dose, job = gradient(0), Job()
    grid = Grid.isotropic((20, 20, 20), 1.0, (12.0, -10.0, -10.0))
    box = Image(np.ones(grid.shape, bool), grid, name="box")
    found = dose_volume(dose, box, job)
    edge = dose.grid.to_ras([17.5, 0, 0])[0]
    assert found.total_ml == pytest.approx(0.4 * (edge - 11.5), rel=1e-2)
    assert found.total_ml + found.outside_ml == pytest.approx(8.0)
    assert "outside the dose grid" in job.warnings[0]
    with pytest.raises(InvalidInput, match="no part of it lies inside"):
        dose_volume(dose, Image(box.array, Grid.isotropic((20, 20, 20), 1.0, (500, 0, 0)), name="box"))
    with pytest.raises(InvalidInput, match="take one label"):
        dose_volume(dose, Image(np.full(grid.shape, 3, np.uint8), grid, name="labels"))
    with pytest.raises(InvalidInput, match="Gy"):
        dose_volume(dose.with_array(dose.array, unit="1"), box)
