"""A large vessel in CT angiography from clicks along it: the aorta, out to its wall, with a false lumen and clot.

Growing by brightness leaks into the heart's chambers and the pulmonary artery, which touch the aorta and are as bright,
and misses a false lumen, which is not. So the vessel is followed instead. A shortest way leads through the clicks, in
the middle of what is not air or fat. In planes across it the wall is where brightness falls most, bound to be smooth
round the vessel and along it: where another vessel touches, the wall is as in the planes before and after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numba import njit
from scipy import ndimage, sparse
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import KDTree

from TwinCore import Image, InvalidInput, Job, resample

from .polar_wall import ANGLES, TURN, Search, closed_path

AORTA = Search(nearest_mm=6.0, farthest_mm=28.0, step_mm=0.75, side_mm=2.25, bend=0.15)
"""An aorta's radius is 10 to 25 mm, and less in a root seen aslant."""

SPACING_MM, REACH_MM = 1.5, 50.0
"""Of the grid that is worked on, and how far from its clicks a vessel may turn."""

WAY_MM, FAT_HU, MOST_DEEP_MM = 3.0, 20.0, 12.0
"""Grid of the shortest way, what is fat or air, and from which distance to them a way is no better."""

FAT_SHOWN_HU, BLOOD_HU, BRIGHT_HU, ABOVE_BLOOD = -100.0, 150.0, 450.0, 0.3
"""Brightness is clipped to the first and the third, and counts less above the second: in a dissection the fall from the
true lumen to the false one must be less than that from there to the outside."""

BLUR_MM, PLANES_MM = 0.7, 2.0
SMOOTH_MM = (8.0, 6.0, 4.0)
"""How smooth the middle line is at first, and after the wall was found once and twice."""

ALONG, MOST_APART_MM, ROUNDS = 0.05, 6.0, 6
"""What a wall pays for being 1 mm from that of the next plane, in shares of the largest fall, up to which distance, and
how often each plane's is found anew from its neighbours'."""


@dataclass(frozen=True, eq=False)
class _Line:
    """A middle line: places (n, 3) in mm along k, j, i, its direction, and two directions across it."""

    places: np.ndarray
    along: np.ndarray
    across: tuple[np.ndarray, np.ndarray]


def vessel(
    ct: Image, clicks_ras_mm: Sequence[Sequence[float]], search: Search = AORTA, job: Job | None = None
) -> np.ndarray:
    """The vessel between the first and the last click, with its wall.

    >>> aorta = vessel(cta, [root, arch, beside_the_heart, diaphragm])     # doctest: +SKIP

    Parameters
    ----------
    ct : Image
        In Hounsfield units, with contrast medium in the vessel.
    clicks_ras_mm : sequence of three floats
        In the middle of the vessel, in order along it: where it begins and ends, and wherever it turns.
    search : Search
        Which radii are possible; those of an aorta if none.
    job : Job, optional

    Returns
    -------
    bool array, shape (k, j, i)

    Raises
    ------
    InvalidInput
        If the image is no CT, there are fewer than two clicks, or one lies outside the image.
    """
    job = job or Job()
    if ct.modality != "CT":
        raise InvalidInput(f"Image {ct.name!r} is no CT: vessels are found by their blood's Hounsfield units.")
    clicks = np.asarray(clicks_ras_mm, float)
    if clicks.ndim != 2 or clicks.shape[1] != 3 or len(clicks) < 2:
        raise InvalidInput("A vessel needs a click at both of its ends, and one wherever it turns.")
    ijk = ct.grid.to_ijk(clicks)
    if (ijk < -0.5).any() or (ijk > np.array(ct.grid.shape[::-1]) - 0.5).any():
        raise InvalidInput(f"A click lies outside {ct.name!r}: click in the middle of the vessel.")
    around = _box(ct, clicks)
    values = around.array.astype(np.float32)
    marks = around.grid.to_ijk(clicks)[:, ::-1] * SPACING_MM
    job.report(0.0, "way")
    line = _line(_way(values, marks), SMOOTH_MM[0])
    shown = _shown(values)
    for smooth in job.each((*SMOOTH_MM[1:], None), "wall"):
        radii = _wall(shown, line, search)
        if smooth is not None:
            line = _line(_middles(line, radii), smooth)
    inside = _inside(values.shape, line, radii)
    return resample(around.with_array(inside.astype(np.float32), modality="", unit="1"), ct.grid, fill=0.0).array >= 0.5


def _box(ct: Image, clicks: np.ndarray) -> Image:
    """What lies round the clicks, along the patient's axes."""
    grid = ct.grid.upright(SPACING_MM)
    at = grid.to_ijk(clicks)[:, ::-1]
    reach = REACH_MM / SPACING_MM
    low, high = np.floor(at.min(0) - reach).astype(int), np.ceil(at.max(0) + reach).astype(int) + 1
    return resample(ct, grid.crop(np.maximum(low, 0), np.minimum(high, grid.shape)), fill=-1000.0)


def _shown(values: np.ndarray) -> np.ndarray:
    smooth = ndimage.gaussian_filter(values, BLUR_MM / SPACING_MM)
    above = np.clip(smooth - BLOOD_HU, 0, BRIGHT_HU - BLOOD_HU)
    return np.clip(smooth, FAT_SHOWN_HU, BLOOD_HU) + np.float32(ABOVE_BLOOD) * above


def _way(values: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """Places (n, 3) in mm on the shortest way through the clicks, which is the shorter the farther from fat and air."""
    every = round(WAY_MM / SPACING_MM)
    coarse = ndimage.gaussian_filter(values, 1.0 / SPACING_MM)[::every, ::every, ::every]
    deep = ndimage.distance_transform_edt(coarse > FAT_HU, WAY_MM)
    cost = np.where(deep > 0, (0.3 + np.minimum(deep, MOST_DEEP_MM)) ** -1.5, 3.0)
    nearest = np.clip(np.rint(marks / WAY_MM).astype(int), 0, np.array(cost.shape) - 1)
    ends = np.ravel_multi_index(tuple(nearest.T), cost.shape)
    _, before = dijkstra(_ways(cost), directed=False, indices=ends[:-1], return_predecessors=True)
    places = [marks[:1]]
    for number, end in enumerate(ends[1:]):
        nodes = [end]
        while nodes[-1] != ends[number]:
            nodes.append(before[number, nodes[-1]])
        inner = np.array(nodes[-2:0:-1], int)
        places += [np.stack(np.unravel_index(inner, cost.shape), -1) * WAY_MM, marks[number + 1 : number + 2]]
    return np.concatenate(places)


def _ways(cost: np.ndarray) -> sparse.csr_array:
    """What it costs from each voxel to its 26 neighbours."""
    numbers = np.arange(cost.size).reshape(cost.shape)
    first, second, lengths = [], [], []
    for step in product((-1, 0, 1), repeat=3):
        if step > (0, 0, 0):
            here = tuple(slice(max(s, 0), n + min(s, 0)) for s, n in zip(step, cost.shape))
            there = tuple(slice(max(-s, 0), n + min(-s, 0)) for s, n in zip(step, cost.shape))
            first.append(numbers[here].ravel())
            second.append(numbers[there].ravel())
            lengths.append((cost[here] + cost[there]).ravel() * (np.linalg.norm(step) * WAY_MM / 2))
    ends = (np.concatenate(first), np.concatenate(second))
    return sparse.csr_array((np.concatenate(lengths), ends), shape=(cost.size, cost.size))


def _line(places: np.ndarray, smooth_mm: float) -> _Line:
    """A smooth line at equal steps, with directions across it that do not turn about it."""
    for _ in range(2):
        steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
        places, steps = places[np.r_[True, steps > 1e-6]], steps[steps > 1e-6]
        so_far = np.r_[0, np.cumsum(steps)]
        at = np.linspace(0, so_far[-1], max(round(so_far[-1] / PLANES_MM), 4) + 1)
        even = np.stack([np.interp(at, so_far, places[:, axis]) for axis in range(3)], 1)
        ahead = min(int(4 * smooth_mm / at[1]), len(even) - 1)  # mirrored at its ends, which therefore stay
        longer = np.concatenate([2 * even[0] - even[ahead:0:-1], even, 2 * even[-1] - even[-2 : -ahead - 2 : -1]])
        places = ndimage.gaussian_filter1d(longer, smooth_mm / at[1], axis=0)[ahead : ahead + len(even)]
    along = np.gradient(places, axis=0)
    along /= np.linalg.norm(along, axis=1)[:, None]
    side = np.eye(3)[np.abs(along[0]).argmin()]
    first = []
    for direction in along:
        side = side - direction * (side @ direction)
        side = side / np.linalg.norm(side)
        first.append(side)
    return _Line(places, along, (np.array(first), np.cross(along, first)))


def _wall(shown: np.ndarray, line: _Line, search: Search) -> np.ndarray:
    """The wall's distances (planes, angles) from the line, in mm."""
    side = round(search.side_mm / search.step_mm)
    radii = search.step_mm * np.arange(round((search.farthest_mm + search.side_mm) / search.step_mm) + 1)
    towards = np.cos(TURN)[:, None] * line.across[0][:, None] + np.sin(TURN)[:, None] * line.across[1][:, None]
    at = line.places[:, None, None] + towards[:, :, None] * radii[:, None]
    polar = ndimage.map_coordinates(shown, np.moveaxis(at, -1, 0) / SPACING_MM, order=1, mode="nearest")
    sums = np.cumsum(np.pad(polar, ((0, 0), (0, 0), (1, 0))), -1)
    falls = (2 * sums[..., side:-side] - sums[..., : -2 * side] - sums[..., 2 * side :]) / side
    tried = radii[side : side + falls.shape[-1]] - search.step_mm / 2
    falls = np.minimum(falls / max(float(np.percentile(falls, 99)), 1e-6), 1.0)
    falls = (falls + search.outwards * tried)[..., tried >= search.nearest_mm].astype(np.float64)
    tried = tried[tried >= search.nearest_mm]
    chosen = np.array([closed_path(plane, search.bend) for plane in falls])
    round_it = np.pad(chosen, ((0, 0), (4, 4)), mode="wrap")
    chosen = ndimage.median_filter(round_it, (9, 5), mode="nearest")[:, 4:-4]
    most = (MOST_APART_MM / search.step_mm) ** 2
    _bound(falls, chosen, search.bend, ALONG * search.step_mm**2, most, ROUNDS)
    return tried[chosen]


@njit(nogil=True, cache=True)
def _bound(falls, chosen, bend, along, most, rounds):
    """Find each plane's wall (planes, angles) anew, near those of the planes before and after, every other plane first.

    `along` is paid for the square of a distance in steps, of which none counts for more than `most`.
    """
    planes, angles, radii = falls.shape
    gain = np.empty((angles, radii))
    for turn in range(2 * rounds):
        for plane in range(turn % 2, planes, 2):
            gain[:] = falls[plane]
            neighbours = (1 if plane > 0 else 0) + (1 if plane < planes - 1 else 0)
            for other in (plane - 1, plane + 1):
                if 0 <= other < planes:
                    for angle in range(angles):
                        for radius in range(radii):
                            apart = min(float((radius - chosen[other, angle]) ** 2), most)
                            gain[angle, radius] -= along * apart / neighbours
            chosen[plane] = closed_path(gain, bend)


def _middles(line: _Line, radii: np.ndarray) -> np.ndarray:
    """The middles of what lies within the wall, plane by plane."""
    off = [(radii**3 * wave).sum(1) * 2 / (3 * (radii**2).sum(1)) for wave in (np.cos(TURN), np.sin(TURN))]
    return line.places + off[0][:, None] * line.across[0] + off[1][:, None] * line.across[1]


def _inside(shape: tuple[int, ...], line: _Line, radii: np.ndarray) -> np.ndarray:
    """Voxels within the wall, each seen from the nearest place of the line, and not beyond its ends."""
    numbers = np.arange(len(line.places))
    finer = np.arange(0, numbers[-1] + 1e-9, 0.25)
    places, along, first, second, wall = (
        np.stack([np.interp(finer, numbers, column) for column in table.T], 1)
        for table in (line.places, line.along, *line.across, radii)
    )
    reach = radii.max() + 1.0
    low = np.maximum(np.floor((places.min(0) - reach) / SPACING_MM).astype(int), 0)
    high = np.minimum(np.ceil((places.max(0) + reach) / SPACING_MM).astype(int) + 1, shape)
    voxels = np.moveaxis(np.indices(tuple(high - low)), 0, -1).reshape(-1, 3) + low
    distance, nearest = KDTree(places).query(voxels * SPACING_MM, distance_upper_bound=reach)
    near = np.isfinite(distance)
    voxels, nearest = voxels[near], nearest[near]
    off = voxels * SPACING_MM - places[nearest]
    x, y, z = ((off * table[nearest]).sum(1) for table in (first, second, along))
    turn = np.arctan2(y, x) % (2 * np.pi) * ANGLES / (2 * np.pi)
    before, share = np.floor(turn).astype(int) % ANGLES, turn % 1.0
    edge = wall[nearest, before] * (1 - share) + wall[nearest, (before + 1) % ANGLES] * share
    beyond = ((nearest == 0) & (z < -SPACING_MM / 2)) | ((nearest == len(places) - 1) & (z > SPACING_MM / 2))
    voxels = voxels[(np.hypot(x, y) <= edge) & ~beyond]
    inside = np.zeros(shape, bool)
    inside[tuple(voxels.T)] = True
    return inside
