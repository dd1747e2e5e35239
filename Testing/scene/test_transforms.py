"""Transforms: the project's convention held against MRML's own answers."""

import numpy as np
import pytest
from vtkmodules.vtkCommonTransforms import vtkGeneralTransform

from TwinCore import Grid, GridTransform, InvalidInput, LinearTransform
from TwinCore.scene import image_to_node, node_to_image, node_to_transform, transform_to_node


def affine(seed: int) -> LinearTransform:
    rng = np.random.default_rng(seed)
    matrix = np.eye(4)
    matrix[:3] = np.eye(3, 4) + rng.normal(scale=0.2, size=(3, 4))
    matrix[:3, 3] = rng.uniform(-100, 100, 3)
    return LinearTransform(matrix)


@pytest.fixture
def warp(grid) -> GridTransform:
    """A smooth, small deformation that vanishes at the rim of its grid."""
    k, j, i = np.meshgrid(*(np.linspace(0, np.pi, n) for n in (12, 13, 14)), indexing="ij")
    bump = np.sin(k) * np.sin(j) * np.sin(i)
    fine = Grid(bump.shape, grid.ijk_to_ras)
    return GridTransform(bump[..., None] * np.array([1.5, -0.5, 0.8]), fine)


def mrml_points(node, points, inverse=False):
    transform = vtkGeneralTransform()
    (node.GetTransformFromWorld if inverse else node.GetTransformToWorld)(transform)
    return np.array([transform.TransformPoint(p) for p in points])


@pytest.mark.parametrize("seed", range(5))
def test_to_parent_pushes_and_from_parent_pulls(scene, seed):
    transform, points = affine(seed), np.random.default_rng(seed).uniform(-100, 100, (20, 3))
    node = transform_to_node(transform, scene)
    np.testing.assert_allclose(mrml_points(node, points), transform.push(points), atol=1e-9)
    np.testing.assert_allclose(mrml_points(node, points, inverse=True), transform.pull(points), atol=1e-9)
    np.testing.assert_allclose(node_to_transform(node).matrix, transform.matrix, atol=1e-12)


def test_an_inverted_node_is_the_inverse(scene):
    node = transform_to_node(affine(1), scene)
    node.Inverse()
    np.testing.assert_allclose(node_to_transform(node).matrix, affine(1).inverse().matrix, atol=1e-9)


def test_a_volume_under_the_node_moves_as_push_says(scene, image):
    node = image_to_node(image, scene)
    node.SetAndObserveTransformNodeID(transform_to_node(affine(2), scene).GetID())
    np.testing.assert_allclose(node_to_image(node).grid.origin, affine(2).push(image.grid.origin), atol=1e-7)


def test_parents_of_a_linear_transform_are_included(scene):
    inner, outer = transform_to_node(affine(1), scene), transform_to_node(affine(2), scene)
    inner.SetAndObserveTransformNodeID(outer.GetID())
    np.testing.assert_allclose(node_to_transform(inner).matrix, affine(1).then(affine(2)).matrix, atol=1e-9)


def test_grid_displacement_is_from_parent(scene, warp):
    node = transform_to_node(warp, scene)
    inside = warp.grid.to_ras(np.random.default_rng(0).uniform(0.5, 10.5, (30, 3)))
    np.testing.assert_allclose(mrml_points(node, inside, inverse=True), warp.pull(inside), atol=1e-4)
    assert np.abs(warp.pull(inside) - inside).max() > 0.5


def test_the_inverse_of_a_grid_transform_leads_back(scene, warp):
    node = transform_to_node(warp, scene)
    inside = warp.grid.to_ras(np.random.default_rng(0).uniform(2, 9, (30, 3)))
    there = mrml_points(node, inside, inverse=True)
    np.testing.assert_allclose(mrml_points(node, there), inside, atol=0.02)


def test_grid_transform_round_trip(scene, warp):
    again = node_to_transform(transform_to_node(warp, scene))
    np.testing.assert_array_equal(again.displacement_mm, warp.displacement_mm)
    assert again.grid.same_as(warp.grid, 1e-9)


def test_a_grid_transform_under_a_parent_is_sampled_where_asked(scene, warp):
    node, outer = transform_to_node(warp, scene), transform_to_node(affine(4), scene)
    node.SetAndObserveTransformNodeID(outer.GetID())
    with pytest.raises(InvalidInput, match="name the grid to sample it on"):
        node_to_transform(node)
    points = warp.grid.to_ras(np.random.default_rng(0).integers(3, 9, (20, 3)))
    sampled = node_to_transform(node, warp.grid)
    np.testing.assert_allclose(sampled.pull(points), mrml_points(node, points, inverse=True), atol=1e-4)


def test_another_node_is_no_transform(scene):
    with pytest.raises(InvalidInput, match="is not a transform"):
        node_to_transform(scene.AddNewNodeByClass("vtkMRMLModelNode"))
