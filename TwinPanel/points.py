"""Lists of points that the user clicks in the views."""

from __future__ import annotations

import slicer


def new_points(name: str, colour: tuple[float, float, float]):
    """A new, empty list of points in a colour of its own, whose points bear no words."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetSelectedColor(*colour)
    return node


def place_points(node) -> None:
    """Let the next clicks in the views be points of this list, until the user is done."""
    markups = slicer.modules.markups.logic()
    markups.SetActiveList(node)
    markups.StartPlaceMode(True)


def watch_points(panel, *nodes) -> None:
    """Let a panel look again whenever a point of these lists is set or goes."""
    for node in filter(None, nodes):
        for event in (node.PointPositionDefinedEvent, node.PointPositionUndefinedEvent, node.PointRemovedEvent):
            if not panel.hasObserver(node, event, panel.look_again):
                panel.addObserver(node, event, panel.look_again)
