"""Calibration of any model: a prior, a forward run and observations give a posterior, and its independent check."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from TwinCore import InvalidInput, Job, Parameter, Table

from .inference.differences import Forward
from .inference.discrepancy import Discrepancy, fit_with_discrepancy
from .inference.ensemble_smoother import ensemble_smoother
from .model import Posterior

SMOOTHER_MEMBERS = 64
DISAGREEMENT = 0.5
"""In posterior standard deviations: medians farther apart than this, or deviations that differ by this share, are
warned of."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Read-outs with Gaussian noise, and what is believed of the parameters before they are seen.

    Parameters
    ----------
    prior : Posterior
    free : sequence of int
        Those of the prior's parameters that the observations can tell of; the others keep their prior.
    forward : callable
        From the uncertain parameters' values by name to the read-outs, shape (m,): logarithms, where positive ones have
        log-normal noise.
    observed, sd : arrays, shape (m,)
        In the order of time.
    effective : float, optional
        How many independent observations the read-outs amount to, if not m.
    """

    prior: Posterior
    free: Sequence[int]
    forward: Callable[[Mapping[str, float]], np.ndarray]
    observed: np.ndarray
    sd: np.ndarray
    effective: float | None = None

    def laplace(self, job: Job) -> tuple[Posterior, Discrepancy]:
        """The posterior by Levenberg-Marquardt, and its discrepancy; warns where it is not to be trusted as it is."""
        fit, discrepancy = fit_with_discrepancy(*self._problem(), job, self.effective)
        if not fit.converged:
            job.warn("The calibration did not converge: its interval may be too narrow.")
        if discrepancy.noise_factor > 1:
            job.warn(
                f"The model does not fit the observations to their noise, which was widened "
                f"{discrepancy.noise_factor:.2g} times, and the intervals with it."
            )
        elif discrepancy.is_improbable:
            job.warn("The model does not fit the observations to their noise, and they are too few to widen it.")
        return replace(self._belief(fit.mean, fit.covariance), discrepancy=discrepancy), discrepancy

    def smoothed(self, fitted: Posterior, job: Job, seed: int = 0) -> Posterior:
        """The posterior by the ensemble smoother, under the noise that `fitted` has found."""
        forward, observed, sd, mean, covariance = self._problem()
        widened = sd * (fitted.discrepancy.noise_factor if fitted.discrepancy else 1.0)
        ensemble = ensemble_smoother(forward, observed, widened, mean, covariance, job, SMOOTHER_MEMBERS, seed)
        return self._belief(ensemble.mean, ensemble.covariance)

    def _problem(self) -> tuple[Forward, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        prior = self.prior
        block = np.ix_(self.free, self.free)
        return self._log_forward, self.observed, self.sd, prior.log_mean[self.free], prior.log_covariance[block]

    def _log_forward(self, logs: np.ndarray) -> np.ndarray:
        values = self.prior.log_mean.copy()
        values[self.free] = logs
        return self.forward(replace(self.prior, log_mean=values).map)

    def _belief(self, mean: np.ndarray, covariance: np.ndarray) -> Posterior:
        log_mean, log_covariance = self.prior.log_mean.copy(), self.prior.log_covariance.copy()
        log_mean[self.free], log_covariance[np.ix_(self.free, self.free)] = mean, covariance
        return Posterior(self.prior.parameters, log_mean, log_covariance)


def checked_prior(prior: Posterior | None, parameters: Sequence[Parameter]) -> Posterior:
    """The prior given, without its fit, or the parameters' own if none is; `InvalidInput` if it is another model's."""
    own = Posterior.prior(parameters)
    if prior is None:
        return own
    names, wanted = [p.name for p in prior.parameters], [p.name for p in own.parameters]
    if names != wanted:
        raise InvalidInput(f"The prior is of {', '.join(names)}: this model's parameters are {', '.join(wanted)}.")
    return Posterior(own.parameters, prior.log_mean, prior.log_covariance)


def uncorrelated(belief: Posterior, names: Sequence[str]) -> list[int]:
    """Which parameters are of these names and tell nothing of the others."""
    apart = belief.log_covariance - np.diag(np.diag(belief.log_covariance))
    return [n for n, p in enumerate(belief.parameters) if p.name in names and not apart[n].any()]


def agreement(posterior: Posterior, smoothed: Posterior, job: Job) -> Table:
    """Both posteriors' medians and 90 % intervals beside each other, one row a parameter; warns where they disagree."""
    rows = []
    for n, p in enumerate(posterior.parameters):
        sd, other_sd = (np.sqrt(b.log_covariance[n, n]) for b in (posterior, smoothed))
        shift = (smoothed.log_mean[n] - posterior.log_mean[n]) / sd
        if abs(shift) > DISAGREEMENT or abs(other_sd / sd - 1) > DISAGREEMENT:
            job.warn(
                f"Laplace's posterior of {p.name} and the ensemble smoother's disagree (medians {abs(shift):.2g} "
                f"deviations apart, widths {other_sd / sd:.2g} to 1): it is not Gaussian; read its interval with care."
            )
        rows.append(
            [
                posterior.map[p.name],
                *posterior.interval(p.name),
                smoothed.map[p.name],
                *smoothed.interval(p.name),
                shift,
            ]
        )
    names = ("median", "low_90", "high_90", "smoothed_median", "smoothed_low_90", "smoothed_high_90", "shift_in_sd")
    columns = {"parameter": [p.name for p in posterior.parameters], "unit": [p.unit for p in posterior.parameters]}
    values = np.array(rows).reshape(len(rows), len(names))
    return Table("Posterior check", {**columns, **dict(zip(names, values.T.tolist()))}, {})
