"""Transform nodes of the scene as `LinearTransform`, `GridTransform` and `CompositeTransform`, and back.

Slicer's transform *to parent* pushes points from the image to the reference, as `push` does; its transform *from
parent* pulls the image back, as `pull` does. A grid transform is the displacement of the latter. A composite is a
chain of nodes, the first move below the next: an image is put below the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import InvalidInput
from ..grid import Grid
from ..transform import CompositeTransform, GridTransform, LinearTransform, Transform
from .attributes import note_read, to_array, to_vtk
from .volumes import describe

if TYPE_CHECKING:
    from slicer import vtkMRMLTransformNode


def transform_to_node(transform: Transform, scene, name: str = "Transform") -> vtkMRMLTransformNode:
    """A new transform node; a node placed under it moves as the transform says, and `Inverse` gives the way back.

    A composite becomes one node for each of its moves, each below the next; the lowest, which moves as the whole
    says, is given. `chain` lists them. Beyond the grid Slicer continues a grid transform with the displacement at its
    edge, where `GridTransform` has none.
    """
    if isinstance(transform, LinearTransform):
        node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
        node.SetMatrixTransformToParent(to_vtk(transform.matrix))
        return node
    if isinstance(transform, GridTransform):
        node = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", name)
        node.SetAndObserveTransformFromParent(_oriented_grid(transform))
        return node
    nodes = [transform_to_node(move, scene, f"{name}, {kind(move)}") for move in transform.moves]
    for node, parent in zip(nodes, nodes[1:]):
        node.SetAndObserveTransformNodeID(parent.GetID())
    return nodes[0]


def kind(move: LinearTransform | GridTransform) -> str:
    """What the parts of a composite are called."""
    return "linear" if isinstance(move, LinearTransform) else "deformation"


def chain(node: vtkMRMLTransformNode) -> list[vtkMRMLTransformNode]:
    """A transform node and those above it, in the order in which points pass through them."""
    nodes = []
    while node is not None:
        nodes.append(node)
        node = node.GetParentTransformNode()
    return nodes


def node_to_transform(node: vtkMRMLTransformNode, grid: Grid | None = None) -> Transform:
    """The transform of a node to world, its parents included.

    Linear transforms, grid transforms given from parent, and chains of them come back as they are. Any other
    (B-spline, a grid given to parent) is sampled.

    Parameters
    ----------
    node : vtkMRMLTransformNode
    grid : Grid, optional
        Points of the reference at which to sample a transform that is neither.

    Raises
    ------
    InvalidInput
        If the node is no transform, or must be sampled and no grid is given.
    """
    from vtkmodules.vtkCommonTransforms import vtkGeneralTransform

    if node is None or not node.IsA("vtkMRMLTransformNode"):
        raise InvalidInput(f"{describe(node)} is not a transform.")
    note_read(node)
    moves = [own_move(each) for each in chain(node)]
    known = [move for move in moves if move is not None]
    if len(known) == len(moves):
        whole = CompositeTransform(tuple(known))
        return whole.moves[0] if len(whole.moves) == 1 else whole
    if grid is None:
        raise InvalidInput(
            f"Transform {node.GetName()!r} is not made of linear transforms and displacement grids: "
            "name the grid to sample it on."
        )
    pull = vtkGeneralTransform()
    node.GetTransformFromWorld(pull)
    return _sampled(pull, grid)


def own_move(node: vtkMRMLTransformNode) -> LinearTransform | GridTransform | None:
    """What a node does to its parent, without its parents; none if it is neither linear nor a displacement grid."""
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    if not node.IsLinear():
        return own_grid_transform(node)
    matrix = vtkMatrix4x4()
    node.GetMatrixTransformToParent(matrix)
    return LinearTransform(to_array(matrix))


def own_grid_transform(node) -> GridTransform | None:
    """The displacement grid that a node holds from parent, without its parents; none if it holds something else."""
    oriented = node.GetTransformFromParentAs("vtkOrientedGridTransform", False, True)
    return None if oriented is None else _grid_transform(oriented)


def _oriented_grid(transform: GridTransform):
    from slicer import vtkOrientedGridTransform
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData

    grid = transform.grid
    if not grid.is_orthogonal:
        raise InvalidInput("The grid of a displacement must have its axes at right angles.")
    field = vtkImageData()
    field.SetDimensions(*grid.shape[::-1])
    field.SetSpacing(*grid.spacing)
    field.SetOrigin(*grid.origin)
    field.GetPointData().SetScalars(numpy_to_vtk(transform.displacement_mm.astype(float).reshape(-1, 3), deep=True))
    direction = np.eye(4)
    direction[:3, :3] = grid.direction
    oriented = vtkOrientedGridTransform()
    oriented.SetDisplacementGridData(field)
    oriented.SetGridDirectionMatrix(to_vtk(direction))
    oriented.SetInterpolationModeToLinear()
    return oriented


def _grid_transform(oriented) -> GridTransform:
    from vtkmodules.util.numpy_support import vtk_to_numpy

    field, direction = oriented.GetDisplacementGrid(), oriented.GetGridDirectionMatrix()
    matrix = np.eye(4) if direction is None else to_array(direction)
    matrix[:3, :3] = matrix[:3, :3] * field.GetSpacing()
    matrix[:3, 3] = field.GetOrigin()
    shape = field.GetDimensions()[::-1]
    displacement = vtk_to_numpy(field.GetPointData().GetScalars()).reshape(*shape, 3)
    scale, shift = oriented.GetDisplacementScale(), oriented.GetDisplacementShift()
    return GridTransform(displacement * scale + shift, Grid(shape, matrix))


def _sampled(pull, grid: Grid) -> GridTransform:
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonCore import vtkPoints

    ijk = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij")[::-1], axis=-1)
    points = grid.to_ras(ijk).reshape(-1, 3)
    before, after = vtkPoints(), vtkPoints()
    before.SetData(numpy_to_vtk(points, deep=True))
    after.SetDataTypeToDouble()
    pull.TransformPoints(before, after)
    return GridTransform((vtk_to_numpy(after.GetData()) - points).reshape(*grid.shape, 3), grid)
