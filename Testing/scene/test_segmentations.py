"""Segmentations: overlapping segments, colours, codes and geometry."""

import numpy as np
import pytest

from TwinCore import Grid, Image, InvalidInput, LinearTransform, Segment, Segmentation
from TwinCore.scene import image_to_node, node_to_segmentation, segmentation_to_node, transform_to_node


@pytest.fixture
def segmentation(grid) -> Segmentation:
    rng = np.random.default_rng(5)
    masks = {
        "tumour": rng.random(grid.shape) > 0.7,
        "organ": rng.random(grid.shape) > 0.3,
        "nothing": np.zeros(grid.shape, bool),
    }
    return Segmentation.from_masks(
        grid, masks, {"tumour": ("SCT", "4147007", "Mass"), "organ": ("SCT", "10200004", "Liver")}
    )


def test_overlapping_segments_come_back_voxel_by_voxel(scene, segmentation):
    again = node_to_segmentation(segmentation_to_node(segmentation, scene))
    assert len(segmentation.layers) == 2
    assert again.names == segmentation.names
    assert again.grid.same_as(segmentation.grid, 1e-6)
    for name in segmentation.names:
        np.testing.assert_array_equal(again.mask(name), segmentation.mask(name))


def test_colours_and_codes_come_back(scene, segmentation):
    again = node_to_segmentation(segmentation_to_node(segmentation, scene))
    for before, after in zip(segmentation.segments, again.segments):
        np.testing.assert_allclose(after.colour, before.colour)
        assert after.code == before.code


def test_the_category_is_the_one_slicer_lists_the_type_under(scene, segmentation):
    node = segmentation_to_node(segmentation, scene)
    terminology = [node.GetSegmentation().GetNthSegment(n).GetTerminology() for n in (0, 1)]
    assert "~SCT^49755003^Morphologically Altered Structure~SCT^4147007^Mass~" in terminology[0]
    assert "~SCT^123037004^Anatomical Structure~SCT^10200004^Liver~" in terminology[1]


def test_large_labels_and_64_bit_layers_are_kept(scene, grid):
    layer = np.zeros(grid.shape, np.int64)
    layer[1:3] = 4711
    once = Segmentation(grid, (layer,), (Segment("parcel", 0, 4711, (1.0, 0.0, 0.0)),))
    again = node_to_segmentation(segmentation_to_node(once, scene))
    np.testing.assert_array_equal(again.mask("parcel"), layer == 4711)


def test_mrml_sees_the_mask_on_a_volume_of_the_same_grid(scene, segmentation):
    import slicer
    from vtkmodules.util.numpy_support import vtk_to_numpy

    node = segmentation_to_node(segmentation, scene)
    volume = image_to_node(Image(np.zeros(segmentation.grid.shape, np.int16), segmentation.grid), scene)
    labels = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    assert logic.ExportSegmentsToLabelmapNode(node, [node.GetSegmentation().GetNthSegmentID(1)], labels, volume)
    exported = vtk_to_numpy(labels.GetImageData().GetPointData().GetScalars()).reshape(segmentation.grid.shape)
    np.testing.assert_array_equal(exported > 0, segmentation.mask("organ"))


def test_a_linear_parent_is_folded_into_the_grid(scene, segmentation):
    move = LinearTransform(np.array([[0, -1, 0, 5], [1, 0, 0, 7], [0, 0, 1, 2], [0, 0, 0, 1.0]]))
    node = segmentation_to_node(segmentation, scene)
    node.SetAndObserveTransformNodeID(transform_to_node(move, scene).GetID())
    again = node_to_segmentation(node)
    np.testing.assert_allclose(again.grid.corners(), move.push(segmentation.grid.corners()), atol=1e-6)
    np.testing.assert_array_equal(again.mask("organ"), segmentation.mask("organ"))


def test_a_segmentation_without_reference_geometry_gets_the_box_of_its_segments(scene):
    grid = Grid.isotropic((6, 7, 8), 2.0, (10, 20, 30))
    mask = np.zeros(grid.shape, bool)
    mask[2:4, 3:5, 1:6] = True
    node = segmentation_to_node(Segmentation.from_masks(grid, {"box": mask}), scene)
    node.GetSegmentation().CollapseBinaryLabelmaps(False)
    node.GetSegmentation().SetConversionParameter("Reference image geometry", "")
    again = node_to_segmentation(node)
    assert again.volume_ml("box") == pytest.approx(mask.sum() * 0.008)
    low = again.grid.to_ras(np.argwhere(again.mask("box")).min(0)[::-1])
    np.testing.assert_allclose(low, grid.to_ras([1, 3, 2]), atol=1e-6)


def test_a_segmentation_known_only_as_surfaces_is_voxelised_on_a_copy(scene):
    grid = Grid.isotropic((24, 24, 24), 1.0)
    k, j, i = np.indices(grid.shape)
    ball = (k - 12) ** 2 + (j - 12) ** 2 + (i - 12) ** 2 < 64
    node = segmentation_to_node(Segmentation.from_masks(grid, {"ball": ball}), scene)
    assert node.CreateClosedSurfaceRepresentation()
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    node.GetSegmentation().RemoveRepresentation("Binary labelmap")
    again = node_to_segmentation(node)
    assert again.volume_ml("ball") == pytest.approx(ball.sum() / 1000, rel=0.1)
    assert not node.GetSegmentation().ContainsRepresentation("Binary labelmap")


def test_an_empty_segmentation_is_refused(scene):
    with pytest.raises(InvalidInput, match="'Nobody' has no segments"):
        node_to_segmentation(scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Nobody"))


def test_centres_of_a_segment_s_voxels_lie_where_they_do(scene, segmentation):
    from TwinCore.scene.segmentations import voxel_centres

    node = segmentation_to_node(segmentation, scene)
    ids = {node.GetSegmentation().GetSegment(i).GetName(): i for i in node.GetSegmentation().GetSegmentIDs()}
    found = voxel_centres(node, ids["tumour"])
    wanted = segmentation.grid.to_ras(np.argwhere(segmentation.mask("tumour"))[:, ::-1])
    np.testing.assert_allclose(found, wanted, atol=1e-9)
    assert voxel_centres(node, ids["nothing"]).shape == (0, 3)
    assert voxel_centres(node, "gone").shape == (0, 3)
