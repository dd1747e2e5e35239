"""The gamma index where it is known exactly, and its behaviour on other grids and at its limits."""

from __future__ import annotations

import numpy as np
import pytest
from dose_phantoms import gradient

from TwinCore import Grid, Image, InvalidInput, Job
from TwinSimulateLib.gamma_index import gamma_index


def inner(image: Image) -> tuple[slice, ...]:
    return (slice(4, -4),) * 3


def exact(offset_gy: float, slope: float, criterion: float, distance: float) -> float:
    """Distance of a straight line from the origin in the plane of scaled distance and scaled dose."""
    return abs(offset_gy) / np.hypot(criterion, slope * distance)


@pytest.mark.parametrize("local", [False, True], ids=["global", "local"])
@pytest.mark.parametrize("offset", [0.3, 1.0, -2.0])
def test_a_raised_linear_gradient(offset, local):
    reference = gradient(0)
    found = gamma_index(reference, reference.with_array(reference.array + offset), local=local)
    dose = reference.array if local else np.full_like(reference.array, reference.array.max())
    expected = exact(offset, 1.0, 0.03 * dose, 2.0)
    np.testing.assert_allclose(found.image.array[inner(reference)], expected[inner(reference)], rtol=0, atol=2e-3)


@pytest.mark.parametrize("shift", [0.5, 1.5, 3.0])
def test_a_shifted_steep_gradient_has_the_shift_over_the_distance(shift):
    """Where the dose rises by far more than the criterion over the distance, gamma is a distance in mm over 2 mm."""
    grid = Grid.isotropic((12, 12, 60), 1.0)
    x = np.indices(grid.shape)[2]
    steep = Image(50.0 + 100.0 * x, grid, unit="Gy")
    found = gamma_index(steep, steep.with_array(steep.array + 100.0 * shift), dose_percent=0.1)
    criterion = 0.001 * steep.array.max()
    at = (slice(4, -4), slice(4, -4), slice(8, -8))
    np.testing.assert_allclose(found.image.array[at], exact(100 * shift, 100.0, criterion, 2.0), rtol=0, atol=0.01)


def test_a_uniform_dose_differs_by_its_share_of_the_criterion():
    grid = Grid.isotropic((10, 10, 10), 2.0)
    dose = Image(np.full(grid.shape, 60.0), grid, unit="Gy")
    for percent, gamma in ((1.5, 0.5), (3.0, 1.0), (4.5, 1.5), (9.0, 2.0)):
        found = gamma_index(dose, dose.with_array(dose.array * (1 + percent / 100)))
        np.testing.assert_allclose(found.image.array, gamma, rtol=1e-6)
    assert gamma_index(dose, dose.with_array(dose.array * 1.0299)).passing_percent == 100.0
    assert gamma_index(dose, dose.with_array(dose.array * 1.0301)).passing_percent == 0.0


def test_on_a_turned_and_finer_grid_it_is_the_same():
    reference = gradient(0)
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = turn * [1.5, 1.0, 2.0]
    matrix[:3, 3] = turn @ [-30.0, -30, -30]
    grid = Grid((30, 60, 40), matrix)
    x = grid.to_ras(np.stack(np.indices(grid.shape)[::-1], axis=-1))[..., 0]
    evaluated = Image(20.0 + x + 1.0, grid, unit="Gy")
    job = Job()
    found = gamma_index(reference, evaluated, job=job)
    expected = exact(1.0, 1.0, 0.03 * reference.array.max(), 2.0)
    np.testing.assert_allclose(found.image.array[inner(reference)], expected, rtol=0, atol=2e-3)
    assert found.compared[inner(reference)].all()


def test_low_doses_and_doses_outside_are_not_compared():
    reference, job = gradient(0), Job()
    low = reference.array < 0.5 * reference.array.max()
    found = gamma_index(reference, reference, threshold_percent=50.0)
    assert not found.compared[low].any()
    assert found.compared[~low].all()
    assert found.image.array.max() == 0.0
    half = reference.crop((0, 0, 0), (9, 18, 18))
    part = gamma_index(reference, half, job=job)
    assert not part.compared[9:].any()
    assert "outside the evaluated dose" in job.warnings[0]


def test_impossible_criteria_and_units_are_refused():
    dose = gradient(0)
    for wrong in ({"dose_percent": 0.0}, {"distance_mm": -1.0}, {"threshold_percent": 100.0}, {"dose_percent": np.nan}):
        with pytest.raises(InvalidInput, match="not possible"):
            gamma_index(dose, dose, **wrong)
    for wrong in (dose.with_array(dose.array, unit="1"), dose.crop((0, 0, 0), (1, 9, 9))):
        with pytest.raises(InvalidInput, match="volumes in Gy"):
            gamma_index(dose, wrong)
    with pytest.raises(InvalidInput, match="0 everywhere"):
        gamma_index(dose.with_array(0 * dose.array), dose)
    far = Image(dose.array, Grid.isotropic(dose.grid.shape, 2.5, (1000, 0, 0)), unit="Gy")
    with pytest.raises(InvalidInput, match="lies inside"):
        gamma_index(dose, far)
