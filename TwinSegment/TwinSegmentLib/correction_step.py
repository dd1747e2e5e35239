"""A segment of a twin corrected by clicks, as a run that can be reverted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from TwinCore import Image, InvalidInput, Job, MissingInput, Quantity, Segmentation, Table
from TwinCore.provenance import content_hash
from TwinCore.surface import Surface, surfaces_of
from TwinCore.units import MILLILITRE

from .correction import REACH_MM, corrected
from .measure import INTERVAL, segment_table, with_volumes

if TYPE_CHECKING:
    from TwinCore.scene import Run, Twin

MOST_LISTED = 200
"""Points that the record of a correction lists one by one."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """The anatomy, the fused images by name, and the volumes' intervals as far as they are known."""

    segmentation: Segmentation
    fused: dict[str, Image]
    intervals: Table | None


@dataclass(frozen=True, eq=False)
class Outputs:
    """The anatomy with the corrected segment, its measures and surfaces, and the numbers to report."""

    segmentation: Segmentation
    table: Table
    surfaces: dict[str, Surface]
    results: dict[str, Quantity]


@dataclass
class CorrectionStep:
    """Correct one segment of a twin's newest anatomy by points that belong to it and points that do not.

    >>> step = CorrectionStep("liver", inside_ras_mm=[(-80, 20, 110)])                   # doctest: +SKIP
    >>> execute(twin, step).results["after_ml"]                                          # doctest: +SKIP
    Quantity(value=1543.2, unit='mL')

    Parameters
    ----------
    segment : str
    inside_ras_mm, outside_ras_mm : sequences of three floats
        Points that were missed, and points that do not belong.
    image : str, optional
        Name of the image whose edges the segment follows; the first fused one, the reference, if none.
    reach_mm : float
        How far from a point anything may change.
    """

    segment: str
    inside_ras_mm: Sequence[Sequence[float]] = ()
    outside_ras_mm: Sequence[Sequence[float]] = ()
    image: str | None = None
    reach_mm: float = REACH_MM
    name: str = "TwinSegment"

    def parameters(self) -> dict[str, Any]:
        return {
            "corrected": self.segment,
            "inside_ras_mm": _for_record(self.inside_ras_mm),
            "outside_ras_mm": _for_record(self.outside_ras_mm),
            "image": self.image,
            "reach_mm": self.reach_mm,
        }

    def read(self, twin: Twin) -> Inputs:
        from TwinCore.scene import node_to_segmentation

        segmentation = node_to_segmentation(twin.node("segmentation"))
        segmentation.mask(self.segment)  # says which there are, if not this one
        fused: dict[str, Image] = {}
        for node in twin.nodes("fused"):
            image = twin.image(node)
            fused.setdefault(image.name.removesuffix(" fused"), image)
        if self.image is not None and self.image not in fused:
            raise MissingInput(f"The twin has no fused image {self.image!r}; it has: {', '.join(fused) or 'none'}.")
        if not fused:
            raise MissingInput("The twin has no fused images yet: run TwinFusion first.")
        return Inputs(segmentation, fused, _intervals(twin))

    def compute(self, inputs: Inputs, job: Job) -> Outputs:
        image = inputs.fused[self.image] if self.image is not None else next(iter(inputs.fused.values()))
        before = inputs.segmentation
        if not image.grid.same_as(before.grid):
            raise InvalidInput(f"The anatomy is not on the grid of {image.name!r}: segment the fused images anew.")
        correcting, measuring = job.split(correction=1, measures=3)
        with correcting:
            mask = corrected(
                image, before.mask(self.segment), self.inside_ras_mm, self.outside_ras_mm, self.reach_mm, correcting
            )
            after = with_mask(before, self.segment, mask)
        with measuring:
            surfaces = surfaces_of(after, measuring)
            table = segment_table(after, list(inputs.fused.values()), surfaces)
            if inputs.intervals is not None:
                table = with_volumes(table, _without(inputs.intervals, _changed(before, after)))
        results = {
            "before_ml": Quantity(before.volume_ml(self.segment), MILLILITRE),
            "after_ml": Quantity(after.volume_ml(self.segment), MILLILITRE),
        }
        return Outputs(after, table, surfaces, results)

    def write(self, run: Run, outputs: Outputs) -> None:
        run.add_segmentation(outputs.segmentation, "Anatomy", outputs.surfaces)
        run.add_table(outputs.table)
        run.record(outputs.results)


def _for_record(points: Sequence[Sequence[float]]) -> list[list[float]] | dict[str, Any]:
    """The points; of strokes of a brush, which are many, their number and hash."""
    listed = [list(map(float, point)) for point in points]
    return listed if len(listed) <= MOST_LISTED else {"points": len(listed), "sha256": content_hash(np.array(listed))}


def with_mask(segmentation: Segmentation, name: str, mask: np.ndarray) -> Segmentation:
    """The segmentation with another mask of one segment; what that gains, segments of its layer lose."""
    segment = next(s for s in segmentation.segments if s.name == name)
    layers = list(segmentation.layers)
    layer = layers[segment.layer].copy()
    layer[layer == segment.value] = 0
    layer[mask] = segment.value
    layers[segment.layer] = layer
    return replace(segmentation, layers=tuple(layers))


def _changed(before: Segmentation, after: Segmentation) -> set[str]:
    """Names of segments that have gained or lost voxels."""
    names = set()
    for number, (old, new) in enumerate(zip(before.layers, after.layers)):
        differ = old != new
        values = {*np.unique(old[differ]).tolist(), *np.unique(new[differ]).tolist()}
        names |= {s.name for s in before.segments if s.layer == number and s.value in values}
    return names


def _intervals(twin: Twin) -> Table | None:
    """The newest table of measures, if it has intervals."""
    from TwinCore.scene import node_to_table

    tables = (node_to_table(node) for node in twin.nodes("table"))
    return next((t for t in tables if "segment" in t.columns and set(INTERVAL) <= set(t.columns)), None)


def _without(intervals: Table, names: set[str]) -> Table:
    """The intervals without those of segments that are no longer what the model found."""
    rows = [n for n, name in enumerate(intervals.columns["segment"]) if name not in names]
    columns = {c: [intervals.columns[c][n] for n in rows] for c in ("segment", *INTERVAL)}
    return Table("volumes", columns, dict.fromkeys(INTERVAL, MILLILITRE))
