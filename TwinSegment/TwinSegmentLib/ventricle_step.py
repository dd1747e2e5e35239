"""The left ventricle of a cine on a twin: its blood pool over the cycle, with its volumes and ejection fraction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from TwinCore import Image, InvalidInput, Job, Quantity, Segmentation, Table
from TwinCore.surface import Surface, surfaces_of
from TwinCore.units import MILLILITRE, NO_UNIT

from .presets.left_ventricle import Ventricle, left_ventricle
from .series_step import MS_A_DAY, series_of

if TYPE_CHECKING:
    from TwinCore.scene import Run, Twin

SEGMENT = "left ventricle"
CODE = ("SCT", "87878005", "Left ventricle")
COLOUR = (0.85, 0.25, 0.25)


@dataclass(frozen=True, eq=False)
class Outputs:
    """The blood pool over time in days, its surfaces, and what is counted of it."""

    ventricle: Ventricle
    over_time: Mapping[float, Segmentation]
    surfaces: Mapping[float, Mapping[str, Surface]]
    table: Table
    results: Mapping[str, Quantity]


@dataclass
class VentricleStep:
    """Follow the left ventricle's blood pool through a cine of the twin, from a click at its base and one at its apex.

    >>> run = execute(twin, VentricleStep(base, apex))                                    # doctest: +SKIP
    >>> run.results["ejection_fraction"]                                                  # doctest: +SKIP
    Quantity(value=0.26, unit='1')

    Parameters
    ----------
    base_ras_mm, apex_ras_mm : three floats
        In the middle of the blood pool in the first and the last slice to be counted, RAS mm.
    clicked : int
        The time at which was clicked.
    cine : str, optional
        Name of the twin's series; needed where it has several.
    """

    base_ras_mm: Sequence[float]
    apex_ras_mm: Sequence[float]
    clicked: int = 0
    cine: str | None = None
    name: str = "TwinSegment"

    def parameters(self) -> dict[str, Any]:
        return {
            "structure": SEGMENT,
            "base_ras_mm": [float(x) for x in self.base_ras_mm],
            "apex_ras_mm": [float(x) for x in self.apex_ras_mm],
            "clicked": self.clicked,
            "cine": self.cine,
        }

    def read(self, twin: Twin) -> list[Image]:
        images = series_of(twin, self.cine)
        if not 0 <= self.clicked < len(images):
            raise InvalidInput(f"There is no time {self.clicked} in the cine; there are 0 to {len(images) - 1}.")
        return images

    def compute(self, inputs: list[Image], job: Job) -> Outputs:
        following, surfacing = job.split(following=9, surfaces=1)
        with following:
            found = left_ventricle(inputs, self.base_ras_mm, self.apex_ras_mm, self.clicked, following)
        grid, days = inputs[0].grid, [float(image.time) for image in inputs]  # type: ignore[arg-type]
        over_time = {
            day: Segmentation.from_masks(grid, {SEGMENT: mask}, {SEGMENT: CODE}, {SEGMENT: COLOUR})
            for day, mask in zip(days, found.masks)
        }
        with surfacing:
            surfaces = {day: surfaces_of(over_time[day]) for day in surfacing.each(days, "surfaces")}
        columns = {"time": MS_A_DAY * np.array(days), "volume": found.volumes_ml}
        table = Table("Left ventricle", columns, {"time": "ms", "volume": MILLILITRE})
        return Outputs(found, over_time, surfaces, table, results_of(found, days))

    def write(self, run: Run, outputs: Outputs) -> None:
        cine = next(node for node, _ in run.twin.series() if self.cine in (None, node.GetName()))
        run.add_segmentations(outputs.over_time, "Left ventricle over the cycle", outputs.surfaces, cine)
        table = run.add_table(outputs.table)
        run.add_plot("Volume of the left ventricle", table, "time", ["volume"])
        run.record(outputs.results)


def results_of(found: Ventricle, days: Sequence[float]) -> dict[str, Quantity]:
    """Volumes at both ends of the cycle, stroke volume, ejection fraction, and when the ends are."""
    stroke = found.end_diastolic_volume_ml - found.end_systolic_volume_ml
    return {
        "end_diastolic_volume_ml": Quantity(found.end_diastolic_volume_ml, MILLILITRE),
        "end_systolic_volume_ml": Quantity(found.end_systolic_volume_ml, MILLILITRE),
        "stroke_volume_ml": Quantity(stroke, MILLILITRE),
        "ejection_fraction": Quantity(found.ejection_fraction, NO_UNIT),
        "end_diastole_ms": Quantity(MS_A_DAY * days[found.end_diastole], "ms"),
        "end_systole_ms": Quantity(MS_A_DAY * days[found.end_systole], "ms"),
    }
