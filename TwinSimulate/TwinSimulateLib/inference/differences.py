"""Jacobians of forward models from their runs alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Forward = Callable[[np.ndarray], np.ndarray]
"""From parameters, shape (n,), to predictions, shape (m,)."""


def forward_jacobian(forward: Forward, at: np.ndarray, value: np.ndarray, step: float) -> np.ndarray:
    """Forward differences, shape (m, n), of first order: one run a parameter; `value` is the one at `at`."""
    return np.stack([(forward(at + step * unit) - value) / step for unit in np.eye(at.size)], axis=1)


def richardson_jacobian(forward: Forward, at: np.ndarray, step: float) -> np.ndarray:
    """Central differences, shape (m, n), extrapolated to fourth order from two steps: four runs a parameter.

    The extrapolation is Richardson's (1911, Philosophical Transactions A 210:307).
    """

    def central(unit, h):
        return (forward(at + h * unit) - forward(at - h * unit)) / (2.0 * h)

    return np.stack([(4.0 * central(u, step / 2) - central(u, step)) / 3.0 for u in np.eye(at.size)], axis=1)
