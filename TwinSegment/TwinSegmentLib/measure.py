"""What is measured of a segmentation: size, uptake and intensity of each segment, agreement of two outlines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy import signal

from TwinCore import Image, Segment, Segmentation, Table
from TwinCore.guard import check_memory
from TwinCore.surface import Surface, surfaces_of

INTERVAL = ("volume, low", "volume, high")
"""Columns with the ends of a volume's 90 % interval."""

PEAK_RADIUS_MM = (3.0 / (4.0 * np.pi)) ** (1 / 3) * 10.0
"""Of a sphere of 1 mL, over which the peak is a mean (PERCIST: Wahl et al. 2009, J Nucl Med 50:122S)."""


def segment_table(
    segmentation: Segmentation, images: Sequence[Image], surfaces: Mapping[str, Surface] | None = None
) -> Table:
    """Volume and surface of every segment; mean and maximum of every image inside it, and the peak of a PET.

    Parameters
    ----------
    segmentation : Segmentation
    images : sequence of Image
        On the segmentation's grid, each in its own unit.
    surfaces : mapping of str to Surface, optional
        Those of the segments, by name; made here where not given.

    Returns
    -------
    Table
        One row a segment: volume in mL (of its voxels), surface in cm2 (of its smoothed surface, see
        `TwinCore.surface`). Empty segments have NaN where there is nothing to measure.
    """
    names = segmentation.names
    surfaces = surfaces_of(segmentation) if surfaces is None else surfaces
    columns: dict[str, list] = {
        "segment": names,
        "volume": [segmentation.volume_ml(n) for n in names],
        "surface": [surfaces[n].area_mm2 / 100.0 if n in surfaces else float("nan") for n in names],
    }
    units = {"volume": "mL", "surface": "cm2"}
    for image in images:
        statistics: dict[str, tuple[np.ndarray, Callable[[np.ndarray], float]]]
        statistics = {"mean": (image.array, np.mean), "maximum": (image.array, np.max)}
        if image.modality == "PT":
            statistics["peak"] = (peak_means(image), np.max)
        for statistic, (values, reduce) in statistics.items():
            column = f"{image.name} {statistic}"
            inside = (values[segmentation.mask(name)] for name in names)
            columns[column] = [float(reduce(v)) if v.size else float("nan") for v in inside]
            units[column] = image.unit
    return Table("Segments", columns, units)


def peak_means(image: Image) -> np.ndarray:
    """Around every voxel, the mean of the voxels whose centres lie within 6.2 mm of its own: a sphere of 1 mL.

    The highest within a segment is its peak (SUVpeak), whose sphere may reach beyond the segment: the global intensity
    peak of IBSI (Zwanenburg et al. 2020, Radiology 295:328; 0F91). At the image's border only what is in it counts.

    Returns
    -------
    float32 array, shape (k, j, i)
    """
    matrix = image.grid.ijk_to_ras[:3, :3]
    reach = np.ceil(PEAK_RADIUS_MM * np.linalg.norm(np.linalg.inv(matrix), axis=1)).astype(int)  # along i, j, k
    k, j, i = np.indices(2 * reach[::-1] + 1) - reach[::-1].reshape(3, 1, 1, 1)
    offsets_mm = np.stack([i, j, k], axis=-1) @ matrix.T
    sphere = (np.linalg.norm(offsets_mm, axis=-1) <= PEAK_RADIUS_MM).astype(np.float32)
    check_memory(4.0 * 4 * image.grid.size, f"The peak of {image.name!r}")
    total = signal.oaconvolve(image.array.astype(np.float32), sphere, mode="same")
    return total / signal.oaconvolve(np.ones(image.grid.shape, np.float32), sphere, mode="same")


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
