"""The anatomy at every time of a twin's series, by a model: segmentations over time, and how volumes change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from TwinCore import Image, InvalidInput, Job, MissingInput, Quantity, Segmentation, Table
from TwinCore.surface import Surface, surfaces_of
from TwinCore.units import DAY, MILLILITRE

from .models.apply import label_by
from .models.catalogue import find_model
from .models.installed import check_ready
from .tidy import Tidy, tidied_segments

if TYPE_CHECKING:
    from TwinCore.scene import Run, Twin

MS_A_DAY = 86_400_000.0


@dataclass(frozen=True, eq=False)
class Outputs:
    """The anatomy over time in days, its surfaces, and the volume of each segment at each time."""

    over_time: Mapping[float, Segmentation]
    surfaces: Mapping[float, Mapping[str, Surface]]
    table: Table


@dataclass
class SeriesStep:
    """Label every time of a series of the twin, such as a 4D CT or the visits of a patient, by a model of one image.

    >>> run = execute(twin, SeriesStep("monai-whole-body-ct"))                            # doctest: +SKIP

    Parameters
    ----------
    model : str
        Of the catalogue.
    series : str, optional
        Name of the twin's series; needed where it has several.
    looks : int
        How often the model looks at each time; see `models.apply.label_by`.
    tidy : Tidy
        What is done to the segments that it finds.
    """

    model: str
    series: str | None = None
    looks: int = 1
    tidy: Tidy = Tidy()
    name: str = "TwinSegment"

    def parameters(self) -> dict[str, Any]:
        return {"model": self.model, "series": self.series, "looks": self.looks, "tidy": asdict(self.tidy)}

    def check(self) -> None:
        """Raise `InvalidInput` if the model does not take one image."""
        entry = find_model(self.model)
        if len(entry.modalities) != 1:
            raise InvalidInput(
                f"Model {self.model!r} takes {len(entry.modalities)} images at once; a series over time is one a time."
            )
        check_ready(entry)

    def read(self, twin: Twin) -> list[Image]:
        self.check()
        return series_of(twin, self.series)

    def compute(self, inputs: list[Image], job: Job) -> Outputs:
        entry = find_model(self.model)
        if entry.limits:
            job.warn(f"Model {entry.name!r}: {entry.limits}")
        looking, surfacing = job.split(times=9, surfaces=1)
        over_time = {}
        with looking:
            for image, part in zip(inputs, looking.split(**{f"time {n}": 1 for n in range(len(inputs))})):
                with part:
                    found = label_by(entry, [image], looks=self.looks, job=part).segmentation
                    over_time[float(image.time)] = tidied_segments(found, self.tidy, part)  # type: ignore[arg-type]
        with surfacing:
            surfaces = {day: surfaces_of(over_time[day]) for day in surfacing.each(list(over_time), "surfaces")}
        return Outputs(over_time, surfaces, volumes_over_time(over_time))

    def write(self, run: Run, outputs: Outputs) -> None:
        node = next(node for node, _ in run.twin.series() if self.series in (None, node.GetName()))
        run.add_segmentations(outputs.over_time, "Anatomy over time", outputs.surfaces, node)
        table = run.add_table(outputs.table)
        names = [name for name in outputs.table.columns if name != "time"]
        run.add_plot("Volumes over time", table, "time", names)
        columns = {name: np.asarray(outputs.table.columns[name]) for name in names}
        ends = {"smallest": np.min, "largest": np.max}
        run.record(
            {
                f"{end}_volume_ml_{name.replace(' ', '_')}": Quantity(float(of(values)), MILLILITRE)
                for name, values in columns.items()
                for end, of in ends.items()
            }
        )


def series_of(twin: Twin, name: str | None) -> list[Image]:
    """The images of a twin's series over time.

    Raises
    ------
    MissingInput
        If it has none, several of which none is named, or none of that name.
    """
    series = {node.GetName(): images for node, images in twin.series()}
    if not series:
        raise MissingInput("The twin has no series over time.")
    chosen = name or (next(iter(series)) if len(series) == 1 else "")
    if chosen not in series:
        raise MissingInput(f"Which series is meant? The twin has: {', '.join(series)}.")
    return series[chosen]


def volumes_over_time(over_time: Mapping[float, Segmentation]) -> Table:
    """Volume in mL of each segment at each time: in days, or in ms where all is within a day."""
    days = np.array(list(over_time))
    short = np.ptp(days) < 1.0
    names = list(dict.fromkeys(name for one in over_time.values() for name in one.names))
    columns = {"time": days * MS_A_DAY if short else days}
    for name in names:
        columns[name] = np.array([one.volume_ml(name) if name in one.names else 0.0 for one in over_time.values()])
    units = dict.fromkeys(names, MILLILITRE)
    return Table("Volumes over time", columns, {"time": "ms" if short else DAY, **units})
