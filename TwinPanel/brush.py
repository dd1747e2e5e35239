"""Painting where a segment is wrong: Slicer's own brush, on strokes that are kept apart from the anatomy."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import slicer
from slicer.i18n import tr as _

from TwinCore.scene.segmentations import voxel_centres
from TwinCore.scene.state import remove, with_companions

HIDDEN = ("segmentationNodeSelectorVisible", "sourceVolumeNodeSelectorVisible", "switchToSegmentationsButtonVisible")
HIDDEN_WHERE_IT_CAN_BE = (
    "maskingSectionVisible",
    "specifyGeometryButtonVisible",
    "show3DButtonVisible",
    "addRemoveSegmentButtonsVisible",
)
"""Of newer Slicer alone."""


class Brush:
    """Slicer's segment editor with paint and erase alone, made when first painted with.

    Strokes are a segmentation of their own, a segment a side, which is not saved with the scene.

    Parameters
    ----------
    place : widget
        Into whose layout the editor goes.
    sides : mapping of str to (str, colour)
        What can be painted: name in words and colour of each, by its key.
    changed : callable
        Called as an observer after a stroke.
    """

    def __init__(self, place, sides: Mapping[str, tuple], changed: Callable):
        self._place, self._sides, self._changed = place, sides, changed
        self._editor = self._strokes = self._settings = None
        place.visible = False

    def paint(self, side: str, volume) -> None:
        """Let the mouse paint strokes of a side over a volume, until `rest`."""
        self._open(volume)
        self._editor.setCurrentSegmentID(side)
        self._editor.setActiveEffectByName("Paint")
        self._place.visible = True

    def rest(self) -> None:
        """Let the mouse do what it did before; strokes stay."""
        self._place.visible = False
        if self._editor is not None:
            self._editor.setActiveEffect(None)
            self._editor.removeViewObservations()

    def clear(self) -> None:
        """Take the strokes away, with all that served to make them."""
        self.rest()
        if self._editor is not None:
            self._editor.setSegmentationNode(None)
            self._editor.setMRMLSegmentEditorNode(None)
        there = [n for n in (self._strokes, self._settings) if n is not None and slicer.mrmlScene.IsNodePresent(n)]
        remove(slicer.mrmlScene, with_companions(there))
        self._strokes = self._settings = None

    def points(self, side: str) -> list[list[float]]:
        """Centres of the voxels that were painted for a side, in RAS mm."""
        there = self._strokes is not None and slicer.mrmlScene.IsNodePresent(self._strokes)
        return voxel_centres(self._strokes, side).round(4).tolist() if there else []

    def _open(self, volume) -> None:
        scene = slicer.mrmlScene
        if self._strokes is None or not scene.IsNodePresent(self._strokes):
            self._strokes = _in_no_file(slicer.vtkMRMLSegmentationNode(), _("Strokes of the brush"))
            self._strokes.CreateDefaultDisplayNodes()
            self._strokes.GetDisplayNode().SetSaveWithScene(False)
            self._strokes.SetReferenceImageGeometryParameterFromVolumeNode(volume)
            source = self._strokes.GetSegmentation()
            for side, (words, colour) in self._sides.items():
                source.AddEmptySegment(side, words, colour)
            for event in (source.SourceRepresentationModified, source.RepresentationModified):
                source.AddObserver(event, self._changed)
            self._settings = _in_no_file(slicer.vtkMRMLSegmentEditorNode(), "DigitalTwin brush")
        if self._editor is None:
            self._editor = editor = slicer.qMRMLSegmentEditorWidget()
            editor.setMaximumNumberOfUndoStates(10)
            editor.unorderedEffectsVisible = False
            editor.setEffectNameOrder(["Paint", "Erase"])
            for name in (*HIDDEN, *(n for n in HIDDEN_WHERE_IT_CAN_BE if hasattr(editor, n))):
                setattr(editor, name, False)
            self._place.layout().addWidget(editor)
        self._editor.setMRMLSegmentEditorNode(self._settings)  # before the scene, as the widget asks for
        self._editor.setMRMLScene(scene)
        self._editor.setSegmentationNode(self._strokes)
        self._editor.setSourceVolumeNode(volume)


def _in_no_file(node, name: str):
    node.SetName(name)
    node.SetSaveWithScene(False)
    return slicer.mrmlScene.AddNode(node)
