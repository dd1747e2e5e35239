"""Doses added up: as they are where nothing moved, moved where it did, and what is told."""

from __future__ import annotations

import numpy as np
import pytest
from dose_phantoms import gradient

from TwinCore import Grid, GridTransform, InvalidInput, Job, LinearTransform
from TwinSimulateLib.dose_accumulation import accumulate


def field(grid: Grid, shift_ras, where=slice(None)) -> GridTransform:
    displacement = np.zeros((*grid.shape, 3))
    displacement[:, :, where] = shift_ras
    return GridTransform(displacement, grid)


def test_where_nothing_moves_the_sum_is_that_of_the_doses():
    dose = gradient(0)
    still = field(dose.grid, (0.0, 0.0, 0.0))
    found = accumulate([(dose, None), (dose, still), (dose, LinearTransform.identity())], dose.grid)
    np.testing.assert_allclose(found.array, 3 * dose.array, rtol=1e-6)
    assert (found.unit, found.name) == ("Gy", "accumulated dose")


def test_only_where_the_field_is_not_zero_the_dose_changes():
    """The field points to where each voxel's dose was: 2 mm further along the rise, in the half where it is set."""
    dose, job = gradient(0), Job()
    part = field(dose.grid, (2.0, 0.0, 0.0), slice(9, 15))
    found = accumulate([(dose, part)], dose.grid, job)
    np.testing.assert_allclose(found.array[:, :, :9], dose.array[:, :, :9], rtol=1e-6)
    np.testing.assert_allclose(found.array[:, :, 9:15], dose.array[:, :, 9:15] + 2.0, rtol=1e-5)
    assert any("neither energy nor mass" in warning for warning in job.warnings)


def test_a_dose_of_another_grid_and_frame():
    dose, job = gradient(0), Job()
    move = np.eye(4)
    move[0, 3] = -5.0  # the image's points lie 5 mm to the left in the frame of the grid
    grid = Grid.isotropic((8, 8, 8), 1.3, (-5.0, -5, -5))
    found = accumulate([(dose, LinearTransform(move))], grid, job)
    x = grid.to_ras(np.stack(np.indices(grid.shape)[::-1], axis=-1))[..., 0]
    np.testing.assert_allclose(found.array, 20.0 + x + 5.0, rtol=1e-5)
    assert job.warnings == ()


def test_what_does_not_reach_everywhere_is_told():
    dose, job = gradient(0), Job()
    half = dose.crop((0, 0, 0), (9, 18, 18))
    found = accumulate([(dose, None), (half, None)], dose.grid, job)
    np.testing.assert_allclose(found.array[:8], 2 * dose.array[:8], rtol=1e-6)
    np.testing.assert_allclose(found.array[10:], dose.array[10:], rtol=1e-6)
    assert "not every dose is known" in job.warnings[0]


def test_what_is_no_dose_is_refused():
    dose = gradient(0)
    with pytest.raises(InvalidInput, match="no doses"):
        accumulate([], dose.grid)
    with pytest.raises(InvalidInput, match="in Gy"):
        accumulate([(dose.with_array(dose.array, unit="1"), None)], dose.grid)
