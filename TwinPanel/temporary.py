"""A volume to look at for a while: in no list, in no file, and gone when it is no longer wanted."""

from __future__ import annotations

import slicer

from TwinCore import Image
from TwinCore.scene.state import remove, with_companions
from TwinCore.scene.volumes import volume_node


class TemporaryVolume:
    """At most one volume node, which panels lay over the images and take away again.

    It is hidden from node selectors, is not saved with the scene, and belongs to no twin.

    Parameters
    ----------
    name : str
    """

    def __init__(self, name: str):
        self._name, self._node, self._grid = name, None, None

    @property
    def node(self):
        """The volume; None if there is none, or the scene was closed."""
        there = self._node is not None and slicer.mrmlScene.IsNodePresent(self._node)
        return self._node if there else None

    def show(self, image: Image):
        """The image as a volume: the same node as before where only the voxels' values are others."""
        node = self.node
        if node is not None and self._grid.same_as(image.grid):
            node.SetName(image.name or self._name)
            slicer.util.updateVolumeFromArray(node, image.array)
            return node
        self.remove()
        self._node, self._grid = volume_node(image), image.grid
        self._node.SetName(image.name or self._name)
        self._node.SetHideFromEditors(True)
        self._node.SetSaveWithScene(False)
        slicer.mrmlScene.AddNode(self._node)
        self._node.CreateDefaultDisplayNodes()
        self._node.GetDisplayNode().SetSaveWithScene(False)
        return self._node

    def remove(self) -> None:
        """Take the volume out of the scene, with all that shows it."""
        if self.node is not None:
            remove(slicer.mrmlScene, with_companions([self.node]))
        self._node = None
