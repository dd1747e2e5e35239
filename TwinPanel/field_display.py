"""How a field is shown: perceptually uniform colours, a colour bar with its unit, nothing where there is nothing."""

from __future__ import annotations

import slicer

from TwinCore.scene import meaning
from TwinCore.units import NO_UNIT, in_words

from .display import overlay

VIRIDIS = "vtkMRMLColorTableNodeFileViridis.txt"
"""Of Slicer's desktop."""
OWN = "DigitalTwin viridis"
"""Name of the node that is made elsewhere: no singleton, which outlives its scene and is overwritten by loaded ones."""
ANCHORS = (
    (0.267, 0.005, 0.329), (0.282, 0.095, 0.417), (0.279, 0.175, 0.483), (0.259, 0.252, 0.525), (0.230, 0.322, 0.546),
    (0.199, 0.388, 0.555), (0.173, 0.449, 0.558), (0.149, 0.508, 0.557), (0.128, 0.567, 0.551), (0.121, 0.626, 0.533),
    (0.158, 0.684, 0.502), (0.246, 0.739, 0.452), (0.369, 0.789, 0.383), (0.516, 0.831, 0.294), (0.678, 0.864, 0.190),
    (0.846, 0.887, 0.100), (0.993, 0.906, 0.144),
)  # fmt: skip
"""Matplotlib's viridis at equal steps, to be interpolated between."""
COLOURS = 256
FAINTEST = 0.02
"""Share of the range below which a field is not drawn."""


def show_field(field, below=None) -> None:
    """Lay a field over the images with its colour bar; none takes the one that lies there away."""
    for legend in slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode"):
        legend.SetVisibility(False)
    if field is not None:
        _colour(field)
        _legend(field).SetVisibility(True)
    overlay(field, below)


def _colour(field) -> None:
    """Viridis from 0 to 1, or to the largest value where there is a unit."""
    display, unit = field.GetDisplayNode(), meaning(field)["unit"]
    high = 1.0 if unit == NO_UNIT else max(field.GetImageData().GetScalarRange()[1], 1e-6)
    display.SetAndObserveColorNodeID(_viridis().GetID())
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(0.0, high)
    display.SetThreshold(FAINTEST * high, high)
    display.SetApplyThreshold(True)


def _viridis():
    """Slicer's colours, or the same made here where its files are not."""
    scene = slicer.mrmlScene
    node = scene.GetNodeByID(VIRIDIS) or scene.GetFirstNodeByName(OWN)
    if node is not None:
        return node
    node = slicer.vtkMRMLColorTableNode()
    node.SetName(OWN)
    node.SetTypeToUser()
    node.SetNumberOfColors(COLOURS)
    for number in range(COLOURS):
        at = number / (COLOURS - 1) * (len(ANCHORS) - 1)
        first = min(int(at), len(ANCHORS) - 2)
        share = at - first
        rgb = [a + share * (b - a) for a, b in zip(ANCHORS[first], ANCHORS[first + 1])]
        node.SetColor(number, str(number), *rgb, 1.0)
    return scene.AddNode(node)


def _legend(field):
    """The colour bar of a field, with its name and unit."""
    for number in range(field.GetNumberOfDisplayNodes()):
        if field.GetNthDisplayNode(number).IsA("vtkMRMLColorLegendDisplayNode"):
            return field.GetNthDisplayNode(number)
    display, scene = field.GetDisplayNode(), slicer.mrmlScene
    legend = scene.AddNewNodeByClass("vtkMRMLColorLegendDisplayNode")
    legend.SetAndObserveColorNodeID(display.GetColorNodeID())
    legend.SetAndObservePrimaryDisplayNode(display)
    field.AddAndObserveDisplayNodeID(legend.GetID())
    unit = in_words(meaning(field)["unit"])
    legend.SetTitleText(f"{field.GetName()} ({unit})" if unit else field.GetName())
    legend.SetLabelFormat("%.2g")
    return legend
