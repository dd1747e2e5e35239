"""Tumour growth and radiotherapy: u' = div(D grad u) + rho u (1 - u), with the cells that each fraction kills.

u is the density of viable tumour cells as a fraction of the carrying capacity. The model knows viable cells only: dead
cells vanish at once, so after radiotherapy the **viable tumour volume** falls faster than the mass on an image, which
takes weeks to be cleared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from TwinCore import Image, InvalidInput, Job, Quantity, Table
from TwinCore.parameter import complete
from TwinCore.units import DAY, MILLILITRE, NO_UNIT

from .calibration import Calibration, agreement, checked_prior, uncorrelated
from .inference.ensemble import band, normal_draws
from .model import Anatomy, Comparison, Curve, Model, Observation, Posterior, Requirement, Result
from .numerics.discretisation import check_discretisation
from .numerics.travelling_wave import check_resolution
from .radiotherapy import NO_TREATMENT, Schedule
from .tumour_answers import prediction, scenario_table
from .tumour_presets import PRESETS, growth, titles
from .tumour_run import Run, checked_times, observed_volumes, run_ensemble, run_member, volume_error
from .tumour_stage import Stages

HELD_OUT_MEMBERS = 24


class TumourGrowth(Model):
    """Reaction-diffusion growth of a tumour on the tissue grid, with linear-quadratic radiotherapy.

    An anatomy may also have the tissue "barrier" (falx and tentorium), which nothing crosses however coarse the grid,
    and the image "diffusion_tensor" (in RAS: xx, xy, xz, yy, yz, zz), along which cells then spread.

    >>> model = TumourGrowth("soft-tissue sarcoma")
    >>> posterior = model.prior()
    >>> comparison = model.compare(anatomy, posterior, SCENARIOS, range(0, 121, 3), Job())

    Parameters
    ----------
    preset : str
        Which tumour: a key of `presets`.
    spacing_mm : float, optional
        Grid spacing of every run; by default chosen for each front so that its speed is right to 5 %.
    """

    name = "tumour_growth"
    title = "Tumour growth and radiotherapy"
    presets = titles()

    def __init__(self, preset: str, spacing_mm: float | None = None):
        declared = growth(preset)
        self.parameters, self._requires = declared.parameters, declared.requires
        self.preset, self._tissues = preset, PRESETS[preset].tissues
        self.spacing_mm = spacing_mm

    def requires(self) -> tuple[Requirement, ...]:
        return self._requires

    def prior(self) -> Posterior:
        """What is believed of the parameters before any follow-up of the patient."""
        return Posterior.prior(self.parameters)

    def simulate(
        self,
        anatomy: Anatomy,
        parameters: Mapping[str, float],
        times_days: Sequence[float],
        job: Job,
        schedule: Schedule = NO_TREATMENT,
    ) -> Result:
        """One run.

        Parameters
        ----------
        anatomy : Anatomy
            Tissues "tumour" and those of the preset.
        parameters : mapping of str to float
            Those left out take their defaults.
        times_days : sequence of float
            Days from the reference scan, ascending; volumes on the day of a fraction are those before it.
        job : Job
        schedule : Schedule
            Radiotherapy, the whole tissue receiving the prescribed dose.

        Returns
        -------
        Result
            Field "density" at the last time; curves "volume" (mL at or above the detection threshold) and "burden"
            (integral of the density, mL); numbers "volume", "minimum_volume" and "surviving_fraction"
            (of the whole course).

        Raises
        ------
        MissingInput, InvalidInput, NotResolved
        """
        times = checked_times(times_days)
        run, stages = self._run(anatomy, parameters, times, schedule, job)
        member = complete(self.parameters, parameters)
        field = Image(
            stages.on_anatomy(run.densities[-1], run.stage),
            anatomy.grid,
            unit=NO_UNIT,
            time=float(times[-1]),
            name="density",
        )
        curves = {
            "volume": Curve(times, run.volume_ml[:, 0], MILLILITRE),
            "burden": Curve(times, run.burden_ml, MILLILITRE),
        }
        numbers = {
            "volume": Quantity(float(run.volume_ml[-1, 0]), MILLILITRE),
            "minimum_volume": Quantity(float(run.volume_ml.min()), MILLILITRE),
            "surviving_fraction": Quantity(schedule.survival(member["alpha"], member["alpha_beta"]), NO_UNIT),
        }
        return Result({"density": field}, curves, numbers)

    def frames(
        self,
        anatomy: Anatomy,
        parameters: Mapping[str, float],
        times_days: Sequence[float],
        job: Job,
        schedule: Schedule = NO_TREATMENT,
    ) -> list[Image]:
        """The density of one run at each time, on the anatomy's grid."""
        times = checked_times(times_days)
        run, stages = self._run(anatomy, parameters, times, schedule, job, keep=True)
        return [
            Image(
                stages.on_anatomy(density, run.stage),
                anatomy.grid,
                unit=NO_UNIT,
                time=float(time),
                name=f"density, day {time:g}",
            )
            for time, density in zip(times, run.densities)
        ]

    def calibrate(
        self,
        anatomy: Anatomy,
        observations: Sequence[Observation],
        job: Job,
        schedule: Schedule = NO_TREATMENT,
        seed: int = 0,
        *,
        prior: Posterior | None = None,
    ) -> Posterior:
        """Growth, spread and (where the patient was treated) radiosensitivity from volumes at follow-up.

        Parameters
        ----------
        anatomy : Anatomy
        observations : sequence of Observation
            Of "volume", in mL; one at day 0 with another threshold (FLAIR beside T1 with contrast) tells D/rho.
        job : Job
        schedule : Schedule
            Treatment that the patient received.
        seed : int
            For the ensemble that predicts the held-out visit.
        prior : Posterior, optional
            Of earlier visits, when new ones arrive: the observations are then those of the new visits alone. The
            parameters' own priors, if left out.

        Returns
        -------
        Posterior
            With `held_out` where there are more than two visits, the reference scan being one, or any after a `prior`.
        """
        observations = _checked(observations)
        stages, belief = self._stages(anatomy), checked_prior(prior, self.parameters)
        last = observations[-1].time_days
        held_out = None
        hold_out, fit = job.split(held_out_visit=1, all_visits=1)
        visits = {0.0, *(o.time_days for o in observations)}
        if len(visits) > (1 if prior else 2):
            earlier = [o for o in observations if o.time_days < last]
            with hold_out:
                before = self._fit(stages, belief, earlier, schedule, hold_out) if earlier else prior or belief
                held_out = self._held_out(
                    stages, before, [o for o in observations if o.time_days == last], schedule, seed, hold_out
                )
        with fit:
            fitted = self._fit(stages, belief, observations, schedule, fit)
        return replace(fitted, held_out=held_out)

    def check_calibration(
        self,
        anatomy: Anatomy,
        observations: Sequence[Observation],
        posterior: Posterior,
        job: Job,
        schedule: Schedule = NO_TREATMENT,
        seed: int = 0,
        *,
        prior: Posterior | None = None,
    ) -> Table:
        """The posterior beside an ensemble smoother's, which takes no derivatives; warns where the two disagree.

        It costs about eight times the calibration that gave `posterior`; what was given to that is given here.
        """
        observations = _checked(observations)
        belief = checked_prior(prior, self.parameters)
        calibration, _ = self._calibration(self._stages(anatomy), belief, observations, schedule, job)
        return agreement(posterior, calibration.smoothed(posterior, job, seed), job)

    def volume_error(
        self,
        anatomy: Anatomy,
        parameters: Mapping[str, float],
        times_days: Sequence[float],
        job: Job,
        schedule: Schedule = NO_TREATMENT,
    ) -> float:
        """How wrong a run's volume is for its grid's sake, as a share of the largest: from a second, coarser run.

        It warns of more than 5 %, and raises `NotResolved` of more than 20 %.
        """
        member, times = complete(self.parameters, parameters), checked_times(times_days)
        error, spacing = volume_error(self._stages(anatomy, parameters), member, schedule, times, job)
        check_discretisation(error, spacing, "tumour volume", job)
        return error

    def predict(
        self,
        anatomy: Anatomy,
        posterior: Posterior,
        times_days: Sequence[float],
        job: Job,
        schedule: Schedule = NO_TREATMENT,
        members: int = 48,
        seed: int = 0,
    ) -> Result:
        """An ensemble under one schedule: `compare` with a single scenario."""
        return self.compare(anatomy, posterior, [schedule], times_days, job, members, seed).predictions[schedule.name]

    def compare(
        self,
        anatomy: Anatomy,
        posterior: Posterior,
        scenarios: Sequence[Schedule],
        times_days: Sequence[float],
        job: Job,
        members: int = 48,
        seed: int = 0,
    ) -> Comparison:
        """The same members under each schedule; differences are to the first.

        Returns
        -------
        Comparison
            Each prediction has the fields "probability" (share of members with u at or above the threshold at the last
            time) and "density" (mean of the members), the curves "volume" and "burden", and the numbers "volume",
            "minimum_volume", "days_to_regrow" (infinite where it has not regrown by the last time) and
            "surviving_fraction", each with its intervals, and "discretisation_error": of the volume under the first
            schedule at the most probable parameters, as `volume_error` has it.
        """
        names = [s.name for s in scenarios]
        if not names or len(set(names)) != len(names):
            raise InvalidInput(
                f"Scenarios need distinct names, and there must be one at least: {', '.join(names) or 'none'}."
            )
        drawn = self._members(posterior, members, seed)
        grids, runs = job.split(grids=1, members=members)
        with grids:
            error = self.volume_error(anatomy, posterior.map, times_days, grids, scenarios[0])
        with runs:
            ensembles = run_ensemble(
                self._stages(anatomy, posterior.map), drawn, scenarios, checked_times(times_days), runs
            )
        predictions = {e.schedule.name: prediction(e, drawn, anatomy.grid, error) for e in ensembles}
        return Comparison(scenario_table(ensembles, drawn), predictions)

    def _members(self, posterior: Posterior, members: int, seed: int) -> list[dict[str, float]]:
        return [complete(self.parameters, sample) for sample in posterior.samples(members, seed)]

    def _stages(self, anatomy: Anatomy, parameters: Mapping[str, float] | None = None) -> Stages:
        values = complete(self.parameters, parameters or {})
        relative = {
            tissue: 1.0 if divisor is None else 1.0 / values[divisor] for tissue, divisor in self._tissues.items()
        }
        return Stages(anatomy, relative, self.spacing_mm)

    def _run(self, anatomy, parameters, times, schedule, job, keep=False) -> tuple[Run, Stages]:
        member, stages = complete(self.parameters, parameters), self._stages(anatomy, parameters)
        (spacing,) = stages.plan([member], float(times[-1]), job)
        return run_member(stages, spacing, member, schedule, times, (member["detection_threshold"],), job, keep), stages

    def _calibration(
        self, stages: Stages, prior: Posterior, observations: Sequence[Observation], schedule: Schedule, job: Job
    ) -> tuple[Calibration, float]:
        """The problem, and the spacing of its runs; radiosensitivity is left alone where no fraction came in time."""
        last = observations[-1].time_days
        untreated = not any(day < last for day in schedule.days)
        left = uncorrelated(prior, ("alpha", "alpha_beta")) if untreated else []
        free = [n for n in range(len(prior.parameters)) if n not in left]
        fixed = complete(self.parameters, {})
        # A front one prior deviation thinner each way must fit the grid, which stays as it is during the fit.
        offsets = {"diffusivity": -1.0, "proliferation_rate": 1.0}
        away = np.sqrt(np.diag(prior.log_covariance)) * [offsets.get(p.name, 0.0) for p in prior.parameters]
        (spacing,) = stages.plan([{**fixed, **replace(prior, log_mean=prior.log_mean + away).map}], last, job)

        def forward(values):
            return np.log(observed_volumes(stages, spacing, {**fixed, **values}, observations, schedule, job))

        observed, log_sd = np.log([o.value for o in observations]), np.array([o.log_sd for o in observations])
        return Calibration(prior, free, forward, observed, log_sd), spacing

    def _fit(
        self, stages: Stages, prior: Posterior, observations: Sequence[Observation], schedule: Schedule, job: Job
    ) -> Posterior:
        calibration, spacing = self._calibration(stages, prior, observations, schedule, job)
        posterior, discrepancy = calibration.laplace(job)
        residuals = discrepancy.residuals
        columns = {
            "time": [o.time_days for o in observations],
            "threshold": [o.threshold or complete(self.parameters, {})["detection_threshold"] for o in observations],
            "observed": np.exp(calibration.observed),
            "fitted": np.exp(calibration.observed - residuals * calibration.log_sd),
            "residual_in_sd": residuals,
        }
        units = {"time": DAY, "observed": MILLILITRE, "fitted": MILLILITRE}
        check_resolution(
            posterior.map["diffusivity"], posterior.map["proliferation_rate"], spacing, "the calibrated tumour", job
        )
        return replace(posterior, fit=Table("Fit", columns, {name: units.get(name, NO_UNIT) for name in columns}))

    def _held_out(
        self,
        stages: Stages,
        posterior: Posterior,
        observations: Sequence[Observation],
        schedule: Schedule,
        seed: int,
        job: Job,
    ) -> Table:
        """Observed values beside the 90 % interval of prediction and measurement together."""
        drawn = self._members(posterior, HELD_OUT_MEMBERS, seed)
        spacings = stages.plan(drawn, observations[-1].time_days, job)
        logs = np.log(
            [observed_volumes(stages, h, member, observations, schedule, job) for h, member in zip(spacings, drawn)]
        )
        widened = posterior.discrepancy.noise_factor if posterior.discrepancy else 1.0
        log_sd = widened * np.array([o.log_sd for o in observations])
        noise = normal_draws(HELD_OUT_MEMBERS, len(observations), seed + 1) * log_sd
        low, high = np.exp(band(logs + noise, 90.0))
        columns = {
            "time": [o.time_days for o in observations],
            "observed": [o.value for o in observations],
            "predicted": np.exp(np.median(logs, axis=0)),
            "low_90": low,
            "high_90": high,
        }
        return Table("Held-out visit", columns, {name: DAY if name == "time" else MILLILITRE for name in columns})


def _checked(observations: Sequence[Observation]) -> list[Observation]:
    """The observations in the order of time; `InvalidInput` names one that cannot be."""
    if not observations:
        raise InvalidInput("Calibration needs at least one observed volume.")
    for o in observations:
        usable = o.quantity == "volume" and o.value > 0 and o.log_sd > 0 and o.time_days >= 0
        if not usable or not (o.threshold is None or 0 < o.threshold < 1):
            raise InvalidInput(
                f"Observation {o}: a volume above 0 mL with a log_sd above 0 is needed, at day 0 or later, "
                "and a threshold between 0 and 1."
            )
    return sorted(observations, key=lambda o: o.time_days)
