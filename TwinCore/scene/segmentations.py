"""Segmentation nodes of the scene as `Segmentation`, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InvalidInput
from ..grid import Grid
from ..segmentation import UNCODED, Segment, Segmentation
from ..surface import NO_SURFACE, Surface
from .attributes import note_read, to_array, to_vtk, world_matrix
from .boot import mrml
from .surfaces import CLOSED_SURFACE, to_polydata
from .volumes import describe, storable

if TYPE_CHECKING:
    from slicer import vtkMRMLSegmentationNode

LABELMAP = "Binary labelmap"
TERMINOLOGY = "Segmentation category and type - DICOM master list"
# Category of a type that Slicer's terminologies do not list.
ANATOMICAL_STRUCTURE = ("SCT", "123037004", "Anatomical Structure")


def segmentation_to_node(
    segmentation: Segmentation, scene, name: str = "Segmentation", surfaces: Mapping[str, Surface] | None = None
) -> vtkMRMLSegmentationNode:
    """A new segmentation node: the same layers, names, colours and codes, and the grid as its reference geometry.

    Surfaces, by segment, are what a 3D view shows; MRML makes its own again once a segment is edited or loaded.
    """
    node = segmentation_node(segmentation, surfaces)
    node.SetName(name)
    scene.AddNode(node)
    node.CreateDefaultDisplayNodes()
    return node


def segmentation_node(
    segmentation: Segmentation, surfaces: Mapping[str, Surface] | None = None
) -> vtkMRMLSegmentationNode:
    """As `segmentation_to_node`, in no scene yet."""
    slicer = mrml()
    node = slicer.vtkMRMLSegmentationNode()
    target = node.GetSegmentation()
    labelmaps = [_oriented_image(layer, segmentation.grid) for layer in segmentation.layers]
    geometry = slicer.vtkSegmentationConverter.SerializeImageGeometry(_oriented_image(None, segmentation.grid))
    target.SetConversionParameter(slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName(), geometry)
    target.SetSourceRepresentationName(LABELMAP)
    for segment in segmentation.segments:
        item = slicer.vtkSegment()
        item.SetName(segment.name)
        item.SetColor(*segment.colour)
        item.SetLabelValue(segment.value)
        item.AddRepresentation(LABELMAP, labelmaps[segment.layer])
        if surfaces:
            item.AddRepresentation(CLOSED_SURFACE, to_polydata(surfaces.get(segment.name, NO_SURFACE)))
        if segment.code is not None:
            item.SetTerminology(_terminology(segment.code))
        target.AddSegment(item, target.GenerateUniqueSegmentID(segment.name))
    return node


def node_to_segmentation(node: vtkMRMLSegmentationNode) -> Segmentation:
    """The node's segments on its reference geometry, where they lie in world RAS.

    Without a reference geometry the grid is the smallest that holds all segments. Segments known only as surfaces
    are turned into voxels on a copy: the node is not touched.

    Raises
    ------
    InvalidInput
        If the node is no segmentation, is empty, or lies under a non-linear transform.
    """
    segmentation = segmentation_of(node)
    note_read(node)
    grid = Grid(segmentation.grid.shape, world_matrix(node) @ segmentation.grid.ijk_to_ras)
    return Segmentation(grid, segmentation.layers, segmentation.segments)


def segmentation_of(node) -> Segmentation:
    """The node's segments in its own coordinates, without its parent transforms."""
    slicer = mrml()
    if node is None or not node.IsA("vtkMRMLSegmentationNode"):
        raise InvalidInput(f"{describe(node)} is not a segmentation.")
    source = _with_labelmaps(node)
    geometry = slicer.vtkOrientedImageData()
    slicer.vtkSegmentationConverter.DeserializeImageGeometry(_geometry_of(source), geometry, False)
    grid = _grid_of(geometry)
    layers, segments = [], []
    for number in range(source.GetNumberOfLayers(LABELMAP)):
        layers.append(_on_geometry(source.GetLayerDataObject(number, LABELMAP), geometry, grid.shape))
    for identifier in source.GetSegmentIDs():
        item = source.GetSegment(identifier)
        layer = source.GetLayerIndex(identifier, LABELMAP)
        segments.append(
            Segment(item.GetName(), layer, item.GetLabelValue(), item.GetColor(), _code(item.GetTerminology()))
        )
    return Segmentation(grid, tuple(layers), tuple(segments))


def voxel_centres(node: vtkMRMLSegmentationNode, identifier: str) -> np.ndarray:
    """Centres of a segment's voxels in world RAS mm, shape (n, 3); only the part of the grid that it fills is read."""
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    segment = node.GetSegmentation().GetSegment(identifier)
    labels = segment.GetRepresentation(LABELMAP) if segment is not None else None
    scalars = labels.GetPointData().GetScalars() if labels is not None else None
    if labels is None or scalars is None or not scalars.GetNumberOfTuples():
        return np.zeros((0, 3))
    filled = vtk_to_numpy(scalars).reshape(labels.GetDimensions()[::-1]) == segment.GetLabelValue()
    matrix = vtkMatrix4x4()
    labels.GetImageToWorldMatrix(matrix)
    to_ras = world_matrix(node) @ to_array(matrix)
    ijk = np.argwhere(filled)[:, ::-1] + np.array(labels.GetExtent()[::2])
    return ijk @ to_ras[:3, :3].T + to_ras[:3, 3]


def _oriented_image(layer: np.ndarray | None, grid: Grid):
    """A label array as MRML keeps it; none for the geometry alone."""
    from vtkmodules.util.numpy_support import numpy_to_vtk

    image = mrml().vtkOrientedImageData()
    image.SetDimensions(*grid.shape[::-1])
    image.SetImageToWorldMatrix(to_vtk(grid.ijk_to_ras))
    if layer is not None:
        labels = np.ascontiguousarray(storable(layer, "a label map"))
        image.GetPointData().SetScalars(numpy_to_vtk(labels.ravel(), deep=True))
    return image


def _with_labelmaps(node):
    """The node's vtkSegmentation, or a copy of it with voxels if it has only surfaces."""
    source = node.GetSegmentation()
    if source is None or source.GetNumberOfSegments() == 0:
        raise InvalidInput(f"Segmentation {node.GetName()!r} has no segments.")
    if not source.ContainsRepresentation(LABELMAP):
        copy = mrml().vtkSegmentation()
        copy.DeepCopy(source)
        source = copy
        if not source.CreateRepresentation(LABELMAP):
            raise InvalidInput(
                f"The segments of {node.GetName()!r} cannot be turned into voxels: give it a reference volume "
                "in Slicer's Segmentations module."
            )
    return source


def _geometry_of(source) -> str:
    from vtkmodules.vtkCommonCore import vtkStringArray

    slicer = mrml()
    reference = source.GetConversionParameter(slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName())
    return reference or source.DetermineCommonLabelmapGeometry(
        slicer.vtkSegmentation.EXTENT_UNION_OF_SEGMENTS, vtkStringArray()
    )


def _grid_of(geometry) -> Grid:
    """Grid of an oriented image, whose first voxel need not be (0, 0, 0)."""
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    matrix = vtkMatrix4x4()
    geometry.GetImageToWorldMatrix(matrix)
    low = geometry.GetExtent()[::2]
    ijk_to_ras = to_array(matrix)
    ijk_to_ras[:3, 3] += ijk_to_ras[:3, :3] @ low
    return Grid(geometry.GetDimensions()[::-1], ijk_to_ras)


def _on_geometry(labelmap, geometry, shape) -> np.ndarray:
    """The labels of one layer on the common geometry; MRML keeps only the box that a layer fills."""
    from vtkmodules.util.numpy_support import vtk_to_numpy

    slicer = mrml()
    if labelmap.IsEmpty():
        return np.zeros(shape, np.uint8)
    padded = slicer.vtkOrientedImageData()
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(labelmap, geometry, padded)
    labels = vtk_to_numpy(padded.GetPointData().GetScalars()).reshape(shape).copy()
    return labels if np.issubdtype(labels.dtype, np.integer) else labels.astype(np.int32)


def _terminology(code: tuple[str, str, str]) -> str:
    """Slicer's serialised terminology entry of a coded type."""
    return f"{TERMINOLOGY}~{'^'.join(_category(code))}~{'^'.join(code)}~^^~~^^~^^"


def _category(code: tuple[str, str, str]) -> tuple[str, str, str]:
    """The category under which the DICOM master list has a type, so that Slicer's selector finds it."""
    slicer = mrml()
    logic = slicer.modules.terminologies.logic()
    category, kind = slicer.vtkSlicerTerminologyCategory(), slicer.vtkSlicerTerminologyType()
    if logic.IsTerminologyContextLoaded(TERMINOLOGY):
        for number in range(logic.GetNumberOfCategoriesInTerminology(TERMINOLOGY)):
            logic.GetNthCategoryInTerminology(TERMINOLOGY, number, category)
            for entry in range(logic.GetNumberOfTypesInTerminologyCategory(TERMINOLOGY, category)):
                logic.GetNthTypeInTerminologyCategory(TERMINOLOGY, category, entry, kind)
                if (kind.GetCodingSchemeDesignator(), kind.GetCodeValue()) == code[:2]:
                    return category.GetCodingSchemeDesignator(), category.GetCodeValue(), category.GetCodeMeaning()
    return ANATOMICAL_STRUCTURE


def _code(terminology: str) -> tuple[str, str, str] | None:
    """The coded type of a serialised terminology entry; none for MRML's default."""
    parts = terminology.split("~")
    code = tuple(parts[2].split("^")) if len(parts) > 2 else ()
    return (code[0], code[1], code[2]) if len(code) == 3 and code[1] and code != UNCODED else None
