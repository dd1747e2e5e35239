"""The smooth step of a velocity that solves the normal equations of a measure."""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from scipy import fft

from TwinCore import Job

BENDING_MM = 3.0
"""Waves of 2 pi times this length are held back as strongly as a perfectly clear image pulls, at a stiffness of 1."""

HOLD = 1e-5
"""Share of the stiffness that holds back shifts, too: where nothing pulls, nothing moves."""

MOST_ITERATIONS = 10
RELATIVE_RESIDUAL = 1e-2


def bending_spectrum(shape, spacing, stiffness: float) -> np.ndarray:
    """Bending stiffness (Laplacian squared) of the cosine waves on a grid; no slope at its border.

    Parameters
    ----------
    shape : three ints
        Of the grid, along k, j, i.
    spacing : array, shape (3,)
        Along i, j, k, in mm.
    stiffness : float

    Returns
    -------
    float32 array of that shape
        In 1/mm^2.
    """
    waves = [(2 - 2 * np.cos(np.pi * np.arange(n) / n)) / s**2 for n, s in zip(shape, np.asarray(spacing)[::-1])]
    laplacian = waves[0][:, None, None] + waves[1][:, None] + waves[2]
    return (stiffness * ((BENDING_MM**2 * laplacian) ** 2 + HOLD)).astype(np.float32)


def solve(equations: np.ndarray, velocity: np.ndarray, spectrum: np.ndarray, job: Job) -> np.ndarray:
    """The step dv of a velocity v for which (A + S) dv = b - S v, S being the bending stiffness.

    By conjugate gradients on the waves of the cosine transform, in which S is diagonal.

    Parameters
    ----------
    equations : float32 array, shape (9, k, j, i)
        As `normal_equations` makes them: b, and the six different elements of A.
    velocity : float32 array, shape (3, k, j, i)
        In mm.
    spectrum : float32 array, shape (k, j, i)
    job : Job

    Returns
    -------
    float32 array, shape (3, k, j, i)
    """
    force, matrix = equations[:3], equations[3:]
    residual = _to_waves(force) - spectrum * _to_waves(velocity)
    precondition = 1 / (spectrum + (matrix[0] + matrix[1] + matrix[2]).mean() / 3)
    step = np.zeros_like(residual)
    z = precondition * residual
    direction = z
    size = first = np.vdot(residual, z)
    for _ in range(MOST_ITERATIONS):
        job.checkpoint()
        if size <= RELATIVE_RESIDUAL**2 * first:
            break
        image = spectrum * direction + _to_waves(_apply(matrix, _from_waves(direction)))
        along = size / np.vdot(direction, image)
        step += along * direction
        residual -= along * image
        z = precondition * residual
        before, size = size, np.vdot(residual, z)
        direction = z + size / before * direction
    return _from_waves(step)


def _to_waves(field: np.ndarray) -> np.ndarray:
    return fft.dctn(field, axes=(1, 2, 3), norm="ortho", workers=-1)


def _from_waves(field: np.ndarray) -> np.ndarray:
    return fft.idctn(field, axes=(1, 2, 3), norm="ortho", workers=-1)


@njit(parallel=True, nogil=True, cache=True, fastmath=True)
def _apply(m, v):
    """The matrices (xx, yy, zz, xy, xz, yz) of all knots, times their vectors."""
    out = np.empty_like(v)
    _, depth, height, width = v.shape
    for k in prange(depth):
        for j in range(height):
            x, y, z = v[0, k, j], v[1, k, j], v[2, k, j]
            xx, yy, zz, xy, xz, yz = m[0, k, j], m[1, k, j], m[2, k, j], m[3, k, j], m[4, k, j], m[5, k, j]
            for i in range(width):
                out[0, k, j, i] = xx[i] * x[i] + xy[i] * y[i] + xz[i] * z[i]
                out[1, k, j, i] = xy[i] * x[i] + yy[i] * y[i] + yz[i] * z[i]
                out[2, k, j, i] = xz[i] * x[i] + yz[i] * y[i] + zz[i] * z[i]
    return out
