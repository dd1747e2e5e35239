"""Surfaces in the scene and in files: what the 3D view shows, and where other programs find it."""

from __future__ import annotations

import numpy as np
import pytest

from TwinCore import InvalidInput, Segmentation
from TwinCore.scene import load, node_to_segmentation, save, save_surface, segmentation_to_node
from TwinCore.scene.surfaces import FORMATS
from TwinCore.surface import closed_surface, surfaces_of

CLOSED_SURFACE = "Closed surface"


@pytest.fixture
def segmentation(grid) -> Segmentation:
    masks = {name: np.zeros(grid.shape, bool) for name in ("tumour", "organ", "nothing")}
    masks["tumour"][1:4, 2:5, 1:6] = masks["organ"][2:5, 1:6, 0:4] = True
    return Segmentation.from_masks(grid, masks)


def surface_in(node, number: int):
    return node.GetClosedSurfaceInternalRepresentation(node.GetSegmentation().GetNthSegmentID(number))


def test_the_3d_view_has_surfaces_to_show_and_the_voxels_stay_the_source(scene, segmentation):
    from vtkmodules.util.numpy_support import vtk_to_numpy

    surfaces = surfaces_of(segmentation)
    node = segmentation_to_node(segmentation, scene, surfaces=surfaces)
    assert node.GetSegmentation().GetSourceRepresentationName() == "Binary labelmap"
    assert node.GetDisplayNode().GetDisplayRepresentationName3D() == CLOSED_SURFACE
    for number, name in enumerate(segmentation.names):
        shown = surface_in(node, number)
        if name == "nothing":
            assert shown.GetNumberOfPoints() == 0
            continue
        np.testing.assert_allclose(vtk_to_numpy(shown.GetPoints().GetData()), surfaces[name].points)
        assert vtk_to_numpy(shown.GetPointData().GetNormals()).shape == surfaces[name].points.shape
    again = node_to_segmentation(node)
    for name in segmentation.names:
        np.testing.assert_array_equal(again.mask(name), segmentation.mask(name))


def test_they_come_back_with_a_bundle(scene, segmentation, tmp_path):
    segmentation_to_node(segmentation, scene, "Anatomy", surfaces_of(segmentation))
    save(scene, tmp_path / "twin.mrb")
    scene.Clear()
    load(tmp_path / "twin.mrb", scene)
    node = scene.GetFirstNodeByName("Anatomy")
    assert surface_in(node, 0).GetNumberOfPoints() > 0
    np.testing.assert_array_equal(node_to_segmentation(node).mask("organ"), segmentation.mask("organ"))


def test_a_run_with_surfaces_can_be_reverted(twin, segmentation):
    from TwinCore.scene import snapshot

    before = snapshot(twin.scene)
    with twin.run("TwinSegment", {}) as run:
        run.add_segmentation(segmentation, "Anatomy", surfaces_of(segmentation))
    assert surface_in(twin.node("segmentation"), 0).GetNumberOfPoints() > 0
    twin.revert_last_run()
    assert snapshot(twin.scene) == before


@pytest.mark.parametrize("ending", FORMATS)
def test_a_file_is_in_lps_and_slicer_puts_it_back_where_it_was(scene, segmentation, tmp_path, ending):
    import slicer
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkIOGeometry import vtkOBJReader, vtkSTLReader
    from vtkmodules.vtkIOLegacy import vtkPolyDataReader
    from vtkmodules.vtkIOXML import vtkXMLPolyDataReader

    surface = closed_surface(segmentation.mask("tumour"), segmentation.grid)
    path = save_surface(surface, tmp_path / f"tumour.{ending}")
    assert b"LPS" in path.read_bytes() or ending == "vtp"
    readers = {"stl": vtkSTLReader, "obj": vtkOBJReader, "vtk": vtkPolyDataReader, "vtp": vtkXMLPolyDataReader}
    reader = readers[ending]()
    reader.SetFileName(str(path))
    reader.Update()
    raw = vtk_to_numpy(reader.GetOutput().GetPoints().GetData())
    lps = surface.points * [-1, -1, 1]
    np.testing.assert_allclose([raw.min(0), raw.max(0)], [lps.min(0), lps.max(0)], atol=1e-3)
    node, storage = slicer.vtkMRMLModelNode(), slicer.vtkMRMLModelStorageNode()
    scene.AddNode(node)
    storage.SetFileName(str(path))
    assert storage.ReadData(node)
    back = vtk_to_numpy(node.GetPolyData().GetPoints().GetData())
    np.testing.assert_allclose([back.min(0), back.max(0)], [surface.points.min(0), surface.points.max(0)], atol=1e-3)


def test_other_endings_and_places_are_refused(scene, segmentation, tmp_path):
    surface = closed_surface(segmentation.mask("tumour"), segmentation.grid)
    with pytest.raises(InvalidInput, match="one of stl, obj, vtk, vtp"):
        save_surface(surface, tmp_path / "tumour.ply")
    with pytest.raises(InvalidInput, match="could not be written"):
        save_surface(surface, tmp_path / "nowhere" / "tumour.stl")
