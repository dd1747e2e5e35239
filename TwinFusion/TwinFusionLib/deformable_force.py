"""What pulls two images onto each other: local correlation, of either sign, as a system of normal equations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit, prange

from TwinCore import Job

from .filters import gaussian

FLOOR = 0.003
"""Variance in a window, as a share of the whole image's, that counts as noise."""

LEAST_UNEXPLAINED = 0.05
"""Windows whose correlation leaves less than this unexplained do not pull harder for it."""


def normal_equations(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]], weight: np.ndarray, sigma: float, spacing, ratio, knots, job: Job
) -> np.ndarray:
    """Force and Gauss-Newton matrix of the local correlation of two images, by a displacement between them.

    The measure is -log(1 - r^2) / 2, r being the correlation of the images in a Gaussian window: what is gained, in
    nats per voxel, by knowing the other image. Each image moves by half of the displacement, one of them the other way.
    As usual (Avants et al. 2008, Med Image Anal 12:26) a window's moments are held while its middle moves.

    Parameters
    ----------
    pairs : sequence of pairs of float32 arrays, shape (k, j, i)
        The two images in each contrast, of variance 1 over the whole; their measures are averaged.
    weight : float32 array of that shape
        How much each voxel counts.
    sigma : float
        Standard deviation of the window, in voxels.
    spacing : array, shape (3,)
        Of the voxels along i, j, k, in mm.
    ratio, knots : three ints
        Voxels between the knots of the displacement, and the number of these, along k, j, i.
    job : Job

    Returns
    -------
    float32 array, shape (9, *knots)
        Force along i, j, k, in 1/mm, and the elements ii, jj, kk, ij, ik, jk of the matrix, in 1/mm^2; each per voxel.
    """
    total = gaussian(weight, sigma)
    by_mm = (1.0 / np.asarray(spacing, float)).astype(np.float32)
    ratio = np.array(ratio, np.int64)
    out = np.zeros((9, *knots), np.float32)
    for p, q in pairs:
        moments = [total]
        for product in (weight * p, weight * q, weight * p * p, weight * q * q, weight * p * q):
            job.checkpoint()
            moments.append(gaussian(product, sigma))
        _add(out, p, q, weight, tuple(moments), by_mm, ratio, np.float32(FLOOR), np.float32(LEAST_UNEXPLAINED))
    return out / np.float32(len(pairs) * ratio.prod())


@njit(parallel=True, nogil=True, cache=True, fastmath=True)
def _add(out, p, q, weight, moments, by_mm, ratio, floor, least):
    """Add a pair's equations at all voxels to those of the knots round them; a plane of knots is one thread's."""
    total, mp, mq, mpp, mqq, mpq = moments
    depth, height, width = p.shape
    half = np.float32(0.5)
    for kk in prange(out.shape[1]):
        here = np.empty(9, np.float32)
        for k in range(max((kk - 1) * ratio[0] + 1, 0), min((kk + 1) * ratio[0], depth)):
            share_k = np.float32(1.0) - np.float32(abs(k - kk * ratio[0])) / np.float32(ratio[0])
            k0, k1 = max(k - 1, 0), min(k + 1, depth - 1)
            for j in range(height):
                j0, j1 = max(j - 1, 0), min(j + 1, height - 1)
                jj = j // ratio[1]
                share_j = np.float32(j - jj * ratio[1]) / np.float32(ratio[1])
                for i in range(width):
                    w = weight[k, j, i]
                    if w <= 0:
                        continue
                    n = 1 / total[k, j, i]
                    mean_p, mean_q = mp[k, j, i] * n, mq[k, j, i] * n
                    by_pp = 1 / (max(mpp[k, j, i] * n - mean_p * mean_p, np.float32(0.0)) + floor)
                    by_qq = 1 / (max(mqq[k, j, i] * n - mean_q * mean_q, np.float32(0.0)) + floor)
                    pq = mpq[k, j, i] * n - mean_p * mean_q
                    dp, dq = p[k, j, i] - mean_p, q[k, j, i] - mean_q
                    r2 = pq * pq * by_pp * by_qq
                    gain = w / max(1 - r2, least)
                    # what is left of each image after the other has explained it
                    force_q = half * gain * pq * by_qq * by_pp * (dp - pq * by_qq * dq)
                    force_p = half * gain * pq * by_pp * by_qq * (dq - pq * by_pp * dp)
                    i0, i1 = max(i - 1, 0), min(i + 1, width - 1)
                    pi, qi = (
                        (p[k, j, i1] - p[k, j, i0]) * by_mm[0] * half,
                        (q[k, j, i1] - q[k, j, i0]) * by_mm[0] * half,
                    )
                    pj, qj = (
                        (p[k, j1, i] - p[k, j0, i]) * by_mm[1] * half,
                        (q[k, j1, i] - q[k, j0, i]) * by_mm[1] * half,
                    )
                    pk, qk = (
                        (p[k1, j, i] - p[k0, j, i]) * by_mm[2] * half,
                        (q[k1, j, i] - q[k0, j, i]) * by_mm[2] * half,
                    )
                    stiff_p, stiff_q = half * gain * r2 * by_pp, half * gain * r2 * by_qq
                    here[0] = force_q * qi - force_p * pi
                    here[1] = force_q * qj - force_p * pj
                    here[2] = force_q * qk - force_p * pk
                    here[3] = stiff_p * pi * pi + stiff_q * qi * qi
                    here[4] = stiff_p * pj * pj + stiff_q * qj * qj
                    here[5] = stiff_p * pk * pk + stiff_q * qk * qk
                    here[6] = stiff_p * pi * pj + stiff_q * qi * qj
                    here[7] = stiff_p * pi * pk + stiff_q * qi * qk
                    here[8] = stiff_p * pj * pk + stiff_q * qj * qk
                    ii = i // ratio[2]
                    share_i = np.float32(i - ii * ratio[2]) / np.float32(ratio[2])
                    for c in range(9):
                        near, far = share_k * (1 - share_j) * here[c], share_k * share_j * here[c]
                        out[c, kk, jj, ii] += (1 - share_i) * near
                        out[c, kk, jj, ii + 1] += share_i * near
                        out[c, kk, jj + 1, ii] += (1 - share_i) * far
                        out[c, kk, jj + 1, ii + 1] += share_i * far
