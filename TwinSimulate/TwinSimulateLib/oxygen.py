"""What lack of oxygen takes from a dose, and what a hypoxia PET says of the oxygen.

Sensitivity follows Alper and Howard-Flanders, (m p + K) / (p + K) of that without oxygen, with m = 3 and K = 3 mmHg,
as in the linear-quadratic analysis of Wenzl and Wilkens (Radiation Oncology 6 (2011) 171). A cell takes a dose d as
d over the oxygen enhancement ratio (OER), which divides alpha by the OER and beta by its square.
"""

from __future__ import annotations

import numpy as np

from TwinCore import Image, InvalidInput
from TwinCore.units import MILLIMETRE_OF_MERCURY, NO_UNIT

HIGHEST_OER = 3.0
HALF_MMHG = 3.0
HYPOXIC_MMHG = 1.4
"""Oxygen of a hypoxic cell: where binding of FMISO is half-maximal (Warren and Partridge, Phys Med Biol 61 (2016)
8596: 1.4 mmHg, 95 % interval 0.3 to 2.6)."""
HYPOXIC_RATIO = 1.2
"""Tissue-to-blood ratio of FMISO from which tissue counts as hypoxic (Muzi et al., J Nucl Med 56 (2015) 1223)."""


def enhancement(oxygen_mmhg):
    """Oxygen enhancement ratio of a full supply over this one: 1 where there is oxygen enough, 3 where there is none.

    >>> enhancement(0.0), enhancement(3.0)
    (3.0, 1.5)
    """
    return HIGHEST_OER * (oxygen_mmhg + HALF_MMHG) / (HIGHEST_OER * oxygen_mmhg + HALF_MMHG)


def hypoxic_fraction(uptake: Image, blood: float) -> Image:
    """Where a FMISO PET shows hypoxia: 1 where uptake is at least 1.2 times that of blood, 0 elsewhere.

    Parameters
    ----------
    uptake : Image
        About two hours after injection, in any unit.
    blood : float
        Uptake of blood, or of a well supplied region in its place, in the same unit.

    Raises
    ------
    InvalidInput
        If the uptake of blood is not above 0.
    """
    if not (np.isfinite(blood) and blood > 0):
        raise InvalidInput(f"The uptake of blood must be above 0, not {blood}.")
    hypoxic = np.nan_to_num(uptake.array) >= HYPOXIC_RATIO * blood
    return Image(hypoxic.astype(np.float32), uptake.grid, unit=NO_UNIT, name=f"hypoxic by {uptake.name or 'uptake'}")


def dose_shares(hypoxia: np.ndarray, unit: str) -> tuple[np.ndarray | float, np.ndarray | float]:
    """What an image of hypoxia makes of a dose: which share of the cells takes which share of the dose.

    Parameters
    ----------
    hypoxia : array
    unit : str
        "1" for the share of cells that are hypoxic, "mm[Hg]" for the oxygen of all cells of a voxel.

    Returns
    -------
    share : array or float
    factor : array or float
        By which the dose to that share of the cells counts; the others take all of it.

    Raises
    ------
    InvalidInput
        If the unit is another, or a share is not from 0 to 1.
    """
    if unit == MILLIMETRE_OF_MERCURY:
        if not (np.isfinite(hypoxia).all() and hypoxia.min() >= 0):
            raise InvalidInput("The image 'hypoxia': oxygen must be 0 mmHg or more everywhere.")
        return 1.0, 1.0 / enhancement(hypoxia)
    if unit != NO_UNIT:
        raise InvalidInput(
            f"The image 'hypoxia' must be the hypoxic share of the cells (unit 1) or their oxygen (mm[Hg]), not "
            f"in {unit!r}; `oxygen.hypoxic_fraction` makes the first of a FMISO PET."
        )
    if not (hypoxia.min() >= 0 and hypoxia.max() <= 1):
        raise InvalidInput("The image 'hypoxia': the hypoxic share of the cells must be from 0 to 1.")
    return hypoxia, 1.0 / enhancement(HYPOXIC_MMHG)
