"""A tumour's growth on a coarse grid, kept ready to answer while a parameter is being dragged, and the exact answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from TwinCore import Image, Job
from TwinCore.parameter import complete
from TwinCore.units import NO_UNIT

from .model import Anatomy
from .numerics.one_thread import one_thread
from .numerics.travelling_wave import front_reach_mm
from .treatment import Treatment
from .tumour_growth import TumourGrowth
from .tumour_run import checked_times, run_member
from .tumour_stage import EDGE_DENSITY, Stages

SPACING_MM = 3.0
"""Of the coarse grid: its volumes are within a few per cent of the exact ones, docs/models/tumour_growth.md."""
MARGINS_MM = tuple(20.0 * 1.5**n for n in range(10))
"""Round the tumour: few, so that most answers find their box made already."""
COARSE_VOXELS = 3
"""By which a front runs ahead, or is smeared, on a grid that does not resolve it."""
KEPT = 4
"""Boxes that are kept."""


@dataclass(frozen=True, eq=False)
class Glimpse:
    """What a tumour may be on a day: density, as a fraction of the carrying capacity, and what would be seen of it.

    Parameters
    ----------
    density : Image
    volume_ml : float
    spacing_mm : float
        Of the grid that it was computed on.
    """

    density: Image
    volume_ml: float
    spacing_mm: float


class Preview:
    """One tumour in one patient's tissues, warm for many questions.

    >>> preview = Preview("glioma", anatomy)                                             # doctest: +SKIP
    >>> preview.at({"diffusivity": 0.08}, 90.0, NO_TREATMENT).volume_ml                  # doctest: +SKIP
    41.3

    Parameters
    ----------
    preset : str
        Which tumour: a key of `TumourGrowth.presets`.
    anatomy : Anatomy
    spacing_mm : float
        Of the coarse grid.

    Raises
    ------
    InvalidInput, MissingInput
        If there is no such preset, or the anatomy lacks a tissue.
    """

    def __init__(self, preset: str, anatomy: Anatomy, spacing_mm: float = SPACING_MM):
        self._model, self._anatomy, self._spacing = TumourGrowth(preset), anatomy, spacing_mm
        self._stages: dict[tuple, Stages] = {}

    def at(self, values: Mapping[str, float], day: float, treatment: Treatment, job: Job | None = None) -> Glimpse:
        """The answer on the coarse grid: quick, and without a word on whether the grid resolves the front.

        Parameters
        ----------
        values : mapping of str to float
            Parameters at other values than the preset's.
        day : float
            From the reference scan.
        treatment : Treatment
        job : Job, optional

        Raises
        ------
        InvalidInput
            If a value is out of bounds.
        """
        member, times = complete(self._model.parameters, values), checked_times([day])
        stages, threshold = self._ready(member, day), member["detection_threshold"]
        prepared = stages.stage(self._spacing)
        with one_thread():
            run = run_member(stages, self._spacing, member, treatment, times, (threshold,), job or Job())
        if run.stage is not prepared:  # widened: kept, it would change the answers to other questions
            self._stages.clear()
        density = Image(run.densities[-1], run.stage.grid, unit=NO_UNIT, time=day, name="density, preview")
        return Glimpse(density, float(run.volume_ml[-1, 0]), self._spacing)

    def exactly(self, values: Mapping[str, float], day: float, treatment: Treatment, job: Job | None = None) -> Glimpse:
        """The answer of the model itself, on the grid that its front needs.

        Raises
        ------
        InvalidInput, NotResolved
            If a value is out of bounds, or the front is too thin for any grid that is affordable.
        """
        job, model, times = job or Job(), self._model, checked_times([day])
        member = complete(model.parameters, values)
        stages = Stages(self._anatomy, model.relative_diffusivity(member))
        (spacing,) = stages.plan([member], day, job)
        run = run_member(stages, spacing, member, treatment, times, (member["detection_threshold"],), job)
        density = Image(run.densities[-1], run.stage.grid, unit=NO_UNIT, time=day, name="density, one run")
        return Glimpse(density, float(run.volume_ml[-1, 0]), float(run.stage.grid.spacing.max()))

    def _ready(self, member: Mapping[str, float], day: float) -> Stages:
        """The stage for a member, made if it is not there: it depends on the tissues' ratios and on the front's way."""
        growth = member["diffusivity"], member["proliferation_rate"]
        reach = front_reach_mm(*growth, day, member["detection_threshold"], EDGE_DENSITY)
        reach += COARSE_VOXELS * self._spacing
        margin = next((m for m in MARGINS_MM if m >= reach), math.ceil(reach))
        relative = self._model.relative_diffusivity(member)
        key = (margin, *relative.values())
        stages = self._stages.pop(key, None)
        if stages is None:
            stages = Stages(self._anatomy, relative, self._spacing)
            stages.prepare(self._spacing, margin)
        self._stages[key] = stages
        while len(self._stages) > KEPT:
            del self._stages[next(iter(self._stages))]
        return stages
