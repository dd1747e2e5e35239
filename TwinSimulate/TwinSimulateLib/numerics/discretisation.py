"""How wrong a read-out is for the grid's sake, from the same run on two grids: Richardson's estimate."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from TwinCore import Job, NotResolved

COARSER = math.sqrt(2.0)
ORDER = 2
LARGEST_UNWARNED, LARGEST = 0.05, 0.20


def discretisation_error(read_outs: Callable[[float], np.ndarray], spacing_mm: float) -> float:
    """The largest error of read-outs on a grid, as a share of the largest of them.

    The read-outs are run at the spacing and at one sqrt(2) times as wide, and their difference is taken for that of
    errors that fall with the square of the spacing (Richardson 1911, Philosophical Transactions A 210:307). On grids
    too coarse for that it tells the size of the error, not its digits.

    Parameters
    ----------
    read_outs : callable
        From a spacing in mm to numbers of one kind, such as volumes over time.
    spacing_mm : float
    """
    fine, coarse = np.asarray(read_outs(spacing_mm), float), np.asarray(read_outs(COARSER * spacing_mm), float)
    largest = np.abs(fine).max()
    return float(np.abs(fine - coarse).max() / (COARSER**ORDER - 1.0) / largest) if largest > 0 else 0.0


def check_discretisation(error: float, spacing_mm: float, read_out: str, job: Job) -> None:
    """Warn of an error above 5 %.

    Parameters
    ----------
    error : float
        From `discretisation_error`.
    spacing_mm : float
    read_out : str
        What may be wrong, for the message.
    job : Job
        Takes the warning.

    Raises
    ------
    NotResolved
        Of one above 20 %.
    """
    if error <= LARGEST_UNWARNED:
        return
    message = f"The grid of {spacing_mm:.2g} mm makes the {read_out} wrong by about {100 * error:.2g} %."
    needed = spacing_mm * (LARGEST_UNWARNED / error) ** (1.0 / ORDER)
    if error > LARGEST:
        raise NotResolved(message, needed)
    job.warn(f"{message} A spacing of {needed:.2g} mm would do.")
