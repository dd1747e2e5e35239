"""What a segmentation should take, before it starts."""

from __future__ import annotations

from TwinCore.expectation import Expectation

from .models.catalogue import Entry

SECONDS_A_MILLION_VOXELS = 1.0
"""Of measures and surfaces, on two cores."""
BYTES_A_VOXEL = 8.0
"""A fused image in float32, once from the scene and once more where it is worked on."""


def expected(voxels: int, images: int, entry: Entry | None = None, looks: int = 1) -> Expectation:
    """Time and memory of a segmentation.

    Parameters
    ----------
    voxels : int
        Of the common grid.
    images : int
        Fused images.
    entry : Entry, optional
        The model that is used, with the time and memory that the catalogue knows of it.
    looks : int
    """
    seconds, memory = SECONDS_A_MILLION_VOXELS * voxels / 1e6, BYTES_A_VOXEL * voxels * images
    if entry is None:
        return Expectation(seconds, memory)
    if entry.seconds is None or entry.memory_gb is None:
        return Expectation(None, None)
    return Expectation(seconds + looks * entry.seconds, memory + 1e9 * entry.memory_gb)
