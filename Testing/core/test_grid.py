"""Grids, against SimpleITK's own geometry."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from TwinCore import Grid, Image, InvalidInput, bounding_box, centroid
from TwinCore.grid import LPS_FROM_RAS
from TwinCore.itk import from_sitk, grid_of, grid_onto_sitk, to_sitk

RNG = np.random.default_rng(1)


def random_grid(seed: int) -> Grid:
    """An oblique, anisotropic grid; every other seed is left-handed."""
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    if (np.linalg.det(rotation) < 0) != bool(seed % 2):
        rotation[:, 0] *= -1
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * rng.uniform(0.3, 6.0, 3)
    matrix[:3, 3] = rng.uniform(-500, 500, 3)
    return Grid(tuple(rng.integers(2, 12, 3)), matrix)


@pytest.mark.parametrize("seed", range(12))
def test_points_agree_with_simpleitk(seed):
    grid = random_grid(seed)
    image = to_sitk(Image(np.zeros(grid.shape, np.uint8), grid))
    flip = LPS_FROM_RAS[:3, :3]
    for ijk in RNG.integers(0, 12, (20, 3)):
        theirs = flip @ image.TransformIndexToPhysicalPoint(ijk.tolist())
        np.testing.assert_allclose(grid.to_ras(ijk), theirs, atol=1e-9)
    for ijk in RNG.uniform(-3, 12, (20, 3)):
        theirs = flip @ image.TransformContinuousIndexToPhysicalPoint(ijk.tolist())
        np.testing.assert_allclose(grid.to_ras(ijk), theirs, atol=1e-9)
        np.testing.assert_allclose(grid.to_ijk(theirs), ijk, atol=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_images_survive_the_way_to_simpleitk_and_back(seed):
    grid = random_grid(seed)
    array = RNG.integers(-1000, 1000, grid.shape).astype(np.int16)
    back = from_sitk(to_sitk(Image(array, grid)), modality="CT", unit="[hnsf'U]")
    np.testing.assert_array_equal(back.array, array)
    np.testing.assert_allclose(back.grid.ijk_to_ras, grid.ijk_to_ras, atol=1e-9)
    assert back.grid.same_as(grid)


def test_channels_and_booleans_go_to_simpleitk():
    grid = random_grid(3)
    vectors = RNG.normal(size=(*grid.shape, 3))
    np.testing.assert_array_equal(from_sitk(to_sitk(Image(vectors, grid))).array, vectors)
    mask = RNG.random(grid.shape) > 0.5
    assert to_sitk(Image(mask, grid)).GetPixelID() == sitk.sitkUInt8
    half = RNG.random(grid.shape).astype(np.float16)
    np.testing.assert_array_equal(from_sitk(to_sitk(Image(half, grid))).array, half)


def test_lengths_volumes_and_corners():
    grid = random_grid(4)
    np.testing.assert_allclose(grid.direction * grid.spacing, grid.ijk_to_ras[:3, :3])
    assert grid.voxel_volume_ml == pytest.approx(np.prod(grid.spacing) / 1000)
    assert grid.size == np.prod(grid.shape)
    np.testing.assert_allclose(grid.corners().mean(axis=0), grid.centre)
    np.testing.assert_allclose(grid.corners()[0], grid.origin)
    assert grid.is_orthogonal


@pytest.mark.parametrize("seed", range(4))
def test_crop_keeps_every_voxel_where_it_is(seed):
    grid = random_grid(seed)
    part = grid.crop((1, 0, 1), grid.shape)
    np.testing.assert_allclose(part.to_ras([0, 0, 0]), grid.to_ras([1, 0, 1]))
    np.testing.assert_allclose(part.corners()[-1], grid.corners()[-1])
    with pytest.raises(InvalidInput, match="Cannot crop"):
        grid.crop((0, 0, 0), np.array(grid.shape) + 1)


@pytest.mark.parametrize("seed", range(4))
def test_another_spacing_covers_the_same_box(seed):
    grid = random_grid(seed)
    finer = grid.with_spacing(grid.spacing / [2, 3, 1])
    assert finer.shape == (grid.shape[0], grid.shape[1] * 3, grid.shape[2] * 2)
    np.testing.assert_allclose(finer.centre, grid.centre)
    outer = np.array(grid.shape[::-1]) - 0.5
    np.testing.assert_allclose(finer.to_ras(np.array(finer.shape[::-1]) - 0.5), grid.to_ras(outer))


@pytest.mark.parametrize(
    ("shape", "matrix", "words"),
    [
        ((0, 3, 3), np.eye(4), "three positive"),
        ((3, 3), np.eye(4), "three positive"),
        ((3, 3, 3), np.diag([1, 1, np.nan, 1]), "finite"),
        ((3, 3, 3), np.diag([1.0, 1, 1, 2]), "last row"),
        ((3, 3, 3), np.diag([1.0, 0, 1, 1]), "invertible"),
        ((3, 3, 3), np.array([[1.0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "invertible"),
        ((3, 3, 3), np.eye(3), "4x4"),
    ],
)
def test_impossible_grids(shape, matrix, words):
    with pytest.raises(InvalidInput, match=words):
        Grid(shape, matrix)


def test_a_grid_cannot_be_changed_by_its_maker():
    matrix = np.eye(4)
    grid = Grid((2, 2, 2), matrix)
    matrix[0, 3] = 99
    assert grid.origin[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        grid.ijk_to_ras[0, 3] = 1


def test_sheared_grids_do_not_reach_itk():
    matrix = np.eye(4)
    matrix[0, 2] = 0.1
    with pytest.raises(InvalidInput, match="right angles"):
        grid_onto_sitk(sitk.Image(3, 3, 3, sitk.sitkUInt8), Grid((3, 3, 3), matrix))


def test_two_dimensions_are_no_volume():
    with pytest.raises(InvalidInput, match="three dimensions"):
        grid_of(sitk.Image(3, 3, sitk.sitkUInt8))


def test_an_image_fits_its_grid_and_knows_its_modality():
    grid = random_grid(5)
    with pytest.raises(InvalidInput, match="'scan'.*does not fit"):
        Image(np.zeros((2, 2)), grid, name="scan")
    with pytest.raises(InvalidInput, match="'PET' is not one of CT, MR, PT, US"):
        Image(np.zeros(grid.shape), grid, "PET")
    image = Image(RNG.normal(size=grid.shape), grid, "MR", time="2020-01-01", name="T1")
    part = image.crop((0, 0, 0), (1, 2, 2))
    assert (part.modality, part.time, part.name, part.array.shape) == ("MR", "2020-01-01", "T1", (1, 2, 2))
    np.testing.assert_array_equal(part.array, image.array[:1, :2, :2])


def test_bounding_box():
    mask = np.zeros((10, 11, 12), bool)
    mask[3:5, 4, 5:9] = True
    low, high = bounding_box(mask)
    assert (low.tolist(), high.tolist()) == ([3, 4, 5], [5, 5, 9])
    low, high = bounding_box(mask, (4, 1, 99))
    assert (low.tolist(), high.tolist()) == ([0, 3, 0], [9, 6, 12])
    with pytest.raises(InvalidInput, match="empty"):
        bounding_box(np.zeros((2, 2, 2), bool))


@pytest.mark.parametrize("seed", range(3))
def test_centroid_weighs_every_voxel(seed):
    grid = random_grid(seed)
    weight = RNG.random(grid.shape)
    kji = np.indices(grid.shape).reshape(3, -1)
    expected = np.average(grid.to_ras(kji[::-1].T), axis=0, weights=weight.ravel())
    np.testing.assert_allclose(centroid(weight, grid), expected)
    with pytest.raises(InvalidInput, match="empty"):
        centroid(np.zeros(grid.shape), grid)


@pytest.mark.parametrize("axes", ["RAS", "LIA", "AIL", "SPR"])
def test_an_upright_grid_covers_the_other_one_along_the_patients_axes(axes):
    grid = random_grid(5)
    spacing = np.array([1.0, 2.0, 0.5])
    upright = grid.upright(spacing, axes)
    along = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
    np.testing.assert_allclose(upright.direction.T, [along[letter] for letter in axes], atol=1e-12)
    np.testing.assert_allclose(upright.spacing, spacing)
    ijk = upright.to_ijk(grid.corners())
    assert (ijk > -1e-6).all()
    assert (ijk < np.array(upright.shape[::-1]) - 1 + 1e-6).all()


def test_an_upright_grid_that_is_so_already_stays_where_it_is():
    grid = Grid.isotropic((4, 5, 6), 1.0, (-3.25, 7.5, 1.0))
    assert grid.upright(1.0).same_as(grid)
    assert grid.upright(1.0, "LIA").upright(1.0).same_as(grid)


@pytest.mark.parametrize("axes", ["RA", "RLS", "XYZ", "RASR"])
def test_axes_that_are_none_are_refused(axes):
    with pytest.raises(InvalidInput, match="three letters such as RAS"):
        random_grid(1).upright(1.0, axes)
