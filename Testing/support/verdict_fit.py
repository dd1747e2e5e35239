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
CAUGHT, WRONGLY_FAILED = 0.965, 0.01
"""The limits of "good" and "failed" catch this share of failures, and call failed this share of what is not one."""


def fit(rows: list[dict], model: dict, source: dict) -> dict:
    """The model (as verdict.json) refitted: logistic, each weight of the sign that its figure must have.

    Registrations between 2 and 5 mm count as not failed, by half. Figures are held to the range of nine tenths of the
    rows, and one that is not known counts as usual for right registrations, with PET or without.
    """
    errors = np.array([row["error_mm"] for row in rows])
    known = np.array([np.isfinite(row["nmi"]) for row in rows])
    failed, right = errors > FAILED_MM, errors < RIGHT_MM
    blurred = np.array([row["blur_mm"] > 0 for row in rows])
    columns, features = [], {}
    for name, sign in WORSE.items():
        values = np.array([row[name] for row in rows], float)
        here = values[known & np.isfinite(values)]
        good = known & right & np.isfinite(values)
        sharp = float(np.median(values[good & ~blurred]))
        soft = float(np.median(values[good & blurred])) if (good & blurred).any() else sharp
        lowest, highest = (float(np.percentile(here, p)) for p in (5, 95))
        features[name] = {"usual": sharp, "usual_blurred": soft, "scale": float(here.std())}
        features[name] |= {"lowest": lowest, "highest": highest}
        column = (np.clip(values, lowest, highest) - np.where(blurred, soft, sharp)) / here.std()
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
    check = float(np.quantile(probability[failed[known]], 1 - CAUGHT, method="lower"))
    wrong = float(np.quantile(probability[~failed[known]], 1 - WRONGLY_FAILED, method="higher"))
    return {
        **model,
        "intercept": round(float(refit[0]), 4),
        "features": {
            name: {
                **{key: round(value, 4) for key, value in features[name].items()},
                "weight": round(float(WORSE[name] * w), 4),
            }
            for name, w in zip(kept, refit[1:])
        },
        "check_above": round(check - 5e-4, 3),
        "failed_above": round(max(wrong, check, 0.5), 3),
        "provenance": source,
    }


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
