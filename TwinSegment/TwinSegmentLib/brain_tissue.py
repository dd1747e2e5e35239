"""Tissue classes of a brain MR without any training, by a hidden Markov random field.

Fitted by expectation maximisation as in Zhang, Brady, Smith 2001 (IEEE Trans Med Imaging 20:45): each class is a
Gaussian in intensity, and neighbouring voxels prefer the same class; class posteriors are updated by mean field.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from TwinCore import Image, InvalidInput, Job, bounding_box

CLASSES = ("cerebrospinal fluid", "grey matter", "white matter")
"""From dark to bright on a T1-weighted image."""

NEIGHBOUR_WEIGHT = 0.4
ITERATIONS = 20

_NEIGHBOURS = np.zeros((3, 3, 3))
_NEIGHBOURS[1, 1, :] = _NEIGHBOURS[1, :, 1] = _NEIGHBOURS[:, 1, 1] = 1.0
_NEIGHBOURS[1, 1, 1] = 0.0


def brain_tissue(
    t1: Image, brain: np.ndarray, exclude: np.ndarray | None = None, job: Job | None = None
) -> dict[str, np.ndarray]:
    """Cerebrospinal fluid, grey and white matter of a T1-weighted image.

    >>> masks = brain_tissue(t1, t1.array > 0)                       # doctest: +SKIP

    Parameters
    ----------
    t1 : Image
        T1-weighted, bias field removed.
    brain : bool array, shape (k, j, i)
        The voxels to classify.
    exclude : bool array, shape (k, j, i), optional
        Voxels of abnormal intensity (a lesion): they do not shape the classes, and take the class of their neighbours.
    job : Job, optional

    Returns
    -------
    dict of str to bool array
        One mask a class, which share out the brain between them.

    Raises
    ------
    InvalidInput
        If the brain mask holds too few voxels or too little contrast for three classes.
    """
    job = job or Job()
    if np.count_nonzero(brain) < 1000:
        raise InvalidInput(
            f"The brain mask of {t1.name!r} has {np.count_nonzero(brain)} voxels: too few for tissue classes."
        )
    low, high = bounding_box(brain, 1)
    box = tuple(slice(a, b) for a, b in zip(low, high))
    inside = brain[box]
    trusted = inside if exclude is None else inside & ~exclude[box]
    values = t1.array[box].astype(np.float32)
    means, sds = _start(values[trusted], t1.name)
    posterior = _likelihood(values, means, sds, inside)
    for _ in job.each(range(ITERATIONS), "tissue classes"):
        neighbours = np.stack([ndimage.convolve(p, _NEIGHBOURS, mode="constant") for p in posterior])
        evidence = _likelihood(values, means, sds, inside)
        evidence[:, inside & ~trusted] = 1.0
        posterior = _normalised(evidence * np.exp(NEIGHBOUR_WEIGHT * neighbours), inside)
        weights = posterior[:, trusted]
        means = weights @ values[trusted] / weights.sum(1)
        sds = np.sqrt((weights * (values[trusted] - means[:, None]) ** 2).sum(1) / weights.sum(1))
    winner = posterior.argmax(0)
    masks = {}
    for number, name in enumerate(CLASSES):
        masks[name] = np.zeros(brain.shape, bool)
        masks[name][box] = inside & (winner == number)
    return masks


def _start(values: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Means and deviations of three classes by k-means, started from three percentiles."""
    means = np.percentile(values, (10.0, 50.0, 90.0))
    for _ in range(50):
        nearest = np.abs(values[:, None] - means).argmin(1)
        counts = np.bincount(nearest, minlength=3)
        if counts.min() == 0:
            raise InvalidInput(f"{name!r} has too little contrast inside the brain mask for three tissue classes.")
        means = np.bincount(nearest, values, 3) / counts
    sds = np.sqrt(np.bincount(nearest, (values - means[nearest]) ** 2, 3) / counts)
    return means, np.maximum(sds, 1e-6)


def _likelihood(values: np.ndarray, means: np.ndarray, sds: np.ndarray, inside: np.ndarray) -> np.ndarray:
    z = (values - means[:, None, None, None]) / sds[:, None, None, None]
    return _normalised(np.exp(-0.5 * z**2) / sds[:, None, None, None] + 1e-30, inside)


def _normalised(weights: np.ndarray, inside: np.ndarray) -> np.ndarray:
    return np.where(inside, weights / np.maximum(weights.sum(0), 1e-30), 0.0).astype(np.float32)
