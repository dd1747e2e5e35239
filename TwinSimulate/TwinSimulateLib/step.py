"""TwinSimulate's whole work on a twin: the anatomy in, what may happen under each scenario out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from TwinCore import Image, InvalidInput, Job, MissingInput, Quantity, Table
from TwinCore.parameter import complete
from TwinCore.units import DAY, MILLILITRE, NO_UNIT

from . import registry
from .declared import CELLULARITY
from .model import Anatomy, Comparison, Posterior, Result
from .predicted_outlines import Outlines, predicted_outlines
from .radiotherapy import SCENARIOS
from .schedule_search import SearchResult, search_schedule
from .search_space import SearchSpace
from .treatment import Treatment
from .tumour_growth import TumourGrowth
from .tumour_margins import Margins, compare_margins
from .tumour_observations import Cellularity, ImageObservation, TumourObservation, checked, described
from .twin_anatomy import anatomy_of
from .twin_images import hashed

if TYPE_CHECKING:
    from TwinCore.scene import Run, Twin

FRAMES = 7
MOST_SEARCH_MEMBERS = 16
"""Of a search or of margins, which run the model many times over."""
LONGEST_HORIZON_DAYS = 3650
OUTPUT_TIMES = 24


class Inputs(NamedTuple):
    """What the step reads of a twin: the observations in its reference's frame."""

    anatomy: Anatomy
    observations: Sequence[TumourObservation]


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
    outlines : Outlines
        Of the same member over time, under every scenario.
    moved : Result, optional
        Of that member at the horizon under the first scenario, if it moves the tissue.
    search : SearchResult, optional
        Its best schedule is a scenario of the comparison, too.
    margins : Margins, optional
    """

    volume_ml: float
    comparison: Comparison
    posterior: Posterior
    volumes: Table
    frames: list[Image]
    outlines: Outlines
    moved: Result | None = None
    search: SearchResult | None = None
    margins: Margins | None = None


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
    scenarios : sequence of Treatment
        The first is the one that the others are compared with.
    observations : sequence of Observation, Outline, Cellularity or Uptake
        Volumes and images at follow-up; without any the prediction is the prior's.
    received : Treatment, optional
        What the patient received during the follow-up.
    members, seed : int
        Size and seed of the ensemble.
    values : mapping of str to float
        Parameters at other values than the preset's: an uncertain one is then believed to lie about that.
    images : mapping of str to Image or None
        Of those that the model can take, by its names, in the twin's frame and on any grid; one left out is the twin's
        field or image of that name, where there is one; None for none.
    search : SearchSpace, optional
        Which schedules to search for the best one that normal tissue bears.
    margins_mm : sequence of float
        Margins to hold against model-based ones of equal volume.
    margins_day : float
        Day of the cells that they are to cover.
    """

    preset: str
    segments: Mapping[str, str] = field(default_factory=dict)
    model: str = "tumour_growth"
    horizon_days: int = 120
    scenarios: Sequence[Treatment] = SCENARIOS
    observations: Sequence[TumourObservation] = ()
    received: Treatment = SCENARIOS[0]
    members: int = 48
    seed: int = 0
    values: Mapping[str, float] = field(default_factory=dict)
    images: Mapping[str, Image | None] = field(default_factory=dict)
    search: SearchSpace | None = None
    margins_mm: Sequence[float] = ()
    margins_day: float = 0.0
    name: str = "TwinSimulate"

    def parameters(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "preset": self.preset,
            "segments": dict(self.segments),
            "horizon_days": self.horizon_days,
            "scenarios": [s.as_dict() for s in self.scenarios],
            "observations": [described(o) for o in self.observations],
            "received": self.received.as_dict(),
            "members": self.members,
            "seed": self.seed,
            "values": dict(self.values),
            "images": {name: hashed(image) for name, image in self.images.items()},
            "search": self.search.as_dict() if self.search else None,
            "margins_mm": list(self.margins_mm),
            "margins_day": self.margins_day,
        }

    def check(self) -> TumourGrowth:
        """The model, if what was chosen is possible: so that a mistake is told before anything is computed."""
        if not 1 <= self.horizon_days <= LONGEST_HORIZON_DAYS:
            raise InvalidInput(f"The horizon must be from 1 to {LONGEST_HORIZON_DAYS} days, not {self.horizon_days}.")
        if not 2 <= self.members <= 10_000:
            raise InvalidInput(f"An ensemble needs from 2 to 10000 members, not {self.members}.")
        start = self.images.get(CELLULARITY.name)
        if start is not None:
            Cellularity(0.0, start).check()
        for observation in checked(self.observations) if self.observations else ():
            if start is not None and getattr(observation, "image", None) is start:
                raise InvalidInput("The start is among the observations, too: the same map would count twice.")
        return self._model()

    def read(self, twin: Twin) -> Inputs:
        more = ["recurrence"] if self.margins_mm else []
        more += [self.search.organ] if self.search and self.search.organ else []
        anatomy = anatomy_of(twin, self.check().requires(), self.segments, more, self.images)
        return Inputs(anatomy, [in_reference(o, twin) for o in self.observations])

    def compute(self, inputs: Inputs, job: Job) -> Forecast:
        model, anatomy = self._model(), inputs.anatomy
        calibration, searching, margins, prediction, frames = job.split(
            calibration=1 if self.observations else 0.01,
            search=5 if self.search else 0.01,
            margins=1 if self.margins_mm else 0.01,
            prediction=5,
            frames=0.5,
        )
        found = covered = None
        posterior = model.prior()
        if self.observations:
            with calibration:
                posterior = model.calibrate(anatomy, inputs.observations, calibration, self.received, self.seed)
        few = min(self.members, MOST_SEARCH_MEMBERS)
        if self.search is not None:
            with searching:
                days = float(self.horizon_days)
                found = search_schedule(model, anatomy, posterior, self.search, days, searching, few, self.seed)
        if self.margins_mm:
            with margins:
                wanted = self.margins_mm, self.margins_day
                covered = compare_margins(model, anatomy, posterior, *wanted, margins, members=few, seed=self.seed)
        return self._forecast(model, anatomy, posterior, found, covered, prediction, frames)

    def _forecast(
        self,
        model: TumourGrowth,
        inputs: Anatomy,
        posterior: Posterior,
        found: SearchResult | None,
        covered: Margins | None,
        prediction: Job,
        frames: Job,
    ) -> Forecast:
        """What follows from what is believed."""
        intervals = min(self.horizon_days, OUTPUT_TIMES)
        times = np.unique(np.round(np.linspace(0, self.horizon_days, intervals + 1))).tolist()
        scenarios = with_best(self.scenarios, found)
        with prediction:
            comparison = model.compare(inputs, posterior, scenarios, times, prediction, self.members, self.seed)
        with frames:
            first = comparison.predictions[self.scenarios[0].name].curves["volume"]
            member = posterior.samples(self.members, self.seed)[first.median_member()]
            shown, outlines = self._over_time(model, inputs, member, frames)
            moves = any(p.name == "mass_effect_strain" and p.default > 0 for p in model.parameters)
            end = [float(self.horizon_days)]
            moved = model.simulate(inputs, member, end, frames, self.scenarios[0]) if moves else None
        volume_ml = float(np.count_nonzero(inputs.tissue("tumour")) * inputs.grid.voxel_volume_ml)
        volumes = _volume_table(comparison)
        return Forecast(volume_ml, comparison, posterior, volumes, shown, outlines, moved, found, covered)

    def _over_time(
        self, model: TumourGrowth, inputs: Anatomy, member: Mapping[str, float], job: Job
    ) -> tuple[list[Image], Outlines]:
        """One member's density under the first scenario, and where the tumour shows under each."""
        days = np.linspace(0, self.horizon_days, FRAMES).tolist()
        threshold = complete(model.parameters, member)["detection_threshold"]
        shown: list[Image] = []
        seen: dict[str, list[np.ndarray]] = {}
        for scenario in job.each(self.scenarios, "days to show"):
            frames = model.frames(inputs, member, days, job, scenario)
            shown = shown or frames
            seen[scenario.name] = [frame.array >= threshold for frame in frames]
        return shown, predicted_outlines(seen, days, inputs.tissue("tumour") >= 0.5, inputs.grid, job)

    def write(self, run: Run, outputs: Forecast) -> None:
        results: dict[str, Quantity | str] = {
            "volume_ml": Quantity(outputs.volume_ml, MILLILITRE),
            "horizon_days": Quantity(self.horizon_days, DAY),
        }
        for name, prediction in outputs.comparison.predictions.items():
            run.add_image(prediction.fields["probability"], "field")
            run.add_image(prediction.fields["density"], "field")
            results[f"predicted_volume_ml, {name}"] = prediction.numbers["volume"]
        played = run.add_sequence(outputs.frames, f"Tumour growth, {self.scenarios[0].name}")
        run.add_segmentations(outputs.outlines.over_time, "Predicted outline", outputs.outlines.surfaces, played)
        if outputs.moved is not None:
            run.add_transform(outputs.moved.transforms["tissue"], name="Mass effect")
            run.add_image(outputs.moved.fields["displacement"], "field")
            results["largest_displacement"] = outputs.moved.numbers["largest_displacement"]
        run.add_table(outputs.comparison.table)
        if outputs.search is not None:
            run.add_table(outputs.search.table)
            results["best_schedule"] = outputs.search.best.name
            results["best_schedule_objective"] = outputs.search.objective
            share = outputs.search.probability_of_better
            results["probability_of_better, best_schedule"] = Quantity(share, NO_UNIT)
        if outputs.margins is not None:
            run.add_table(outputs.margins.table)
            for region in outputs.margins.model_based:
                run.add_image(region.with_array(region.array.astype(np.float32)), "field")
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


def in_reference(observation: TumourObservation, twin: Twin) -> TumourObservation:
    """An observation where its image's registration has taken it, into the frame of the twin's reference."""
    if not isinstance(observation, ImageObservation) or not observation.frame:
        return observation
    nodes = {node.GetName(): node for node in twin.nodes("image")}
    if observation.frame not in nodes:
        there = ", ".join(nodes)
        raise MissingInput(f"An observation lies in the frame of {observation.frame!r}; the twin has: {there}.")
    return observation.carried(twin.move_of(nodes[observation.frame]))


def with_best(scenarios: Sequence[Treatment], found: SearchResult | None) -> list[Treatment]:
    """Scenarios, and the best of a search if it is none of them."""
    more = [found.best] if found and found.best.name not in {s.name for s in scenarios} else []
    return [*scenarios, *more]


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
