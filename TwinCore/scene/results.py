"""Results in the scene: tables, charts, surfaces and texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InvalidInput
from ..results import Table
from ..surface import Surface
from .attributes import note_read, world_matrix
from .boot import mrml
from .surfaces import to_polydata
from .volumes import describe, storable

if TYPE_CHECKING:
    from slicer import (
        vtkMRMLModelNode,
        vtkMRMLPlotChartNode,
        vtkMRMLTableNode,
        vtkMRMLTextNode,
    )

# Okabe and Ito's colour-blind-safe colours, for the lines of a chart.
LINE_COLOURS = (
    (0.0, 0.45, 0.70),
    (0.84, 0.37, 0.0),
    (0.0, 0.62, 0.45),
    (0.80, 0.47, 0.65),
    (0.90, 0.62, 0.0),
    (0.34, 0.71, 0.91),
)


def table_to_node(table: Table, scene, name: str = "") -> vtkMRMLTableNode:
    """A new table node with typed columns and their units."""
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonCore import vtkStringArray

    node = scene.AddNewNodeByClass("vtkMRMLTableNode", name or table.name)
    node.SetUseColumnTitleAsColumnHeader(False)
    for title, values in table.columns.items():
        array = np.asarray(values)
        if array.dtype.kind in "biuf":
            column = numpy_to_vtk(np.ascontiguousarray(storable(array, title)), deep=True)
        else:
            column = vtkStringArray()
            for word in values:
                column.InsertNextValue(str(word))
        column.SetName(title)
        node.AddColumn(column)
        if table.units.get(title):
            node.SetColumnUnitLabel(title, table.units[title])
    return node


def node_to_table(node: vtkMRMLTableNode) -> Table:
    """The node's columns: arrays of numbers, and lists of words."""
    from vtkmodules.util.numpy_support import vtk_to_numpy

    if node is None or not node.IsA("vtkMRMLTableNode"):
        raise InvalidInput(f"{describe(node)} is not a table.")
    note_read(node)
    table = node.GetTable()
    columns: dict[str, Sequence | np.ndarray] = {}
    units = {}
    for number in range(table.GetNumberOfColumns()):
        column = table.GetColumn(number)
        words = column.IsA("vtkStringArray")
        columns[column.GetName()] = (
            [column.GetValue(row) for row in range(column.GetNumberOfValues())]
            if words
            else vtk_to_numpy(column).copy()
        )
        unit = node.GetColumnUnitLabel(column.GetName())
        if unit:
            units[column.GetName()] = unit
    return Table(node.GetName(), columns, units)


def plot_to_node(
    title: str, table_node, x: str, ys: Sequence[str], scene, x_title: str = "", y_title: str = ""
) -> vtkMRMLPlotChartNode:
    """A new chart of columns `ys` of a table against its column `x`; axes are labelled with the columns' units.

    Raises
    ------
    InvalidInput
        If the table lacks a column.
    """
    table = table_node.GetTable()
    names = [table.GetColumnName(number) for number in range(table.GetNumberOfColumns())]
    missing = [name for name in (x, *ys) if name not in names]
    if missing or not ys:
        raise InvalidInput(
            f"Chart {title!r}: table {table_node.GetName()!r} has no column {missing}; its columns are {names}."
        )
    chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", title)
    chart.SetTitle(title)
    chart.SetXAxisTitle(x_title or _labelled(table_node, x))
    chart.SetYAxisTitle(y_title or _labelled(table_node, ys[0]))
    for number, y in enumerate(ys):
        series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", y)
        series.SetAndObserveTableNodeID(table_node.GetID())
        series.SetXColumnName(x)
        series.SetYColumnName(y)
        series.SetPlotType(mrml().vtkMRMLPlotSeriesNode.PlotTypeScatter)
        series.SetMarkerStyle(mrml().vtkMRMLPlotSeriesNode.MarkerStyleNone)
        series.SetColor(*LINE_COLOURS[number % len(LINE_COLOURS)])
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
    return chart


def _labelled(table_node, column: str) -> str:
    unit = table_node.GetColumnUnitLabel(column)
    return f"{column} ({unit})" if unit and unit != "1" else column


def model_to_node(points: np.ndarray, triangles: np.ndarray, scene, name: str = "Model") -> vtkMRMLModelNode:
    """A new model node of a triangulated surface.

    Parameters
    ----------
    points : array, shape (n, 3)
        RAS, in mm.
    triangles : integer array, shape (m, 3)
        Indices of points.

    Raises
    ------
    InvalidInput
        If a triangle names a point that is not there.
    """
    points, triangles = np.asarray(points, float), np.asarray(triangles, np.int64)
    if (
        points.shape[1:] != (3,)
        or triangles.shape[1:] != (3,)
        or (triangles.size and not 0 <= triangles.min() <= triangles.max() < len(points))
    ):
        raise InvalidInput(
            f"Surface {name!r} needs points (n, 3) and triangles (m, 3) between them, "
            f"not {points.shape} and {triangles.shape}."
        )
    node = scene.AddNewNodeByClass("vtkMRMLModelNode", name)
    node.SetAndObservePolyData(to_polydata(Surface(points, triangles)))
    node.CreateDefaultDisplayNodes()
    return node


def node_to_model(node: vtkMRMLModelNode) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 3) in RAS mm and triangles (m, 3) of a model; other faces are cut into triangles."""
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkFiltersCore import vtkTriangleFilter

    if node is None or not node.IsA("vtkMRMLModelNode") or node.GetPolyData() is None:
        raise InvalidInput(f"{describe(node)} is not a surface model.")
    note_read(node)
    cut = vtkTriangleFilter()
    cut.SetInputData(node.GetPolyData())
    cut.Update()
    surface = cut.GetOutput()
    points = vtk_to_numpy(surface.GetPoints().GetData()).astype(float)
    triangles = vtk_to_numpy(surface.GetPolys().GetConnectivityArray()).reshape(-1, 3).copy()
    world = world_matrix(node)
    return points @ world[:3, :3].T + world[:3, 3], triangles


def text_to_node(text: str, scene, name: str = "Text") -> vtkMRMLTextNode:
    """A new text node (UTF-8)."""
    node = scene.AddNewNodeByClass("vtkMRMLTextNode", name)
    node.SetText(text)
    return node


def text_of(node: vtkMRMLTextNode) -> str:
    """The text of a text node."""
    if node is None or not node.IsA("vtkMRMLTextNode"):
        raise InvalidInput(f"{describe(node)} is not a text.")
    return node.GetText() or ""
