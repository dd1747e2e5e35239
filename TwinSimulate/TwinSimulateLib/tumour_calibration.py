"""Calibration of the tumour growth model on a patient's follow-up: its fit, the visit held out, and its check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from TwinCore import InvalidInput, Job, Parameter, Table
from TwinCore.parameter import complete
from TwinCore.units import DAY, MILLILITRE, NO_UNIT

from .calibration import Calibration, agreement, checked_prior, uncorrelated
from .inference.ensemble import band, normal_draws
from .model import Observation, Posterior
from .numerics.travelling_wave import check_resolution
from .treatment import Treatment
from .tumour_run import observed_volumes
from .tumour_stage import Stages

HELD_OUT_MEMBERS = 24


@dataclass(frozen=True, eq=False)
class TumourCalibration:
    """What a patient's follow-up says of the growth model's parameters.

    Parameters
    ----------
    parameters : tuple of Parameter
        The model's.
    stages : Stages
        Where it runs.
    earlier : Posterior, optional
        Of earlier visits, the prior of this calibration; the parameters' own priors, if there is none.
    schedule : Treatment
        Treatment that the patient received.
    """

    parameters: tuple[Parameter, ...]
    stages: Stages
    earlier: Posterior | None
    schedule: Treatment

    def posterior(self, observations: Sequence[Observation], job: Job, seed: int) -> Posterior:
        """See `TumourGrowth.calibrate`."""
        observations, prior = _checked(observations), checked_prior(self.earlier, self.parameters)
        last = observations[-1].time_days
        held_out = None
        hold_out, fit = job.split(held_out_visit=1, all_visits=1)
        visits = {0.0, *(o.time_days for o in observations)}
        if len(visits) > (1 if self.earlier else 2):
            before = [o for o in observations if o.time_days < last]
            with hold_out:
                known = self._fit(prior, before, hold_out) if before else self.earlier or prior
                held_out = self._held_out(known, [o for o in observations if o.time_days == last], seed, hold_out)
        with fit:
            fitted = self._fit(prior, observations, fit)
        return replace(fitted, held_out=held_out)

    def check(self, observations: Sequence[Observation], posterior: Posterior, job: Job, seed: int) -> Table:
        """See `TumourGrowth.check_calibration`."""
        calibration, _ = self._problem(checked_prior(self.earlier, self.parameters), _checked(observations), job)
        return agreement(posterior, calibration.smoothed(posterior, job, seed), job)

    def _problem(self, prior: Posterior, observations: Sequence[Observation], job: Job) -> tuple[Calibration, float]:
        """The problem, and the spacing of its runs; radiosensitivity is left alone where no fraction came in time."""
        last = observations[-1].time_days
        left = uncorrelated(prior, self.schedule.without_effect(last))
        free = [n for n in range(len(prior.parameters)) if n not in left]
        fixed = complete(self.parameters, {})
        # A front one prior deviation thinner each way must fit the grid, which stays as it is during the fit.
        offsets = {"diffusivity": -1.0, "proliferation_rate": 1.0}
        away = np.sqrt(np.diag(prior.log_covariance)) * [offsets.get(p.name, 0.0) for p in prior.parameters]
        (spacing,) = self.stages.plan([{**fixed, **replace(prior, log_mean=prior.log_mean + away).map}], last, job)

        def forward(values):
            member = {**fixed, **values}
            return np.log(observed_volumes(self.stages, spacing, member, observations, self.schedule, job))

        observed, log_sd = np.log([o.value for o in observations]), np.array([o.log_sd for o in observations])
        return Calibration(prior, free, forward, observed, log_sd), spacing

    def _fit(self, prior: Posterior, observations: Sequence[Observation], job: Job) -> Posterior:
        calibration, spacing = self._problem(prior, observations, job)
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

    def _held_out(self, posterior: Posterior, observations: Sequence[Observation], seed: int, job: Job) -> Table:
        """Observed values beside the 90 % interval of prediction and measurement together."""
        drawn = [complete(self.parameters, sample) for sample in posterior.samples(HELD_OUT_MEMBERS, seed)]
        spacings = self.stages.plan(drawn, observations[-1].time_days, job)
        logs = np.log(
            [
                observed_volumes(self.stages, spacing, member, observations, self.schedule, job)
                for spacing, member in zip(spacings, drawn)
            ]
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
