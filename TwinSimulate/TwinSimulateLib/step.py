"""TwinSimulate's whole work on a twin: the anatomy in, what may happen under each scenario out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from TwinCore import Image, InvalidInput, Job, Quantity, Table
from TwinCore.units import DAY, MILLILITRE, NO_UNIT

from . import registry
from .model import Anatomy, Comparison, Observation, Posterior, Result
from .radiotherapy import SCENARIOS, Schedule
from .tumour_growth import TumourGrowth
from .twin_anatomy import anatomy_of

if TYPE_CHECKING:
    from TwinCore.scene import Run, Twin

FRAMES = 7
LONGEST_HORIZON_DAYS = 3650
OUTPUT_TIMES = 24


@dataclass(frozen=True, eq=False)
class Forecast:
    """All that the step has computed, for the scene and for reports alike.

    Parameters
    ----------
    volume_ml : float
        Of the tumour's outline at the reference scan.
    comparison : Comparison
        The table of scenarios, and each scenario's prediction with its curves, bands and fields.
    posterior : Posterior
        The prior, if there were no observations.
    volumes : Table
        Viable tumour volume over time: a median and four band edges a scenario.
    frames : list of Image
        Density over time of the member nearest the median, under the first scenario.
    moved : Result, optional
        Of that member at the horizon, if it moves the tissue.
    """

    volume_ml: float
    comparison: Comparison
    posterior: Posterior
    volumes: Table
    frames: list[Image]
    moved: Result | None = None


@dataclass
class SimulationStep:
    """Predict a tumour's growth under each scenario, calibrated on the patient's follow-up where there is one.

    >>> run = execute(twin, SimulationStep("soft-tissue sarcoma", segments={"tumour": "GTV", "soft tissue": "Body"}))

    Parameters
    ----------
    preset : str
        Which tumour in which tissues.
    segments : mapping of str to str
        Segment of the twin for each that the model requires; those left out have the model's own name.
    model : str
        A name of `registry.MODELS`.
    horizon_days : int
        How far ahead to look, from the reference scan.
    scenarios : sequence of Schedule
        The first is the one that the others are compared with.
    observations : sequence of Observation
        Volumes at follow-up; without any the prediction is the prior's.
    received : Schedule, optional
        Treatment that the patient received during the follow-up.
    members, seed : int
        Size and seed of the ensemble.
    values : mapping of str to float
        Parameters at other values than the preset's: an uncertain one is then believed to lie about that.
    """

    preset: str
    segments: Mapping[str, str] = field(default_factory=dict)
    model: str = "tumour_growth"
    horizon_days: int = 120
    scenarios: Sequence[Schedule] = SCENARIOS
    observations: Sequence[Observation] = ()
    received: Schedule = SCENARIOS[0]
    members: int = 48
    seed: int = 0
    values: Mapping[str, float] = field(default_factory=dict)
    name: str = "TwinSimulate"

    def parameters(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "preset": self.preset,
            "segments": dict(self.segments),
            "horizon_days": self.horizon_days,
            "scenarios": [asdict(s) for s in self.scenarios],
            "observations": [asdict(o) for o in self.observations],
            "received": asdict(self.received),
            "members": self.members,
            "seed": self.seed,
            "values": dict(self.values),
        }

    def check(self) -> TumourGrowth:
        """The model, if what was chosen is possible: so that a mistake is told before anything is computed."""
        if not 1 <= self.horizon_days <= LONGEST_HORIZON_DAYS:
            raise InvalidInput(f"The horizon must be from 1 to {LONGEST_HORIZON_DAYS} days, not {self.horizon_days}.")
        if not 2 <= self.members <= 10_000:
            raise InvalidInput(f"An ensemble needs from 2 to 10000 members, not {self.members}.")
        return self._model()

    def read(self, twin: Twin) -> Anatomy:
        return anatomy_of(twin, self.check().requires(), self.segments)

    def compute(self, inputs: Anatomy, job: Job) -> Forecast:
        model = self._model()
        intervals = min(self.horizon_days, OUTPUT_TIMES)
        times = np.unique(np.round(np.linspace(0, self.horizon_days, intervals + 1))).tolist()
        calibration, prediction, frames = job.split(
            calibration=1 if self.observations else 0.01, prediction=5, frames=0.2
        )
        posterior = model.prior()
        if self.observations:
            with calibration:
                posterior = model.calibrate(inputs, self.observations, calibration, self.received, self.seed)
        with prediction:
            comparison = model.compare(inputs, posterior, self.scenarios, times, prediction, self.members, self.seed)
        with frames:
            first = comparison.predictions[self.scenarios[0].name].curves["volume"]
            member = posterior.samples(self.members, self.seed)[first.median_member()]
            days = np.linspace(0, self.horizon_days, FRAMES).tolist()
            shown = model.frames(inputs, member, days, frames, self.scenarios[0])
            moves = any(p.name == "mass_effect_strain" and p.default > 0 for p in model.parameters)
            moved = model.simulate(inputs, member, days[-1:], frames, self.scenarios[0]) if moves else None
        volume_ml = float(np.count_nonzero(inputs.tissue("tumour")) * inputs.grid.voxel_volume_ml)
        return Forecast(volume_ml, comparison, posterior, _volume_table(comparison), shown, moved)

    def write(self, run: Run, outputs: Forecast) -> None:
        results: dict[str, Quantity | str] = {
            "volume_ml": Quantity(outputs.volume_ml, MILLILITRE),
            "horizon_days": Quantity(self.horizon_days, DAY),
        }
        for name, prediction in outputs.comparison.predictions.items():
            run.add_image(prediction.fields["probability"], "field")
            run.add_image(prediction.fields["density"], "field")
            results[f"predicted_volume_ml, {name}"] = prediction.numbers["volume"]
        run.add_sequence(outputs.frames, f"Tumour growth, {self.scenarios[0].name}")
        if outputs.moved is not None:
            run.add_transform(outputs.moved.transforms["tissue"], name="Mass effect")
            run.add_image(outputs.moved.fields["displacement"], "field")
            results["largest_displacement"] = outputs.moved.numbers["largest_displacement"]
        run.add_table(outputs.comparison.table)
        add_fit(run, outputs.posterior)
        volumes = run.add_table(outputs.volumes)
        run.add_plot("Viable tumour volume", volumes, "time", [c for c in outputs.volumes.columns if c != "time"])
        first = outputs.comparison.predictions[self.scenarios[0].name]
        results["discretisation_error"] = first.numbers["discretisation_error"]
        if outputs.posterior.discrepancy is not None:
            results["noise_factor"] = Quantity(outputs.posterior.discrepancy.noise_factor, NO_UNIT)
        for parameter in outputs.posterior.parameters:
            results[f"{parameter.name}"] = Quantity(outputs.posterior.map[parameter.name], parameter.unit)
        run.record(results)

    def _model(self) -> TumourGrowth:
        model = registry.find(self.model, self.preset, dict(self.values))
        if not isinstance(model, TumourGrowth):
            raise InvalidInput(f"The model {self.model!r} has no growth over time to simulate on a twin.")
        return model


def add_fit(run: Run, posterior: Posterior) -> None:
    """The tables of a calibration, where there was one."""
    for table in (posterior.fit, posterior.held_out):
        if table is not None:
            run.add_table(table)


def _volume_table(comparison: Comparison) -> Table:
    columns: dict[str, np.ndarray] = {}
    for name, prediction in comparison.predictions.items():
        curve = prediction.curves["volume"]
        columns.setdefault("time", curve.times_days)
        (low_90, high_90), (low_50, high_50) = curve.band(90.0), curve.band(50.0)
        columns.update(
            {
                name: curve.values,
                f"{name}, 5 %": low_90,
                f"{name}, 25 %": low_50,
                f"{name}, 75 %": high_50,
                f"{name}, 95 %": high_90,
            }
        )
    return Table("Viable tumour volume", columns, {c: DAY if c == "time" else MILLILITRE for c in columns})
