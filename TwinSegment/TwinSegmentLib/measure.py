"""What is measured of a segmentation: volumes, uptake and intensity of each segment, agreement of two outlines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from TwinCore import Image, Segmentation, Table


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


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Overlap of two masks, 2 |A and B| / (|A| + |B|) (Dice 1945, Ecology 26:297); NaN if both are empty."""
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return float(2 * np.count_nonzero(a & b) / total) if total else float("nan")
