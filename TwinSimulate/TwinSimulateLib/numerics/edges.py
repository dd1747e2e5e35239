"""Which voxels exchange with which, and how readily: the edges of a diffusion operator on a masked box.

Where cells move alike in all directions a voxel exchanges with its six neighbours. Where they move along fibres, its
tensor is written as a sum of positive weights times e e', e being steps to voxels near by (Selling's formula:
Fehrenbach and Mirebeau 2014, Journal of Mathematical Imaging and Vision 49:123), so that every weight is positive: mass
is conserved and the density stays within its bounds whatever the tensor. It is of second order, but of first order
where fibres meet a border at an angle, as the steps across it are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numba import njit, prange

from TwinCore import InvalidInput

MOST_REACH = 4
"""Voxels, along an axis, beyond which a tensor's steps are refused."""
_MOST_SUPERBASES = 100
_CODES = 2 * MOST_REACH + 1
_ALONG_I = (MOST_REACH * _CODES + MOST_REACH) * _CODES + MOST_REACH + 1
_PAIRS = np.array([(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)])
_OTHERS = np.array([(2, 3), (1, 3), (1, 2), (0, 3), (0, 2), (0, 1)])


def edges(
    domain: np.ndarray,
    spacing_kji: np.ndarray,
    relative: np.ndarray,
    tensor: np.ndarray | None = None,
    closed: Sequence[np.ndarray] | None = None,
) -> tuple[list[tuple[int, int, int]], list[np.ndarray]]:
    """Steps from each voxel to those it exchanges with, and for each step the weights (1/mm2) of all voxels' edges.

    An edge between two voxels weighs the harmonic mean of their relative diffusivities, which is exact for layers in
    series, times the mean of their tensors' weights. It is there only if a chain of open faces between voxels of the
    domain leads from one to the other within their common box: nothing jumps over a barrier.

    Parameters
    ----------
    domain : bool array, shape (k, j, i)
        With a margin of nothing as wide as the steps are long.
    spacing_kji : array, shape (3,)
        In mm.
    relative : array, shape (k, j, i)
        Positive in the domain, zero elsewhere.
    tensor : array, shape (voxels of the domain, 3, 3), optional
        Relative diffusion tensors along k, j, i.
    closed : three bool arrays, shape (k, j, i), optional
        Faces of each voxel to the next along k, j, i that are barriers.
    """
    faces = [domain & np.roll(domain, -1, axis) for axis in range(3)]
    if closed is not None:
        faces = [face & ~shut for face, shut in zip(faces, closed)]
    if tensor is None:
        steps = [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
        weights = [_means(relative, face, step) for step, face in zip(steps, faces)]
        for weight, h in zip(weights, spacing_kji):
            weight *= 1.0 / h**2
        return steps, weights
    steps, voxels = _decomposed(domain, tensor / np.multiply.outer(spacing_kji, spacing_kji))
    weights = [
        _means(relative, _joined(domain, faces, step), step) * 0.5 * (own + _ahead(own, step))
        for step, own in zip(steps, voxels)
    ]
    return steps, weights


def reach(tensor: np.ndarray, spacing_kji: np.ndarray) -> int:
    """Most voxels, along an axis, that the steps of the tensors go: the margin that `edges` needs."""
    codes, _ = _selling(tensor / np.multiply.outer(spacing_kji, spacing_kji))
    if (codes < 0).any():
        raise InvalidInput(
            "A diffusion tensor is not positive, or moves cells so much faster one way than another that its steps "
            f"would reach farther than {MOST_REACH} voxels: temper its anisotropy."
        )
    return max(max(map(abs, _step(code))) for code in np.unique(codes))


def _decomposed(domain: np.ndarray, tensors: np.ndarray) -> tuple[list[tuple[int, int, int]], list[np.ndarray]]:
    """Every step of any voxel, and its weight in each voxel, zero where a voxel does not use it."""
    codes, weights = _selling(tensors)
    steps, found = [], []
    for code in np.unique(codes[weights > 0]):
        own = np.zeros(domain.shape)
        own[domain] = np.where(codes == code, weights, 0.0).sum(axis=1)
        steps.append(_step(code))
        found.append(own)
    return steps, found


def _step(code: int) -> tuple[int, int, int]:
    k, rest = divmod(int(code), _CODES**2)
    j, i = divmod(rest, _CODES)
    return k - MOST_REACH, j - MOST_REACH, i - MOST_REACH


def _means(relative: np.ndarray, joined: np.ndarray, step: tuple[int, int, int]) -> np.ndarray:
    """Harmonic means of each voxel and the one a step ahead, zero where the two are not joined."""
    k, j, i = step
    means = np.zeros_like(relative)
    ahead = (k * relative.shape[1] + j) * relative.shape[2] + i
    _harmonic(relative.ravel(), joined.ravel(), ahead, means.ravel())
    return means


@njit(parallel=True, nogil=True, cache=True)
def _harmonic(relative, joined, ahead, means):
    for n in prange(relative.size):
        if joined[n]:
            here, there = relative[n], relative[n + ahead]
            means[n] = 2.0 * here * there / (here + there)


def _ahead(values: np.ndarray, step: tuple[int, ...]) -> np.ndarray:
    """The values one step ahead of each voxel."""
    return np.roll(values, [-s for s in step], (0, 1, 2))


def _joined(domain: np.ndarray, faces: list[np.ndarray], step: tuple[int, int, int]) -> np.ndarray:
    """Whether a chain of open faces leads from each voxel a step ahead without a detour."""
    arrived: dict[tuple[int, ...], np.ndarray] = {}
    for place in product(*(range(abs(s) + 1) for s in step)):
        come = domain if place == (0, 0, 0) else np.zeros(domain.shape, bool)
        for axis in range(3):
            if place[axis] == 0:
                continue
            before = tuple(p - (a == axis) for a, p in enumerate(place))
            signs = np.sign(step)
            # the face between two voxels belongs to the lower one of them
            lower = before if signs[axis] > 0 else place
            come = come | (arrived[before] & _ahead(faces[axis], tuple(signs * lower)))
        arrived[place] = come
    return arrived[tuple(map(abs, step))]


@njit(nogil=True, cache=True)
def _selling(tensors):
    """Codes and weights of the six steps of each tensor; -1 where steps are too long or the tensor is not positive."""
    codes = np.full((tensors.shape[0], 6), -1, np.int64)
    weights = np.zeros((tensors.shape[0], 6))
    for n in range(tensors.shape[0]):
        _decompose(tensors[n], codes[n], weights[n])
    return codes, weights


@njit(cache=True)
def _decompose(tensor, codes, weights):
    base = np.zeros((4, 3))
    for axis in range(3):
        base[axis, axis], base[3, axis] = 1.0, -1.0
    tolerance = 1e-9 * (tensor[0, 0] + tensor[1, 1] + tensor[2, 2])
    if tolerance > 0 and _made_obtuse(base, tensor, tolerance):
        for p in range(6):
            weight = -_product(base, tensor, _PAIRS[p, 0], _PAIRS[p, 1])
            # a step of no weight may be anything: it is taken for one along i
            weights[p] = weight if weight > tolerance else 0.0
            codes[p] = _code(base, _OTHERS[p, 0], _OTHERS[p, 1]) if weight > tolerance else _ALONG_I


@njit(cache=True)
def _made_obtuse(base, tensor, tolerance):
    """Whether the four steps, which sum to zero, could be changed until no two of them meet at an acute angle."""
    for _ in range(_MOST_SUPERBASES):
        acute = -1
        for p in range(6):
            if _product(base, tensor, _PAIRS[p, 0], _PAIRS[p, 1]) > tolerance:
                acute = p
                break
        if acute < 0:
            return True
        for axis in range(3):
            moved = base[_PAIRS[acute, 0], axis]
            base[_OTHERS[acute, 0], axis] += moved
            base[_OTHERS[acute, 1], axis] += moved
            base[_PAIRS[acute, 0], axis] = -moved
    return False


@njit(cache=True)
def _product(base, tensor, a, b):
    total = 0.0
    for p in range(3):
        for q in range(3):
            total += base[a, p] * tensor[p, q] * base[b, q]
    return total


@njit(cache=True)
def _code(base, a, b):
    """A number for the cross product of two steps, the same for its opposite; -1 if it is too long."""
    code, sign = 0, 0.0
    for axis in range(3):
        p, q = (axis + 1) % 3, (axis + 2) % 3
        step = base[a, p] * base[b, q] - base[a, q] * base[b, p]
        if abs(step) > MOST_REACH:
            return -1
        if sign == 0.0 and step != 0.0:
            sign = 1.0 if step > 0.0 else -1.0
        code = code * _CODES + int(sign * step) + MOST_REACH
    return code
