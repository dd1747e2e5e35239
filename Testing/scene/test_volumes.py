"""Volumes: `Image` to node and back, held against MRML's and SimpleITK's own answers."""

import numpy as np
import pytest
import SimpleITK as sitk
from vtkmodules.vtkCommonMath import vtkMatrix4x4

from TwinCore import Grid, Image, InvalidInput, LinearTransform
from TwinCore.itk import from_sitk, to_sitk
from TwinCore.scene import hash_of, image_to_node, node_to_image, transform_to_node


def random_grid(seed: int) -> Grid:
    rng = np.random.default_rng(seed)
    axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = axes * rng.choice([-1, 1], 3) * rng.uniform(0.4, 5.0, 3)
    matrix[:3, 3] = rng.uniform(-300, 300, 3)
    return Grid(tuple(rng.integers(2, 9, 3)), matrix)


def random_image(seed: int, channels: int = 0) -> Image:
    grid = random_grid(seed)
    shape = (*grid.shape, channels) if channels else grid.shape
    return Image(np.random.default_rng(seed).normal(size=shape).astype(np.float32), grid, name="volume")


def values_at(grid: Grid, image: Image) -> np.ndarray:
    """The image's values in the order of another grid of the same places: MRML's reader turns left-handed grids."""
    ijk = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij")[::-1], axis=-1)
    exact = image.grid.to_ijk(grid.to_ras(ijk))
    i, j, k = np.moveaxis(np.round(exact).astype(int), -1, 0)
    np.testing.assert_allclose(exact, np.round(exact), atol=1e-3)
    return image.array[k, j, i]


@pytest.mark.parametrize("seed", range(12))
def test_mrml_places_every_voxel_where_the_grid_does(scene, seed):
    image = random_image(seed)
    node = image_to_node(image, scene)
    matrix = vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    ijk = np.array([*np.random.default_rng(seed).integers(0, image.grid.shape[::-1]), 1.0])
    np.testing.assert_allclose(matrix.MultiplyPoint(ijk)[:3], image.grid.to_ras(ijk[:3]), atol=1e-9)
    k, j, i = (int(n) for n in ijk[2::-1])
    assert node.GetImageData().GetScalarComponentAsDouble(i, j, k, 0) == image.array[k, j, i]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("channels", [0, 3])
def test_round_trip_through_the_node(scene, seed, channels):
    image = random_image(seed, channels)
    again = node_to_image(image_to_node(image, scene))
    np.testing.assert_array_equal(again.array, image.array)
    assert again.grid.same_as(image.grid, 1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_a_file_written_by_simpleitk_is_read_by_mrml_as_the_same_image(scene, tmp_path, seed):
    image = random_image(seed)
    sitk.WriteImage(to_sitk(image), str(tmp_path / "volume.nrrd"))
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    node.AddDefaultStorageNode()
    node.GetStorageNode().SetFileName(str(tmp_path / "volume.nrrd"))
    assert node.GetStorageNode().ReadData(node)
    np.testing.assert_array_equal(values_at(image.grid, node_to_image(node)), image.array)


@pytest.mark.parametrize("seed", range(6))
def test_a_file_written_by_mrml_is_read_by_simpleitk_as_the_same_image(scene, tmp_path, seed):
    image = random_image(seed)
    node = image_to_node(image, scene)
    node.AddDefaultStorageNode()
    node.GetStorageNode().SetFileName(str(tmp_path / "volume.nrrd"))
    assert node.GetStorageNode().WriteData(node)
    again = from_sitk(sitk.ReadImage(str(tmp_path / "volume.nrrd")))
    np.testing.assert_array_equal(again.array, image.array)
    assert again.grid.same_as(image.grid, 1e-4)


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [(bool, np.uint8), (np.int64, np.int32), (np.uint64, np.int32), (np.float16, np.float32), (np.int16, np.int16)],
)
def test_types_that_mrml_lacks_are_cast_without_loss(scene, dtype, stored):
    array = (np.arange(24).reshape(2, 3, 4) % 2).astype(dtype)
    again = node_to_image(image_to_node(Image(array, Grid.isotropic(array.shape)), scene)).array
    assert again.dtype == stored
    np.testing.assert_array_equal(again, array)


def test_either_byte_order_is_stored_as_the_same_numbers(scene):
    array = np.arange(24, dtype=">i2").reshape(2, 3, 4)
    node = image_to_node(Image(array, Grid.isotropic(array.shape)), scene)
    np.testing.assert_array_equal(node_to_image(node).array, array)
    assert hash_of(node) == hash_of(image_to_node(Image(array.astype(np.int16), Grid.isotropic(array.shape)), scene))


def test_complex_numbers_are_refused(scene):
    with pytest.raises(InvalidInput, match="real numbers only"):
        image_to_node(Image(np.zeros((2, 2, 2), complex), Grid.isotropic((2, 2, 2)), name="k-space"), scene)


@pytest.mark.parametrize(
    ("folder", "file"),
    [("sts_001_raw", "MR_T1.nii.gz"), ("brain_tumor", "pyrad_brain1_image.nrrd")],
)
def test_a_patient_s_file_is_the_same_to_mrml_and_simpleitk(scene, data, folder, file):
    path = data(folder) / file
    image = from_sitk(sitk.ReadImage(str(path)))
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    node.AddDefaultStorageNode()
    node.GetStorageNode().SetFileName(str(path))
    assert node.GetStorageNode().ReadData(node)
    np.testing.assert_allclose(values_at(image.grid, node_to_image(node)), image.array, rtol=1e-6)


def test_integers_beyond_float64_are_refused(scene):
    array = np.full((2, 2, 2), 2**60, np.int64)
    with pytest.raises(InvalidInput, match="more than a volume can store exactly"):
        image_to_node(Image(array, Grid.isotropic(array.shape)), scene)


@pytest.mark.parametrize("time", ["2024-03-01", 12.5, None])
def test_modality_unit_time_and_name_stay_with_the_node(scene, image, time):
    again = node_to_image(image_to_node(image.with_array(image.array, time=time), scene))
    assert (again.modality, again.unit, again.time, again.name) == ("PT", "g/mL", time, "SUV")


def test_the_array_is_a_copy(scene, image):
    node = image_to_node(image, scene)
    node_to_image(node).array[:] = 99
    np.testing.assert_array_equal(node_to_image(node).array, image.array)


def test_linear_parents_are_folded_into_the_grid(scene, image):
    rng = np.random.default_rng(3)
    inner, outer = (LinearTransform(random_grid(s).ijk_to_ras) for s in rng.integers(0, 99, 2))
    node = image_to_node(image, scene)
    parents = [transform_to_node(t, scene) for t in (inner, outer)]
    parents[0].SetAndObserveTransformNodeID(parents[1].GetID())
    node.SetAndObserveTransformNodeID(parents[0].GetID())
    again = node_to_image(node)
    ijk = rng.uniform(0, 5, (10, 3))
    np.testing.assert_allclose(again.grid.to_ras(ijk), inner.then(outer).push(image.grid.to_ras(ijk)), atol=1e-7)
    assert node.GetParentTransformNode() is parents[0]


def test_a_non_linear_parent_is_refused_by_name(scene, image):
    from TwinCore import GridTransform

    node = image_to_node(image, scene)
    warp = transform_to_node(GridTransform(np.ones((*image.grid.shape, 3)), image.grid), scene, "Breathing")
    node.SetAndObserveTransformNodeID(warp.GetID())
    with pytest.raises(InvalidInput, match="'SUV' lies under the non-linear transform 'Breathing'"):
        node_to_image(node)


def test_a_node_without_voxels_and_a_node_of_another_kind_are_refused(scene):
    with pytest.raises(InvalidInput, match="holds no voxels"):
        node_to_image(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty"))
    with pytest.raises(InvalidInput, match="is not a volume"):
        node_to_image(scene.AddNewNodeByClass("vtkMRMLModelNode", "model"))
