"""Levenberg-Marquardt on a glioma's outlines of a single day: where it began, how it spread, and how sure that is.

Neighbouring cubes of an outline do not err independently. How many independent ones they are worth is taken from the
residuals: with a correlation falling as exp(-d / l), l from that of cubes that share a face, N cubes are worth
N^2 / (sum of all pairs' correlations), the size of a sample of correlated numbers with the same variance of the mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from TwinCore import InvalidInput, Job

from .inference.discrepancy import Discrepancy, fit_with_discrepancy
from .inference.levenberg_marquardt import levenberg_marquardt
from .onset_forward import CELL_MM, OnsetForward
from .onset_unknowns import FITTED, OnsetPosterior

SEARCH_MM, FIT_MM = 3.0, 2.0
OUTLINE_SD_MM = 2.0
"""How far an outline may be off by itself: the widening for the model's own error comes on top."""
PET_SD = 0.15
"""Of the PET, as a share of its 95th percentile in the tumour."""
PET_PRIOR = (1.0, 0.5, 0.0, 0.3)
"""Median of the gain and sd of its logarithm; mean and sd of the offset; in shares of that percentile."""
SEARCH_NOISE = 3.0
TOLERANCE = 0.02
CUT = 0.02


@dataclass(frozen=True, eq=False)
class OnsetFit:
    """What was found.

    Parameters
    ----------
    posterior : OnsetPosterior
        Its discrepancy has all by which the noise was widened: for misfit, and for correlation.
    cubes : int
        Number of cubes that an outline cuts, or with PET, that were fitted.
    independent : float
        How many independent observations they are worth.
    rms_mm : float
        Root mean square of the outlines' misfit: the volume missed in a cube over its face.
    starts : array, shape (starts,)
        Misfit that the search ended with from each starting origin, ascending.
    """

    posterior: OnsetPosterior
    cubes: int
    independent: float
    rms_mm: float
    starts: np.ndarray


class OnsetProblem:
    """Observations, noise and prior of one patient on one grid, as the fit's arrays have them."""

    def __init__(self, forward: OnsetForward, belief: OnsetPosterior, job: Job):
        names = [p.name for p in belief.parameters]
        self.forward, self._belief, self._job = forward, belief, job
        self._places = [names.index(name) for name in FITTED]
        self.mean = belief.log_mean[self._places]
        self.covariance = belief.log_covariance[np.ix_(self._places, self._places)]
        self.observed = np.concatenate([forward.flair, forward.tumour])
        self.sd = np.full(self.observed.size, OUTLINE_SD_MM / CELL_MM)
        self.kinds = np.repeat([0, 1], forward.flair.size)
        self.cubes = np.concatenate([forward.cubes] * 2)
        self.kept = np.ones(self.observed.size, bool)
        if forward.pet is not None:
            self._add_pet()

    def _add_pet(self) -> None:
        weight, pet = self.forward.pet_weight, self.forward.pet
        self._pet_seen = weight > CUT
        self._pet_top = float(np.percentile(pet[self._pet_seen], 95))
        if self._pet_top <= 0:
            raise InvalidInput("The PET is nowhere above 0 inside the tumour.")
        gain, log_sd, offset, sd = PET_PRIOR
        self.mean = np.concatenate([self.mean, [math.log(gain), offset]])
        root = np.zeros((self.mean.size,) * 2)
        root[:-2, :-2], root[-2, -2], root[-1, -1] = self.covariance, log_sd**2, sd**2
        self.covariance = root
        seen = self._pet_seen
        self.observed = np.concatenate([self.observed, pet[seen] / self._pet_top])
        self.sd = np.concatenate([self.sd, PET_SD / np.sqrt(weight[seen])])
        self.kinds = np.concatenate([self.kinds, np.full(seen.sum(), 2)])
        self.cubes = np.concatenate([self.cubes, self.forward.cubes[seen]])
        self.kept = np.ones(self.observed.size, bool)

    def values(self, x: np.ndarray) -> dict[str, float]:
        """The unknowns by name, within their bounds."""
        mean = self._belief.log_mean.copy()
        mean[self._places] = x[: len(FITTED)]
        return replace(self._belief, log_mean=mean).map

    def predicted(self, x: np.ndarray) -> np.ndarray:
        """What each cube would show, those that are kept."""
        values = self.values(x)
        density = self.forward.density(values, self._job)
        seen = [
            self.forward.outline(density, values, values[name]) for name in ("flair_threshold", "detection_threshold")
        ]
        if self.forward.pet is not None:
            seen.append(x[-1] + np.exp(x[-2]) * self.forward.mean_where_pet(density)[self._pet_seen])
        return np.concatenate(seen)[self.kept]

    def keep_cut(self, x: np.ndarray) -> None:
        """Keep the cubes that the observed or the fitted outline cuts, or that one fills and the other leaves empty.

        The others are in both or in neither, whatever the unknowns near these: they tell nothing of the misfit.
        """
        self.kept[:] = True
        low, high = np.minimum(self.observed, self.predicted(x)), np.maximum(self.observed, self.predicted(x))
        self.kept = (self.kinds == 2) | ((high > CUT) & (low < 1.0 - CUT))

    def posterior(self, mean: np.ndarray, covariance: np.ndarray) -> OnsetPosterior:
        """The belief with the fit in it; the PET's gain and offset are left out."""
        n = len(FITTED)
        log_mean, log_covariance = self._belief.log_mean.copy(), self._belief.log_covariance.copy()
        log_mean[self._places] = mean[:n]
        log_covariance[np.ix_(self._places, self._places)] = covariance[:n, :n]
        return OnsetPosterior(self._belief.parameters, log_mean, log_covariance)

    def misfit(self, x: np.ndarray) -> float:
        """Twice the negative logarithm of the posterior, but for a constant."""
        residual = (self.observed[self.kept] - self.predicted(x)) / self.sd[self.kept]
        away = x - self.mean
        return float(residual @ residual + away @ np.linalg.solve(self.covariance, away))


def fit_onset(
    coarse: OnsetForward, fine: OnsetForward, belief: OnsetPosterior, origins: np.ndarray, job: Job
) -> OnsetFit:
    """Search from several origins on the coarse grid, fit the best on the fine one.

    Parameters
    ----------
    coarse, fine : OnsetForward
    belief : OnsetPosterior
        The prior.
    origins : array, shape (starts, 3)
        RAS mm.
    job : Job
    """
    search, fitting = job.split(search=1, fit=2)
    with search:
        best, starts = _search(OnsetProblem(coarse, belief, search), origins, search)
    with fitting:
        problem = OnsetProblem(fine, belief, fitting)
        problem.keep_cut(best)
        observed, sd = problem.observed[problem.kept], problem.sd[problem.kept]
        arguments = (problem.mean, problem.covariance, fitting)
        fit, found = fit_with_discrepancy(problem.predicted, observed, sd, *arguments, best, TOLERANCE)
        independent = _independent(problem, found.residuals)
        factor = found.noise_factor * math.sqrt(observed.size / independent)
        fit = levenberg_marquardt(
            problem.predicted, observed, factor * sd, *arguments, tolerance=TOLERANCE, start=fit.mean
        )
    if not fit.converged:
        job.warn("The fit of the onset did not converge: its intervals may be too narrow.")
    residuals = (observed - fit.predicted) / sd
    told = Discrepancy(factor, residuals, found.probability)
    outline = problem.kinds[problem.kept] < 2
    rms_mm = OUTLINE_SD_MM * float(np.sqrt(np.mean(residuals[outline] ** 2)))
    posterior = replace(problem.posterior(fit.mean, fit.covariance), discrepancy=told)
    return OnsetFit(posterior, observed.size, independent, rms_mm, np.sort(starts))


def _search(problem: OnsetProblem, origins: np.ndarray, job: Job) -> tuple[np.ndarray, np.ndarray]:
    """The best of the fits from all origins, and the misfit of each."""
    found = []
    for origin in job.each(origins, "where it may have begun"):
        start = problem.mean.copy()
        start[:3] = origin
        fit = levenberg_marquardt(
            problem.predicted,
            problem.observed,
            SEARCH_NOISE * problem.sd,
            problem.mean,
            problem.covariance,
            Job(),
            tolerance=0.1,
            start=start,
        )
        found.append((problem.misfit(fit.mean), fit.mean))
    return min(found, key=lambda pair: pair[0])[1], np.array([misfit for misfit, _ in found])


def _independent(problem: OnsetProblem, residuals: np.ndarray) -> float:
    """How many independent observations the cubes are worth."""
    cubes, kinds = problem.cubes[problem.kept], problem.kinds[problem.kept]
    away = np.linalg.norm(cubes[:, None] - cubes[None], axis=-1)
    same = kinds[:, None] == kinds[None]
    beside = same & (away == 1.0)
    power = float(np.mean(residuals**2))
    products = np.outer(residuals, residuals)
    correlation = float(products[beside].mean()) / power if beside.any() and power > 0 else 0.0
    if correlation <= 0.0:
        return float(residuals.size)
    together = np.where(same, min(correlation, 0.99) ** away, 0.0).sum()
    return float(residuals.size**2 / together)
