"""Transforms: the project's convention held against MRML's own answers."""

import numpy as np
import pytest
from vtkmodules.vtkCommonTransforms import vtkGeneralTransform

from TwinCore import Grid, GridTransform, InvalidInput, LinearTransform
from TwinCore.scene import image_to_node, load, new_scene, node_to_image, node_to_transform, save, transform_to_node
from TwinCore.scene.transforms import chain


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


def test_a_composite_is_a_chain_of_nodes_and_comes_back(scene, warp):
    whole = affine(4).then(warp)
    node = transform_to_node(whole, scene, "T1 to CT")
    assert [n.GetName() for n in chain(node)] == ["T1 to CT, linear", "T1 to CT, deformation"]
    points = affine(4).pull(warp.grid.to_ras(np.random.default_rng(0).uniform(2, 9, (20, 3))))
    np.testing.assert_allclose(mrml_points(node, points), whole.push(points), atol=0.02)
    moved = whole.push(points)
    np.testing.assert_allclose(mrml_points(node, moved, inverse=True), whole.pull(moved), atol=1e-4)
    again = node_to_transform(node)
    np.testing.assert_allclose(again.moves[0].matrix, affine(4).matrix, atol=1e-12)
    np.testing.assert_array_equal(again.moves[1].displacement_mm, warp.displacement_mm)


def test_a_point_under_the_chain_is_seen_where_push_says(scene, warp):
    whole = affine(4).then(warp)
    markups = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    point = affine(4).pull(warp.grid.to_ras([5.2, 6.1, 5.7]))
    markups.AddControlPoint(point.tolist())
    markups.SetAndObserveTransformNodeID(transform_to_node(whole, scene).GetID())
    seen = [0.0, 0.0, 0.0]
    markups.GetNthControlPointPositionWorld(0, seen)
    np.testing.assert_allclose(seen, whole.push(point), atol=0.02)


def test_a_composite_of_a_run_survives_storage_with_its_references(scene, twin, warp, tmp_path):
    volume, whole = twin.node("reference"), affine(4).then(warp)
    with twin.run("TwinFusion", {}) as run:
        run.add_transform(whole, volume, volume, "Composite")
    assert volume.GetParentTransformNode() is None
    assert len(twin.nodes("transform")) == 1
    assert [o["name"] for o in twin.provenance()[0]["outputs"]] == ["Composite, deformation", "Composite, linear"]
    save(twin, tmp_path / "twin.mrb")
    new_scene()
    [loaded] = load(tmp_path / "twin.mrb")
    node = loaded.node("transform")
    for part in chain(node):
        for role in (part.GetMovingNodeReferenceRole(), part.GetFixedNodeReferenceRole()):
            assert part.GetNodeReference(role).GetName() == "SUV"
    points = warp.grid.to_ras(np.random.default_rng(0).uniform(1, 9, (20, 3)))
    np.testing.assert_allclose(node_to_transform(node).pull(points), whole.pull(points), atol=1e-4)
    loaded.revert_last_run()
    assert loaded.scene.GetNumberOfNodesByClass("vtkMRMLTransformNode") == 0


def test_a_transform_that_is_not_from_parent_is_sampled_where_asked(scene, warp):
    node, outer = transform_to_node(warp, scene), transform_to_node(affine(4), scene)
    node.Inverse()
    node.SetAndObserveTransformNodeID(outer.GetID())
    with pytest.raises(InvalidInput, match="name the grid to sample it on"):
        node_to_transform(node)
    grid = Grid.isotropic((9, 9, 9), 1.0, affine(4).push(warp.grid.centre) - 4)
    sampled = node_to_transform(node, grid)
    at = grid.to_ras(np.random.default_rng(0).integers(0, 8, (20, 3)))
    np.testing.assert_allclose(sampled.pull(at), mrml_points(node, at, inverse=True), atol=1e-4)


def test_another_node_is_no_transform(scene):
    with pytest.raises(InvalidInput, match="is not a transform"):
        node_to_transform(scene.AddNewNodeByClass("vtkMRMLModelNode"))
