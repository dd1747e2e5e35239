"""A glioma's onset on a twin: its outlines in, the fitted tumour and what follows from it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from TwinCore import Job

from .model import Anatomy, Comparison, Result
from .onset_fit import OnsetFit
from .step import SimulationStep
from .tumour_onset import TumourOnset

if TYPE_CHECKING:
    from TwinCore import Quantity
    from TwinCore.scene import Run


@dataclass(frozen=True, eq=False)
class OnsetForecast:
    """The fit, the tumour of today, and what may happen under each scenario."""

    fit: OnsetFit
    today: Result
    comparison: Comparison


@dataclass
class OnsetStep(SimulationStep):
    """Fit a glioma's onset to its outlines of one day and follow it from there; see `SimulationStep`.

    The twin has the segments "tumour", "flair", "white matter" and "grey matter", or others are named for them.

    >>> run = execute(twin, OnsetStep("glioma", segments={"tumour": "Core", "flair": "Oedema"}))  # doctest: +SKIP
    """

    model: str = "tumour_onset"
    members: int = 128
    values: Mapping[str, float] = field(default_factory=dict)

    def compute(self, inputs: Anatomy, job: Job) -> Any:
        model = self._model()
        fitting, showing, ahead = job.split(fit=6, today=3, prediction=6)
        with fitting:
            fit = model.fit(inputs, fitting)
        with showing:
            today = model.today(inputs, fit.posterior, showing, self.members, self.seed)
        times = np.unique(np.round(np.linspace(0, self.horizon_days, min(self.horizon_days, 12) + 1))).tolist()
        with ahead:
            compared = model.compare(inputs, fit.posterior, self.scenarios, times, ahead, self.members, self.seed)
        return OnsetForecast(fit, today, compared)

    def write(self, run: Run, outputs: OnsetForecast) -> None:  # type: ignore[override]
        results: dict[str, Quantity | str] = dict(outputs.today.numbers)
        for image in outputs.today.fields.values():
            run.add_image(image, "field")
        for name, prediction in outputs.comparison.predictions.items():
            run.add_image(prediction.fields["probability"], "field")
            results[f"predicted_volume_ml, {name}"] = prediction.numbers["volume"]
        if outputs.fit.posterior.fit is not None:
            run.add_table(outputs.fit.posterior.fit)
        run.add_table(outputs.comparison.table)
        run.record(results)

    def _model(self) -> TumourOnset:
        return TumourOnset(self.preset)
