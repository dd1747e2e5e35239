"""Calibration of the tumour growth model on a patient's follow-up: its fit, the visit held out, and its check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from TwinCore import Job, Parameter, Table
from TwinCore.parameter import complete
from TwinCore.units import DAY, NO_UNIT

from .calibration import Calibration, agreement, checked_prior, uncorrelated
from .inference.ensemble import band, normal_draws
from .model import Posterior
from .numerics.travelling_wave import check_resolution
from .treatment import Treatment
from .tumour_observations import ImageObservation, TumourObservation, checked
from .tumour_read_outs import ReadOut, UptakeReadOut, read_outs, shown, threshold_of
from .tumour_run import checked_times, run_member
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
    treatment : Treatment
        Treatment that the patient received.
    """

    parameters: tuple[Parameter, ...]
    stages: Stages
    earlier: Posterior | None
    treatment: Treatment

    def posterior(self, observations: Sequence[TumourObservation], job: Job, seed: int) -> Posterior:
        """See `TumourGrowth.calibrate`."""
        observations, prior = checked(observations), checked_prior(self.earlier, self.parameters)
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

    def check(self, observations: Sequence[TumourObservation], posterior: Posterior, job: Job, seed: int) -> Table:
        """See `TumourGrowth.check_calibration`."""
        calibration, _ = self._problem(checked_prior(self.earlier, self.parameters), checked(observations), job)
        return agreement(posterior, calibration.smoothed(posterior, job, seed), job)

    def _problem(
        self, prior: Posterior, observations: Sequence[TumourObservation], job: Job
    ) -> tuple[Calibration, Placed]:
        """The problem and where its runs are; radiosensitivity is left alone where no fraction came in time."""
        last = observations[-1].time_days
        left = uncorrelated(prior, self.treatment.without_effect(last))
        free = [n for n in range(len(prior.parameters)) if n not in left]
        placed = self._placed(prior, observations, job)

        def forward(values):
            member = {**complete(self.parameters, {}), **values}
            return np.concatenate(shown(self.stages, placed.spacing_mm, member, placed.outs, self.treatment, job))

        observed, sd = (np.concatenate([getattr(out, part) for out in placed.outs]) for part in ("observed", "sd"))
        effective = sum(out.effective for out in placed.outs)
        return Calibration(prior, free, forward, observed, sd, effective), placed

    def _placed(self, prior: Posterior, observations: Sequence[TumourObservation], job: Job) -> Placed:
        """The spacing of a calibration's runs, and the observations on its stage."""
        last = observations[-1].time_days
        # A front one prior deviation thinner each way must fit the grid, which stays as it is during the fit.
        (spacing,) = self.stages.plan([self._away(prior, diffusivity=-1.0, proliferation_rate=1.0)], last, job)
        if any(isinstance(o, ImageObservation) for o in observations):
            # So must the box hold a tumour one deviation faster each way, for images are laid on that box.
            faster = self._away(prior, diffusivity=1.0, proliferation_rate=1.0)
            run_member(self.stages, spacing, faster, self.treatment, checked_times([last]), (0.5,), job)
        return Placed(spacing, read_outs(observations, self.stages.stage(spacing)))

    def _away(self, prior: Posterior, **deviations: float) -> dict[str, float]:
        """The prior's most probable member, some parameters a number of prior deviations away."""
        away = np.sqrt(np.diag(prior.log_covariance)) * [deviations.get(p.name, 0.0) for p in prior.parameters]
        return {**complete(self.parameters, {}), **replace(prior, log_mean=prior.log_mean + away).map}

    def _fit(self, prior: Posterior, observations: Sequence[TumourObservation], job: Job) -> Posterior:
        calibration, placed = self._problem(prior, observations, job)
        posterior, discrepancy = calibration.laplace(job)
        splits = np.cumsum([out.observed.size for out in placed.outs])[:-1]
        fitted = np.split(calibration.observed - discrepancy.residuals * calibration.sd, splits)
        default = complete(self.parameters, {})
        columns: dict[str, Sequence | np.ndarray] = {
            "time": [o.time_days for o in observations],
            "quantity": [o.quantity for o in observations],
            "threshold": [threshold_of(o, default) for o in observations],
            "unit": [out.unit for out in placed.outs],
            "observed": [out.number(out.observed) for out in placed.outs],
            "fitted": [out.number(data) for out, data in zip(placed.outs, fitted)],
            "residual_in_sd": [out.residual(data) for out, data in zip(placed.outs, fitted)],
        }
        check_resolution(
            posterior.map["diffusivity"],
            posterior.map["proliferation_rate"],
            placed.spacing_mm,
            "the calibrated tumour",
            job,
        )
        return replace(posterior, fit=_table("Fit", columns))

    def _held_out(
        self, posterior: Posterior, observations: Sequence[TumourObservation], seed: int, job: Job
    ) -> Table | None:
        """Observed numbers beside the 90 % interval of prediction and measurement together; an uptake has none."""
        drawn = [complete(self.parameters, sample) for sample in posterior.samples(HELD_OUT_MEMBERS, seed)]
        spacings = self.stages.plan(drawn, observations[-1].time_days, job)
        widened = posterior.discrepancy.noise_factor if posterior.discrepancy else 1.0
        outs = {
            h: [o for o in read_outs(observations, self.stages.stage(h)) if not isinstance(o, UptakeReadOut)]
            for h in set(spacings)
        }
        first = outs[spacings[0]]
        if not first:
            return None
        numbers = np.array(
            [
                [
                    out.number(data)
                    for out, data in zip(outs[h], shown(self.stages, h, member, outs[h], self.treatment, job))
                ]
                for h, member in zip(spacings, drawn)
            ]
        )
        deviates = widened * normal_draws(HELD_OUT_MEMBERS, len(first), seed + 1)
        noisy = np.stack([out.with_noise(numbers[:, n], deviates[:, n]) for n, out in enumerate(first)], axis=1)
        low, high = band(noisy, 90.0)
        columns: dict[str, Sequence | np.ndarray] = {
            "time": [out.observation.time_days for out in first],
            "quantity": [out.observation.quantity for out in first],
            "unit": [out.unit for out in first],
            "observed": [out.number(out.observed) for out in first],
            "predicted": np.median(numbers, axis=0),
            "low_90": low,
            "high_90": high,
        }
        return _table("Held-out visit", columns)


@dataclass(frozen=True, eq=False)
class Placed:
    """A calibration's observations on the stage of its runs, whose spacing is in mm."""

    spacing_mm: float
    outs: Sequence[ReadOut]


def _table(name: str, columns: Mapping[str, Sequence | np.ndarray]) -> Table:
    """A table in which each row has the unit that its column "unit" says."""
    words = ("quantity", "unit")
    return Table(name, columns, {c: DAY if c == "time" else NO_UNIT for c in columns if c not in words})
