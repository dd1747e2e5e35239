"""Sequences over time in the scene: of images, and of segmentations; one browser may play several."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import InvalidInput
from ..image import Image
from ..segmentation import Segmentation
from ..surface import Surface
from .attributes import meaning, note_read, set_meaning
from .boot import mrml
from .segmentations import node_to_segmentation, segmentation_node
from .volumes import describe, node_to_image, volume_node

if TYPE_CHECKING:
    from slicer import vtkMRMLSequenceBrowserNode, vtkMRMLSequenceNode

SAME_TIME_DAYS = 1e-10
"""Ten microseconds: the time points of a heartbeat are some milliseconds apart."""


def sequence_to_node(
    images: Sequence[Image], scene, name: str = "Sequence"
) -> tuple[vtkMRMLSequenceNode, vtkMRMLSequenceBrowserNode]:
    """A new sequence of images on one grid, indexed by their time in days, and the browser that plays it.

    Raises
    ------
    InvalidInput
        If there are no images, one has no time in days, or their grids or units differ.
    """
    times = [float(image.time) if isinstance(image.time, (int, float)) else math.nan for image in images]
    _check_times(times, name, "images")
    first = images[0]
    for image in images:
        if not image.grid.same_as(first.grid) or (image.unit, image.modality) != (first.unit, first.modality):
            raise InvalidInput(f"Sequence {name!r} needs images on one grid, of one modality and in one unit.")
    sequence = _sequence_node(scene, name)
    set_meaning(sequence, first.modality, first.unit)
    for image, time in zip(images, times):
        _put(sequence, volume_node(image), time)
    browser = _browser_for(sequence)
    browser.GetProxyNode(sequence).CreateDefaultDisplayNodes()
    return sequence, browser


def node_to_sequence(node: vtkMRMLSequenceNode) -> list[Image]:
    """The images of a sequence, each with its time in days."""
    _check_sequence(node, "vtkMRMLVolumeNode", "images")
    note_read(node)
    images = []
    for number in range(node.GetNumberOfDataNodes()):
        image = node_to_image(node.GetNthDataNode(number))
        shared = meaning(node)
        images.append(
            replace(image, **{**shared, "time": float(node.GetNthIndexValue(number)), "name": node.GetName()})
        )
    return images


def segmentations_to_node(
    segmentations: Mapping[float, Segmentation],
    scene,
    name: str = "Segmentations",
    surfaces: Mapping[float, Mapping[str, Surface]] | None = None,
    beside: vtkMRMLSequenceNode | None = None,
) -> tuple[vtkMRMLSequenceNode, vtkMRMLSequenceBrowserNode]:
    """A new sequence of segmentations, and the browser that plays it.

    Parameters
    ----------
    segmentations : mapping of float to Segmentation
        By time in days, ascending; the same segments on one grid, of which some may be empty at some times.
    scene
    name : str
    surfaces : mapping, optional
        By time and then by segment, for the 3D view; where a segment is not there it has none.
    beside : sequence node, optional
        Whose browser plays this one too, so that one slider moves both.

    Raises
    ------
    InvalidInput
        If there are none, or their times do not ascend, or their segments or grids differ, or nothing plays `beside`.
    """
    times = [float(time) for time in segmentations]
    _check_times(times, name, "segmentations")
    first = next(iter(segmentations.values()))
    for one in segmentations.values():
        if not one.grid.same_as(first.grid) or one.names != first.names:
            raise InvalidInput(f"Sequence {name!r} needs the same segments on one grid at all times.")
    browser = None if beside is None else browser_of(beside)
    if beside is not None and browser is None:
        raise InvalidInput(f"Sequence {beside.GetName()!r} has no browser that could play {name!r} too.")
    sequence = _sequence_node(scene, name)
    set_meaning(sequence)
    for time, one in segmentations.items():
        _put(sequence, segmentation_node(one, (surfaces or {}).get(time)), float(time))
    browser = _browser_for(sequence, browser)
    shown = browser.GetProxyNode(sequence)
    shown.CreateDefaultDisplayNodes()
    if any(len(one.layers) > 1 for one in segmentations.values()):  # filled, one would hide the others
        shown.GetDisplayNode().SetVisibility2DFill(False)
    return sequence, browser


def node_to_segmentations(node: vtkMRMLSequenceNode) -> dict[float, Segmentation]:
    """The segmentations of a sequence by their time in days."""
    _check_sequence(node, "vtkMRMLSegmentationNode", "segmentations")
    note_read(node)
    return {
        float(node.GetNthIndexValue(number)): node_to_segmentation(node.GetNthDataNode(number))
        for number in range(node.GetNumberOfDataNodes())
    }


def holds_images(node: vtkMRMLSequenceNode) -> bool:
    """Whether a sequence is one of images."""
    return node.GetNumberOfDataNodes() > 0 and node.GetNthDataNode(0).IsA("vtkMRMLVolumeNode")


def browser_of(sequence: vtkMRMLSequenceNode) -> vtkMRMLSequenceBrowserNode | None:
    """The browser that plays a sequence, alone or beside others; None if there is none."""
    return mrml().modules.sequences.logic().GetFirstBrowserNodeForSequenceNode(sequence)


def _check_times(times: Sequence[float], name: str, of: str) -> None:
    if not times or not all(map(math.isfinite, times)) or sorted(set(times)) != list(times):
        raise InvalidInput(f"Sequence {name!r} needs {of} with increasing times in days, not {list(times)}.")


def _check_sequence(node, kind: str, of: str) -> None:
    if node is None or not node.IsA("vtkMRMLSequenceNode"):
        raise InvalidInput(f"{describe(node)} is not a sequence.")
    for number in range(node.GetNumberOfDataNodes()):
        if not node.GetNthDataNode(number).IsA(kind):
            raise InvalidInput(f"Sequence {node.GetName()!r} is not one of {of}.")


def _sequence_node(scene, name: str) -> vtkMRMLSequenceNode:
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
    sequence.SetIndexName("time")
    sequence.SetIndexUnit("d")
    sequence.SetIndexTypeFromString("numeric")
    sequence.SetNumericIndexValueTolerance(SAME_TIME_DAYS)  # MRML's own would make frames of one minute one
    return sequence


def _put(sequence, node, time: float) -> None:
    node.SetName(sequence.GetName())
    sequence.SetDataNodeAtValue(node, repr(time))


def _browser_for(sequence, browser=None):
    """The browser, a new one if none is given, with the sequence and the node that shows its current item."""
    if browser is None:
        browser = sequence.GetScene().AddNewNodeByClass("vtkMRMLSequenceBrowserNode", f"{sequence.GetName()} browser")
        browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    else:
        browser.AddSynchronizedSequenceNode(sequence)
    mrml().modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    return browser
