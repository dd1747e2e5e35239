"""The radiotherapy model: what a planned dose does to a tumour and to organs, and what other fractions would do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from TwinCore import Image, InvalidInput, Job, MissingInput, Parameter, Quantity, Table
from TwinCore.parameter import complete
from TwinCore.units import GRAY, NO_UNIT

from .calibration import checked_prior
from .declared import DOSE, Declaration
from .dose_response import endpoints, eqd2, eqd2_histogram, geud_gy, ntcp, tcp
from .dose_volume import DoseVolume, dose_volume
from .inference.ensemble import band
from .model import Anatomy, Comparison, Estimate, Model, Observation, Posterior, Requirement, Result
from .plan_what_ifs import rescaled
from .radiotherapy import Schedule
from .tumour_presets import CLONOGENS, find_preset, titles

BENEFIT = 0.01
"""A scenario benefits a member if the probability of control without complications rises by more than this."""
_WIDTH_GY = 0.05

SPREAD = Parameter(
    "alpha_spread",
    "σ",
    NO_UNIT,
    0.25,
    0.0,
    1.0,
    "Standard deviation of log(alpha) between patients.",
    "Chosen: published models take 0.2 to 0.3 of the mean",
)


class Radiotherapy(Model):
    """Tumour control and complications of a planned dose, by the linear-quadratic model, voxel by voxel.

    >>> model = Radiotherapy("glioma")
    >>> plans = [Schedule.of(30, 2.0), Schedule.of(15, 2.67)]
    >>> comparison = model.compare(anatomy, model.prior(), plans, (), Job())  # doctest: +SKIP

    The dose is that of the first scenario; others scale it as a whole (a static dose cloud).

    Parameters
    ----------
    preset : str
        Which tumour: a key of `presets`, whose alpha and alpha/beta are those of its growth model.
    """

    name = "radiotherapy"
    title = "Radiotherapy: tumour control and complications"
    presets = titles()

    def __init__(self, preset: str):
        declared = radiotherapy(preset)
        self.parameters, self._requires, self.preset = declared.parameters, declared.requires, preset

    def requires(self) -> tuple[Requirement, ...]:
        return self._requires

    def prior(self) -> Posterior:
        """What is believed of the parameters; no image of the patient changes it."""
        return Posterior.prior(self.parameters)

    def simulate(
        self,
        anatomy: Anatomy,
        parameters: Mapping[str, float],
        times_days: Sequence[float],
        job: Job,
        schedule: Schedule | None = None,
    ) -> Result:
        """One set of parameters.

        Parameters
        ----------
        anatomy : Anatomy
            Image "dose" in Gy; tissues "tumour" and any organs of `dose_response.endpoints`.
        parameters : mapping of str to float
            Those left out take their defaults.
        times_days : sequence of float
            Not used: the model knows of no time.
        job : Job
            Takes warnings about structures partly outside the dose.
        schedule : Schedule
            In which fractions the dose is given.

        Returns
        -------
        Result
            Field "eqd2" (Gy, at the tumour's alpha/beta); numbers "tcp", "eqd2_mean_tumour", "geud_<organ>" and
            "ntcp_<organ>" of each organ, and "control_without_complication", their product.

        Raises
        ------
        MissingInput, InvalidInput
        """
        if schedule is None:
            raise MissingInput("What a dose does depends on its fractions: give the schedule.")
        _check([schedule])
        member = complete(self.parameters, parameters)
        read_outs = _read_outs(self._histograms(anatomy, job), member, schedule)
        field = eqd2(anatomy.images["dose"], schedule.fractions, member["alpha_beta"])
        return Result({"eqd2": field}, {}, {name: Quantity(v, _unit(name)) for name, v in read_outs.items()})

    def calibrate(
        self, anatomy: Anatomy, observations: Sequence[Observation], job: Job, *, prior: Posterior | None = None
    ) -> Posterior:
        """The prior: `InvalidInput` where there are observations, for no read-out of the model can be measured."""
        if observations:
            raise InvalidInput(
                "Control and complications are probabilities, which one patient's observations do not calibrate. The "
                "tumour growth model calibrates radiosensitivity on volumes at follow-up."
            )
        return checked_prior(prior, self.parameters)

    def predict(
        self,
        anatomy: Anatomy,
        posterior: Posterior,
        times_days: Sequence[float],
        job: Job,
        schedule: Schedule | None = None,
        members: int = 200,
        seed: int = 0,
    ) -> Result:
        """An ensemble under one schedule: `compare` with a single scenario."""
        chosen = [schedule] if schedule else []
        prediction = self.compare(anatomy, posterior, chosen, times_days, job, members, seed).predictions
        return next(iter(prediction.values()))

    def compare(
        self,
        anatomy: Anatomy,
        posterior: Posterior,
        scenarios: Sequence[Schedule],
        times_days: Sequence[float],
        job: Job,
        members: int = 200,
        seed: int = 0,
    ) -> Comparison:
        """The same members under each schedule, the dose being that of the first, scaled to the total of the others.

        Returns
        -------
        Comparison
            Each prediction has the field "eqd2", at the posterior's most probable alpha/beta, and the numbers of
            `simulate` with their intervals.
        """
        numbers, table = self.of_histograms(self._histograms(anatomy, job), posterior, scenarios, job, members, seed)
        dose, predictions = anatomy.images["dose"], {}
        for schedule in scenarios:
            scaled = dose.with_array(dose.array * np.float32(schedule.total_gy / scenarios[0].total_gy))
            field = eqd2(scaled, schedule.fractions, posterior.map["alpha_beta"])
            predictions[schedule.name] = Result({"eqd2": field}, {}, numbers[schedule.name])
        return Comparison(table, predictions)

    def of_histograms(
        self,
        histograms: Mapping[str, DoseVolume],
        posterior: Posterior,
        scenarios: Sequence[Schedule],
        job: Job,
        members: int = 200,
        seed: int = 0,
    ) -> tuple[dict[str, dict[str, Estimate]], Table]:
        """What `compare` answers, without fields, from histograms of the physical dose.

        Parameters
        ----------
        histograms : mapping of str to DoseVolume
            That of "tumour", and of any organs of `dose_response.endpoints`.

        Returns
        -------
        numbers : dict
            By schedule, then by read-out.
        table : Table
        """
        _check(scenarios)
        short = {name: h.condensed(_WIDTH_GY) for name, h in histograms.items()}
        drawn = [complete(self.parameters, sample) for sample in posterior.samples(members, seed)]
        ensembles: dict[str, dict[str, np.ndarray]] = {}
        for schedule in job.each(scenarios, "schedules"):
            scaled = {n: rescaled(h, schedule.total_gy / scenarios[0].total_gy) for n, h in short.items()}
            each = []
            for member in drawn:
                job.checkpoint()
                each.append(_read_outs(scaled, member, schedule))
            ensembles[schedule.name] = {name: np.array([e[name] for e in each]) for name in each[0]}
        numbers = {
            schedule: {name: Estimate.of_members(values, _unit(name)) for name, values in ensemble.items()}
            for schedule, ensemble in ensembles.items()
        }
        return numbers, _table(scenarios, ensembles, posterior.map["alpha_beta"])

    def _histograms(self, anatomy: Anatomy, job: Job) -> dict[str, DoseVolume]:
        if "dose" not in anatomy.images:
            raise MissingInput("The model needs the image 'dose': the total dose of the plan, in Gy.")
        anatomy.tissue("tumour")
        return {
            name: dose_volume(anatomy.images["dose"], Image(tissue, anatomy.grid, name=name), job)
            for name, tissue in anatomy.tissues.items()
            if name == "tumour" or name in endpoints()
        }


def radiotherapy(preset: str) -> Declaration:
    """What the model says of itself under a preset."""
    tumour = (p for p in find_preset(preset, "radiotherapy").parameters if p.name in ("alpha", "alpha_beta"))
    parameters = (*tumour, SPREAD, CLONOGENS, *(e.alpha_beta for e in endpoints().values()))
    needs = f"what is to be controlled; at risk, where there are any: {', '.join(endpoints())}"
    return Declaration(parameters, (DOSE, Requirement("segment", "tumour", needs)))


def _check(scenarios: Sequence[Schedule]) -> None:
    names = [s.name for s in scenarios]
    if not names or len(set(names)) != len(names):
        raise InvalidInput(
            f"Schedules need distinct names, and there must be one at least: {', '.join(names) or 'none'}."
        )
    for schedule in scenarios:
        if not isinstance(schedule, Schedule):
            raise InvalidInput(f"Treatment {schedule.name!r}: this model knows of radiotherapy alone.")
        if not schedule.fractions:
            raise InvalidInput(f"Schedule {schedule.name!r} has no fractions, so there is no dose to look at.")


def _read_outs(
    histograms: Mapping[str, DoseVolume], member: Mapping[str, float], schedule: Schedule
) -> dict[str, float]:
    """Every read-out of one set of parameters."""
    tumour, fractions = histograms["tumour"], schedule.fractions
    found = {
        "tcp": tcp(
            tumour,
            fractions,
            member["alpha"],
            member["alpha_beta"],
            member["clonogen_density"],
            member["alpha_spread"],
        ),
        "eqd2_mean_tumour": eqd2_histogram(tumour, fractions, member["alpha_beta"]).mean_gy,
    }
    without = found["tcp"]
    for organ, endpoint in endpoints().items():
        if organ in histograms:
            ratio = member[endpoint.alpha_beta.name]
            equivalent = eqd2_histogram(histograms[organ], fractions, ratio)
            word = organ.replace(" ", "_")
            found[f"geud_{word}"] = geud_gy(equivalent, 1.0 / endpoint.n)
            found[f"ntcp_{word}"] = ntcp(histograms[organ], fractions, endpoint, ratio)
            without *= 1.0 - found[f"ntcp_{word}"]
    return {**found, "control_without_complication": without}


def _unit(read_out: str) -> str:
    return GRAY if read_out.startswith(("eqd2", "geud")) else NO_UNIT


def _table(
    scenarios: Sequence[Schedule], ensembles: Mapping[str, Mapping[str, np.ndarray]], alpha_beta: float
) -> Table:
    """The scenarios with their read-outs, and the differences to the first, member by member."""
    first = ensembles[scenarios[0].name]
    columns: dict[str, list] = {"scenario": [s.name for s in scenarios]}
    units = {"dose": GRAY, "bed": GRAY, "eqd2": GRAY, "probability_of_benefit": NO_UNIT}
    columns["dose"] = [s.total_gy for s in scenarios]
    columns["bed"] = [s.bed_gy(alpha_beta) for s in scenarios]
    columns["eqd2"] = [s.eqd2_gy(alpha_beta) for s in scenarios]
    for name in first:
        here = [ensembles[s.name][name] for s in scenarios]
        away = [h - first[name] for h in here]
        for label, members in ((name, here), (f"difference_{name}", away)):
            low, high = np.transpose([band(m, 90.0) for m in members])
            columns[label] = [float(np.median(m)) for m in members]
            columns[f"{label}_low_90"], columns[f"{label}_high_90"] = low.tolist(), high.tolist()
            units.update(dict.fromkeys((label, f"{label}_low_90", f"{label}_high_90"), _unit(name)))
    gain = [e["control_without_complication"] - first["control_without_complication"] for e in ensembles.values()]
    columns["probability_of_benefit"] = [float(np.mean(g > BENEFIT)) for g in gain]
    return Table("Schedules", columns, units)
