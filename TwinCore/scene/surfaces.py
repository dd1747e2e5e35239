"""Surfaces as VTK holds them, on the segments of the scene and in files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InvalidInput
from ..surface import Surface
from .boot import mrml

if TYPE_CHECKING:
    from vtkmodules.vtkCommonDataModel import vtkPolyData

CLOSED_SURFACE = "Closed surface"
FORMATS = ("stl", "obj", "vtk", "vtp")


def to_polydata(surface: Surface) -> vtkPolyData:
    """A surface in RAS mm, with the normals of its points."""
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData

    place, cells, made = vtkPoints(), vtkCellArray(), vtkPolyData()
    place.SetData(numpy_to_vtk(np.ascontiguousarray(surface.points, np.float64), deep=True))
    cells.SetData(3, numpy_to_vtk(np.ascontiguousarray(surface.triangles, np.int64).ravel(), deep=True))
    made.SetPoints(place)
    made.SetPolys(cells)
    normals = numpy_to_vtk(np.ascontiguousarray(surface.normals(), np.float32), deep=True)
    normals.SetName("Normals")
    made.GetPointData().SetNormals(normals)
    return made


def save_surface(surface: Surface, path: str | Path) -> Path:
    """Write a surface as a file, in LPS mm as Slicer's own models are, which the file's header says.

    Parameters
    ----------
    surface : Surface
    path : str or Path
        Its ending says the format, one of `FORMATS`: binary STL, OBJ, or VTK's PolyData.

    Raises
    ------
    InvalidInput
        If the ending is another one, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.removeprefix(".") not in FORMATS:
        raise InvalidInput(f"A surface is saved as one of {', '.join(FORMATS)}, not as {path.name!r}.")
    slicer = mrml()
    scene, node, storage = slicer.vtkMRMLScene(), slicer.vtkMRMLModelNode(), slicer.vtkMRMLModelStorageNode()
    scene.AddNode(node)
    scene.AddNode(storage)
    node.SetAndObservePolyData(to_polydata(surface))
    storage.SetCoordinateSystem(slicer.vtkMRMLStorageNode.CoordinateSystemLPS)
    storage.SetFileName(str(path))
    if not storage.WriteData(node):
        raise InvalidInput(f"The surface could not be written as {path.name!r}.")
    return path
