"""Levenberg-Marquardt on a glioma's outlines of a single day: where it began, how it spread, and how sure that is.

Neighbouring cubes of an outline do not err independently. How many independent ones they are worth is taken from the
residuals: with a correlation falling as exp(-d / l), l from that of cubes that share a face, N cubes are worth
N^2 / (sum over all pairs of the correlation squared): the sum of squares of so many independent ones scatters as much
(Satterthwaite 1946, Biometrics Bulletin 2:110).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import chi2

from TwinCore import InvalidInput, Job

from .inference.discrepancy import Discrepancy
from .inference.ensemble_smoother import Smoothed, ensemble_smoother
from .inference.levenberg_marquardt import Laplace, levenberg_marquardt
from .onset_forward import CELL_MM, OnsetForward
from .onset_unknowns import FITTED, ORIGIN, OnsetPosterior

SEARCH_MM, FIT_MM = 3.0, 2.0
OUTLINE_SD_MM = 2.0
"""How far an outline may be off by itself: the widening for the model's own error comes on top."""
PET_SD = 0.15
"""Of the PET, as a share of its 95th percentile in the tumour."""
PET_PRIOR = (1.0, 0.5, 0.0, 0.3)
"""Median of the gain and sd of its logarithm; mean and sd of the offset; in shares of that percentile."""
SEARCH_NOISE = 3.0
SEARCH_TOLERANCE, TOLERANCE = 0.2, 0.05
MOST_REFITS, SAME_FACTOR = 3, 0.15
CUT = 0.02
SMOOTHER_MEMBERS, SMOOTHER_REACH = 128, 4.0


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
        self.outlines = self.observed.size
        self.sd = np.full(self.observed.size, OUTLINE_SD_MM / CELL_MM)
        self.kinds = np.repeat([0, 1], forward.flair.size)
        self.cubes = np.concatenate([forward.cubes] * 2)
        self.kept = np.ones(self.observed.size, bool)
        self._pet_seen = forward.pet_weight > CUT
        if self._pet_seen.any():
            self._add_pet()

    def _add_pet(self) -> None:
        weight, pet = self.forward.pet_weight, self.forward.pet
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
            self.forward.outline(density, values, values[name]) for name in ("oedema_threshold", "detection_threshold")
        ]
        if self._pet_seen.any():
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

    def fitted(self, factor: float, start: np.ndarray, job: Job, tolerance: float) -> Laplace:
        """The fit under noise that is `factor` times the stated one."""
        noise = factor * self.sd[self.kept]
        observed = self.observed[self.kept]
        return levenberg_marquardt(
            self.predicted, observed, noise, self.mean, self.covariance, job, tolerance=tolerance, start=start
        )

    def residuals(self, x: np.ndarray) -> np.ndarray:
        """Observed less predicted, of those that are kept, in stated standard deviations."""
        return (self.observed[self.kept] - self.predicted(x)) / self.sd[self.kept]

    def misfit(self, x: np.ndarray) -> float:
        """What the search minimises."""
        residual, away = self.residuals(x) / SEARCH_NOISE, x - self.mean
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
        problem = OnsetProblem(coarse, belief, search)
        best, starts = _search(problem, origins, search)
        problem.keep_cut(best)
        cut, factor = problem.kept, _noise(problem, best, len(FITTED))[0]
    with fitting:
        problem = OnsetProblem(fine, belief, fitting)
        problem.kept[: problem.outlines] = cut[: problem.outlines]
        for _ in range(MOST_REFITS):
            fit = problem.fitted(factor, best, fitting, TOLERANCE)
            determined = float(np.trace(np.eye(fit.mean.size) - np.linalg.solve(problem.covariance, fit.covariance)))
            used, (factor, independent, probability) = factor, _noise(problem, fit.mean, determined)
            if abs(factor - used) < SAME_FACTOR * used:
                break
            best = fit.mean
    if not fit.converged:
        job.warn("The fit of the onset did not converge: its intervals may be too narrow.")
    residuals = problem.residuals(fit.mean)
    outline = problem.kinds[problem.kept] < 2
    rms_mm = OUTLINE_SD_MM * float(np.sqrt(np.mean(residuals[outline] ** 2)))
    posterior = problem.posterior(fit.mean, fit.covariance)
    told = replace(posterior, discrepancy=Discrepancy(used, residuals, probability))
    return OnsetFit(told, residuals.size, independent, rms_mm, np.sort(starts))


def _search(problem: OnsetProblem, origins: np.ndarray, job: Job) -> tuple[np.ndarray, np.ndarray]:
    """The best of the fits from all origins, and the misfit of each."""
    found = []
    for origin in job.each(origins, "where it may have begun"):
        start = problem.mean.copy()
        start[:3] = origin
        fit = problem.fitted(SEARCH_NOISE, start, Job(), SEARCH_TOLERANCE)
        found.append((problem.misfit(fit.mean), fit.mean))
    return min(found, key=lambda pair: pair[0])[1], np.array([misfit for misfit, _ in found])


def _noise(problem: OnsetProblem, x: np.ndarray, determined: float) -> tuple[float, float, float]:
    """By how much the noise is to be widened, how many independent observations there are, and their probability.

    The factor is for misfit (as `inference.discrepancy` has it: never below 1) and for correlation together.
    """
    residuals = problem.residuals(x)
    independent = _independent(problem, residuals)
    spare = max(independent - determined, 1.0)
    mean_square = float(np.mean(residuals**2)) * independent / spare
    factor = math.sqrt(max(mean_square, 1.0) * residuals.size / independent)
    return factor, independent, float(chi2.sf(mean_square * spare, spare))


def _independent(problem: OnsetProblem, residuals: np.ndarray) -> float:
    """How many independent observations the cubes are worth."""
    cubes, kinds = problem.cubes[problem.kept], problem.kinds[problem.kept]
    away = np.linalg.norm(cubes[:, None] - cubes[None], axis=-1)
    same = kinds[:, None] == kinds[None]
    beside = same & (away == 1.0)
    power = float(np.mean(residuals**2))
    correlation = float(np.outer(residuals, residuals)[beside].mean()) / power if beside.any() and power > 0 else 0.0
    squares = np.where(same, np.clip(correlation, 1e-6, 0.99) ** (2.0 * away), 0.0)
    return float(residuals.size**2 / squares.sum())


def smoothed(coarse: OnsetForward, belief: OnsetPosterior, fitted: OnsetPosterior, job: Job, seed: int) -> Smoothed:
    """The fit's unknowns by the ensemble smoother, on the coarse grid under the noise that the fit has found.

    Its members begin within four posterior deviations of the fitted origin, which narrows the posterior by 3 %: from
    all over the prior many would begin outside the tissue and grow nothing.
    """
    problem = OnsetProblem(coarse, belief, job)
    names = [p.name for p in fitted.parameters]
    places = [names.index(name) for name in FITTED]
    at = problem.mean.copy()
    at[: len(FITTED)] = fitted.log_mean[places]
    problem.keep_cut(at)
    for n, place in enumerate(places[: len(ORIGIN)]):
        problem.mean[n], problem.covariance[n, n] = at[n], SMOOTHER_REACH**2 * fitted.log_covariance[place, place]
    factor = fitted.discrepancy.noise_factor if fitted.discrepancy else 1.0
    observed, noise = problem.observed[problem.kept], factor * problem.sd[problem.kept]
    arguments = (problem.mean, problem.covariance, job, SMOOTHER_MEMBERS, seed)
    return ensemble_smoother(problem.predicted, observed, noise, *arguments)
