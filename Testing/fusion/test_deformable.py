"""Deformable registration: known warps recovered in one contrast and across contrasts, both ways, without folding."""

import numpy as np
import pytest
from phantoms import rigid
from scipy import ndimage

from TwinCore import Grid, GridTransform, Image, InvalidInput, Job, JobCancelled, LinearTransform, resample
from TwinFusionLib import deformable
from TwinFusionLib.deformable import register_deformable
from TwinFusionLib.deformable_flow import exponential
from TwinFusionLib.deformable_jacobian import jacobian_determinant

SHAPE = (40, 44, 42)
STILL = LinearTransform.identity()
OBLIQUE = rigid(25, (1, -2, 0.5), (40, -30, 100)).matrix
"""The same patient on a tilted table, far from the origin."""


def smooth(sigma: float, seed: int) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(SHAPE), sigma)
    return (noise / np.abs(noise).max()).astype(np.float32)


def body() -> np.ndarray:
    middle = (np.array(SHAPE)[:, None, None, None] - 1) / 2
    return (((np.indices(SHAPE) - middle) / (0.42 * np.array(SHAPE)[:, None, None, None])) ** 2).sum(0) < 1


def tissue() -> np.ndarray:
    """Densities 0 to 1.4 with structure of two sizes, inside an ellipsoid."""
    return np.where(body(), 0.8 + 0.6 * smooth(3, 1) + 0.3 * smooth(1.5, 2), 0.0).astype(np.float32)


def warp(spacing=2.5, largest_mm: float = 6.0, placed=STILL.matrix) -> tuple[Image, Image, GridTransform]:
    """A fixed image, the same one before it was bent, and the truth."""
    grid = Grid(SHAPE, placed @ np.diag([*np.broadcast_to(spacing, 3), 1.0]))
    velocity = np.stack([smooth(7, seed) for seed in (3, 4, 5)]) * ndimage.gaussian_filter(body().astype(np.float32), 2)
    velocity *= largest_mm / np.linalg.norm(velocity, axis=0).max() / grid.spacing[:, None, None, None]
    axes = grid.ijk_to_ras[:3, :3]
    forth, back = (np.moveaxis(exponential(v.astype(np.float32)), 0, -1) @ axes.T for v in (velocity, -velocity))
    fixed = Image(tissue(), grid, "MR", name="fixed")
    moving = resample(fixed, grid, GridTransform(back, grid)).with_array
    moved = resample(fixed, grid, GridTransform(back, grid), "cubic").array
    noise = 0.01 * np.random.default_rng(0).standard_normal((2, *SHAPE)).astype(np.float32)
    return fixed.with_array(fixed.array + noise[0]), moving(moved + noise[1], name="moving"), GridTransform(forth, grid)


def error_mm(found, truth, where=None) -> float:
    """Mean distance inside the body."""
    grid = truth.grid
    points = grid.to_ras(np.argwhere(body() if where is None else where)[:, ::-1])
    return float(np.linalg.norm(found.pull(points) - truth.pull(points), axis=1).mean())


def contrast(image: Image) -> Image:
    """Another contrast, which is no function of the first one, shaded."""
    a, shade = image.array, 1 + 0.03 * smooth(15, 6)
    return image.with_array((np.where(a > 0.3, 2.0 - a, a) * shade).astype(np.float32))


@pytest.mark.parametrize(("change", "most"), [(lambda image: image, 0.55), (contrast, 0.75)])
def test_recovers_a_known_warp_in_one_contrast_and_across_two(change, most):
    fixed, moving, truth = warp()
    found = register_deformable(fixed, change(moving), STILL)
    assert error_mm(STILL, truth) > 2.0
    assert error_mm(found.transform, truth) < most
    assert found.jacobian_min > 0.3
    determinants = jacobian_determinant(found.transform).array
    assert (found.jacobian_min, found.jacobian_max) == (determinants.min(), determinants.max())


def test_follows_the_linear_move_on_oblique_grids_of_other_voxels():
    """The fixed image has thick slices and lies tilted; the moving one lies elsewhere, on a grid of its own."""
    fixed, moving, truth = warp((2.0, 2.5, 4.0), placed=OBLIQUE)
    linear = rigid(15, (0, 1, 1), (30, 20, -10))
    own = Grid(
        SHAPE[::-1], np.linalg.inv(linear.matrix) @ OBLIQUE @ np.diag([1.9, 2.6, 3.9, 1]) @ np.eye(4)[[2, 0, 1, 3]]
    )
    elsewhere = resample(moving, own, linear.inverse())
    found = register_deformable(fixed, elsewhere, linear)
    assert found.transform.grid.same_as(fixed.grid)
    points = truth.grid.to_ras(np.argwhere(body())[:, ::-1])
    miss = linear.then(found.transform).pull(points) - linear.pull(truth.pull(points))
    assert np.linalg.norm(truth.pull(points) - points, axis=1).mean() > 2.0
    assert np.linalg.norm(miss, axis=1).mean() < 0.9


def test_the_inverse_undoes_it_and_is_what_the_images_exchanged_give():
    fixed, moving, truth = warp()
    there = register_deformable(fixed, contrast(moving), STILL)
    back = register_deformable(contrast(moving), fixed, STILL)
    points = truth.grid.to_ras(np.argwhere(body())[:, ::-1])
    round_trip = there.inverse.pull(there.transform.pull(points)) - points
    assert np.linalg.norm(round_trip, axis=1).mean() < 0.02
    assert error_mm(back.transform, there.inverse) < 0.01


def test_an_image_stays_where_it_matches():
    fixed, moving, truth = warp(largest_mm=1e-6)
    other = moving.with_array(np.where(moving.array > 0.3, 2.0 - moving.array, moving.array))
    found = register_deformable(fixed, other, STILL)
    assert error_mm(found.transform, truth) < 0.25  # a tenth of a voxel


@pytest.mark.parametrize("on_fixed", [True, False])
def test_what_is_masked_out_hardly_pulls(on_fixed):
    """A growing lesion pushes away or draws in what surrounds it, unless it is masked out on the image that has it."""
    fixed, moving, _ = warp(largest_mm=1e-3)
    centre = np.array([20, 22, 14])
    distance = np.linalg.norm(np.indices(SHAPE) - centre[:, None, None, None], axis=0)
    small = fixed.with_array(np.where(distance < 3, 2.0, fixed.array).astype(np.float32))
    large = moving.with_array(np.where(distance < 7, 2.0, moving.array).astype(np.float32))
    pair = (large, small) if on_fixed else (small, large)
    masks = {"fixed_mask" if on_fixed else "moving_mask": ~(distance < 8)}
    points = fixed.grid.to_ras(np.argwhere(body() & (distance > 8) & (distance < 11))[:, ::-1])
    outwards = points - fixed.grid.to_ras(centre[::-1].astype(float))
    outwards /= np.linalg.norm(outwards, axis=1, keepdims=True)

    def pull_mm(**options) -> float:
        found = register_deformable(*pair, STILL, stiffness=0.1, **options).transform
        return abs(float(((found.pull(points) - points) * outwards).sum(1).mean()))

    assert pull_mm() > 0.15
    assert pull_mm(**masks) < 0.35 * pull_mm()


def test_only_the_masked_in_part_is_needed():
    """Half of both images is noise; the other half is found as if it were not there."""
    fixed, moving, truth = warp()
    half = np.zeros(SHAPE, bool)
    half[:, :22] = True
    noise = np.random.default_rng(8).permutation(moving.array.ravel()).reshape(SHAPE)
    spoilt = [image.with_array(np.where(half, image.array, noise)) for image in (fixed, moving)]
    found = register_deformable(*spoilt, STILL, fixed_mask=half, moving_mask=half)
    assert error_mm(found.transform, truth, body() & ndimage.binary_erosion(half, iterations=4, border_value=1)) < 0.7


def test_stiffness_and_finest_voxel():
    fixed, moving, _ = warp()
    usual, stiff = (register_deformable(fixed, moving, STILL, stiffness=s) for s in (1.0, 100.0))
    assert stiff.jacobian_max - stiff.jacobian_min < 0.6 * (usual.jacobian_max - usual.jacobian_min)
    coarse = register_deformable(fixed, moving, STILL, finest_mm=5.0)
    np.testing.assert_allclose(coarse.transform.grid.spacing, 5.0)
    whole = fixed.grid.spacing * fixed.grid.shape[::-1]
    np.testing.assert_allclose(coarse.transform.grid.spacing * coarse.transform.grid.shape[::-1], whole, atol=2.5)


def test_never_folds():
    """Two images that have nothing to do with each other, hardly held back."""
    grid = Grid.isotropic(SHAPE, 2.5)
    one, other = (Image(np.where(body(), smooth(2, s), -1.0), grid, "MR", name="x") for s in (11, 12))
    found = register_deformable(one, other, STILL, stiffness=1e-3)
    assert np.abs(found.transform.displacement_mm).max() > 5.0
    for transform in (found.transform, found.inverse):
        assert jacobian_determinant(transform).array.min() > deformable.LEAST_JACOBIAN


def test_is_the_same_every_time():
    fixed, moving, _ = warp()
    once, again = (register_deformable(fixed, moving, STILL).transform.displacement_mm for _ in range(2))
    assert np.array_equal(once, again)


def test_cancel_stops_it():
    fixed, moving, _ = warp()
    seen = []

    def watch(report):
        seen.append(report.fraction)
        if report.fraction > 0.3:
            job.cancel()

    job = Job(watch)
    with pytest.raises(JobCancelled):
        register_deformable(fixed, moving, STILL, job=job)
    assert seen[-1] < 0.9


GRID = Grid.isotropic((12, 13, 14), 4.0)
GOOD = Image(np.random.default_rng(0).random(GRID.shape), GRID, "MR", name="T1")
ALL = np.ones(GRID.shape, bool)


@pytest.mark.parametrize(
    ("moving", "options", "words"),
    [
        (GOOD.crop((0, 0, 0), (3, 13, 14)), {}, "'T1' is only 3 voxels thin"),
        (GOOD.with_array(np.full(GRID.shape, 7.0)), {}, "'T1' is constant"),
        (GOOD.with_array(np.ones((*GRID.shape, 2))), {}, "'T1' has channels"),
        (GOOD, {"moving_mask": ~ALL}, "mask of image 'T1' is empty"),
        (GOOD, {"fixed_mask": ALL[1:]}, "mask of image 'T1' is empty, or is not on the image's grid"),
        (GOOD, {"stiffness": 0.0}, "stiffness .* positive number, not 0.0"),
        (GOOD, {"finest_mm": float("nan")}, "finest voxel .* positive number, not nan"),
        (
            Image(GOOD.array, Grid.isotropic(GRID.shape, 4.0, (500, 0, 0)), "MR", name="T2"),
            {},
            "'T1' and 'T2' do not over",
        ),
    ],
)
def test_what_cannot_be_registered_is_named(moving, options, words):
    with pytest.raises(InvalidInput, match=words):
        register_deformable(GOOD, moving, STILL, **options)
