"""Where a tumour's outline is predicted to be over time, under each scenario."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from TwinCore import Grid, Job, Segmentation, bounding_box
from TwinCore.surface import Surface, surfaces_of


@dataclass(frozen=True, eq=False)
class Outlines:
    """A segment a scenario, over time.

    Parameters
    ----------
    over_time : mapping of float to Segmentation
        By day; on the part of the anatomy's grid that any of them reaches.
    surfaces : mapping of float to mapping of str to Surface
        By day and scenario; none where nothing is left to see.
    """

    over_time: Mapping[float, Segmentation]
    surfaces: Mapping[float, Mapping[str, Surface]]


def predicted_outlines(
    seen: Mapping[str, Sequence[np.ndarray]], days: Sequence[float], tumour: np.ndarray, grid: Grid, job: Job
) -> Outlines:
    """The outlines of what is seen of a tumour on each day.

    Parameters
    ----------
    seen : mapping of str to sequence of bool array, shape (k, j, i)
        By scenario, one for each day.
    days : sequence of float
    tumour : bool array, shape (k, j, i)
        At the reference scan: it is on the outlines' grid whatever becomes of it.
    grid : Grid
    job : Job
    """
    reached = np.any([tumour, *(mask for masks in seen.values() for mask in masks)], axis=0)
    low, high = bounding_box(reached, 1)
    box = tuple(slice(a, b) for a, b in zip(low, high))
    part = grid.crop(low, high)
    over_time = {
        float(day): Segmentation.from_masks(part, {name: masks[n][box] for name, masks in seen.items()})
        for n, day in enumerate(days)
    }
    return Outlines(over_time, {day: surfaces_of(over_time[day]) for day in job.each(list(over_time), "outlines")})
