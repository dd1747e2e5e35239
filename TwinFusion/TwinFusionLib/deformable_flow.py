"""Flows of stationary velocity fields, and images seen through them.

Fields are float32 arrays (3, k, j, i): components along the i, j, k axes of their grid, in its voxels. A field may be
coarser than the grid that it is used on: its knots lie `ratio` voxels apart, the first on voxel 0.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

LONGEST_STEP = 0.5
"""Voxels that a point moves at most in the first step of a flow."""


def exponential(velocity: np.ndarray) -> np.ndarray:
    """Displacement (3, k, j, i) after flowing along a stationary velocity for one unit of time.

    Scaling and squaring (Arsigny et al. 2006, MICCAI, LNCS 4190:924), from a midpoint step.
    """
    longest = float(np.abs(velocity).max())
    squarings = max(int(np.ceil(np.log2(max(longest, 1e-6) / LONGEST_STEP))), 0)
    step = velocity * np.float32(0.5**squarings)
    flow = _compose(step, step * np.float32(0.5), np.float32(0.0))
    for _ in range(squarings):
        flow = compose(flow, flow)
    return flow


def compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Displacement of first moving by `inner` and then by `outer`, both (3, k, j, i) on one grid."""
    return _compose(outer, inner, np.float32(1.0))


@njit(parallel=True, nogil=True, cache=True, fastmath=True)
def _compose(outer, inner, keep):
    """keep * inner(x) + outer(x + inner(x)); what lies beyond the border is repeated from it."""
    _, depth, height, width = outer.shape
    size = np.uint64(depth * height * width)
    row, plane, one = np.uint64(width), np.uint64(width * height), np.uint64(1)
    source, shift = outer.ravel(), inner.ravel()
    out = np.empty(outer.size, np.float32)
    last_i, last_j, last_k = np.float32(width - 1), np.float32(height - 1), np.float32(depth - 1)
    for k in prange(depth):
        for j in range(height):
            start = np.uint64(k) * plane + np.uint64(j) * row
            for i in range(width):
                here = start + np.uint64(i)
                di, dj, dk = shift[here], shift[here + size], shift[here + size + size]
                x = min(max(np.float32(i) + di, np.float32(0.0)), last_i)
                y = min(max(np.float32(j) + dj, np.float32(0.0)), last_j)
                z = min(max(np.float32(k) + dk, np.float32(0.0)), last_k)
                i0, j0, k0 = min(int(x), width - 2), min(int(y), height - 2), min(int(z), depth - 2)
                a, b, c = x - np.float32(i0), y - np.float32(j0), z - np.float32(k0)
                at = np.uint64(k0) * plane + np.uint64(j0) * row + np.uint64(i0)
                for _ in range(3):
                    near0 = source[at] + a * (source[at + one] - source[at])
                    near1 = source[at + row] + a * (source[at + row + one] - source[at + row])
                    deep = at + plane
                    far0 = source[deep] + a * (source[deep + one] - source[deep])
                    far1 = source[deep + row] + a * (source[deep + row + one] - source[deep + row])
                    near, far = near0 + b * (near1 - near0), far0 + b * (far1 - far0)
                    out[here] = keep * shift[here] + near + c * (far - near)
                    at += size
                    here += size
    return out.reshape(outer.shape)


def refine(field: np.ndarray, ratio, shape) -> np.ndarray:
    """The values of a field (3, k, j, i) on a finer grid of a shape, trilinearly; ratio along k, j, i."""
    return _refine(field, np.array(ratio, np.int64), np.array(shape, np.int64))


@njit(parallel=True, nogil=True, cache=True, fastmath=True)
def _refine(field, ratio, shape):
    depth, height, width = shape
    out = np.empty((3, depth, height, width), np.float32)
    for k in prange(depth):
        row = np.empty((3, field.shape[3]), np.float32)
        for j in range(height):
            _field_row(field, k, j, ratio, row)
            for i in range(width):
                i0 = min(i // ratio[2], field.shape[3] - 2)
                a = np.float32(i - i0 * ratio[2]) / np.float32(ratio[2])
                for c in range(3):
                    out[c, k, j, i] = row[c, i0] + a * (row[c, i0 + 1] - row[c, i0])
    return out


@njit(nogil=True, cache=True, fastmath=True, inline="always")
def _field_row(field, k, j, ratio, row):
    """The knots of a field along i, at a row of the grid that it is used on."""
    _, depth, height, width = field.shape
    k0, j0 = min(k // ratio[0], depth - 2), min(j // ratio[1], height - 2)
    c = np.float32(k - k0 * ratio[0]) / np.float32(ratio[0])
    b = np.float32(j - j0 * ratio[1]) / np.float32(ratio[1])
    w00, w01, w10, w11 = (1 - c) * (1 - b), (1 - c) * b, c * (1 - b), c * b
    for component in range(3):
        part = field[component]
        r00, r01, r10, r11 = part[k0, j0], part[k0, j0 + 1], part[k0 + 1, j0], part[k0 + 1, j0 + 1]
        target = row[component]
        for i in range(width):
            target[i] = w00 * r00[i] + w01 * r01[i] + w10 * r10[i] + w11 * r11[i]


def see_through(volume, weight, to_voxels, field, ratio, shape) -> tuple[np.ndarray, np.ndarray]:
    """A volume at the displaced voxels of a grid, trilinearly, and how much each counts.

    Parameters
    ----------
    volume : float32 array, shape (k, j, i)
    weight : float32 array of the same shape, or None
        How much its voxels count, 0 to 1; all count without it.
    to_voxels : array, shape (3, 4)
        From the grid's voxels (i, j, k) to the volume's.
    field : float32 array, shape (3, k, j, i)
        Displacement, in knot spacings.
    ratio : three ints
        Voxels between knots along k, j, i.
    shape : three ints
        Of the grid, along k, j, i.

    Returns
    -------
    values, weights : float32 arrays of that shape
        The weight is zero outside the volume.
    """
    none = np.empty((1, 1, 1), np.float32)
    ratio, shape = np.array(ratio, np.int64), np.array(shape, np.int64)
    matrix = np.ascontiguousarray(to_voxels, np.float32)
    return _see_through(volume, none if weight is None else weight, weight is not None, matrix, field, ratio, shape)


@njit(parallel=True, nogil=True, cache=True, fastmath=True)
def _see_through(volume, weight, masked, m, field, ratio, shape):
    depth, height, width = volume.shape
    row, plane, one = np.uint64(width), np.uint64(width * height), np.uint64(1)
    flat, counts = volume.ravel(), weight.ravel()
    values = np.zeros((shape[0], shape[1], shape[2]), np.float32)
    weights = np.zeros((shape[0], shape[1], shape[2]), np.float32)
    scale_i, scale_j, scale_k = np.float32(ratio[2]), np.float32(ratio[1]), np.float32(ratio[0])
    by_ratio = np.float32(1.0) / scale_i
    knots = field.shape[3]
    for k in prange(shape[0]):
        shift = np.empty((3, knots), np.float32)
        for j in range(shape[1]):
            _field_row(field, k, j, ratio, shift)
            for i in range(shape[2]):
                i0 = min(i // ratio[2], knots - 2)
                a = np.float32(i) * by_ratio - np.float32(i0)
                x = np.float32(i) + scale_i * (shift[0, i0] + a * (shift[0, i0 + 1] - shift[0, i0]))
                y = np.float32(j) + scale_j * (shift[1, i0] + a * (shift[1, i0 + 1] - shift[1, i0]))
                z = np.float32(k) + scale_k * (shift[2, i0] + a * (shift[2, i0 + 1] - shift[2, i0]))
                u = m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]
                v = m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]
                w = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
                if not (-0.5 <= u <= width - 0.5 and -0.5 <= v <= height - 0.5 and -0.5 <= w <= depth - 0.5):
                    continue
                u = min(max(u, np.float32(0.0)), np.float32(width - 1))
                v = min(max(v, np.float32(0.0)), np.float32(height - 1))
                w = min(max(w, np.float32(0.0)), np.float32(depth - 1))
                u0, v0, w0 = min(int(u), width - 2), min(int(v), height - 2), min(int(w), depth - 2)
                a, b, c = u - np.float32(u0), v - np.float32(v0), w - np.float32(w0)
                at = np.uint64(w0) * plane + np.uint64(v0) * row + np.uint64(u0)
                values[k, j, i] = _trilinear(flat, at, row, plane, one, a, b, c)
                weights[k, j, i] = _trilinear(counts, at, row, plane, one, a, b, c) if masked else np.float32(1.0)
    return values, weights


@njit(nogil=True, cache=True, fastmath=True, inline="always")
def _trilinear(flat, at, row, plane, one, a, b, c):
    near0 = flat[at] + a * (flat[at + one] - flat[at])
    near1 = flat[at + row] + a * (flat[at + row + one] - flat[at + row])
    deep = at + plane
    far0 = flat[deep] + a * (flat[deep + one] - flat[deep])
    far1 = flat[deep + row] + a * (flat[deep + row + one] - flat[deep + row])
    near, far = near0 + b * (near1 - near0), far0 + b * (far1 - far0)
    return near + c * (far - near)
