"""What a node of the twin says about itself, and the note of which nodes a run has read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from ..errors import InvalidInput
from .boot import mrml

ROLE, MODALITY, UNIT, TIME, RUN = (f"DigitalTwin.{word}" for word in ("Role", "Modality", "Unit", "Time", "Run"))
CHANNELS = "DigitalTwin.Channels"
"""Of a volume with channels: JSON list of the name, modality and unit of each."""

_readers: ContextVar[tuple[list, ...]] = ContextVar("nodes_read", default=())


def set_meaning(node, modality: str = "", unit: str = "1", time: str | float | None = None) -> None:
    """Write modality (DICOM code), unit (UCUM) and time (ISO date, or days from the reference scan) into attributes."""
    node.SetAttribute(MODALITY, modality or None)
    node.SetAttribute(UNIT, unit)
    node.SetAttribute(TIME, None if time is None else time if isinstance(time, str) else repr(float(time)))


def meaning(node) -> dict:
    """Modality, unit and time of a node, as fields of `Image`; a node without a unit has numbers without one ("1")."""
    return {
        "modality": node.GetAttribute(MODALITY) or "",
        "unit": node.GetAttribute(UNIT) or "1",
        "time": _time(node.GetAttribute(TIME)),
    }


def _time(text: str | None) -> str | float | None:
    try:
        return text if text is None else float(text)
    except ValueError:
        return text


@contextmanager
def reading() -> Iterator[list]:
    """The list of nodes that are turned into arrays while the context lasts, each once, in order: a run's inputs."""
    nodes: list = []
    token = _readers.set((*_readers.get(), nodes))
    try:
        yield nodes
    finally:
        _readers.reset(token)


def note_read(node) -> None:
    """Every conversion of a node into arrays tells this."""
    for nodes in _readers.get():
        if not any(node is other for other in nodes):
            nodes.append(node)


def world_matrix(node):
    """The linear parent transforms of a node as one matrix from the node's coordinates to world RAS, shape (4, 4).

    Raises
    ------
    InvalidInput
        If a parent transform is not linear.
    """
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    matrix = vtkMatrix4x4()
    parent = node.GetParentTransformNode()
    if parent is not None and not parent.IsTransformToWorldLinear():
        raise InvalidInput(
            f"{node.GetName()!r} lies under the non-linear transform {parent.GetName()!r}, which its voxels "
            "cannot follow as they are: harden the transform on a copy, or take the node out of the transform."
        )
    mrml().vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(parent, None, matrix)
    return to_array(matrix)


def to_array(matrix):
    """A VTK matrix as an array, shape (4, 4)."""
    import numpy as np

    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def to_vtk(array):
    """An array, shape (4, 4), as a VTK matrix."""
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    matrix = vtkMatrix4x4()
    matrix.DeepCopy([float(x) for x in array.ravel()])
    return matrix
