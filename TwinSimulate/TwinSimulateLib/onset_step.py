"""A glioma's onset on a twin: its outlines in, the fitted tumour and what follows from it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from TwinCore import InvalidInput, Job

from . import registry
from .model import Result
from .step import Forecast, Inputs, SimulationStep
from .tumour_onset import TumourOnset

if TYPE_CHECKING:
    from TwinCore.scene import Run


@dataclass(frozen=True, eq=False, kw_only=True)
class OnsetForecast(Forecast):
    """What may happen under each scenario, and the tumour of today as it has been fitted."""

    today: Result


@dataclass
class OnsetStep(SimulationStep):
    """Fit a glioma's onset to its outlines of one day and follow it from there; see `SimulationStep`.

    The twin has the segments "tumour", "flair", "white matter" and "grey matter", or others are named for them.

    >>> run = execute(twin, OnsetStep("glioma", segments={"tumour": "Core", "flair": "Oedema"}))  # doctest: +SKIP
    """

    model: str = "tumour_onset"
    members: int = 128

    def check(self) -> TumourOnset:
        if self.observations or self.search is not None or self.margins_mm:
            raise InvalidInput(
                "A tumour's onset is fitted to the images of one day alone: follow-up, searches and margins are for "
                "the model tumour_growth, which can start from the fitted density."
            )
        return super().check()  # type: ignore[return-value]

    def compute(self, inputs: Inputs, job: Job) -> Any:
        model, anatomy = self._model(), inputs.anatomy
        fitting, showing, prediction, frames = job.split(fit=6, today=3, prediction=6, frames=0.5)
        with fitting:
            posterior = model.fit(anatomy, fitting).posterior
        with showing:
            today = model.today(anatomy, posterior, showing, self.members, self.seed)
        forecast = self._forecast(model, anatomy, posterior, None, None, prediction, frames)
        return OnsetForecast(**vars(forecast), today=today)

    def write(self, run: Run, outputs: OnsetForecast) -> None:  # type: ignore[override]
        super().write(run, outputs)
        for image in outputs.today.fields.values():
            run.add_image(image, "field")
        run.record(outputs.today.numbers)

    def _model(self) -> TumourOnset:
        model: Any = registry.find(self.model, self.preset, dict(self.values))
        return model
