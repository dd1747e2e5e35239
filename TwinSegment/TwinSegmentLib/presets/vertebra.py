"""A vertebra in CT from one click in the middle of its body.

The body is where a random walker from the click stays: its shell and end plates are edges. The bodies above and below
are found the same way, one body's height on. Bone elsewhere, the arch and its processes, belongs to the body that is
nearest on a way through bone, and so facing joints are divided where the ways meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.csgraph import dijkstra

from TwinCore import Image, InvalidInput, Job, resample

from ..random_walker import random_walk

SPACING_MM = 1.5
REACH_MM = 60.0
"""From the click to the farthest tip of a lumbar vertebra's processes, and through bone from its body."""

BODY_MM, CERTAIN_MM = 32.0, 8.0
"""No body reaches farther from its middle, and every one is at least this thick round it."""

NEIGHBOUR_MM, DISC_MM = 6.0, 8.0
SMOOTH_MM, EDGE, STAYS = 1.2, 0.6, 0.65
"""Blur before the walk, what is an edge beside the noise, and the probability from which a voxel is the body's."""

BODY_OPENING_MM, CLOSING_MM, SMALL_MM2 = 4.5, 3.0, 120.0
BONE_HU, BONE_SMOOTH_MM = 180.0, 0.75


def vertebra(ct: Image, click_ras_mm: Sequence[float], job: Job | None = None) -> np.ndarray:
    """The vertebra that was clicked.

    >>> l3 = vertebra(ct, (0.0, -42.0, 310.0))                           # doctest: +SKIP

    Parameters
    ----------
    ct : Image
        In Hounsfield units.
    click_ras_mm : three floats
        In the middle of the body.
    job : Job, optional

    Returns
    -------
    bool array, shape (k, j, i)

    Raises
    ------
    InvalidInput
        If the image is no CT, or the click lies outside it or in no body of a vertebra.
    """
    job = job or Job()
    if ct.modality != "CT":
        raise InvalidInput(f"Image {ct.name!r} is no CT: vertebrae are found by their bone's Hounsfield units.")
    grid = ct.grid
    if ((place := grid.to_ijk(click_ras_mm)) < -0.5).any() or (place > np.array(grid.shape[::-1]) - 0.5).any():
        raise InvalidInput(f"The click lies outside {ct.name!r}: click in the middle of the vertebra's body.")
    around = _box(ct, np.asarray(click_ras_mm, float))
    spacing, click = around.grid.spacing[::-1], around.grid.to_ijk(click_ras_mm)[::-1]
    values = around.array.astype(np.float32)
    smooth = ndimage.gaussian_filter(values, SMOOTH_MM / spacing)
    job.report(0.1, "body")
    body = _body(smooth, spacing, click, CERTAIN_MM)
    job.report(0.4, "bodies above and below")
    others = [_body(smooth, spacing, c, NEIGHBOUR_MM) & ~body for c in _neighbours(body, spacing, click)]
    job.report(0.8, "arch and processes")
    bone = ndimage.gaussian_filter(values, BONE_SMOOTH_MM / spacing) > BONE_HU
    found = _tidied(_nearest_through(bone, [body, *others], spacing), spacing, click)
    part = Image(found[0].astype(np.float32), around.grid)
    return resample(part, grid).array >= 0.5


def _box(ct: Image, click: np.ndarray) -> Image:
    """What lies round the click, upright: k runs up the spine."""
    grid = ct.grid.upright(SPACING_MM)
    middle = np.rint(grid.to_ijk(click)).astype(int)[::-1]
    reach = int(np.ceil(REACH_MM / SPACING_MM))
    low, high = np.maximum(middle - reach, 0), np.minimum(middle + reach + 1, grid.shape)
    return resample(ct, grid.crop(low, high), fill=-1000.0)


def _body(values: np.ndarray, spacing: np.ndarray, middle: np.ndarray, certain_mm: float) -> np.ndarray:
    """The body round a place, with its shell."""
    at = np.linalg.norm((np.moveaxis(np.indices(values.shape), 0, -1) - middle) * spacing, axis=-1)
    stays = random_walk(values, spacing, at <= certain_mm, at >= BODY_MM, EDGE) > STAYS
    stays = ndimage.binary_dilation(stays)
    return _holding(ndimage.binary_opening(stays, _ball(BODY_OPENING_MM, spacing)), middle)


def _neighbours(body: np.ndarray, spacing: np.ndarray, click: np.ndarray) -> list[np.ndarray]:
    """Where the middle of the bodies above and below should be, or as near to it as the image shows."""
    low, high = np.percentile(np.argwhere(body)[:, 0], (2, 98)) * spacing[0]
    height = high - low
    places = []
    for side in (-1, 1):
        place = click.copy()
        place[0] = np.clip(click[0] + side * (height + DISC_MM) / spacing[0], 3, body.shape[0] - 4)
        if abs(place[0] - click[0]) * spacing[0] > height / 2 + DISC_MM:
            places.append(place)
    return places


def _nearest_through(bone: np.ndarray, bodies: Sequence[np.ndarray], spacing: np.ndarray) -> list[np.ndarray]:
    """For each body, the bone that is nearer to it than to the others on a way through bone, and within reach."""
    bone = bone | np.any(bodies, axis=0)
    numbers = np.full(bone.shape, -1)
    numbers[bone] = np.arange(np.count_nonzero(bone))
    starts = [numbers[body] for body in bodies]
    start, owner = np.concatenate(starts), np.repeat(np.arange(len(bodies)), [len(s) for s in starts])
    owner_of = np.full(numbers.max() + 1, -1)
    owner_of[start[::-1]] = owner[::-1]  # of bodies that overlap, the first counts
    distance, _, source = dijkstra(
        _ways(numbers, spacing), directed=False, indices=np.unique(start), min_only=True, return_predecessors=True
    )
    nearest = np.where((source >= 0) & (distance <= REACH_MM), owner_of[source], -1)
    whole = np.full(bone.shape, -1)
    whole[bone] = nearest
    return [whole == number for number in range(len(bodies))]


def _ways(numbers: np.ndarray, spacing: np.ndarray) -> sparse.csr_array:
    """Lengths between neighbouring voxels that have numbers, 26 round each."""
    first, second, lengths = [], [], []
    for step in product((-1, 0, 1), repeat=3):
        if step > (0, 0, 0):
            here = numbers[tuple(slice(max(s, 0), n + min(s, 0)) for s, n in zip(step, numbers.shape))].ravel()
            there = numbers[tuple(slice(max(-s, 0), n + min(-s, 0)) for s, n in zip(step, numbers.shape))].ravel()
            both = (here >= 0) & (there >= 0)
            first.append(here[both])
            second.append(there[both])
            lengths.append(np.full(np.count_nonzero(both), float(np.linalg.norm(step * spacing))))
    count = int(numbers.max()) + 1
    ends = (np.concatenate(first), np.concatenate(second))
    return sparse.csr_array((np.concatenate(lengths), ends), shape=(count, count))


def _tidied(parts: list[np.ndarray], spacing: np.ndarray, click: np.ndarray) -> list[np.ndarray]:
    """The first part closed over the marrow of its arch, which is dark, and without what is another's."""
    first, *others = parts
    margin = int(np.ceil(2 * CLOSING_MM / spacing.min()))
    closed = ndimage.binary_closing(np.pad(first, margin), _ball(CLOSING_MM, spacing))
    closed = closed[margin:-margin, margin:-margin, margin:-margin]
    for other in others:
        closed &= ~other
    for plane in closed:
        holes, count = ndimage.label(ndimage.binary_fill_holes(plane) & ~plane)
        sizes = np.bincount(holes.ravel(), minlength=count + 1) * spacing[1] * spacing[2]
        sizes[0] = np.inf
        plane |= (sizes < SMALL_MM2)[holes]
    return [_holding(closed, click), *others]


def _holding(mask: np.ndarray, place: np.ndarray) -> np.ndarray:
    """The connected part of a mask at a place; `InvalidInput` if there is none."""
    parts, _ = ndimage.label(mask)
    number = parts[tuple(np.rint(place).astype(int))]
    if number == 0:
        raise InvalidInput("No vertebra's body was found round the click: click in the middle of one.")
    return parts == number


def _ball(radius_mm: float, spacing: np.ndarray) -> np.ndarray:
    reach = np.ceil(radius_mm / spacing).astype(int)
    at = np.moveaxis(np.indices(tuple(2 * reach + 1)), 0, -1) - reach
    return np.linalg.norm(at * spacing, axis=-1) <= radius_mm + 1e-6
