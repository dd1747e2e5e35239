"""Transforms and resampling, against scipy's interpolation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from TwinCore import CompositeTransform, Grid, GridTransform, Image, InvalidInput, LinearTransform, resample

RNG = np.random.default_rng(7)


def oblique_grid(shape, spacing, origin, seed) -> Grid:
    rng = np.random.default_rng(seed)
    matrix = np.eye(4)
    matrix[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] * spacing
    grid = Grid(shape, matrix)
    matrix[:3, 3] = np.asarray(origin, float) - grid.centre
    return Grid(shape, matrix)


def affine(seed=0) -> LinearTransform:
    rng = np.random.default_rng(seed)
    matrix = np.eye(4)
    matrix[:3, :3] += rng.normal(0, 0.1, (3, 3))
    matrix[:3, 3] = rng.normal(0, 4, 3)
    return LinearTransform(matrix)


def voxel_centres(grid: Grid) -> np.ndarray:
    return grid.to_ras(np.moveaxis(np.indices(grid.shape)[::-1], 0, -1))


SOURCE = oblique_grid((18, 20, 22), [1.5, 2.0, 2.5], (10, -20, 30), 1)
TARGET = oblique_grid((12, 13, 14), [2.0, 1.5, 1.2], (11, -18, 29), 2)
IMAGE = Image(RNG.normal(size=SOURCE.shape), SOURCE, "MR", time="2021-01-01", name="T1")


@pytest.mark.parametrize(("interpolation", "order"), [("nearest", 0), ("linear", 1), ("cubic", 3)])
@pytest.mark.parametrize("transform", [None, affine(3)])
def test_resampling_agrees_with_scipy(interpolation, order, transform):
    points = voxel_centres(TARGET) if transform is None else transform.pull(voxel_centres(TARGET))
    kji = np.moveaxis(SOURCE.to_ijk(points)[..., ::-1], -1, 0)
    expected = map_coordinates(IMAGE.array, kji, order=order, mode="mirror")
    inside = np.all((kji > 0.01) & (kji < np.array(SOURCE.shape).reshape(3, 1, 1, 1) - 1.01), axis=0)
    ours = resample(IMAGE, TARGET, transform, interpolation)
    assert inside.mean() > 0.5
    np.testing.assert_allclose(ours.array[inside], expected[inside], atol=1e-6)
    assert (ours.modality, ours.time, ours.name, ours.grid) == ("MR", "2021-01-01", "T1", TARGET)


def test_outside_is_the_fill_value():
    far = Grid.isotropic((3, 3, 3), 1.0, (5000, 0, 0))
    assert (resample(IMAGE, far, fill=-1000).array == -1000).all()


def test_kinds_of_numbers():
    labels = Image(RNG.integers(0, 90, SOURCE.shape).astype(np.uint8), SOURCE)
    assert resample(labels, TARGET, interpolation="nearest").array.dtype == np.uint8
    assert resample(labels, TARGET).array.dtype == np.float32
    assert resample(IMAGE, TARGET).array.dtype == np.float64
    vectors = Image(RNG.normal(size=(*SOURCE.shape, 3)), SOURCE)
    np.testing.assert_allclose(resample(vectors, SOURCE).array, vectors.array)
    with pytest.raises(InvalidInput, match="'sinc' is not one of"):
        resample(IMAGE, TARGET, interpolation="sinc")


def test_push_and_pull_undo_each_other():
    move, points = affine(5), RNG.normal(0, 100, (4, 5, 3))
    np.testing.assert_allclose(move.pull(move.push(points)), points)
    np.testing.assert_allclose(move.inverse().push(points), move.pull(points))
    np.testing.assert_allclose(move.then(affine(6)).push(points), affine(6).push(move.push(points)))
    np.testing.assert_array_equal(LinearTransform.identity().push(points), points)


@pytest.mark.parametrize("matrix", [np.full((4, 4), np.nan), np.zeros((4, 4)), np.eye(3)])
def test_impossible_linear_transforms(matrix):
    with pytest.raises(InvalidInput, match="finite, invertible"):
        LinearTransform(matrix)


def test_a_moved_image_lies_where_its_points_were_pushed():
    """A blob at x in the image is seen at push(x) in the reference."""
    grid = Grid.isotropic((40, 40, 40), 2.0, (-39, -39, -39))
    at = np.array([8.0, -6.0, 4.0])
    blob = Image(np.exp(-np.sum((voxel_centres(grid) - at) ** 2, axis=-1) / 50), grid)
    move = affine(8)
    seen = resample(blob, grid, move).array
    brightest = grid.to_ras(np.array(np.unravel_index(seen.argmax(), seen.shape))[::-1])
    assert np.linalg.norm(brightest - move.push(at)) < 2.0


def test_a_grid_transform_pulls_by_its_displacement():
    field = oblique_grid((6, 7, 8), [4.0, 5.0, 6.0], (10, -20, 30), 4)
    displacement = RNG.normal(size=(*field.shape, 3))
    transform = GridTransform(displacement, field)
    ijk = RNG.uniform(0.1, 4.9, (50, 3))
    expected = np.stack([map_coordinates(displacement[..., c], ijk[:, ::-1].T, order=1) for c in range(3)], axis=-1)
    np.testing.assert_allclose(transform.pull(field.to_ras(ijk)), field.to_ras(ijk) + expected, atol=1e-5)
    far = field.to_ras([[99.0, 0, 0]])
    np.testing.assert_allclose(transform.pull(far), far)
    with pytest.raises(InvalidInput, match="finite displacement"):
        GridTransform(displacement[..., :2], field)
    with pytest.raises(InvalidInput, match="finite displacement"):
        GridTransform(displacement * np.nan, field)


def smooth_warp(seed=0) -> GridTransform:
    """A deformation of up to about 3 mm on an oblique grid, which does not vanish at its edge."""
    grid = oblique_grid((10, 11, 12), [4.0, 5.0, 6.0], (10, -20, 30), seed)
    k, j, i = np.indices(grid.shape)
    return GridTransform(np.stack([2 * np.sin(j / 4 + 1), 2 * np.cos(k / 5), 1.5 * np.sin(i / 6 + 2)], -1), grid)


def itk_points(transform, points) -> np.ndarray:
    """ITK's own answer for the pull-back, point by point."""
    itk, flip = transform.to_sitk(), np.array([-1.0, -1.0, 1.0])
    moved = [itk.TransformPoint((p * flip).tolist()) for p in points.reshape(-1, 3)]
    return (np.array(moved) * flip).reshape(points.shape)


@pytest.mark.parametrize("transform", [smooth_warp(), affine(3).then(smooth_warp()), smooth_warp().then(affine(3))])
def test_pull_is_what_itk_answers_inside_at_the_edge_and_outside(transform):
    grid = smooth_warp().grid
    points = grid.to_ras(np.random.default_rng(0).uniform(-3, np.array(grid.shape[::-1]) + 3, (20, 25, 3)))
    np.testing.assert_allclose(transform.pull(points), itk_points(transform, points), atol=1e-9)
    np.testing.assert_allclose(transform.pull(points[0, 0]), itk_points(transform, points[0, 0]), atol=1e-9)


def test_a_composite_pushes_in_order_and_pulls_back():
    first, second, third = affine(1), smooth_warp(), affine(2)
    both = first.then(second).then(third)
    points = second.grid.to_ras(np.random.default_rng(1).uniform(2, 8, (30, 3)))
    inside = first.inverse().push(points)
    np.testing.assert_allclose(both.push(inside), third.push(second.push(first.push(inside))), atol=1e-9)
    np.testing.assert_allclose(both.pull(both.push(inside)), inside, atol=1e-3)
    assert [type(m) for m in both.then(affine(4)).moves] == [LinearTransform, GridTransform, LinearTransform]
    np.testing.assert_allclose(
        first.then(affine(5)).then(second).push(inside), second.push(affine(5).push(first.push(inside))), atol=1e-9
    )
    with pytest.raises(InvalidInput, match="at least one"):
        CompositeTransform(())


def test_resampling_through_a_composite_is_sampling_where_it_pulls():
    both = affine(3).then(smooth_warp(2))
    kji = np.moveaxis(SOURCE.to_ijk(both.pull(voxel_centres(TARGET)))[..., ::-1], -1, 0)
    inside = np.all((kji > 0.01) & (kji < np.array(SOURCE.shape).reshape(3, 1, 1, 1) - 1.01), axis=0)
    assert inside.mean() > 0.3
    expected = map_coordinates(IMAGE.array, kji, order=1)
    np.testing.assert_allclose(resample(IMAGE, TARGET, both).array[inside], expected[inside], atol=1e-5)


def test_a_constant_displacement_is_a_translation():
    shift = np.array([3.0, -2.0, 1.0])
    box = Grid.isotropic((60, 60, 60), 2.0, TARGET.centre - 59)
    bent = resample(IMAGE, TARGET, GridTransform(np.broadcast_to(shift, (*box.shape, 3)).copy(), box))
    matrix = np.eye(4)
    matrix[:3, 3] = -shift
    np.testing.assert_allclose(bent.array, resample(IMAGE, TARGET, LinearTransform(matrix)).array, atol=1e-6)


def test_grid_transform_pushes_back_what_it_pulls():
    grid = Grid.isotropic((20, 20, 20), 3.0)
    k, j, i = np.indices(grid.shape)
    displacement = np.stack([3 * np.sin(j / 4), 2 * np.cos(k / 5), 1.5 * np.sin(i / 6)], -1)
    transform = GridTransform(displacement, grid)
    points = np.random.default_rng(0).uniform(12, 45, (50, 3))
    assert np.abs(transform.push(transform.pull(points)) - points).max() < 1e-3


def test_grid_transform_that_folds_says_so():
    grid = Grid.isotropic((20, 20, 20), 3.0)
    displacement = np.zeros((*grid.shape, 3))
    displacement[..., 0] = 40 * np.sin(np.indices(grid.shape)[2] * 1.5)
    with pytest.raises(InvalidInput, match="folds"):
        GridTransform(displacement, grid).push(np.array([[30.0, 30.0, 30.0], [31.0, 30.0, 30.0], [27.3, 30.0, 30.0]]))
