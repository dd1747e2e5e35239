"""What panels read from nodes without turning them into arrays."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from TwinCore.scene import Twin, node_to_table
from TwinCore.scene.attributes import RUN


def box_of(roi) -> list[list[float]] | None:
    """Lowest and highest RAS corner, in mm, of the box around a markups ROI; None for no ROI."""
    if roi is None:
        return None
    bounds = [0.0] * 6
    roi.GetRASBounds(bounds)
    return np.reshape(bounds, (3, 2)).T.tolist()


def points_of(markups) -> list[list[float]]:
    """The placed control points of a markups node, in RAS mm; none for no node, and points as they are."""
    if markups is None:
        return []
    if not hasattr(markups, "GetNumberOfControlPoints"):
        return [list(map(float, point)) for point in markups]
    numbers, defined = range(markups.GetNumberOfControlPoints()), markups.PositionDefined
    placed = [number for number in numbers if markups.GetNthControlPointPositionStatus(number) == defined]
    points = []
    for number in placed:
        point = [0.0, 0.0, 0.0]
        markups.GetNthControlPointPositionWorld(number, point)
        points.append(point)
    return points


def segment_names(twin: Twin) -> list[str]:
    """Names of all segments of a twin, each once, those of the newest segmentation first."""
    sources = [node.GetSegmentation() for node in twin.nodes("segmentation")]
    names = (source.GetNthSegment(n).GetName() for source in sources for n in range(source.GetNumberOfSegments()))
    return list(dict.fromkeys(names))


def inputs_over_time(twin: Twin) -> list:
    """The sequences of a twin that no run has made."""
    return [node for node in twin.nodes("sequence") if node.GetAttribute(RUN) is None]


def newest_fused(twin: Twin | None) -> dict[str, Any]:
    """The newest fused volume of each image, by the image's name."""
    fused: dict[str, Any] = {}
    for node in [] if twin is None else twin.nodes("fused"):
        fused.setdefault(node.GetName().removesuffix(" fused"), node)
    return fused


def voxels_of(volume) -> int:
    """How many voxels a volume node has."""
    image = volume.GetImageData()
    return 0 if image is None else int(np.prod(image.GetDimensions()))


def size_of(volumes: list) -> tuple[int, float]:
    """Voxels and mL of the largest of some volume nodes; nothing of none."""
    sizes = [(voxels_of(node), voxels_of(node) * float(np.prod(node.GetSpacing())) / 1000.0) for node in volumes]
    return max(sizes, default=(0, 0.0))


def measured_ml(twin: Twin, segment: str) -> float | None:
    """A segment's volume as the newest table of measures has it; None where it was not measured."""
    for node in twin.nodes("table"):
        if node.GetTable().GetColumnByName("segment") is not None:
            columns = node_to_table(node).columns
            measured = dict(zip(columns["segment"], columns["volume"]))
            if segment in measured:
                return float(measured[segment])
    return None


def made_by(twin: Twin, role: str, module: str) -> list:
    """The nodes of a role that the module's newest run has made."""
    run = next((record["run"] for record in twin.provenance() if record["module"] == module), None)
    return [node for node in twin.nodes(role) if run is not None and node.GetAttribute(RUN) == run]


def from_text(text: str, default: Any) -> Any:
    """A value kept as JSON in a parameter node, if it is of the default's type; scenes come from anywhere."""
    try:
        value = json.loads(text)
    except ValueError:
        return default
    return value if isinstance(value, type(default)) else default
