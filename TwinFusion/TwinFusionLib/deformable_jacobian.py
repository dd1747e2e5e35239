"""How a deformation stretches and squeezes: the determinant of its Jacobian."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from TwinCore import GridTransform, Image


def jacobian_determinant(transform: GridTransform) -> Image:
    """Local change of volume of the map x -> x + d(x): 1 keeps it, below 1 shrinks, 0 or less folds.

    Parameters
    ----------
    transform : GridTransform

    Returns
    -------
    Image
        float32, on the transform's grid, of unit "1". Differences are central inside and one-sided at the border.
    """
    grid = transform.grid
    to_voxels = np.linalg.inv(grid.ijk_to_ras[:3, :3]).T.astype(np.float32)
    shift = np.asarray(transform.displacement_mm, np.float32) @ to_voxels
    values = _determinant(*(np.ascontiguousarray(shift[..., c]) for c in range(3)))
    return Image(values, grid, unit="1", name="Jacobian determinant")


@njit(parallel=True, nogil=True, cache=True)
def _determinant(di, dj, dk):
    """Of a displacement in voxels; the determinant is the same in any coordinates."""
    depth, height, width = di.shape
    out = np.empty(di.shape, np.float32)
    for k in prange(depth):
        k0, k1 = max(k - 1, 0), min(k + 1, depth - 1)
        by_k = np.float32(1.0 / max(k1 - k0, 1))
        for j in range(height):
            j0, j1 = max(j - 1, 0), min(j + 1, height - 1)
            by_j = np.float32(1.0 / max(j1 - j0, 1))
            for i in range(width):
                i0, i1 = max(i - 1, 0), min(i + 1, width - 1)
                by_i = np.float32(1.0 / max(i1 - i0, 1))
                a = 1 + (di[k, j, i1] - di[k, j, i0]) * by_i
                b = (di[k, j1, i] - di[k, j0, i]) * by_j
                c = (di[k1, j, i] - di[k0, j, i]) * by_k
                d = (dj[k, j, i1] - dj[k, j, i0]) * by_i
                e = 1 + (dj[k, j1, i] - dj[k, j0, i]) * by_j
                f = (dj[k1, j, i] - dj[k0, j, i]) * by_k
                g = (dk[k, j, i1] - dk[k, j, i0]) * by_i
                h = (dk[k, j1, i] - dk[k, j0, i]) * by_j
                m = 1 + (dk[k1, j, i] - dk[k0, j, i]) * by_k
                out[k, j, i] = a * (e * m - f * h) - b * (d * m - f * g) + c * (d * h - e * g)
    return out
