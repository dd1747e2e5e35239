"""Doses of several fractions or plans carried into one frame and added up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from TwinCore import Grid, Image, InvalidInput, Job, LinearTransform, resample
from TwinCore.transform import Transform, parts
from TwinCore.units import GRAY


def accumulate(doses: Sequence[tuple[Image, Transform | None]], grid: Grid, job: Job | None = None) -> Image:
    """The sum of doses, each carried through its own transform into the frame of a grid.

    >>> accumulate([(first, None), (second, deformation)], first.grid).unit  # doctest: +SKIP
    'Gy'

    Each voxel gets the dose that the place it came from received, interpolated linearly. **Neither energy nor mass is
    conserved**: where a deformation shrinks or grows tissue, the mean dose of merged parts is not that of their
    energies over their masses, and an error of the registration becomes one of the dose. Doses of different
    fractionation are added as EQD2 (`dose_response.eqd2`), not as they are.

    Parameters
    ----------
    doses : sequence of (Image, transform or None)
        Each in Gy, with its move into the frame of the grid.
    grid : Grid
    job : Job, optional
        Takes a warning where a deformation was used, and one where a dose does not reach a part of the grid that others
        do: there it adds nothing.

    Raises
    ------
    InvalidInput
        If there are no doses, or one is not in Gy.
    """
    job = job or Job()
    if not doses:
        raise InvalidInput("There are no doses to add up.")
    total, covered, everywhere = np.zeros(grid.shape), np.zeros(grid.shape, bool), np.ones(grid.shape, bool)
    for dose, transform in job.each(doses, "accumulating dose"):
        if dose.unit != GRAY or dose.array.ndim != 3:
            raise InvalidInput(f"{dose.name or 'A dose'}: doses in Gy are added up, not {dose.unit!r}.")
        carried = resample(dose, grid, transform, fill=np.nan).array
        known = np.isfinite(carried)
        total += np.where(known, carried, 0.0)
        covered |= known
        everywhere &= known
        if transform is not None and not all(isinstance(move, LinearTransform) for move in parts(transform)):
            job.warn(
                "Dose was carried through a deformation by interpolation: neither energy nor mass is conserved, and an "
                "error of the registration becomes one of the dose."
            )
    if np.any(covered & ~everywhere):
        share = 100 * np.mean(~everywhere[covered])
        job.warn(f"In {share:.1f} % of the accumulated dose not every dose is known; those that are not add nothing.")
    return Image(total.astype(np.float32), grid, unit=GRAY, name="accumulated dose")
