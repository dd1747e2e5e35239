"""What is unknown of a glioma of which images of a single day are all there is, and what is believed of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm

from TwinCore import LogNormal, Parameter
from TwinCore.units import DAY, MILLIMETRE, NO_UNIT

from .declared import CELLULARITY, Declaration, Requirement
from .model import Posterior
from .tumour_presets import growth

ORIGIN = ("origin_r", "origin_a", "origin_s")
FITTED = (
    *ORIGIN,
    "diffusivity",
    "proliferation_rate",
    "age",
    "white_to_grey_ratio",
    "detection_threshold",
    "oedema_threshold",
)
"""What the images are fitted with, in the order of the fit's arrays."""
THRESHOLD_SD = 0.5
"""Of the thresholds' logits: 0.45 to 0.84 about 0.7, and 0.13 to 0.43 about 0.25."""


class Scale(NamedTuple):
    """From a parameter's own unit to the number whose distribution is normal, and back."""

    there: np.ufunc
    back: np.ufunc


def _same(value):
    return value


LOG = Scale(np.log, np.exp)
LOGIT = Scale(logit, expit)
PLAIN = Scale(_same, _same)  # type: ignore[arg-type]
ABOVE_ONE = Scale(lambda value: np.log(value - 1.0), lambda x: 1.0 + np.exp(x))  # type: ignore[arg-type]
SCALES: Mapping[str, Scale] = {
    **dict.fromkeys(ORIGIN, PLAIN),
    "white_to_grey_ratio": ABOVE_ONE,
    "detection_threshold": LOGIT,
    "oedema_threshold": LOGIT,
}
"""Of those parameters whose logarithm is not normal."""

_AGE = Parameter(
    "age",
    "T",
    DAY,
    250.0,
    1.0,
    20_000.0,
    "Days since the tumour was a nodule of 3 mm standard deviation, at a tenth of the capacity in its middle.",
    "Wide. One day's images tell of D T and rho T only, so that the age in days is this prior's. Runs of a published "
    "solver take 186 days (calibrated on a patient) and 300 days (its example)",
    LogNormal(250.0, 2.5),
)
_RATIO = Parameter(
    "white_to_grey_ratio",
    "D_w/D_g",
    NO_UNIT,
    10.0,
    1.0,
    1000.0,
    "How much more easily tumour cells move in white than in grey matter.",
    "Low end of the 10 to 30 of the GliODIL synthetic tumours; older models use 5; wide, as atlas tissue is uncertain",
    LogNormal(10.0, 3.0),
)
_THRESHOLDS = (
    Parameter(
        "detection_threshold",
        "θ_T1",
        NO_UNIT,
        0.7,
        0.01,
        0.995,
        "Density at the outline of enhancement on T1 with gadolinium.",
        "Between 0.45 to 0.60 (core of the GliODIL synthetic tumours) and the 0.80 of proliferation-invasion models",
    ),
    Parameter(
        "oedema_threshold",
        "θ_FLAIR",
        NO_UNIT,
        0.25,
        0.005,
        0.95,
        "Density at the outline on FLAIR.",
        "0.15 to 0.35 (oedema) of the GliODIL synthetic tumours; proliferation-invasion models take 0.16",
    ),
)
_ORIGINS = tuple(
    Parameter(
        name,
        f"x_{axis}",
        MILLIMETRE,
        0.0,
        -5000.0,
        5000.0,
        f"Where the tumour began, towards the patient's {side}, in the images' frame.",
        "About the centre of enhancement, as uncertain as its radius",
        asked=False,
    )
    for name, axis, side in zip(ORIGIN, "RAS", ("right", "front", "head"))
)


_SEEN = (
    Requirement("segment", "flair", "outline on FLAIR at the reference scan, with or without the tumour"),
    Requirement("segment", "necrosis", "dead core, where a PET tells nothing of the density of cells", optional=True),
    Requirement("image", "pet", "PET of an amino acid, which rises with the density of cells", optional=True),
)


def onset(preset: str) -> Declaration:
    """What the model of a tumour from its onset says of itself: the growth model's parameters, and how it began."""
    declared = growth(preset)
    own = {p.name: p for p in (_RATIO, *_THRESHOLDS)}
    # The density of day 0 is the onset's: neither the outline's error nor a map of cells has a say in it.
    parameters = tuple(own.pop(p.name, p) for p in declared.parameters if p.name != "outline_scale")
    requires = tuple(r for r in declared.requires if r is not CELLULARITY)
    return Declaration((*parameters, *own.values(), _AGE, *_ORIGINS), (*requires, *_SEEN))


@dataclass(frozen=True, eq=False)
class OnsetPosterior(Posterior):
    """A posterior of which the origin is normal in mm, thresholds in their logits, and the rest in logarithms."""

    def interval(self, name: str, percent: float = 90.0) -> tuple[float, float]:
        n = [p.name for p in self.parameters].index(name)
        reach = norm.ppf(0.5 + percent / 200.0) * np.sqrt(self.log_covariance[n, n])
        back = SCALES.get(name, LOG).back
        return float(back(self.log_mean[n] - reach)), float(back(self.log_mean[n] + reach))

    def combined(self, powers: Mapping[str, float], percent: float = 90.0) -> tuple[float, float, float]:
        """Median and interval of a product of powers of parameters that are normal in their logarithms."""
        weights = np.array([powers.get(p.name, 0.0) for p in self.parameters])
        middle = weights @ self.log_mean
        reach = norm.ppf(0.5 + percent / 200.0) * np.sqrt(weights @ self.log_covariance @ weights)
        return float(np.exp(middle)), float(np.exp(middle - reach)), float(np.exp(middle + reach))

    def _named(self, logs: np.ndarray) -> dict[str, float]:
        return {
            p.name: float(np.clip(SCALES.get(p.name, LOG).back(value), p.low, p.high))
            for p, value in zip(self.parameters, logs)
        }


def prior(parameters: Sequence[Parameter], centre_ras: np.ndarray, radius_mm: float) -> OnsetPosterior:
    """What is believed before the fit, the origin lying about the centre of enhancement.

    Parameters
    ----------
    parameters : sequence of Parameter
        Of `onset`.
    centre_ras : array, shape (3,)
        In mm.
    radius_mm : float
        Of a ball with the volume of enhancement: the origin's standard deviation along each axis.
    """
    believed, means, deviations = [], [], []
    for p in parameters:
        scale = SCALES.get(p.name, LOG)
        if p.name in ORIGIN:
            mean, sd = float(centre_ras[ORIGIN.index(p.name)]), radius_mm
        elif scale is LOGIT:
            mean, sd = float(scale.there(p.default)), THRESHOLD_SD
        elif p.prior is not None:
            mean, sd = float(scale.there(p.prior.median)), p.prior.log_sd
        else:
            continue
        believed.append(p)
        means.append(mean)
        deviations.append(sd)
    return OnsetPosterior(tuple(believed), np.array(means), np.diag(np.square(deviations)))
