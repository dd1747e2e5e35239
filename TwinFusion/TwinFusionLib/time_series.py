"""Series of images over time, registered one by one from a shared start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from TwinCore import Grid, Image, InvalidInput, Job, LinearTransform, Table
from TwinCore.transform import Transform

from .fused import onto_grid
from .prepared import Preparation
from .presets import Preset
from .registration import Found, register


@dataclass(frozen=True, eq=False)
class FusedSeries:
    """A series whose time points lie still on a grid of the reference frame, and how each of them had moved."""

    name: str
    images: tuple[Image, ...]
    motion: Table


def most_telling(series: Sequence[Image]) -> int:
    """The time point of most contrast: that by which a series is brought to other images."""
    return int(np.argmax([image.array.std() for image in series]))


def fuse_series(
    name: str,
    series: Sequence[Image],
    move: Transform | None,
    preset: Preset,
    grid: Grid,
    seed: int = 0,
    job: Job | None = None,
) -> FusedSeries:
    """Hold a series still, and bring it onto a grid of the reference frame.

    Each time point is registered to the one of most contrast, for images of one kind are easier to compare than those
    of two, and goes on with that one's move.

    Parameters
    ----------
    name : str
    series : sequence of Image
        In the order of time.
    move : Transform or None
        Of the time point of most contrast into the reference frame; None if it is there already.
    preset : Preset
        For images of this kind.
    grid : Grid
        In the reference frame.
    seed : int
    job : Job, optional

    Raises
    ------
    InvalidInput
        As `register_series`.
    """
    still, resampling = (job or Job()).split(time_points=8, resampling=2)
    first = most_telling(series)
    with still:
        found = register_series(series[first], series, preset, first, LinearTransform.identity(), seed, still)
    with resampling:
        images = []
        for image, own in resampling.each(list(zip(series, found))):
            whole = own.transform if move is None else own.transform.then(move)
            images.append(onto_grid(image, grid, whole))
    return FusedSeries(name, tuple(images), motion_table(name, series, found))


def motion_table(name: str, series: Sequence[Image], found: Sequence[Found]) -> Table:
    """How far each time point is shifted at the middle of the image (RAS, mm) and turned, to lie on the first used."""
    moves, middle = [f.linear.transform for f in found], series[0].grid.centre
    shifts = np.array([move.push(middle) - middle for move in moves])
    turns = [np.rad2deg(Rotation.from_matrix(move.matrix[:3, :3]).magnitude()) for move in moves]
    columns: dict[str, Sequence | np.ndarray] = {
        "time": [image.time for image in series],
        **dict(zip(("right", "anterior", "superior"), shifts.T)),
        "turn": turns,
        "nmi": [f.linear.nmi for f in found],
    }
    units = {"time": "d", "right": "mm", "anterior": "mm", "superior": "mm", "turn": "deg", "nmi": "1"}
    return Table(f"{name} motion", columns, units)


def register_series(
    fixed: Image,
    series: Sequence[Image],
    preset: Preset,
    first: int = 0,
    start: LinearTransform | None = None,
    seed: int = 0,
    job: Job | None = None,
) -> list[Found]:
    """Register each time point of a series onto a fixed image.

    One time point is searched from anywhere; the others, going out from it in both directions, start from the answer
    of their neighbour, for a patient moves little from one to the next.

    >>> moves = register_series(ct, dynamic_pet, find_preset("PET-CT"), first=12)        # doctest: +SKIP

    Parameters
    ----------
    fixed : Image
        May be one of the series, which is then registered to itself like the others.
    series : sequence of Image
        In the order of time.
    preset : Preset
    first : int
        The time point to begin with: that which shows most.
    start : LinearTransform, optional
        Where to begin with that one; all poses are tried without it.
    seed : int
    job : Job, optional

    Returns
    -------
    list of Found
        In the order of time.

    Raises
    ------
    InvalidInput
        If there is no such time point, or as `register`; the message names the time point.
    """
    if not 0 <= first < len(series):
        raise InvalidInput(f"A series of {len(series)} time points has no time point {first}: they count from 0.")
    found: dict[int, Found] = {}
    order = [first, *range(first + 1, len(series)), *reversed(range(first))]
    preparation = Preparation()
    parts = (job or Job()).split(**{f"time_point_{n}": 4.0 if n == first else 1.0 for n in order})
    for n, part in zip(order, parts):
        if n != first:
            start = found[n - 1 if n > first else n + 1].linear.transform
        with part:
            try:
                found[n] = register(
                    fixed, [series[n]], preset, start=start, seed=seed, job=part, preparation=preparation
                )
            except InvalidInput as error:
                raise InvalidInput(f"Time point {n}: {error}") from error
    return [found[n] for n in range(len(series))]
