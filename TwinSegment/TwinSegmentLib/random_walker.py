"""Random walker: which of two sides a walker from each voxel reaches first, who crosses edges reluctantly.

Grady 2006, IEEE Transactions on Pattern Analysis and Machine Intelligence 28:1768; with what is likely beforehand,
Grady 2005, Computer Vision and Pattern Recognition, 763. It is one sparse linear system.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import cg

LEAST_WEIGHT = 1e-3
"""Of a tie between neighbours, however much they differ."""


def random_walk(
    values: np.ndarray,
    spacing: np.ndarray,
    inside: np.ndarray,
    outside: np.ndarray,
    edge: float,
    likely: np.ndarray | None = None,
    stops: float = 0.0,
) -> np.ndarray:
    """Probability that a walker from each voxel ends inside.

    Parameters
    ----------
    values : array, shape (k, j, i)
        Brightness.
    spacing : three floats
        Along k, j, i, in mm.
    inside, outside : bool arrays, shape (k, j, i)
        Where walkers end: on the one side, and on the other.
    edge : float
        Steps in brightness of this many times the noise are edges.
    likely : array, shape (k, j, i), optional
        Probability of the inside by other evidence, at which the walker stops now and then.
    stops : float
        How readily, beside walking on to a neighbour as bright.

    Returns
    -------
    array, shape (k, j, i)
    """
    answer = inside.astype(float).ravel()
    free = ~(inside | outside).ravel()
    if not free.any():
        return answer.reshape(values.shape)
    rows = _laplacian(values, np.asarray(spacing, float), edge)[free]
    system = rows[:, free]
    pull = -(rows[:, ~free] @ answer[~free])
    first = np.full(int(free.sum()), 0.5)
    if likely is not None and stops > 0:
        first = likely.ravel()[free]
        system = system + stops * sparse.identity(len(first))
        pull += stops * first
    answer[free], _ = cg(system, pull, x0=first, rtol=1e-3, M=sparse.diags(1 / system.diagonal()))
    return answer.reshape(values.shape)


def _laplacian(values: np.ndarray, spacing: np.ndarray, edge: float) -> sparse.csr_array:
    """Of the graph of voxels and their six neighbours, which are the looser tied the more their brightness differs."""
    numbers = np.arange(values.size).reshape(values.shape)
    noise = 1.4826 * float(np.median(np.abs(np.diff(values, axis=2)))) + 1e-6
    ends, weights = [], []
    for axis in range(3):
        step = np.diff(values, axis=axis) / (edge * noise)
        weights.append((np.exp(-0.5 * step**2) + LEAST_WEIGHT).ravel() * (spacing.min() / spacing[axis]) ** 2)
        pair = [np.moveaxis(numbers, axis, 0)[side] for side in (slice(None, -1), slice(1, None))]
        ends.append([np.moveaxis(n, 0, axis).ravel() for n in pair])
    first, second = (np.concatenate(side) for side in zip(*ends))
    weight = np.concatenate(weights)
    both = (np.concatenate([first, second]), np.concatenate([second, first]))
    ties = sparse.csr_array((np.concatenate([weight, weight]), both), shape=(values.size, values.size))
    return sparse.csr_array(sparse.diags_array(ties.sum(axis=1)) - ties)
