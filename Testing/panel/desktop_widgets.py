"""Stand-ins for the widgets of CTK and Slicer that the panels use, on PySide6 and the real MRML scene."""

from __future__ import annotations

import typing

from PySide6 import QtCore, QtWidgets
from slicer import util


class ctkCollapsibleButton(QtWidgets.QGroupBox):
    text = QtCore.Property(str, lambda self: self.title, lambda self, text: self.setTitle(text))

    def _collapse(self, collapsed: bool) -> None:
        self._is_collapsed = collapsed
        self.setMaximumHeight(24 if collapsed else (1 << 24) - 1)

    _is_collapsed = False
    collapsed = QtCore.Property(bool, lambda self: self._is_collapsed, _collapse)


class qMRMLWidget(QtWidgets.QWidget):
    mrmlSceneChanged = QtCore.Signal(object)

    def setMRMLScene(self, scene) -> None:
        self.mrmlSceneChanged.emit(scene)


class qMRMLNodeComboBox(QtWidgets.QComboBox):
    """Lists the scene's nodes of its types; only once a scene has reached it, as in Slicer."""

    currentNodeChanged = QtCore.Signal(object)
    scene, noneDisplay, nodeTypes = None, "None", ()
    noneEnabled = addEnabled = removeEnabled = renameEnabled = False
    _nodes, _tags = (), ()

    def setMRMLScene(self, scene) -> None:
        self.scene = scene
        self.noneDisplay, self.nodeTypes = self.property("noneDisplay"), self.property("nodeTypes")
        events = (scene.NodeAddedEvent, scene.NodeRemovedEvent)
        self._tags = [scene.AddObserver(event, lambda *_: self._fill()) for event in events]
        self.currentIndexChanged.connect(lambda _: self.currentNodeChanged.emit(self.currentNode()))
        self._fill()

    def let_go(self) -> None:
        for tag in self._tags:
            self.scene.RemoveObserver(tag)

    def _fill(self) -> None:
        chosen = self.currentNode()
        self.blockSignals(True)
        self.clear()
        found = [n for kind in self.nodeTypes for n in util.getNodesByClass(kind) if not n.GetHideFromEditors()]
        self._nodes = [None, *found]
        self.addItems([self.noneDisplay, *(n.GetName() for n in found)])
        self.blockSignals(False)
        self.setCurrentNode(chosen)

    def currentNode(self):
        return self._nodes[self.currentIndex] if 0 <= self.currentIndex < len(self._nodes) else None

    def setCurrentNode(self, node) -> None:
        if self.scene is None:
            raise RuntimeError(f"{self.name} has no scene: the .ui file does not connect mrmlSceneChanged to it")
        self.setCurrentIndex(next((n for n, other in enumerate(self._nodes) if other is node), 0))


class qMRMLSegmentEditorWidget(qMRMLWidget):
    """Keeps what it is told, and refuses what Slicer's refuses; `paint` does what the user's mouse would."""

    effects, effect, segment, nodes = (), "", "", {}
    hidden = property(lambda self: sorted(name for name, shown in self.parts.items() if not shown))
    parts: typing.ClassVar[dict] = {}

    def __init__(self):
        super().__init__()
        vars(self).update(parts={}, nodes={"settings": None, "segmentation": None, "volume": None})

    def setMRMLScene(self, scene) -> None:
        if self.nodes["settings"] is None:
            raise RuntimeError("the segment editor wants its parameter node before the scene")

    def setMRMLSegmentEditorNode(self, node) -> None:
        self._keep("settings", node, "vtkMRMLSegmentEditorNode")

    def setSegmentationNode(self, node) -> None:
        self._keep("segmentation", node, "vtkMRMLSegmentationNode")
        self.setActiveEffect(None)

    def setSourceVolumeNode(self, node) -> None:
        self._keep("volume", node, "vtkMRMLScalarVolumeNode")

    def setCurrentSegmentID(self, identifier: str) -> None:
        vars(self)["segment"] = identifier

    def setEffectNameOrder(self, names: list) -> None:
        vars(self)["effects"] = tuple(names)

    def setActiveEffectByName(self, name: str) -> None:
        if name not in self.effects or None in self.nodes.values():
            raise RuntimeError(f"the effect {name} cannot be used yet")
        vars(self)["effect"] = name

    def setActiveEffect(self, effect) -> None:
        vars(self)["effect"] = ""

    def setMaximumNumberOfUndoStates(self, count: int) -> None:
        pass

    def removeViewObservations(self) -> None:
        pass

    def paint(self, mask) -> None:
        """As if the user had painted these voxels of the source volume."""
        if self.effect != "Paint":
            raise RuntimeError("the brush is not in the user's hand")
        node, segment = self.nodes["segmentation"], self.segment
        util.updateSegmentBinaryLabelmapFromArray(mask, node, segment, self.nodes["volume"])

    def _keep(self, role: str, node, kind: str) -> None:
        if node is not None and not node.IsA(kind):
            raise TypeError(f"{node.GetClassName()} is no {kind}")
        self.nodes[role] = node


PARTS = ("segmentationNodeSelector", "sourceVolumeNodeSelector", "switchToSegmentationsButton", "unorderedEffects")
for _name in PARTS:
    setattr(
        qMRMLSegmentEditorWidget,
        f"{_name}Visible",
        property(
            lambda self, name=_name: self.parts.get(name, True),
            lambda self, shown, name=_name: self.parts.__setitem__(name, shown),
        ),
    )
