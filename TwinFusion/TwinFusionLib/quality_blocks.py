"""How far the parts of two registered images are from their best match: block matching across contrasts.

For each block of the fixed image, every shift of the moving image within 12 mm is rated by the share of the block's
variance that a quadratic function of the moving image explains (as correlation does with a straight line; a tissue that
is bright in one image may be dark in the other, or grey between two). After Ourselin et al. 2001, Image Vis Comput
19:25; the rates of neighbouring blocks are averaged, as a leg has few features along it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from .quality_overlay import Overlay

HALF = 3
"""A block is 2 HALF + 1 voxels wide: 28 mm."""
REACH = 3
"""Shifts are tried up to this many voxels: 12 mm."""
STEP = 3
MOST = 240
NEIGHBOURS_MM = 25.0
"""Standard deviation of the Gaussian by which a block's neighbours count."""
LEAST_SPREAD = 1.5
"""Standard deviation of the bins in a block, below which it shows nothing."""


@dataclass(frozen=True)
class Agreement:
    """How the blocks agree.

    Parameters
    ----------
    residual_mm : float
        Mean distance of the image's parts to their best match, weighed by how clear it is.
    deficit : float
        How far the blocks' rates lie below their best within 12 mm: 0 when all are at their best, 1 when they are no
        better than at a shift taken at random.
    explained : float
        Mean share of a block's variance in the fixed image that the moving one explains where it lies.
    """

    residual_mm: float
    deficit: float
    explained: float


def agreement(overlay: Overlay) -> Agreement:
    """Compare the parts of two images laid over each other; nan where fewer than four blocks show anything."""
    fixed, moving = overlay.on_grid()
    centres = _centres(fixed, moving)
    if len(centres) < 4:
        return Agreement(float("nan"), float("nan"), float("nan"))
    rates = _rates(fixed, moving, centres, HALF, REACH).reshape(len(centres), -1)
    here = rates[:, rates.shape[1] // 2]
    peak, typical = rates.max(1), rates.mean(1)
    places = centres[:, ::-1] * overlay.grid.spacing
    near = np.exp(-0.5 * ((places[:, None] - places[None]) ** 2).sum(-1) / NEIGHBOURS_MM**2)
    regional = near @ rates / near.sum(1, keepdims=True)
    clear = regional.max(1) - regional.mean(1) + 1e-6
    best = np.unravel_index(regional.argmax(1), (2 * REACH + 1,) * 3)
    distances = np.linalg.norm((np.stack(best[::-1], -1) - REACH) * overlay.grid.spacing, axis=1)
    return Agreement(
        float(np.average(distances, weights=clear)),
        float((peak - here).sum() / max((peak - typical).sum(), 1e-6)),
        float(here.mean()),
    )


def _centres(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Voxels (n, 3) in the middle of blocks that show something in both images; at most `MOST`, evenly chosen."""
    axes = [np.arange(min(HALF, n // 2), max(n - HALF, n // 2 + 1), STEP) for n in fixed.shape]
    centres = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    telling = np.array([_telling(fixed, c) and _telling(moving, c) for c in centres], bool)
    centres = centres[telling]
    return centres[:: -(-len(centres) // MOST)] if len(centres) else centres


def _telling(image: np.ndarray, centre: np.ndarray) -> bool:
    block = image[tuple(slice(max(c - HALF, 0), c + HALF + 1) for c in centre)]
    shown = block[block >= 0]
    return shown.size > 0.6 * (2 * HALF + 1) ** 3 and shown.std() > LEAST_SPREAD


@njit(parallel=True, nogil=True, cache=True)
def _rates(fixed, moving, centres, half, reach):
    """Share of each block's variance explained, at every shift of the moving image, shape (blocks, w, w, w)."""
    width = 2 * reach + 1
    depth, height, across = fixed.shape
    out = np.zeros((len(centres), width, width, width), np.float32)
    needed = 0.5 * (2 * half + 1) ** 3
    for block in prange(len(centres)):
        ck, cj, ci = centres[block]
        sums = np.empty(8)
        for sk in range(-reach, reach + 1):
            k0, k1 = max(ck - half, 0, -sk), min(ck + half + 1, depth, depth - sk)
            for sj in range(-reach, reach + 1):
                j0, j1 = max(cj - half, 0, -sj), min(cj + half + 1, height, height - sj)
                for si in range(-reach, reach + 1):
                    i0, i1 = max(ci - half, 0, -si), min(ci + half + 1, across, across - si)
                    n = 0
                    sums[:] = 0.0
                    for k in range(k0, k1):
                        for j in range(j0, j1):
                            for i in range(i0, i1):
                                f, m = fixed[k, j, i], moving[k + sk, j + sj, i + si]
                                if f < 0 or m < 0:
                                    continue
                                f, m = f / 16 - 1, m / 16 - 1
                                square = m * m
                                n += 1
                                sums[0] += m
                                sums[1] += square
                                sums[2] += square * m
                                sums[3] += square * square
                                sums[4] += f
                                sums[5] += f * f
                                sums[6] += f * m
                                sums[7] += f * square
                    if n >= needed:
                        out[block, sk + reach, sj + reach, si + reach] = _explained(sums / n)
    return out


@njit(nogil=True, cache=True)
def _explained(means):
    """R^2 of the least-squares fit of f by 1, m and m^2, from the means of m, m^2, m^3, m^4, f, f^2, f m, f m^2."""
    m1, m2, m3, m4, f1, f2, fm, fmm = means
    tiny = 1e-4
    aa, ab, bb = m2 - m1 * m1 + tiny, m3 - m1 * m2, m4 - m2 * m2 + tiny
    fa, fb, ff = fm - f1 * m1, fmm - f1 * m2, f2 - f1 * f1 + tiny
    return max(fa * fa * bb - 2 * fa * fb * ab + fb * fb * aa, 0.0) / ((aa * bb - ab * ab) * ff)
