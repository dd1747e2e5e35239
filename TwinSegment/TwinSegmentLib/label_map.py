"""Reading a label map, a volume whose whole numbers are structures, as a `Segmentation`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from TwinCore.errors import InvalidInput, MissingInput
from TwinCore.grid import Grid
from TwinCore.guard import display_name
from TwinCore.image import Image
from TwinCore.segmentation import PALETTE, Segment, Segmentation
from TwinCore.volume_file import read_volume

MOST_LABELS = 255


def read_label_map(path: str | Path, names: Mapping[int, str] | None = None, grid: Grid | None = None) -> Segmentation:
    """Read a label map from a volume file.

    >>> read_label_map("labels.nii.gz", {17: "left hippocampus"}).names  # doctest: +SKIP
    ['left hippocampus']

    Parameters
    ----------
    path : str or Path
        Any file that `read_volume` reads.
    names : mapping of int to str, optional
        Labels to take and what they are called. Without it all labels are taken, as "label 1" and so on.
    grid : Grid, optional
        Grid of the answer; labels on another one are carried to it.

    Raises
    ------
    MissingInput
        If there is no such file, or a named label is not in it.
    InvalidInput
        As `read_volume`; also if values are fractional or negative, nothing or everything is labelled, there are more
        labels than 255 and none is chosen, or the labels lie off the grid.
    """
    image = read_volume(path)
    return segmentation_of(image, names, grid)


def segmentation_of(labels: Image, names: Mapping[int, str] | None = None, grid: Grid | None = None) -> Segmentation:
    """The structures of a label map that is in memory; parameters and errors as `read_label_map`."""
    where = labels.name or "The label map"
    values = _present(labels.array, where)
    if names is None:
        names = {int(v): f"label {int(v)}" for v in values}
        if len(names) > MOST_LABELS:
            raise InvalidInput(
                f"{where}: it has {len(names)} labels. Choose up to {MOST_LABELS} by naming them; an image may have "
                "been given in place of a label map."
            )
    absent = sorted(set(names) - set(values.tolist()))
    if absent:
        raise MissingInput(
            f"{where}: there is no label {', '.join(map(str, absent[:10]))}; there are: "
            f"{', '.join(map(str, values[:30].tolist()))}{' ...' if len(values) > 30 else ''}."
        )
    segmentation = _compact(labels, names)
    if grid is None or grid.same_as(labels.grid):
        return segmentation
    carried = segmentation.on_grid(grid)
    lost = [name for name in carried.names if not carried.mask(name).any()]
    if lost:
        raise InvalidInput(
            f"{where}: {', '.join(lost[:10])} lies off the grid or falls between its voxels. Check that both are of "
            "the same patient and frame."
        )
    return carried


def _present(array: np.ndarray, where: str) -> np.ndarray:
    """The labels above 0, sorted; refused if the values are not labels."""
    if array.dtype.kind == "f" and not np.array_equal(array, np.round(array)):
        raise InvalidInput(
            f"{where}: there are fractional values; labels are whole numbers. It may be an image or a map of "
            "probabilities, or labels that were interpolated linearly."
        )
    if array.min() < 0:
        raise InvalidInput(
            f"{where}: there are negative values, down to {array.min():g}; labels are 1, 2, 3 and so on, with 0 for "
            "the background."
        )
    values = np.unique(array).astype(np.int64)
    if values[0] > 0:
        raise InvalidInput(f"{where}: every voxel is labelled; there must be background, with the value 0.")
    if values.size < 2:
        raise InvalidInput(f"{where}: it is empty: no voxel is labelled.")
    return values[1:]


def _compact(labels: Image, names: Mapping[int, str]) -> Segmentation:
    """One label array that holds the chosen labels as 1, 2, 3, in the order of their values."""
    chosen = np.array(sorted(names))
    at = np.clip(np.searchsorted(chosen, labels.array), 0, chosen.size - 1)
    layer = np.where(chosen[at] == labels.array, at + 1, 0).astype(
        np.uint8 if chosen.size <= MOST_LABELS else np.uint16
    )
    segments = [
        Segment(display_name(names[int(label)]), 0, n + 1, PALETTE[n % len(PALETTE)]) for n, label in enumerate(chosen)
    ]
    return Segmentation(labels.grid, (layer,), tuple(segments))
