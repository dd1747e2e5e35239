"""Sobol indices: what share of a read-out's variance each independent parameter causes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, sobol_indices

from TwinCore import InvalidInput, Job


@dataclass(frozen=True, eq=False)
class Indices:
    """Shares of variance, each of shape (read-outs, parameters); zero where a read-out does not vary.

    Parameters
    ----------
    first : array
        Caused by the parameter alone.
    total : array
        Caused by the parameter alone and together with others.
    """

    first: np.ndarray
    total: np.ndarray


def sobol(
    read_outs: Callable[[np.ndarray], np.ndarray], parameters: int, job: Job, samples: int = 64, seed: int = 0
) -> Indices:
    """First-order and total indices, from `samples` x (parameters + 2) runs on a scrambled Sobol sequence.

    The estimators are those of Saltelli and others (2010, Computer Physics Communications 181:259), in scipy.

    Parameters
    ----------
    read_outs : callable
        From standard-normal deviates of the parameters, shape (parameters,), to read-outs, shape (m,).
    parameters : int
    job : Job
    samples, seed : int
        The first a power of two.

    Raises
    ------
    InvalidInput
        If `samples` is no power of two, or there is no parameter.
    """
    if samples < 2 or samples & (samples - 1) or parameters < 1:
        raise InvalidInput(f"Sobol indices need a parameter, and a power of two as number of samples, not {samples}.")

    done, number = iter(range(1, samples * (parameters + 2) + 1)), samples * (parameters + 2)

    def run(deviates):
        found = read_outs(deviates)
        job.report(next(done) / number, "runs of the sensitivity")
        return found

    def runs(deviates):
        # an infinite deviate, at the corner of the sequence, is no number: beyond four lies one in 16000
        return np.array([run(point) for point in np.clip(deviates.T, -4.0, 4.0)]).T

    rng = np.random.default_rng(seed)
    found = sobol_indices(func=runs, n=samples, dists=[norm()] * parameters, rng=rng)
    return Indices(found.first_order.reshape(-1, parameters), found.total_order.reshape(-1, parameters))
