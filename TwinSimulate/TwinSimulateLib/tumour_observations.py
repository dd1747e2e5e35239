"""What a follow-up scan shows of a tumour beside its volume: cellularity, outline, uptake; and when it was made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from typing import Any, ClassVar

import numpy as np

from TwinCore import Grid, Image, InvalidInput, LinearTransform
from TwinCore.provenance import content_hash
from TwinCore.transform import Transform

from .model import Observation

CORRELATION_MM = 3.0
"""Chosen: over this length the error of a voxel map falls to exp(-1/2) of itself; no measured value was found."""
ROUNDING = 1e-3
SAME_VOLUME = 0.01
"""Relative change of volume that a registration may make to an observation: a tenth of its usual noise."""


@dataclass(frozen=True, eq=False)
class ImageObservation:
    """An image of the tumour at a visit, on any grid.

    Parameters
    ----------
    time_days : float
        From the reference scan.
    image : Image
    frame : str
        Name of the twin's image in whose frame it lies; that of the reference scan if left out.
    """

    quantity: ClassVar[str]
    time_days: float
    image: Image
    frame: str = field(default="", kw_only=True)

    def check(self) -> None:
        """`InvalidInput` says what is wrong with the observation."""
        if not np.isfinite(self.time_days) or self.time_days < 0:
            raise self._wrong(f"the visit is on day {self.time_days:g}: it must not be before the reference scan")
        if self.image.array.ndim != 3:
            raise self._wrong("the image must have one channel")
        if not np.isfinite(self.image.array).any():
            raise self._wrong("no voxel has a value")

    def described(self) -> dict[str, Any]:
        """For the record of a run: the numbers, and the image's name and content."""
        numbers = {k: v for k, v in self.__dict__.items() if k != "image"}
        content = content_hash(self.image.array, self.image.grid.ijk_to_ras)
        return {"quantity": self.quantity, **numbers, "image": self.image.name, "content": content}

    def carried(self, move: Transform | None) -> ImageObservation:
        """The observation in the frame of the reference scan, where a move takes it; None: it is there already.

        Raises
        ------
        InvalidInput
            If the move changes volumes, and so takes growth away with the rest.
        """
        if move is None:
            return replace(self, frame="")
        if not isinstance(move, LinearTransform):
            raise self._wrong("a deformation would take the tumour's growth away with the rest: register it rigidly")
        larger = abs(np.linalg.det(move.matrix[:3, :3])) - 1.0
        if abs(larger) > SAME_VOLUME:
            raise self._wrong(f"its registration changes volumes by {100 * larger:+.1f} %: register it rigidly")
        there = Grid(self.image.grid.shape, move.matrix @ self.image.grid.ijk_to_ras)
        return replace(self, image=replace(self.image, grid=there), frame="")

    def _wrong(self, what: str) -> InvalidInput:
        return InvalidInput(f"Observation of {self.quantity}, image {self.image.name!r}: {what}.")


@dataclass(frozen=True, eq=False)
class VoxelMap(ImageObservation):
    """A map whose errors go together over a length.

    Parameters
    ----------
    noise_sd : float, optional
        Standard deviation of a voxel's error.
    correlation_mm : float
        l, if the errors of voxels a distance r apart have the correlation exp(-r^2 / (2 l^2)).
    """

    noise_sd: float | None = None
    correlation_mm: float = CORRELATION_MM

    def check(self) -> None:
        super().check()
        if self.noise_sd is not None and not 0 < self.noise_sd < np.inf:
            raise self._wrong(f"the noise must be above 0, not {self.noise_sd:g}")
        if not 0 <= self.correlation_mm < np.inf:
            raise self._wrong(f"the correlation length must be 0 mm or more, not {self.correlation_mm:g}")


@dataclass(frozen=True, eq=False)
class Cellularity(VoxelMap):
    """Density of tumour cells, 0 to 1 of the carrying capacity, not a number where the map tells nothing.

    >>> Cellularity(30.0, cellularity_of_adc(adc, inside))  # doctest: +SKIP

    The noise is `cellularity.NOISE_SD` unless given; see there. The map is taken for the density plus noise, cut off at
    0 and 1.
    """

    quantity = "cellularity"

    def check(self) -> None:
        super().check()
        values = self.image.array[np.isfinite(self.image.array)]
        if values.min() < -ROUNDING or values.max() > 1 + ROUNDING:
            raise self._wrong(
                f"the values go from {values.min():.3g} to {values.max():.3g}: a density is from 0 to 1 of the "
                "carrying capacity"
            )


@dataclass(frozen=True, eq=False)
class Uptake(VoxelMap):
    """Uptake of a tracer, a + b u in any unit with a and b >= 0 unknown, not a number where it tells nothing.

    Both are fitted anew for every pair of parameters, so that the posterior is the one with them marginalised. The
    noise, in the image's unit, is `cellularity.NOISE_SD` of the span of its values unless given.
    """

    quantity = "uptake"

    def check(self) -> None:
        super().check()
        if np.nanmin(self.image.array) == np.nanmax(self.image.array):
            raise self._wrong("all voxels have the same value")


@dataclass(frozen=True, eq=False)
class Outline(ImageObservation):
    """The tumour's outline, as a mask or the part of each voxel within.

    Parameters
    ----------
    log_sd : float
        Standard deviation of the logarithm of the volume within, 0.1 for about 10 %: as far as growth or shrinkage of
        the whole outline goes, it tells as much as the volume would.
    threshold : float, optional
        Density at which it was drawn, if not where the model's own is.
    """

    quantity = "outline"
    log_sd: float = 0.1
    threshold: float | None = None

    def check(self) -> None:
        super().check()
        if not 0 < self.log_sd < np.inf or not (self.threshold is None or 0 < self.threshold < 1):
            raise self._wrong("a log_sd above 0 and a threshold between 0 and 1 are needed")
        if self.image.array.min() < 0 or self.image.array.max() > 1:
            raise self._wrong("a mask, or the part of each voxel within, is from 0 to 1")
        if not self.image.array.any():
            raise self._wrong("nothing is outlined")


TumourObservation = Observation | ImageObservation


def checked(observations: Sequence[TumourObservation]) -> list[TumourObservation]:
    """The observations in the order of time; `InvalidInput` names one that cannot be."""
    if not observations:
        raise InvalidInput("Calibration needs at least one observation of the tumour.")
    for o in observations:
        if isinstance(o, ImageObservation):
            o.check()
            continue
        usable = o.quantity == "volume" and o.value > 0 and o.log_sd > 0 and o.time_days >= 0
        if not usable or not (o.threshold is None or 0 < o.threshold < 1):
            raise InvalidInput(
                f"Observation {o}: a volume above 0 mL with a log_sd above 0 is needed, at day 0 or later, "
                "and a threshold between 0 and 1."
            )
    return sorted(observations, key=lambda o: o.time_days)


def described(observation: TumourObservation) -> dict[str, Any]:
    """An observation as the record of a run holds it."""
    return observation.described() if isinstance(observation, ImageObservation) else asdict(observation)


def days_between(reference: str | float | None, visit: str) -> float:
    """Days from the reference scan to a visit, both ISO dates; their times of day, if any, are left out.

    Raises
    ------
    InvalidInput
        If one is not an ISO date, or the visit is before the reference scan.
    """
    if not isinstance(reference, str):
        raise InvalidInput(
            f"The visit on {visit} cannot be placed: the reference image has no date. Say its time as an ISO date, or "
            "the visit's as days from the reference scan."
        )
    days = (_day(visit, "visit") - _day(reference, "reference image")).days
    if days < 0:
        raise InvalidInput(f"The visit on {visit} is before the reference scan on {reference}.")
    return float(days)


def _day(text: str, what: str) -> date:
    try:
        return datetime.fromisoformat(text).date()
    except ValueError:
        raise InvalidInput(f"The date {text!r} of the {what} is not an ISO date such as 2024-05-31.") from None
