"""How far a model's probabilities and volumes can be trusted: measured on images whose truth is known.

Probabilities are calibrated by one temperature (Guo and others 2017, arXiv:1706.04599), where it brings them closer to
the share that is right. Volumes get intervals by split conformal prediction (Lei and others 2018, Journal of the
American Statistical Association 113:1094): the error of a class's volume is compared with how much of it is in doubt,
and the interval reaches as far as nine in ten errors did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from ..networks.probabilities import doubtful_voxels, softmax

BINS = 15
EVERY_NTH_VOXEL = 17
LEAST_DOUBT_ML = 1e-3

Scores = Callable[[np.ndarray], np.ndarray]
"""From an image (k, j, i) to scores (k, j, i, classes)."""


@dataclass(frozen=True)
class Calibration:
    """Temperature, and the reach of each class's volume interval."""

    temperature: float
    volume_factors: dict[str, float]


def calibrate(
    scores: Scores, samples: Iterable, classes: Sequence[str], voxel_ml: float, coverage: float = 0.9
) -> Calibration:
    """Calibrate a model on samples (with `image` and `classes`, both (k, j, i)) that it was not trained on.

    Parameters
    ----------
    scores : callable
    samples : iterable
    classes : sequence of str
        Background first.
    voxel_ml : float
    coverage : float
        Share of true volumes that intervals are to hold.
    """
    picked, truths, runs = [], [], []
    for sample in samples:
        found = np.array(scores(sample.image), np.float32)
        picked.append(found.reshape(-1, len(classes))[::EVERY_NTH_VOXEL])
        truths.append(sample.classes.ravel()[::EVERY_NTH_VOXEL].astype(int))
        runs.append((found, sample.classes))
    some, truth = np.concatenate(picked), np.concatenate(truths)
    temperature = fitted_temperature(some, truth)
    if _mean_error(runs, temperature) > _mean_error(runs, 1.0):  # likelier, and yet further from what comes true
        temperature = 1.0
    ratios: dict[str, list[float]] = {name: [] for name in classes[1:]}
    for found, true_classes in runs:
        for name, error, doubt in volume_errors(found, true_classes, classes, temperature, voxel_ml):
            ratios[name].append(abs(error) / doubt)
    factors = {name: conformal_quantile(values, coverage) for name, values in ratios.items() if values}
    return Calibration(temperature, factors)


def volume_errors(
    scores: np.ndarray, true_classes: np.ndarray, classes: Sequence[str], temperature: float, voxel_ml: float
):
    """For each class that is there: its name, the error of its labelled volume and its doubtful volume, in mL."""
    probabilities = scores.copy()
    softmax(probabilities, temperature)
    doubtful = doubtful_voxels(probabilities) * voxel_ml
    labelled, true = (
        np.bincount(labels.ravel(), minlength=len(classes)) * voxel_ml for labels in (scores.argmax(-1), true_classes)
    )
    for number, name in enumerate(classes[1:], 1):
        if true[number] > 0:
            yield name, labelled[number] - true[number], max(doubtful[number], LEAST_DOUBT_ML)


def fitted_temperature(scores: np.ndarray, truth: np.ndarray) -> float:
    """The temperature under which the true classes (n,) are likeliest, given scores (n, classes)."""

    def unlikely(log_temperature: float) -> float:
        probabilities = _probabilities(scores, float(np.exp(log_temperature)))
        return -float(np.log(np.maximum(probabilities[np.arange(len(truth)), truth], 1e-12)).mean())

    return float(np.exp(minimize_scalar(unlikely, bounds=(-1.5, 2.0), method="bounded").x))


def calibration_error(probabilities: np.ndarray, truth: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error: mean distance between confidence and accuracy, over bins of confidence."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == truth
    at = np.minimum((confidence * bins).astype(int), bins - 1)
    counts = np.bincount(at, minlength=bins)
    apart = np.abs(np.bincount(at, confidence, bins) - np.bincount(at, right, bins))
    return float(apart[counts > 0].sum() / counts.sum())


def image_calibration_error(scores: np.ndarray, true_classes: np.ndarray, temperature: float) -> float:
    """The same of an image: scores (k, j, i, classes) and true classes (k, j, i), every seventeenth voxel."""
    some = scores.reshape(-1, scores.shape[-1])[::EVERY_NTH_VOXEL]
    return calibration_error(_probabilities(some, temperature), true_classes.ravel()[::EVERY_NTH_VOXEL].astype(int))


def _mean_error(runs: Sequence[tuple[np.ndarray, np.ndarray]], temperature: float) -> float:
    return float(np.mean([image_calibration_error(found, truth, temperature) for found, truth in runs]))


def conformal_quantile(values: Sequence[float], coverage: float) -> float:
    """The value that a new one exceeds with a probability of at most 1 - coverage; the largest if there are few."""
    rank = int(np.ceil((len(values) + 1) * coverage))
    return float(np.sort(values)[min(rank, len(values)) - 1])


def _probabilities(scores: np.ndarray, temperature: float) -> np.ndarray:
    copy = scores.reshape(1, 1, *scores.shape).copy()
    softmax(copy, temperature)
    return copy[0, 0]
