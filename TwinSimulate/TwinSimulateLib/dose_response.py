"""What a dose does: equivalent doses voxel by voxel, equivalent uniform dose, and probabilities of control and harm.

The linear-quadratic model with equal fractions, complete repair between them and no time factor. The dose of every
voxel is converted before it enters a histogram, since each voxel has its own dose per fraction.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm

from TwinCore import Image, InvalidInput, LogNormal, Parameter
from TwinCore.units import GRAY, NO_UNIT

from .dose_volume import DoseVolume
from .model import Estimate
from .radiotherapy import MOST_FRACTIONS, bed_gy, eqd2_gy

QUANTILES = (np.arange(199) + 0.5) / 199
"""Where a distribution of one parameter is looked at: equally likely pieces, so that no random numbers are needed."""


@dataclass(frozen=True)
class Endpoint:
    """A complication of an organ, by the Lyman-Kutcher-Burman model.

    Parameters
    ----------
    organ, endpoint : str
    n, m : float
        Volume effect (1: the mean dose counts; near 0: the maximum) and slope.
    td50_gy : float
        Uniform dose in 2 Gy fractions after which half of the patients have it.
    alpha_beta : Parameter
        With its prior.
    source : str
    """

    organ: str
    endpoint: str
    n: float
    m: float
    td50_gy: float
    alpha_beta: Parameter
    source: str


@cache
def endpoints() -> Mapping[str, Endpoint]:
    """Every complication by its organ (ntcp.json)."""
    listed = json.loads(resources.files(__package__).joinpath("ntcp.json").read_text("utf-8"))["endpoints"]
    return {
        e["organ"]: Endpoint(
            e["organ"],
            e["endpoint"],
            e["n"],
            e["m"],
            e["td50_gy"],
            _alpha_beta(e["organ"], e["alpha_beta_gy"], e["alpha_beta_factor_95"]),
            e["source"],
        )
        for e in listed
    }


def find_endpoint(organ: str) -> Endpoint:
    """The complication of an organ; `InvalidInput` names the organs there are."""
    if organ not in endpoints():
        raise InvalidInput(f"There is no complication of {organ!r}; there are those of: {', '.join(endpoints())}.")
    return endpoints()[organ]


def _alpha_beta(organ: str, median: float, factor: float) -> Parameter:
    return Parameter(
        f"alpha_beta_{organ.replace(' ', '_')}",
        "α/β",
        GRAY,
        median,
        0.5,
        50.0,
        f"Dose at which linear and quadratic effect on the {organ} are equal.",
        "Conventional for late effects, chosen wide (ntcp.json)",
        LogNormal(median, factor),
    )


def bed(dose: Image, fractions: int, alpha_beta_gy: float) -> Image:
    """The biologically effective dose of each voxel of a total dose given in equal fractions, in Gy."""
    return _converted(dose, bed_gy, fractions, alpha_beta_gy, "BED")


def eqd2(dose: Image, fractions: int, alpha_beta_gy: float) -> Image:
    """The dose in 2 Gy fractions that does the same, of each voxel of a total dose given in equal fractions, in Gy.

    >>> eqd2(plan, fractions=15, alpha_beta_gy=3.0).unit  # doctest: +SKIP
    'Gy'
    """
    return _converted(dose, eqd2_gy, fractions, alpha_beta_gy, "EQD2")


def _converted(dose: Image, formula: Callable, fractions: int, alpha_beta_gy: float, word: str) -> Image:
    _check(fractions, alpha_beta_gy)
    if dose.unit != GRAY:
        raise InvalidInput(f"{dose.name or 'The dose'}: it must be in Gy, not in {dose.unit!r}.")
    name = f"{word} of {dose.name or 'the dose'}, alpha/beta {alpha_beta_gy:g} Gy"
    return dose.with_array(formula(dose.array, fractions, alpha_beta_gy).astype(np.float32), name=name)


def eqd2_histogram(physical: DoseVolume, fractions: int, alpha_beta_gy: float) -> DoseVolume:
    """The histogram of the voxels' EQD2, from that of their physical dose: EQD2 never falls with the dose."""
    _check(fractions, alpha_beta_gy)
    return physical.mapped(lambda dose: eqd2_gy(dose, fractions, alpha_beta_gy))


def geud_gy(histogram: DoseVolume, a: float) -> float:
    """Generalised equivalent uniform dose (sum v D^a)^(1/a), in Gy (Niemierko 1999, Med Phys 26:1100).

    Parameters
    ----------
    histogram : DoseVolume
    a : float
        1 gives the mean, large ones the maximum; below 0 for tumours, where the coldest part counts. 1/n of the
        Lyman-Kutcher-Burman model.
    """
    if not np.isfinite(a) or a == 0:
        raise InvalidInput(f"The exponent of the equivalent uniform dose must be finite and not 0, not {a}.")
    share = histogram.volume_ml / histogram.total_ml
    with np.errstate(divide="ignore"):  # log 0 is -inf, and 0 Gy to a negative power makes the whole 0
        logs = a * np.log(histogram.dose_gy)
    return float(np.exp(logsumexp(logs, b=share) / a))


def lyman(uniform_gy: float, td50_gy: float, m: float) -> float:
    """Probability of a complication after a uniform dose: the normal distribution at (D - TD50) / (m TD50)."""
    return float(norm.cdf((uniform_gy - td50_gy) / (m * td50_gy)))


def ntcp(physical: DoseVolume, fractions: int, endpoint: Endpoint, alpha_beta_gy: float | None = None) -> float:
    """Normal-tissue complication probability by Lyman, Kutcher and Burman, from the voxels' EQD2."""
    equivalent = eqd2_histogram(physical, fractions, alpha_beta_gy or endpoint.alpha_beta.default)
    return lyman(geud_gy(equivalent, 1.0 / endpoint.n), endpoint.td50_gy, endpoint.m)


def tcp(
    physical: DoseVolume,
    fractions: int,
    alpha: float,
    alpha_beta_gy: float,
    clonogens_per_ml: float,
    spread: float = 0.0,
) -> float:
    """Tumour control probability: the Poisson probability that no clonogenic cell survives, over a population.

    Parameters
    ----------
    physical : DoseVolume
        Of the tumour.
    fractions : int
    alpha : float
        Per Gy; the median of the population.
    alpha_beta_gy : float
    clonogens_per_ml : float
    spread : float
        Standard deviation of log(alpha) between patients; 0 for patients who are all alike.
    """
    _check(fractions, alpha_beta_gy)
    if not (alpha > 0 and clonogens_per_ml > 0 and 0 <= spread < 2):
        raise InvalidInput(
            f"Tumour control needs alpha and clonogens above 0 and a spread from 0 to 2, not {alpha}, "
            f"{clonogens_per_ml} and {spread}."
        )
    effective = bed_gy(physical.dose_gy, fractions, alpha_beta_gy)
    alphas = alpha * np.exp(spread * norm.ppf(QUANTILES)) if spread else np.array([alpha])
    logs = [logsumexp(-a * effective, b=clonogens_per_ml * physical.volume_ml) for a in alphas]
    return float(np.mean(np.exp(-np.exp(np.minimum(logs, 700.0)))))


def over_alpha_beta(read_out: Callable[[float], float], alpha_beta: Parameter, unit: str = NO_UNIT) -> Estimate:
    """A read-out as a median with its 50 % and 90 % intervals, over what is believed of alpha/beta.

    >>> cord = find_endpoint("spinal cord")
    >>> dose = over_alpha_beta(lambda ratio: eqd2_gy(45.0, 15, ratio), cord.alpha_beta, "Gy")
    >>> round(dose.value, 1), [round(end, 1) for end in dose.interval_90]
    (56.2, [52.5, 59.9])
    """
    if alpha_beta.prior is None:
        raise InvalidInput(f"Parameter {alpha_beta.name!r} has no prior to take an interval from.")
    ratios = np.clip(alpha_beta.prior.sample(norm.ppf(QUANTILES)), alpha_beta.low, alpha_beta.high)
    return Estimate.of_members(np.array([read_out(float(ratio)) for ratio in ratios]), unit)


def complication(physical: DoseVolume, fractions: int, endpoint: Endpoint) -> dict[str, Estimate]:
    """An organ's mean EQD2, equivalent uniform EQD2 and probability of the complication, over its alpha/beta."""
    short = physical.condensed()

    def equivalent(ratio: float) -> DoseVolume:
        return eqd2_histogram(short, fractions, ratio)

    return {
        "eqd2_mean_gy": over_alpha_beta(lambda r: equivalent(r).mean_gy, endpoint.alpha_beta, GRAY),
        "eqd2_geud_gy": over_alpha_beta(lambda r: geud_gy(equivalent(r), 1 / endpoint.n), endpoint.alpha_beta, GRAY),
        "ntcp": over_alpha_beta(lambda r: ntcp(short, fractions, endpoint, r), endpoint.alpha_beta),
    }


def _check(fractions: int, alpha_beta_gy: float) -> None:
    if fractions != int(fractions) or not 1 <= fractions <= MOST_FRACTIONS:
        raise InvalidInput(f"The number of fractions must be from 1 to {MOST_FRACTIONS}, not {fractions}.")
    if not 0 < alpha_beta_gy < np.inf:
        raise InvalidInput(f"alpha/beta must be above 0 Gy, not {alpha_beta_gy}.")
