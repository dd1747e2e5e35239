"""`SceneState`: what a scene was like before something that may fail, and the way back to it."""

from __future__ import annotations

from collections.abc import Iterable

from .hierarchy import drop_item, layout, restore_layout


class SceneState:
    """Which nodes a scene has, their DigitalTwin attributes, the roles of the twins, and the subject hierarchy.

    What nodes hold is not kept: inputs are never altered.
    """

    def __init__(self, scene):
        self._scene = scene
        nodes = _nodes(scene)
        self.ids = {node.GetID() for node in nodes}
        self._attributes = [(node, _attributes(node)) for node in nodes]
        self._roles = [(node, _references(node)) for node in nodes if node.IsA("vtkMRMLScriptedModuleNode")]
        self._layout = layout(scene)

    def made(self) -> list:
        """Nodes that were not there before, in the order of their making."""
        return [node for node in _nodes(self._scene) if node.GetID() not in self.ids]

    def restore(self) -> None:
        """Remove the nodes that were not there, and put attributes, roles and hierarchy back."""
        remove(self._scene, self.made())
        for node, before in self._roles:
            for role in {*before, *_references(node)}:
                if reference_ids(node, role) != before.get(role, []):
                    set_references(node, role, before.get(role, []))
        for node, attributes in self._attributes:
            for name in {*attributes, *_attributes(node)}:
                if node.GetAttribute(name) != attributes.get(name):
                    node.SetAttribute(name, attributes.get(name))
        restore_layout(self._scene, self._layout)


def reference_ids(node, role: str) -> list[str]:
    """Ids of the nodes that a node refers to in a role."""
    return [node.GetNthNodeReferenceID(role, number) for number in range(node.GetNumberOfNodeReferences(role))]


def set_references(node, role: str, ids: Iterable[str]) -> None:
    """Let a node refer to exactly these nodes in a role, in this order."""
    node.RemoveNodeReferenceIDs(role)
    for identifier in ids:
        node.AddNodeReferenceID(role, identifier)


def remove(scene, nodes: Iterable) -> None:
    """Take nodes out of a scene, the last made first, but browsers before what they would make anew."""
    last_first = [node for node in list(nodes)[::-1] if scene.IsNodePresent(node)]
    for node in last_first:
        if node.IsA("vtkMRMLSequenceNode"):
            _leave_browsers(scene, node)
    for node in sorted(last_first, key=lambda node: not node.IsA("vtkMRMLSequenceBrowserNode")):
        if scene.IsNodePresent(node):
            drop_item(scene, node)
            scene.RemoveNode(node)


def _leave_browsers(scene, sequence) -> None:
    """Take a sequence out of browsers that are another's first of all, and may stay."""
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode")):
        browser = scene.GetNthNodeByClass(number, "vtkMRMLSequenceBrowserNode")
        if browser.IsSynchronizedSequenceNode(sequence):
            browser.RemoveSynchronizedSequenceNode(sequence.GetID())


def with_companions(nodes: Iterable) -> list:
    """Nodes and those that serve only to show or to store them, each once."""
    found: list = []

    def collect(node) -> None:
        if node is None or node.GetSingletonTag() or any(node is other for other in found):
            return
        found.append(node)
        if node.IsA("vtkMRMLDisplayableNode"):
            for number in range(node.GetNumberOfDisplayNodes()):
                collect(node.GetNthDisplayNode(number))
        if node.IsA("vtkMRMLStorableNode"):
            for number in range(node.GetNumberOfStorageNodes()):
                collect(node.GetNthStorageNode(number))

    for node in nodes:
        collect(node)
    return found


def _references(node) -> dict[str, list[str]]:
    roles: list[str] = []
    node.GetNodeReferenceRoles(roles)
    return {role: reference_ids(node, role) for role in roles if node.GetNumberOfNodeReferences(role)}


def _nodes(scene) -> list:
    return [scene.GetNthNode(number) for number in range(scene.GetNumberOfNodes())]


def _attributes(node) -> dict[str, str]:
    return {name: node.GetAttribute(name) for name in node.GetAttributeNames() if name.startswith("DigitalTwin.")}
