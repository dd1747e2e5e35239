"""The twin's place in the subject hierarchy: patient > Digital twin > Images, Fusion, Anatomy, Physiology."""

from __future__ import annotations

from typing import Any

from .boot import mrml

FOLDERS = ("Images", "Fusion", "Anatomy", "Physiology")
FOLDER_OF_MODULE = {"TwinFusion": "Fusion", "TwinSegment": "Anatomy", "TwinSimulate": "Physiology"}
TWIN_FOLDER = "Digital twin"
TWIN = "DigitalTwin.Id"


def hierarchy(scene) -> Any:
    """The scene's subject hierarchy node."""
    tree = mrml().vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    if not scene.IsNodePresent(tree):  # a scene that was cleared goes on naming its old one
        tree.RemoveAllItems(False)
        scene.AddNode(tree)
    return tree


def create_folders(scene, patient: str, identifier: str) -> None:
    """Make the twin's folders, under the patient's own item where the scene has one."""
    tree = hierarchy(scene)
    root = tree.GetSceneItemID()
    of_patient = next(
        (
            item
            for item in _children(tree, root)
            if tree.GetItemName(item) == patient and tree.GetItemLevel(item) == "Patient"
        ),
        None,
    )
    if of_patient is None:
        of_patient = tree.CreateSubjectItem(root, patient)
    folder = tree.CreateFolderItem(of_patient, TWIN_FOLDER)
    tree.SetItemAttribute(folder, TWIN, identifier)
    for name in FOLDERS:
        tree.CreateFolderItem(folder, name)


def twin_folder(scene, patient: str, identifier: str) -> int:
    """Item of the twin's own folder; made anew if the user has deleted it."""
    tree = hierarchy(scene)
    for _ in range(2):
        for item in _children(tree, tree.GetSceneItemID(), recursive=True):
            if tree.GetItemAttribute(item, TWIN) == identifier:
                return item
        create_folders(scene, patient, identifier)
    raise AssertionError("a folder just made is not in the subject hierarchy")


def place(scene, node, parent: int, folder: str | None) -> None:
    """Put a node into one of the twin's folders, or directly below `parent`."""
    tree = hierarchy(scene)
    target = parent
    if folder is not None:
        target = tree.GetItemChildWithName(parent, folder) or tree.CreateFolderItem(parent, folder)
    item = tree.GetItemByDataNode(node)
    if item:
        tree.SetItemParent(item, target)
    else:
        tree.CreateItem(target, node)


def drop_item(scene, node) -> None:
    """Take a node's item, and those of its parts, out of the hierarchy: slicer-core does not by itself."""
    tree = hierarchy(scene)
    item = tree.GetItemByDataNode(node)
    if item:
        tree.RemoveItem(item, False, True)


def layout(scene) -> dict[int, tuple[int, str]]:
    """Parent and name of every item."""
    tree = hierarchy(scene)
    return {
        item: (tree.GetItemParent(item), tree.GetItemName(item))
        for item in _children(tree, tree.GetSceneItemID(), recursive=True)
    }


def restore_layout(scene, before: dict[int, tuple[int, str]]) -> None:
    """Take away the items that were not there, and put the others back under their parent and name."""
    tree = hierarchy(scene)
    for item in reversed(list(layout(scene))):
        if item not in before:
            tree.RemoveItem(item, False, False)
    for item, (parent, name) in before.items():
        if tree.GetItemParent(item) != parent:
            tree.SetItemParent(item, parent)
        if tree.GetItemName(item) != name:
            tree.SetItemName(item, name)


def paths(scene) -> list[tuple[str, ...]]:
    """Every item as the names from the root down to it, sorted: the tree without its item numbers."""
    items = layout(scene)

    def path(item: int) -> tuple[str, ...]:
        return (*path(items[item][0]), items[item][1]) if item in items else ()

    return sorted(path(item) for item in items)


def _children(tree, item: int, recursive: bool = False) -> list[int]:
    from vtkmodules.vtkCommonCore import vtkIdList

    ids = vtkIdList()
    tree.GetItemChildren(item, ids, recursive)
    return [ids.GetId(number) for number in range(ids.GetNumberOfIds())]
