"""Dose-volume histograms: the dose that each part of a structure receives, and what is read from it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import map_coordinates

from TwinCore import Image, InvalidInput, Job
from TwinCore.guard import check_memory
from TwinCore.units import GRAY

MOST_SAMPLES = 8_000_000
_FINENESS = 2  # samples along an edge of the dose's voxels, at least
_SPREAD = 1.0 / 1.2207440846057596 ** np.arange(1, 4)  # Roberts' evenly spread sequence in three dimensions
_OUTSIDE = 1e-3  # share of a structure outside the dose grid that is worth a warning


@dataclass(frozen=True, eq=False)
class DoseVolume:
    """A structure's parts in the order of their dose: the histogram without bins.

    >>> half = DoseVolume("half", np.array([10.0, 20.0]), np.array([1.0, 3.0]))
    >>> half.mean_gy, half.percent_above(15.0)
    (17.5, 75.0)

    Parameters
    ----------
    name : str
    dose_gy : array, shape (n,)
        Ascending.
    volume_ml : array, shape (n,)
        Of the part with each dose.
    outside_ml : float
        Volume of the structure outside the dose grid, which no figure counts.
    """

    name: str
    dose_gy: np.ndarray
    volume_ml: np.ndarray
    outside_ml: float = 0.0

    @property
    def total_ml(self) -> float:
        """Volume of the structure inside the dose grid."""
        return float(self.volume_ml.sum())

    @property
    def mean_gy(self) -> float:
        return float(np.average(self.dose_gy, weights=self.volume_ml))

    @property
    def min_gy(self) -> float:
        return float(self.dose_gy[0])

    @property
    def max_gy(self) -> float:
        return float(self.dose_gy[-1])

    def dose_to_ml(self, volume_ml: float) -> float:
        """The least dose in the hottest part of this volume (D2cc); the minimum where the structure is smaller."""
        if not volume_ml >= 0:
            raise InvalidInput(f"A volume must be 0 mL or more, not {volume_ml}.")
        below = np.cumsum(self.volume_ml) - 0.5 * self.volume_ml
        return float(np.interp(self.total_ml - volume_ml, below, self.dose_gy))

    def dose_to_percent(self, percent: float) -> float:
        """The least dose in the hottest part of this share of the volume (D95%)."""
        if not 0 <= percent <= 100:
            raise InvalidInput(f"A share of a volume must be from 0 to 100 %, not {percent}.")
        return self.dose_to_ml(percent / 100.0 * self.total_ml)

    def ml_above(self, dose_gy: float) -> float:
        """Volume that receives this dose or more (V20Gy)."""
        return float(self.volume_ml[np.searchsorted(self.dose_gy, dose_gy) :].sum())

    def percent_above(self, dose_gy: float) -> float:
        """Share of the volume that receives this dose or more, in %."""
        return 100.0 * self.ml_above(dose_gy) / self.total_ml

    def cumulative(self, dose_gy: np.ndarray) -> np.ndarray:
        """Share of the volume, in %, that receives each of these doses or more."""
        above = np.concatenate([np.cumsum(self.volume_ml[::-1])[::-1], [0.0]])
        return 100.0 * above[np.searchsorted(self.dose_gy, dose_gy)] / above[0]

    def differential(self, edges_gy: np.ndarray) -> np.ndarray:
        """Volume between neighbouring doses, in mL."""
        return np.histogram(self.dose_gy, edges_gy, weights=self.volume_ml)[0]

    def mapped(self, function: Callable[[np.ndarray], np.ndarray]) -> DoseVolume:
        """The histogram of another, never falling, function of each part's dose (its EQD2)."""
        return replace(self, dose_gy=function(self.dose_gy))

    def condensed(self, width_gy: float = 0.01) -> DoseVolume:
        """The same in bins of this width, each with its own mean dose, so that the mean stays as it is."""
        bins = np.floor(self.dose_gy / width_gy).astype(int)
        starts = np.flatnonzero(np.diff(bins, prepend=-1))
        volume = np.add.reduceat(self.volume_ml, starts)
        dose = np.add.reduceat(self.volume_ml * self.dose_gy, starts) / volume
        return replace(self, dose_gy=dose, volume_ml=volume)


def dose_volume(dose: Image, structure: Image, job: Job | None = None) -> DoseVolume:
    """The dose in each part of a structure, interpolated linearly at points finer than the dose's voxels.

    Parameters
    ----------
    dose : Image
        In Gy.
    structure : Image
        Boolean samples, or the fraction of each voxel that belongs to the structure, on any grid of the same frame.
        Voxels coarser than half of the dose's are divided.
    job : Job, optional
        Takes the warning about a part outside the dose grid, which gets no dose at all: not zero.

    Raises
    ------
    InvalidInput
        If the dose is not in Gy, or no part of the structure lies inside the dose grid.
    """
    if dose.unit != GRAY or dose.array.ndim != 3:
        raise InvalidInput(f"{dose.name or 'The dose'}: a volume in Gy is needed, not one in {dose.unit!r}.")
    if structure.array.size and not (structure.array.min() >= 0 and structure.array.max() <= 1):
        raise InvalidInput(
            f"Structure {structure.name!r}: its values must be from 0 to 1, the fraction of each voxel that belongs to "
            "it. Of a label map, take one label."
        )
    k, j, i = np.nonzero(structure.array)
    parts = _divisions(structure, dose, k.size)
    count = k.size * int(np.prod(parts))
    check_memory(80.0 * count, f"The dose in {structure.name!r}")
    share = structure.array[k, j, i].astype(float)
    to_dose = np.linalg.inv(dose.grid.ijk_to_ras) @ structure.grid.ijk_to_ras
    values, volumes, lost = [], [], 0.0
    each_ml = structure.grid.voxel_volume_ml / np.prod(parts)
    edge = np.array(dose.grid.shape)[:, None] - 0.5
    field = dose.array.astype(np.float32, copy=False)
    within = np.arange(k.size) * _SPREAD[:, None] % 1.0  # or else whole layers of samples would share one dose
    for part in itertools.product(*(range(n) for n in parts)):
        ijk = np.stack([i, j, k]) - 0.5 + (np.array(part)[:, None] + within) / np.array(parts)[:, None]
        kji = (to_dose[:3, :3] @ ijk + to_dose[:3, 3:])[::-1]
        inside = ((kji >= -0.5) & (kji <= edge)).all(axis=0)
        values.append(map_coordinates(field, kji[:, inside], order=1, mode="nearest"))
        volumes.append(share[inside] * each_ml)
        lost += float(share[~inside].sum()) * each_ml
    found, volume = np.concatenate(values), np.concatenate(volumes)
    if not found.size:
        raise InvalidInput(f"Structure {structure.name!r}: no part of it lies inside the dose grid.")
    if job and lost > _OUTSIDE * (lost + volume.sum()):
        job.warn(
            f"Structure {structure.name!r}: {100 * lost / (lost + volume.sum()):.1f} % of it lie outside the dose "
            "grid, where the dose is not known; the figures are those of the rest."
        )
    order = np.argsort(found, kind="stable")
    return DoseVolume(structure.name, found[order].astype(float), volume[order], lost)


def _divisions(structure: Image, dose: Image, voxels: int) -> tuple[int, ...]:
    """Into how many parts a voxel of the structure is divided along i, j and k."""
    finest = dose.grid.spacing.min() / _FINENESS
    wanted = np.maximum(np.ceil(structure.grid.spacing / finest - 1e-6), 1.0)
    while voxels * wanted.prod() > MOST_SAMPLES and wanted.max() > 1:
        wanted = np.maximum(np.ceil(wanted / 2.0), 1.0)
    return tuple(int(n) for n in wanted)
