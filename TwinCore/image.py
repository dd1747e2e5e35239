"""`Image`: voxels with their place in the patient, their modality, unit and time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .errors import InvalidInput
from .grid import Grid

MODALITIES = {
    "CT": "computed tomography",
    "MR": "magnetic resonance",
    "PT": "positron emission tomography",
    "US": "ultrasound",
}


@dataclass(frozen=True, eq=False)
class Image:
    """An array on a grid, with what its numbers mean.

    >>> image = Image(np.zeros((4, 5, 6)), Grid.isotropic((4, 5, 6)), modality="PT", unit="g/mL", name="SUVbw")

    Parameters
    ----------
    array : array, shape (k, j, i) or (k, j, i, channels)
        The values.
    grid : Grid
        Where the voxels lie.
    modality : str
        DICOM modality code (``CT``, ``MR``, ``PT``, ``US``), or "" for an image that is not an acquisition
        (a field, a label map).
    unit : str
        Unit of the values in UCUM (``[hnsf'U]``, ``g/mL``, ``Gy``), "1" for numbers without a unit.
    time : str or float or None
        ISO date of the acquisition, or days from the reference scan.
    name : str
        What a user knows the image by.

    Raises
    ------
    InvalidInput
        If the array does not fit the grid.
    """

    array: np.ndarray
    grid: Grid
    modality: str = ""
    unit: str = "1"
    time: str | float | None = None
    name: str = ""

    def __post_init__(self):
        if self.array.ndim not in (3, 4) or self.array.shape[:3] != self.grid.shape:
            raise InvalidInput(
                f"Image {self.name!r}: an array of shape {self.array.shape} does not fit a grid "
                f"of shape {self.grid.shape}."
            )
        if self.modality and self.modality not in MODALITIES:
            raise InvalidInput(
                f"Image {self.name!r}: modality {self.modality!r} is not one of {', '.join(MODALITIES)}."
            )

    def with_array(self, array: np.ndarray, **changes) -> Image:
        """The same image with other values, and other fields where named."""
        return replace(self, array=array, **changes)

    def crop(self, low, high) -> Image:
        """The part of the image from voxel `low` up to, not including, `high`; both in k, j, i order."""
        box = tuple(slice(a, b) for a, b in zip(low, high))
        return replace(self, array=self.array[box], grid=self.grid.crop(low, high))


def stacked(images: Sequence[Image], name: str = "") -> Image:
    """Images on one grid as one with channels: float32, shape (k, j, i, channels), in the images' own units.

    Raises
    ------
    InvalidInput
        If there are no images, one has channels itself, or their grids differ.
    """
    if not images:
        raise InvalidInput("There are no images to be stacked.")
    for image in images:
        if image.array.ndim != 3 or not image.grid.same_as(images[0].grid):
            raise InvalidInput(f"Image {image.name!r} cannot be stacked with {images[0].name!r}: their grids differ.")
    return Image(np.stack([image.array.astype(np.float32) for image in images], -1), images[0].grid, name=name)


def bounding_box(mask: np.ndarray, margin=0) -> tuple[np.ndarray, np.ndarray]:
    """First voxel of, and first voxel after, the set voxels of a mask, widened by `margin` voxels within the array.

    Parameters
    ----------
    mask : bool array, shape (k, j, i)
    margin : int or three ints along k, j, i

    Returns
    -------
    low, high : int arrays, shape (3,), in k, j, i order

    Raises
    ------
    InvalidInput
        If the mask is empty.
    """
    spans = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    if spans[0].size == 0:
        raise InvalidInput("The mask is empty: it has no voxel set.")
    low = np.array([s[0] for s in spans]) - margin
    high = np.array([s[-1] + 1 for s in spans]) + margin
    return np.maximum(low, 0), np.minimum(high, mask.shape)


def centroid(mask: np.ndarray, grid: Grid) -> np.ndarray:
    """Centre of the set voxels of a mask in RAS, in mm; fractional masks weigh each voxel by its value."""
    weight = np.asarray(mask, float)
    total = weight.sum()
    if total <= 0:
        raise InvalidInput("The mask is empty: it has no centroid.")
    kji = [
        np.tensordot(weight.sum(axis=tuple(a for a in range(3) if a != axis)), np.arange(weight.shape[axis]), 1) / total
        for axis in range(3)
    ]
    return grid.to_ras(kji[::-1])
