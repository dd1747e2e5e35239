"""What panels read from nodes without turning them into arrays."""

from __future__ import annotations

import numpy as np

from TwinCore.scene import Twin


def box_of(roi) -> list[list[float]] | None:
    """Lowest and highest RAS corner, in mm, of the box around a markups ROI; None for no ROI."""
    if roi is None:
        return None
    bounds = [0.0] * 6
    roi.GetRASBounds(bounds)
    return np.reshape(bounds, (3, 2)).T.tolist()


def segment_names(twin: Twin) -> list[str]:
    """Names of all segments of a twin."""
    sources = [node.GetSegmentation() for node in twin.nodes("segmentation")]
    return [source.GetNthSegment(n).GetName() for source in sources for n in range(source.GetNumberOfSegments())]
