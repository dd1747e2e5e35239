"""Volumes of the scene as `Image`, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import InvalidInput
from ..grid import Grid
from ..guard import check_image
from ..image import MODALITIES, Image
from ..tensor import turned
from .attributes import meaning, note_read, set_meaning, to_array, to_vtk, world_matrix
from .boot import mrml

if TYPE_CHECKING:
    from slicer import vtkMRMLVolumeNode

MOST_CHANNELS = 4
"""That MRML's usual writer of volumes can store; its NRRD writer takes any number."""
PET_COLOURS = "vtkMRMLColorTableNodeInvertedGrey"


def image_to_node(image: Image, scene, name: str = "") -> vtkMRMLVolumeNode:
    """A new volume node that shows the image; one with channels becomes a vector volume.

    Booleans are stored as uint8, and 64-bit integers as int32 where they fit or else as float64, for MRML has neither.

    Raises
    ------
    InvalidInput
        If 64-bit integers exceed what float64 holds exactly.
    """
    node = volume_node(image)
    node.SetName(name or image.name or "Image")
    scene.AddNode(node)
    node.CreateDefaultDisplayNodes()
    if image.array.ndim == 4 and image.array.shape[3] > MOST_CHANNELS:
        node.SetAndObserveStorageNodeID(scene.AddNewNodeByClass("vtkMRMLNRRDStorageNode").GetID())
    if image.modality == "PT" and scene.GetNodeByID(PET_COLOURS):
        node.GetDisplayNode().SetAndObserveColorNodeID(PET_COLOURS)
    return node


def volume_node(image: Image) -> vtkMRMLVolumeNode:
    """A volume node, in no scene yet, with the image's voxels (copied), geometry and meaning."""
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData

    array = storable(image.array, image.name)
    voxels = vtkImageData()
    voxels.SetDimensions(*array.shape[2::-1])
    channels = array.shape[3] if array.ndim == 4 else 1
    scalars = numpy_to_vtk(np.ascontiguousarray(array).reshape(-1, channels), deep=True)
    scalars.SetName("ImageScalars")
    voxels.GetPointData().SetScalars(scalars)
    slicer = mrml()
    node = slicer.vtkMRMLVectorVolumeNode() if array.ndim == 4 else slicer.vtkMRMLScalarVolumeNode()
    node.SetIJKToRASMatrix(to_vtk(image.grid.ijk_to_ras))
    node.SetAndObserveImageData(voxels)
    set_meaning(node, image.modality, image.unit, image.time)
    return node


def node_to_image(node: vtkMRMLVolumeNode) -> Image:
    """The volume's voxels (copied), where they lie in world RAS, and what they mean.

    Linear parent transforms are folded into ``ijk_to_ras``; the node itself is not touched. Diffusion tensors are
    turned out of their measurement frame and become six channels: xx, xy, xz, yy, yz, zz in world RAS.

    Raises
    ------
    InvalidInput
        If the node is no volume, holds no voxels, or lies under a non-linear transform.
    """
    image = _seen(node)
    note_read(node)
    return image.with_array(image.array.copy())


def _seen(node: vtkMRMLVolumeNode) -> Image:
    """As `node_to_image`, with the node's own voxels: they must not be written to, nor outlive the node."""
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    if node is None or not node.IsA("vtkMRMLVolumeNode"):
        raise InvalidInput(f"{describe(node)} is not a volume.")
    voxels = node.GetImageData()
    values = None if voxels is None else voxel_values(node)
    if values is None:
        raise InvalidInput(f"Volume {node.GetName()!r} holds no voxels: load its file again.")
    matrix, world = vtkMatrix4x4(), world_matrix(node)
    node.GetIJKToRASMatrix(matrix)
    shape = voxels.GetDimensions()[::-1]
    array = vtk_to_numpy(values)
    array = array.reshape(shape if array.ndim == 1 else (*shape, array.shape[1]))
    image = Image(array, Grid(shape, world @ to_array(matrix)), name=node.GetName(), **meaning(node))
    if not node.IsA("vtkMRMLDiffusionTensorVolumeNode"):
        return image
    node.GetMeasurementFrameMatrix(matrix)
    return turned(image, world[:3, :3] @ to_array(matrix)[:3, :3])


def voxel_values(node):
    """What a volume holds as MRML keeps it: its scalars, or its tensors."""
    data = node.GetImageData().GetPointData()
    return data.GetTensors() if node.IsA("vtkMRMLDiffusionTensorVolumeNode") else data.GetScalars()


def storable(array: np.ndarray, name: str) -> np.ndarray:
    """The array in a type that MRML can hold and store, in this machine's byte order."""
    if array.dtype.kind not in "biuf":
        raise InvalidInput(f"Image {name!r} is of type {array.dtype}: a volume holds real numbers only.")
    if array.dtype == bool:
        return array.astype(np.uint8)
    if array.dtype == np.float16:
        return array.astype(np.float32)
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        return array.astype(np.float64)
    if array.dtype.itemsize < 8 or array.dtype.kind == "f":
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    if -(2**31) <= low and high < 2**31:
        return array.astype(np.int32)
    if max(-low, high) > 2**53:
        raise InvalidInput(
            f"Image {name!r} holds integers up to {max(-low, high)}, more than a volume can store exactly (2^53)."
        )
    return array.astype(np.float64)


def check_volume(node, modality: str, unit: str) -> None:
    """Raise `InvalidInput`, naming the node, unless it is a volume plausible for its modality and unit."""
    if node is None or not node.IsA("vtkMRMLVolumeNode"):
        raise InvalidInput(f"{describe(node)} is not a volume, so it cannot be an image of the twin.")
    name = f"Volume {node.GetName()!r}"
    if modality and modality not in MODALITIES:
        raise InvalidInput(f"{name}: {modality!r} is not one of {', '.join(MODALITIES)}.")
    image = _seen(node)
    check_image(image.with_array(image.array, modality=modality, unit=unit), name)


def describe(node) -> str:
    """How an error names a node."""
    return "Nothing" if node is None else f"{node.GetName()!r} ({node.GetClassName()})"
