"""What drives a model's uncertainty: the share of each read-out's variance that each uncertain parameter causes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from TwinCore import InvalidInput, Job, Table
from TwinCore.units import NO_UNIT

from .inference.sobol import sobol
from .model import Anatomy, Model, Posterior

CORRELATED = 0.3


def sensitivity(
    model: Model,
    anatomy: Anatomy,
    belief: Posterior,
    times_days: Sequence[float],
    job: Job,
    samples: int = 64,
    seed: int = 0,
    **options: Any,
) -> Table:
    """Sobol indices of the numbers that `model.simulate` answers.

    Parameters
    ----------
    model : Model
    anatomy : Anatomy
    belief : Posterior
        How uncertain each parameter is: a prior, or a posterior whose correlations are left out, for variance cannot be
        shared out among parameters that go together. It warns of those above 0.3.
    times_days : sequence of float
    job : Job
    samples, seed : int
        `samples` times two more than there are parameters is the number of runs.
    **options
        What else `model.simulate` takes, such as a treatment.

    Returns
    -------
    Table
        One row for each read-out and parameter: "first" is the share that the parameter causes alone, "total" the share
        that would go if it were known. Shares of a few per cent are within the sampling error.

    Raises
    ------
    InvalidInput
        If nothing is uncertain, or as `inference.sobol.sobol` and the model do.
    """
    if not belief.parameters:
        raise InvalidInput("There is no uncertain parameter whose sensitivity could be told.")
    sd = np.sqrt(np.diag(belief.log_covariance))
    correlation = belief.log_covariance / np.outer(sd, sd) - np.eye(sd.size)
    if np.abs(correlation).max() > CORRELATED:
        first, second = np.unravel_index(np.abs(correlation).argmax(), correlation.shape)
        job.warn(
            f"The sensitivities take the parameters as independent, but {belief.parameters[first].name} and "
            f"{belief.parameters[second].name} go together (correlation {correlation[first, second]:.2g})."
        )
    names: list[str] = []

    def read_outs(deviates):
        values = np.exp(belief.log_mean + sd * deviates)
        member = {p.name: float(np.clip(v, p.low, p.high)) for p, v in zip(belief.parameters, values)}
        numbers = model.simulate(anatomy, member, times_days, job, **options).numbers
        names[:] = numbers
        return np.array([q.value for q in numbers.values()])

    indices = sobol(read_outs, sd.size, job, samples, seed)
    columns: dict[str, Sequence | np.ndarray] = {
        "read_out": [name for name in names for _ in belief.parameters],
        "parameter": [p.name for p in belief.parameters] * len(names),
        "first": indices.first.ravel(),
        "total": indices.total.ravel(),
    }
    return Table("Sensitivity", columns, {"first": NO_UNIT, "total": NO_UNIT})
