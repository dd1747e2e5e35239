"""The gamma index: how far two doses differ, counting dose and distance together (Low et al. 1998, Med Phys 25:656)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from TwinCore import Image, InvalidInput, Job
from TwinCore.units import GRAY, NO_UNIT

HIGHEST = 2.0
"""Gamma is looked for within this many distances; a higher one is given as this."""
_STEPS = 5  # samples along the distance to agreement, before refinement
_REFINEMENTS = 4  # each halves the samples' distance around the best
_BLOCK = 50_000


@dataclass(frozen=True, eq=False)
class GammaIndex:
    """The gamma index of each voxel that was compared.

    Parameters
    ----------
    image : Image
        On the reference dose's grid; 0 where nothing was compared.
    compared : bool array, shape (k, j, i)
    """

    image: Image
    compared: np.ndarray

    @property
    def passing_percent(self) -> float:
        """Share of the compared voxels with a gamma of 1 or less."""
        return float(100.0 * np.mean(self.image.array[self.compared] <= 1.0))


def gamma_index(
    reference: Image,
    evaluated: Image,
    dose_percent: float = 3.0,
    distance_mm: float = 2.0,
    local: bool = False,
    threshold_percent: float = 10.0,
    job: Job | None = None,
) -> GammaIndex:
    """Compare an evaluated dose with a reference dose.

    >>> gamma_index(planned, measured).passing_percent  # doctest: +SKIP
    98.7

    For each voxel of the reference, gamma is the least of sqrt((r / distance)^2 + (difference / criterion)^2) over
    points of the evaluated dose, which is interpolated linearly.

    Parameters
    ----------
    reference, evaluated : Image
        In Gy, in one frame, each on its own grid.
    dose_percent : float
        Dose criterion, in % of the reference's highest dose, or with `local` of its dose at the voxel.
    distance_mm : float
        Distance to agreement.
    local : bool
    threshold_percent : float
        Voxels with less than this share of the reference's highest dose are not compared.
    job : Job, optional

    Raises
    ------
    InvalidInput
        If a dose is not in Gy, a criterion is not above 0, or no voxel can be compared.
    """
    for image in (reference, evaluated):
        if image.unit != GRAY or image.array.ndim != 3 or min(image.array.shape) < 2:
            raise InvalidInput(
                f"{image.name or 'The dose'}: volumes in Gy are compared, of two or more voxels along each axis; not "
                f"{image.array.shape} in {image.unit!r}."
            )
    if not (0 < dose_percent <= 100 and 0 < distance_mm <= 50 and 0 <= threshold_percent < 100):
        raise InvalidInput(
            f"Criteria of {dose_percent} %, {distance_mm} mm and a threshold of {threshold_percent} % are not "
            "possible: they must be above 0, the dose and the threshold at most 100 %, the distance at most 50 mm."
        )
    job = job or Job()
    highest = float(reference.array.max())
    if highest <= 0:
        raise InvalidInput(f"{reference.name or 'The reference dose'}: it is 0 everywhere.")
    from_reference = np.linalg.inv(evaluated.grid.ijk_to_ras) @ reference.grid.ijk_to_ras
    last = np.array(evaluated.grid.shape) - 1.0
    kji = np.stack(np.nonzero(reference.array >= max(threshold_percent / 100.0 * highest, 1e-9 * highest)))
    at = (from_reference[:3, :3] @ kji[::-1] + from_reference[:3, 3:])[::-1]
    inside = ((at >= -1e-6) & (at <= last[:, None] + 1e-6)).all(axis=0)
    if not inside.any():
        raise InvalidInput("No voxel of the reference above the threshold lies inside the evaluated dose.")
    if not inside.all():
        job.warn(f"{100 * np.mean(~inside):.1f} % of the reference above the threshold lie outside the evaluated dose.")
    kji, at = kji[:, inside], np.clip(at[:, inside], 0.0, last[:, None]).T.copy()
    doses = reference.array[tuple(kji)].astype(np.float64)
    criterion = dose_percent / 100.0 * (doses if local else np.full(doses.size, highest))
    lattice, lengths = _ball()
    to_index = np.linalg.inv(evaluated.grid.ijk_to_ras)[:3, :3][::-1] * distance_mm  # from RAS to k, j, i
    to_index = np.ascontiguousarray(to_index)
    field = np.ascontiguousarray(evaluated.array, np.float64)
    found = np.empty(doses.size)
    for start in job.each(range(0, doses.size, _BLOCK), "gamma index"):
        part = slice(start, start + _BLOCK)
        found[part] = _gamma(field, at[part], doses[part], criterion[part], lattice, lengths, to_index)
    values = np.zeros(reference.grid.shape, np.float32)
    values[tuple(kji)] = found
    compared = np.zeros(reference.grid.shape, bool)
    compared[tuple(kji)] = True
    kind = "local" if local else "global"
    name = f"gamma index, {dose_percent:g} % {kind}, {distance_mm:g} mm"
    return GammaIndex(reference.with_array(values, unit=NO_UNIT, name=name), compared)


def _ball() -> tuple[np.ndarray, np.ndarray]:
    """Points of a lattice within the search distance, nearest first, and their lengths, in distances to agreement."""
    reach = int(HIGHEST * _STEPS)
    axis = np.arange(-reach, reach + 1) / _STEPS
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    lengths = np.linalg.norm(points, axis=1)
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] <= HIGHEST + 1e-9]
    return points[order], lengths[order]


@njit(nogil=True, cache=True)
def _look(field, at, dose, criterion, r, to_index, slope):
    """Dose difference over the criterion at a displacement r (RAS, in distances to agreement), and its slope there.

    NaN outside the voxels' centres.
    """
    k = at[0] + to_index[0, 0] * r[0] + to_index[0, 1] * r[1] + to_index[0, 2] * r[2]
    j = at[1] + to_index[1, 0] * r[0] + to_index[1, 1] * r[1] + to_index[1, 2] * r[2]
    i = at[2] + to_index[2, 0] * r[0] + to_index[2, 1] * r[1] + to_index[2, 2] * r[2]
    planes, rows, columns = field.shape
    if not (0.0 <= k <= planes - 1 and 0.0 <= j <= rows - 1 and 0.0 <= i <= columns - 1):
        return np.nan
    k0, j0, i0 = min(int(k), planes - 2), min(int(j), rows - 2), min(int(i), columns - 2)
    z, y, x = k - k0, j - j0, i - i0
    a, b = field[k0, j0, i0], field[k0, j0, i0 + 1]
    c, d = field[k0, j0 + 1, i0], field[k0, j0 + 1, i0 + 1]
    e, f = field[k0 + 1, j0, i0], field[k0 + 1, j0, i0 + 1]
    g, h = field[k0 + 1, j0 + 1, i0], field[k0 + 1, j0 + 1, i0 + 1]
    ab, cd, ef, gh = a + (b - a) * x, c + (d - c) * x, e + (f - e) * x, g + (h - g) * x
    near, far = ab + (cd - ab) * y, ef + (gh - ef) * y
    along_i = ((b - a) * (1 - y) + (d - c) * y) * (1 - z) + ((f - e) * (1 - y) + (h - g) * y) * z
    along_j = (cd - ab) * (1 - z) + (gh - ef) * z
    for n in range(3):
        rise = to_index[0, n] * (far - near) + to_index[1, n] * along_j + to_index[2, n] * along_i
        slope[n] = rise / criterion
    return (near + (far - near) * z - dose) / criterion


@njit(nogil=True, cache=True)
def _better(field, at, dose, criterion, r, half, to_index, slope, ignored, trial, best, where):
    """The best gamma squared so far, after a look at r and at two places within `half` of it.

    By the slope at r: where gamma is least if the dose is linear, and the nearest place where the doses are equal.
    """
    difference = _look(field, at, dose, criterion, r, to_index, slope)
    if np.isnan(difference):
        return best
    squared = r[0] ** 2 + r[1] ** 2 + r[2] ** 2 + difference**2
    if squared < best:
        best = squared
        where[:] = r
    steep = slope[0] ** 2 + slope[1] ** 2 + slope[2] ** 2
    if steep == 0.0:
        return best
    level = difference - (slope[0] * r[0] + slope[1] * r[1] + slope[2] * r[2])
    for kind in range(2):
        for n in range(3):
            wanted = -level * slope[n] / (1.0 + steep) if kind == 0 else r[n] - difference * slope[n] / steep
            trial[n] = min(max(wanted, r[n] - half), r[n] + half)
        there = _look(field, at, dose, criterion, trial, to_index, ignored)
        squared = trial[0] ** 2 + trial[1] ** 2 + trial[2] ** 2 + there**2
        if squared < best:  # never where it is NaN
            best = squared
            where[:] = trial
    return best


@njit(parallel=True, nogil=True, cache=True)
def _gamma(field, at, doses, criteria, lattice, lengths, to_index):
    """Gamma of each voxel: the best around each point of a lattice, then the best around that at ever smaller steps."""
    found = np.empty(doses.size)
    step = 1.0 / _STEPS
    for n in prange(doses.size):
        slope, ignored, trial, where = np.empty(3), np.empty(3), np.empty(3), np.zeros(3)
        best = np.inf
        for m in range(lengths.size):
            if max(lengths[m] - 0.9 * step, 0.0) ** 2 >= best:  # nothing further out can be better
                break
            best = _better(
                field,
                at[n],
                doses[n],
                criteria[n],
                lattice[m],
                0.5 * step,
                to_index,
                slope,
                ignored,
                trial,
                best,
                where,
            )
        half = 0.5 * step
        for _ in range(_REFINEMENTS):
            half *= 0.5
            middle, r = where.copy(), np.empty(3)
            for corner in range(27):
                r[0] = middle[0] + (corner % 3 - 1) * half
                r[1] = middle[1] + (corner // 3 % 3 - 1) * half
                r[2] = middle[2] + (corner // 9 - 1) * half
                best = _better(
                    field, at[n], doses[n], criteria[n], r, half, to_index, slope, ignored, trial, best, where
                )
        found[n] = min(np.sqrt(best), HIGHEST)
    return found
