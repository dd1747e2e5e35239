"""The hot loops of `elasticity`: what eight-node bricks hold, and moves between one grid and the next coarser."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

CORNERS = np.array([(k, j, i) for k in (0, 1) for j in (0, 1) for i in (0, 1)])


def modes(element: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The element's matrix between sums and differences of its corners' values: rows, columns and the 45 that matter.

    Mode m of a component is the sum over the corners with a minus sign for each axis in m along which a corner is the
    lower one; strains and their gradients are single modes, so that few of them act on one another.
    """
    signs = np.array([np.where(mode == 1, 2 * CORNERS - 1, 1).prod(1) for mode in CORNERS], float)
    matrix = np.einsum("ma,apbq,nb->mpnq", signs, element, signs).reshape(24, 24) / 64
    rows, columns = np.nonzero(np.abs(matrix) > 1e-12 * np.abs(matrix).max())
    return rows, columns, matrix[rows, columns]


@njit(parallel=True, nogil=True, cache=True)
def apply(stiffness, rows, columns, values, free, moved, forces):
    """Forces on the free corners: every second slab of elements at a time, so that no two add to the same corners."""
    depth = stiffness.shape[0]
    for parity in range(2):
        for half in prange((depth - parity + 1) // 2):
            _add_slab(2 * half + parity, stiffness, rows, columns, values, moved, forces)
    for k in prange(free.shape[0]):
        for j in range(free.shape[1]):
            for i in range(free.shape[2]):
                if not free[k, j, i]:
                    for p in range(3):
                        forces[k, j, i, p] = 0.0


@njit(nogil=True, cache=True, fastmath=True)
def _add_slab(k, stiffness, rows, columns, values, moved, forces):
    """Forces of the elements (k, :, :), a row of them at a time."""
    width = stiffness.shape[2]
    modes, held = np.empty((24, width)), np.empty((24, width))
    for j in range(stiffness.shape[1]):
        begin, end = 0, width
        while begin < end and stiffness[k, j, begin] == 0:
            begin += 1
        while end > begin and stiffness[k, j, end - 1] == 0:
            end -= 1
        if begin == end:
            continue
        for p in range(3):
            for i in range(begin, end):
                _to_modes(moved, modes, k, j, i, p)
        held[:, begin:end] = 0.0
        for n in range(values.size):
            value, into, of = values[n], held[rows[n]], modes[columns[n]]
            for i in range(begin, end):
                into[i] += value * of[i]
        for p in range(3):
            for i in range(begin, end):
                _from_modes(forces, held, stiffness[k, j, i], k, j, i, p)


@njit(inline="always")
def _to_modes(moved, modes, k, j, i, p):
    """One component's sums and differences: along i, then j, then k."""
    s0, d0 = moved[k, j, i + 1, p] + moved[k, j, i, p], moved[k, j, i + 1, p] - moved[k, j, i, p]
    s1, d1 = moved[k, j + 1, i + 1, p] + moved[k, j + 1, i, p], moved[k, j + 1, i + 1, p] - moved[k, j + 1, i, p]
    ss, sd, ds, dd = s1 + s0, d1 + d0, s1 - s0, d1 - d0
    s0, d0 = moved[k + 1, j, i + 1, p] + moved[k + 1, j, i, p], moved[k + 1, j, i + 1, p] - moved[k + 1, j, i, p]
    s1 = moved[k + 1, j + 1, i + 1, p] + moved[k + 1, j + 1, i, p]
    d1 = moved[k + 1, j + 1, i + 1, p] - moved[k + 1, j + 1, i, p]
    modes[p, i], modes[3 + p, i] = s1 + s0 + ss, d1 + d0 + sd
    modes[6 + p, i], modes[9 + p, i] = s1 - s0 + ds, d1 - d0 + dd
    modes[12 + p, i], modes[15 + p, i] = s1 + s0 - ss, d1 + d0 - sd
    modes[18 + p, i], modes[21 + p, i] = s1 - s0 - ds, d1 - d0 - dd


@njit(inline="always")
def _from_modes(forces, held, stiff, k, j, i, p):
    """The transpose of `_to_modes`, added to the forces."""
    for a in range(2):
        up = 1.0 if a else -1.0
        ss, sd = held[p, i] + up * held[12 + p, i], held[3 + p, i] + up * held[15 + p, i]
        ds, dd = held[6 + p, i] + up * held[18 + p, i], held[9 + p, i] + up * held[21 + p, i]
        forces[k + a, j, i, p] += stiff * (ss - ds - sd + dd)
        forces[k + a, j, i + 1, p] += stiff * (ss - ds + sd - dd)
        forces[k + a, j + 1, i, p] += stiff * (ss + ds - sd - dd)
        forces[k + a, j + 1, i + 1, p] += stiff * (ss + ds + sd + dd)


@njit(parallel=True, nogil=True, cache=True)
def correct(moved, change, forces, held, inverse_diagonal, kept, gain):
    """One Chebyshev iteration: change = kept change + gain (forces - held) / diagonal, and moved += change."""
    for k in prange(moved.shape[0]):
        for j in range(moved.shape[1]):
            for i in range(moved.shape[2]):
                for p in range(3):
                    left = forces[k, j, i, p] - held[k, j, i, p]
                    change[k, j, i, p] = kept * change[k, j, i, p] + gain * inverse_diagonal[k, j, i, p] * left
                    moved[k, j, i, p] += change[k, j, i, p]


@njit(parallel=True, nogil=True, cache=True)
def invert_diagonal(stiffness, element, free, inverse):
    depth, height, width = free.shape
    for k in prange(1, depth - 1):
        for j in range(1, height - 1):
            for i in range(1, width - 1):
                if free[k, j, i]:
                    for p in range(3):
                        total = 0.0
                        for e in range(8):
                            stiff = stiffness[k - 1 + (e >> 2), j - 1 + ((e >> 1) & 1), i - 1 + (e & 1)]
                            total += stiff * element[7 - e, p, 7 - e, p]
                        inverse[k, j, i, p] = 1.0 / total


@njit(parallel=True, nogil=True, cache=True)
def gather_growth(grown, by_growth, free, forces):
    depth, height, width = free.shape
    for k in prange(1, depth - 1):
        for j in range(1, height - 1):
            for i in range(1, width - 1):
                if free[k, j, i]:
                    for e in range(8):
                        part = grown[k - 1 + (e >> 2), j - 1 + ((e >> 1) & 1), i - 1 + (e & 1)]
                        for p in range(3):
                            forces[k, j, i, p] += part * by_growth[7 - e, p]


@njit(parallel=True, nogil=True, cache=True)
def restrict(fine, free, coarse):
    """The transpose of `prolong`: each coarse corner collects from the 27 fine ones round it."""
    depth, height, width = free.shape
    for k in prange(1, depth - 1):
        for j in range(1, height - 1):
            for i in range(1, width - 1):
                if free[k, j, i]:
                    for a in range(-1, 2):
                        for b in range(-1, 2):
                            for c in range(-1, 2):
                                weight = 0.5 ** (abs(a) + abs(b) + abs(c))
                                for p in range(3):
                                    coarse[k, j, i, p] += weight * fine[2 * k + a, 2 * j + b, 2 * i + c, p]


@njit(parallel=True, nogil=True, cache=True)
def prolong(coarse, free, fine):
    """Add a coarse displacement to a fine one, linear between coarse corners."""
    depth, height, width = free.shape
    for k in prange(1, depth - 1):
        for j in range(1, height - 1):
            for i in range(1, width - 1):
                if free[k, j, i]:
                    for e in range(8):
                        a, b, c = (e >> 2) & (k & 1), ((e >> 1) & 1) & (j & 1), (e & 1) & (i & 1)
                        if a != e >> 2 or b != (e >> 1) & 1 or c != e & 1:
                            continue
                        weight = 0.5 ** ((k & 1) + (j & 1) + (i & 1))
                        for p in range(3):
                            fine[k, j, i, p] += weight * coarse[k // 2 + a, j // 2 + b, i // 2 + c, p]
