"""What is measured of a segmentation: volumes, uptake and intensity of each segment, agreement of two outlines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from TwinCore import Image, Segment, Segmentation, Table


def segment_table(segmentation: Segmentation, images: Sequence[Image]) -> Table:
    """Volume of every segment, and mean and maximum of every image inside it.

    Parameters
    ----------
    segmentation : Segmentation
    images : sequence of Image
        On the segmentation's grid.

    Returns
    -------
    Table
        One row a segment; empty segments have NaN where there is nothing to measure.
    """
    columns: dict[str, list] = {
        "segment": segmentation.names,
        "volume": [segmentation.volume_ml(n) for n in segmentation.names],
    }
    units = {"volume": "mL"}
    for image in images:
        inside = [image.array[segmentation.mask(name)] for name in segmentation.names]
        for statistic, reduce in (("mean", np.mean), ("maximum", np.max)):
            column = f"{image.name} {statistic}"
            columns[column] = [float(reduce(v)) if v.size else float("nan") for v in inside]
            units[column] = image.unit
    return Table("Segments", columns, units)


def with_volumes(table: Table, volumes: Table) -> Table:
    """A table of segments with the expected volumes and intervals of those that a model found; NaN for the others."""
    rows = {name: row for row, name in enumerate(volumes.columns["segment"])}
    columns, units = dict(table.columns), dict(table.units)
    for name, values in volumes.columns.items():
        if name != "segment":
            columns[name] = [values[rows[s]] if s in rows else float("nan") for s in table.columns["segment"]]
            units[name] = volumes.units[name]
    return Table(table.name, columns, units)


def joined(first: Segmentation, second: Segmentation) -> Segmentation:
    """The segments of two segmentations on one grid; of those with a name in common, the first's."""
    taken = [s for s in second.segments if s.name not in first.names]
    moved = [Segment(s.name, s.layer + len(first.layers), s.value, s.colour, s.code) for s in taken]
    return Segmentation(first.grid, (*first.layers, *second.layers), (*first.segments, *moved))


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Overlap of two masks, 2 |A and B| / (|A| + |B|) (Dice 1945, Ecology 26:297); NaN if both are empty."""
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return float(2 * np.count_nonzero(a & b) / total) if total else float("nan")
