"""What two images of any contrast have in common: intensities recoded so that they correlate as much as they can."""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from scipy.ndimage import gaussian_filter

from TwinCore import Image

from .sampling import BINS, CHUNKS

HISTOGRAM_BLUR = 0.7
"""Bins that the joint histogram is smoothed by: what is left of it is not chance."""

UNSEEN = 1e-4
"""Share of the histogram in which the images are taken to be independent: a bin that is never seen says nothing."""


def common_contrasts(p: np.ndarray, q: np.ndarray, weight: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Recodings of two images' intensities whose results correlate most, the best first.

    The first pair of recodings is that of maximal correlation (Gebelein 1941, Z Angew Math Mech 21:364; Breiman and
    Friedman 1985, JASA 80:580); each further pair is the best one that is uncorrelated with those before. They are the
    singular vectors of the joint histogram divided by the square roots of its margins. What one image shows and the
    other does not, as bone next to air for most MR, ends up with one value.

    Parameters
    ----------
    p, q : float32 arrays of one shape
        Images seen at the same places, as bins 0 to BINS - 1.
    weight : float32 array of that shape
        How much each place counts; 0 leaves it out.
    count : int
        How many pairs.

    Returns
    -------
    of_p, of_q : float32 arrays, shape (count, BINS)
        The value of each bin, of mean 0 and variance 1 over the images.
    """
    joint = gaussian_filter(_joint_histogram(p.ravel(), q.ravel(), weight.ravel()), HISTOGRAM_BLUR)
    joint /= max(joint.sum(), 1e-12)
    even = 1.0 / BINS
    rows, columns = ((1 - UNSEEN) * joint.sum(axis) + UNSEEN * even for axis in (1, 0))
    joint = (1 - UNSEEN) * joint + UNSEEN * np.outer(rows, columns)
    rows, columns = joint.sum(1), joint.sum(0)
    left, _, right = np.linalg.svd(joint / np.sqrt(np.outer(rows, columns)))  # the first pair is constant
    of_p, of_q = left[:, 1 : count + 1].T / np.sqrt(rows), right[1 : count + 1] / np.sqrt(columns)
    return of_p.astype(np.float32), of_q.astype(np.float32)


def recoded(bins: Image, code: np.ndarray) -> Image:
    """An image of continuous bins, with the values that a code (BINS,) gives them, linearly between."""
    return bins.with_array(_recode(bins.array.ravel(), code).reshape(bins.array.shape))


@njit(parallel=True, nogil=True, cache=True, fastmath=True)
def _recode(bins, code):
    out = np.empty(bins.shape, np.float32)
    for n in prange(bins.shape[0]):
        low = min(int(bins[n]), BINS - 2)
        out[n] = code[low] + (bins[n] - np.float32(low)) * (code[low + 1] - code[low])
    return out


@njit(parallel=True, nogil=True, cache=True)
def _joint_histogram(p, q, weight):
    """Each pair is shared among the four cells round it; summed in parts, the same for any number of threads."""
    parts = np.zeros((CHUNKS, BINS, BINS))
    for part in prange(CHUNKS):
        joint = parts[part]
        for n in range(part * p.size // CHUNKS, (part + 1) * p.size // CHUNKS):
            if weight[n] <= 0:
                continue
            i, j = min(int(p[n]), BINS - 2), min(int(q[n]), BINS - 2)
            a, b, w = p[n] - i, q[n] - j, weight[n]
            joint[i, j] += w * (1 - a) * (1 - b)
            joint[i, j + 1] += w * (1 - a) * b
            joint[i + 1, j] += w * a * (1 - b)
            joint[i + 1, j + 1] += w * a * b
    return parts.sum(0)
