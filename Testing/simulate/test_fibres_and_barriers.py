"""Fibres and thin barriers in the tumour growth model."""

import numpy as np
import pytest

from TwinCore import Grid, Image, InvalidInput, Job
from TwinSimulateLib import registry
from TwinSimulateLib.fibre_tensor import MOST_RATIO, fibre_tensor
from TwinSimulateLib.model import Anatomy
from TwinSimulateLib.numerics.barrier import closed_faces, distance_round
from TwinSimulateLib.numerics.diffusion import ReactionDiffusion

SHAPE = (36, 36, 36)


def oblique(spacing, turn):
    """A grid whose i and j axes are turned in the axial plane."""
    c, s = np.cos(turn), np.sin(turn)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) * spacing
    grid = Grid(SHAPE, matrix)
    matrix[:3, 3] = -grid.centre
    return Grid(SHAPE, matrix)


def fibres_along(direction, grid, ratio=4.0):
    """A tensor image of fibres along a direction in RAS."""
    d = np.asarray(direction) / np.linalg.norm(direction)
    t = 0.7e-3 * (np.eye(3) + (ratio - 1) * np.outer(d, d))
    channels = np.array([t[0, 0], t[0, 1], t[0, 2], t[1, 1], t[1, 2], t[2, 2]])
    return Image(np.broadcast_to(channels, (*grid.shape, 6)).astype(np.float32), grid)


def test_a_tensor_is_turned_into_the_grid_and_has_mean_one():
    grid = oblique(1.0, 0.4)
    tensor = fibre_tensor(fibres_along(grid.direction[:, 0], grid), grid)[18, 18, 18]
    np.testing.assert_allclose(tensor, np.diag([0.5, 0.5, 2.0]), atol=1e-6)
    held = fibre_tensor(fibres_along([1, 0, 0], grid, 50.0), grid)[18, 18, 18]
    assert np.linalg.eigvalsh(held)[-1] / np.linalg.eigvalsh(held)[0] == pytest.approx(MOST_RATIO)
    assert np.trace(held) == pytest.approx(3.0)
    nothing = Image(np.zeros((*SHAPE, 6), np.float32), grid)
    np.testing.assert_allclose(fibre_tensor(nothing, grid)[3, 3, 3], np.eye(3))
    with pytest.raises(InvalidInput, match="six channels"):
        fibre_tensor(Image(np.zeros(SHAPE, np.float32), grid), grid)


def test_a_tumour_spreads_along_its_fibres_whatever_the_grid():
    """The spread's second moment along the fibres over that across them; grids turned by 0 and 0.5 rad agree."""
    axes, shares = np.array([[np.cos(0.3), np.sin(0.3), 0], [-np.sin(0.3), np.cos(0.3), 0]]), []
    for turn in (0.0, 0.5):
        grid = oblique(1.0, turn)
        places = grid.to_ras(np.moveaxis(np.indices(SHAPE), 0, -1)[..., ::-1])
        tumour = (places**2).sum(axis=-1) < 5.0**2
        anatomy = Anatomy(
            grid,
            {"tumour": tumour, "soft tissue": np.ones(SHAPE, bool)},
            {"diffusion_tensor": fibres_along(axes[0], grid)},
        )
        model = registry.find("tumour_growth", "soft-tissue sarcoma")
        model.spacing_mm = 1.0
        run = model.simulate(anatomy, {"diffusivity": 0.1, "proliferation_rate": 0.05}, [0.0, 40.0], Job())
        density = run.fields["density"].array
        along, across = (((places @ axis) ** 2 * density).sum() for axis in axes)
        shares.append(along / across)
    assert min(shares) > 1.25
    assert shares[0] == pytest.approx(shares[1], rel=0.01)


@pytest.mark.parametrize("spacing", [1.0, 1.41, 2.0, 3.0])
def test_a_barrier_of_one_voxel_holds_on_any_grid(spacing):
    """An oblique plane that parts the voxels of 1 mm from face to face."""
    source = Grid.isotropic(SHAPE)
    k, j, i = np.indices(SHAPE)
    level = i + j // 2 + k // 3
    barrier = level == 30
    grid = source.with_spacing(spacing)
    closed = closed_faces(barrier, source, grid)
    equation = ReactionDiffusion(np.ones(grid.shape, bool), grid.spacing, closed=closed)
    start = np.zeros(grid.shape)
    start[:4, :4, :4] = 1.0
    after = equation.advance(start, 1.0, 0.2, 200.0)
    x = np.linalg.inv(source.ijk_to_ras) @ grid.ijk_to_ras
    ijk = np.moveaxis(np.indices(grid.shape), 0, -1)[..., ::-1] @ x[:3, :3].T + x[:3, 3]
    height = ijk[..., 0] + ijk[..., 1] / 2 + ijk[..., 2] / 3
    assert after[height < 26].min() > 0.5
    assert not after[height > 34].any()


def test_the_falx_holds_a_tumour_on_a_coarse_grid():
    grid = Grid.isotropic(SHAPE)
    k, j, i = np.indices(SHAPE)
    tumour = (k - 18) ** 2 + (j - 18) ** 2 + (i - 9) ** 2 < 6**2
    falx = i == 19
    tissues = {"tumour": tumour, "soft tissue": np.ones(SHAPE, bool)}
    far = []
    for there in (tissues, {**tissues, "barrier": falx}):
        model = registry.find("tumour_growth", "soft-tissue sarcoma")
        model.spacing_mm = 2.0
        run = model.simulate(Anatomy(grid, there), {"diffusivity": 0.3, "proliferation_rate": 0.05}, [0, 60], Job())
        far.append(run.fields["density"].array[:, :, 23:].max())
    assert far[0] > 0.5
    assert far[1] < 1e-20


def test_the_way_round_a_barrier_is_no_shorter_than_it_is():
    """Behind a wall with an opening; without one nothing changes."""
    k, j, i = np.indices((20, 20, 20))
    distance = np.sqrt((k - 10.0) ** 2 + (j - 4.0) ** 2 + (i - 4.0) ** 2) - 2.0
    domain, closed = np.ones(distance.shape, bool), np.zeros((3, 20, 20, 20), bool)
    np.testing.assert_array_equal(distance_round(distance, domain, closed, 1.0), distance)
    closed[2, :, :16, 8] = True
    behind = distance_round(distance, domain, closed, 1.0)
    np.testing.assert_array_equal(behind[:, :, :9], distance[:, :, :9])
    true = np.hypot(16 - 4, 9 - 4) + np.hypot(16 - 4, 12 - 9) - 2.0
    assert distance[10, 4, 12] + 4.0 < behind[10, 4, 12] < true
    closed[2, :, :, 8] = True
    assert np.isinf(distance_round(distance, domain, closed, 1.0)[:, :, 9:]).all()
