"""Views arranged for what a run has made: layouts, what lies over what, opacity of segments, charts."""

from __future__ import annotations

import slicer

from TwinCore.scene import Twin

OVERLAY = 0.5
QUIET_FILL, QUIET_3D = 0.15, 0.15
"""Opacity of what surrounds the segment that everything turns on, in slices and in 3D."""


def set_layout(name: str) -> None:
    """Choose one of Slicer's layouts by the name that vtkMRMLLayoutNode has for it."""
    node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    if node is not None:
        node.SetViewArrangement(getattr(slicer.vtkMRMLLayoutNode, name))


def overlay(volume, below=None, opacity: float = OVERLAY) -> None:
    """Lay a volume over the images in all slice views; none takes away what lies there."""
    if below is not None:
        slicer.util.setSliceViewerLayers(background=below)
    slicer.util.setSliceViewerLayers(foreground=volume, foregroundOpacity=opacity if volume is not None else 0.0)


def show_anatomy(twin: Twin, target: str) -> None:
    """Slices and 3D side by side, the newest anatomy over its first fused image, the target standing out."""
    node, fused = twin.node("segmentation"), twin.nodes("fused")
    set_layout("SlicerLayoutFourUpView")
    if fused:
        slicer.util.setSliceViewerLayers(background=fused[0])
    for other in twin.nodes("segmentation"):
        other.GetDisplayNode().SetVisibility(other is node)
    stand_out(node, target)


def stand_out(node, target: str) -> None:
    """One segment in full, the others faint; all alike where there is no such segment."""
    source, display = node.GetSegmentation(), node.GetDisplayNode()
    there = bool(target) and source.GetSegmentIdBySegmentName(target) != ""
    for identifier in source.GetSegmentIDs():
        quiet = there and source.GetSegment(identifier).GetName() != target
        display.SetSegmentOpacity2DFill(identifier, QUIET_FILL if quiet else OVERLAY)
        display.SetSegmentOpacity3D(identifier, QUIET_3D if quiet else 1.0)
    display.SetVisibility3D(True)


def show_chart(chart) -> None:
    """Slices, 3D and a chart side by side."""
    set_layout("SlicerLayoutFourUpPlotView")
    selection = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSelectionNode")
    if selection is not None:
        selection.SetActivePlotChartID(chart.GetID())
    for view in slicer.util.getNodesByClass("vtkMRMLPlotViewNode"):
        view.SetPlotChartNodeID(chart.GetID())
