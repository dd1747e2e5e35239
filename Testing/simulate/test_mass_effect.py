"""Mass effect on a made-up head: what lies round a tumour moves away from it, and comes back by the inverse."""

from __future__ import annotations

import numpy as np
import pytest

from TwinCore import Grid, Image, InvalidInput, centroid, resample
from TwinSimulateLib.mass_effect import mass_effect

TURNED = np.array([[0.8, -0.6, 0, -30], [0.6, 0.8, 0, -40], [0, 0, 1, -25], [0, 0, 0, 1.0]]) * [[2, 2, 2, 1]]


@pytest.fixture(scope="module", params=["upright", "oblique"])
def head(request):
    """A ball of brain on a 2 mm grid, with a tumour to one side and a small structure beyond it."""
    matrix = TURNED if request.param == "oblique" else np.diag([2.0, 2.0, 2.0, 1.0])
    grid = Grid((48, 48, 48), matrix)
    places = np.moveaxis(np.indices(grid.shape), 0, -1) - 23.5

    def ball(middle, radius):
        return np.linalg.norm(places - middle, axis=-1) < radius

    return grid, ball((0, 0, 0), 22), ball((0, 0, 6), 5), ball((0, 0, -4), 3)


def shown(mask: np.ndarray, grid: Grid, move) -> np.ndarray:
    """How much of each voxel a structure fills once it has moved."""
    return resample(Image(mask.astype(np.float32), grid), grid, move).array


def test_what_lies_beside_the_tumour_is_pushed_away_from_it(head):
    grid, brain, tumour, beside = head
    move = mass_effect(tumour.astype(float), brain, grid, 0.15)
    filled = shown(beside, grid, move)
    voxels = grid.to_ras(np.moveaxis(np.indices(grid.shape), 0, -1)[..., ::-1])
    shift = (filled[..., None] * voxels).sum((0, 1, 2)) / filled.sum() - centroid(beside, grid)
    away = -grid.direction[:, 0]
    assert shift @ away > 0.2
    assert np.linalg.norm(shift - (shift @ away) * away) < 0.1
    assert 1.1 < shown(tumour, grid, move).sum() / tumour.sum() < 1.15**3


def test_soft_fluid_gives_way_more(head):
    grid, brain, tumour, beside = head
    stiffness = np.where(beside, 0.05, 1.0)
    moves = [mass_effect(tumour.astype(float), brain, grid, 0.15, given) for given in (None, stiffness)]
    volumes = [shown(beside, grid, move).sum() for move in moves]
    assert volumes[1] < 0.99 * volumes[0]


def test_without_a_tumour_nothing_moves_and_folding_is_refused(head):
    grid, brain, tumour, _ = head
    still = mass_effect(np.zeros(grid.shape), brain, grid, 0.15)
    assert not still.displacement_mm.any()
    with pytest.raises(InvalidInput, match="folds"):
        mass_effect(tumour.astype(float), brain, grid, 8.0)
