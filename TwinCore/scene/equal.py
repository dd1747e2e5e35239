"""Whether two states of a scene, or two nodes, are the same: content hashes and snapshots."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..provenance import content_hash
from .attributes import to_array
from .hierarchy import paths
from .state import reference_ids
from .volumes import voxel_values


def hash_of(node) -> str:
    """SHA-256 of what a node holds (values and geometry, not its name or display); "" for one without content.

    The parent transform is not part of it. A segmentation is hashed segment by segment, so that it makes no
    difference in which layers they are kept.
    """
    for kind, parts in _PARTS.items():
        if node.IsA(kind):
            return content_hash(kind, *parts(node))
    return ""


def snapshot(scene) -> dict[str, Any]:
    """The scene node by node, and its subject hierarchy: two equal snapshots describe equal scenes.

    The subject hierarchy node itself is described by the paths of its items, not by its running numbers.
    """
    nodes = (scene.GetNthNode(number) for number in range(scene.GetNumberOfNodes()))
    described = {node.GetID(): _described(node) for node in nodes if not node.IsA("vtkMRMLSubjectHierarchyNode")}
    return {"nodes": described, "hierarchy": paths(scene)}


def _described(node) -> dict[str, Any]:
    roles: list[str] = []
    node.GetNodeReferenceRoles(roles)
    return {
        "class": node.GetClassName(),
        "name": node.GetName(),
        "attributes": {name: node.GetAttribute(name) for name in sorted(node.GetAttributeNames())},
        "references": {
            role: reference_ids(node, role) for role in sorted(roles) if node.GetNumberOfNodeReferences(role)
        },
        "content": hash_of(node),
    }


def _volume(node) -> list:
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    matrix = vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    ijk_to_ras, voxels = to_array(matrix), node.GetImageData()
    scalars = None if voxels is None else voxel_values(node)
    if scalars is None:
        return [_rounded(ijk_to_ras)]
    array = vtk_to_numpy(scalars).reshape(*voxels.GetDimensions()[::-1], -1)
    if np.linalg.det(ijk_to_ras[:3, :3]) < 0:  # MRML's reader turns a left-handed grid round: the same image
        array = array[::-1]
        ijk_to_ras[:3, 3] += ijk_to_ras[:3, 2] * (len(array) - 1)
        ijk_to_ras[:3, 2] *= -1
    return [_rounded(ijk_to_ras), array]


def _segmentation(node) -> list:
    from .segmentations import segmentation_of

    source = node.GetSegmentation()
    if source is None or source.GetNumberOfSegments() == 0:
        return []
    segmentation = segmentation_of(node)
    masks = [part for name in segmentation.names for part in (name, np.packbits(segmentation.mask(name)))]
    return [_rounded(segmentation.grid.ijk_to_ras), np.array(segmentation.grid.shape), *masks]


def _transform(node) -> list:
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    from .transforms import own_grid_transform

    if node.IsLinear():
        matrix = vtkMatrix4x4()
        node.GetMatrixTransformToParent(matrix)
        return [_rounded(to_array(matrix))]
    transform = own_grid_transform(node)
    if transform is None:
        return [str(node.GetTransformToParentInfo())]
    return [_rounded(transform.grid.ijk_to_ras), transform.displacement_mm.astype(np.float32)]


def _table(node) -> list:
    table = node.GetTable()
    columns = [table.GetColumn(number) for number in range(table.GetNumberOfColumns())]
    cells = [
        str(column.GetVariantValue(row).ToString()) for column in columns for row in range(column.GetNumberOfValues())
    ]
    return [
        *(column.GetName() or "" for column in columns),
        *(node.GetColumnUnitLabel(c.GetName() or "") or "" for c in columns),
        *cells,
    ]


def _model(node) -> list:
    from vtkmodules.util.numpy_support import vtk_to_numpy

    mesh = node.GetMesh()
    if mesh is None or mesh.GetPoints() is None:
        return []
    cells = (
        []
        if node.GetPolyData() is None
        else [vtk_to_numpy(node.GetPolyData().GetPolys().GetConnectivityArray()).astype(np.int64)]
    )
    return [vtk_to_numpy(mesh.GetPoints().GetData()).astype(np.float32), *cells]


def _sequence(node) -> list:
    numbers = range(node.GetNumberOfDataNodes())
    return [
        part for number in numbers for part in (node.GetNthIndexValue(number), hash_of(node.GetNthDataNode(number)))
    ]


def _rounded(matrix: np.ndarray) -> np.ndarray:
    """To a tenth of a micrometre, which every file's header keeps, and without negative zeros."""
    return np.round(matrix, 4) + 0.0


_PARTS = {
    "vtkMRMLSegmentationNode": _segmentation,
    "vtkMRMLVolumeNode": _volume,
    "vtkMRMLTransformNode": _transform,
    "vtkMRMLTableNode": _table,
    "vtkMRMLModelNode": _model,
    "vtkMRMLSequenceNode": _sequence,
    "vtkMRMLTextNode": lambda node: [node.GetText() or ""],
}
