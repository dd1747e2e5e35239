"""A model calibrated on a twin's follow-up, before anything is predicted: what is believed of this tumour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from TwinCore import Job, MissingInput

from .model import Estimate, Posterior
from .step import Inputs, SimulationStep, add_fit

if TYPE_CHECKING:
    from TwinCore.scene import Run


@dataclass
class CalibrationStep(SimulationStep):
    """Calibrate a model on volumes and images at follow-up, and say how well it fits; see `SimulationStep`.

    >>> run = execute(twin, CalibrationStep("glioma", observations=[Observation("volume", 90.0, 31.0, 0.1)]))
    """

    def check(self):
        if not self.observations:
            raise MissingInput("There is nothing to calibrate on: give volumes or images at follow-up.")
        return super().check()

    def compute(self, inputs: Inputs, job: Job) -> Any:
        return self._model().calibrate(inputs.anatomy, inputs.observations, job, self.received, self.seed)

    def write(self, run: Run, outputs: Posterior) -> None:  # type: ignore[override]
        add_fit(run, outputs)
        for parameter in outputs.parameters:
            name = parameter.name
            fifty, ninety = outputs.interval(name, 50.0), outputs.interval(name, 90.0)
            run.record({name: Estimate(outputs.map[name], parameter.unit, fifty, ninety)})
