"""Fitting of the verdict's model to registrations of known error, and the figures by which it is rated."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

FAILED_MM, RIGHT_MM = 5.0, 2.0
WORSE = {
    "deficit": 1,
    "residual_mm": 1,
    "drift_mm": 1,
    "consistency_mm": 1,
    "mirrored": 1,
    "runner_up": 1,
    "nmi": -1,
    "z_score": -1,
    "local_z": -1,
    "edge_gain": -1,
    "explained": -1,
}
"""Figures that the model may use, and whether more (1) or less (-1) of them may speak against a registration."""

RIDGE, BETWEEN_WEIGHT = 0.02, 0.5
LEAST_WEIGHT = 0.05
GROUPS = ("other", "CT", "PET", "CT and PET")
ALARMS, MISSED, WRONGLY_FAILED = 0.10, 0.05, 0.01
"""Shares: of right registrations that may be doubted, of failures that may be called good, and of what is not a failure
that is called failed."""


def fit(rows: list[dict], model: dict, source: dict) -> dict:
    """The model (as verdict.json) refitted: logistic, each weight of the sign that its figure must have.

    Registrations between 2 and 5 mm count as not failed, by half. Figures are held to the range of nine tenths of the
    rows, and one that is not known counts as usual for right registrations of the pair's group.
    """
    errors = np.array([row["error_mm"] for row in rows])
    known = np.array([np.isfinite(row["nmi"]) for row in rows])
    failed, right = errors > FAILED_MM, errors < RIGHT_MM
    group = np.array([row["group"] for row in rows])
    columns, features = [], {}
    for name, sign in WORSE.items():
        values = np.array([row[name] for row in rows], float)
        here = values[known & np.isfinite(values)]
        good = known & right & np.isfinite(values)
        usual = {name: _median(values[good], group[good] == name) for name in GROUPS}
        lowest, highest = (float(np.percentile(here, p)) for p in (5, 95))
        features[name] = {"scale": float(here.std()), "lowest": lowest, "highest": highest, "usual": usual}
        column = (np.clip(values, lowest, highest) - np.array([usual[g] for g in group])) / here.std()
        columns.append(sign * np.where(np.isfinite(column), column, 0.0))
    matrix = np.stack(columns, 1)[known]
    weight = np.where(failed | right, 1.0, BETWEEN_WEIGHT)[known]
    numbers = _logistic(matrix, failed[known], weight)
    numbers[1:][numbers[1:] < LEAST_WEIGHT] = 0.0
    keep = numbers[1:] > 0
    refit = _logistic(matrix[:, keep], failed[known], weight)
    kept = [name for name, k in zip(WORSE, keep) if k]
    odds = refit[0] + matrix[:, keep] @ refit[1:]
    probability = 1 / (1 + np.exp(-odds))
    check = _limit(odds[right[known]], odds[failed[known]])
    wrong = float(np.quantile(probability[~failed[known]], 1 - WRONGLY_FAILED, method="higher"))
    return {
        **model,
        "intercept": round(float(refit[0]), 4),
        "features": {
            name: {
                **_rounded(features[name]),
                "weight": round(float(WORSE[name] * w), 4),
            }
            for name, w in zip(kept, refit[1:])
        },
        "check_above": round(check, 3),
        "failed_above": round(max(wrong, check, 0.5), 3),
        "provenance": source,
    }


def _median(values: np.ndarray, here: np.ndarray) -> float:
    """The median of those here, or of all where none is."""
    return float(np.median(values[here] if here.any() else values))


def _rounded(feature: dict) -> dict:
    return {k: _rounded(v) if isinstance(v, dict) else round(v, 4) for k, v in feature.items()}


def _limit(right: np.ndarray, failed: np.ndarray) -> float:
    """The probability up to which one is good, from the odds' logarithms of right registrations and of failures.

    Half-way between where as many alarms are raised as may be and where as many failures are missed: a limit at either
    of the two would rest on a handful of registrations.
    """
    odds = 0.5 * (np.quantile(right, 1 - ALARMS) + np.quantile(failed, MISSED))
    return float(1 / (1 + np.exp(-odds)))


def _logistic(matrix: np.ndarray, failed: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Intercept and weights, none of them negative, that minimise the log loss with a small ridge."""

    def loss(numbers: np.ndarray) -> tuple[float, np.ndarray]:
        odds = numbers[0] + matrix @ numbers[1:]
        value = weight * (np.logaddexp(0, odds) - failed * odds)
        slope = weight * (1 / (1 + np.exp(-odds)) - failed)
        share = np.concatenate([[0.0], RIDGE * numbers[1:]])
        total = weight.sum()
        gradient = np.concatenate([[slope.sum()], matrix.T @ slope]) / total + share
        return value.sum() / total + 0.5 * RIDGE * (numbers[1:] ** 2).sum(), gradient

    bounds = [(None, None)] + [(0, None)] * matrix.shape[1]
    return minimize(loss, np.zeros(1 + matrix.shape[1]), jac=True, method="L-BFGS-B", bounds=bounds).x


def roc(probability: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Share of right registrations (< 2 mm) and of failures (> 5 mm) above every threshold, and the area below."""
    bad, fine = probability[errors > FAILED_MM], probability[errors < RIGHT_MM]
    limits = np.concatenate([[np.inf], np.unique(probability)[::-1]])
    caught, alarms = ((some[None] >= limits[:, None]).mean(1) for some in (bad, fine))
    area = (bad[:, None] > fine[None]).mean() + 0.5 * (bad[:, None] == fine[None]).mean()
    return alarms, caught, float(area)


def operating_point(probability: np.ndarray, warned: np.ndarray, errors: np.ndarray) -> tuple[float, float, float]:
    """Share of failures that are not called good, share of right registrations that are not either, area of the ROC."""
    caught, alarms = warned[errors > FAILED_MM].mean(), warned[errors < RIGHT_MM].mean()
    return float(caught), float(alarms), roc(probability, errors)[2]
