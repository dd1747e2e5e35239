"""Tumours in PET by published threshold rules."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from TwinCore import Image, InvalidInput
from TwinCore.units import SUV_BODY_WEIGHT

RULES = {
    "41 % of maximum": "41 % of the tumour's maximum, the EANM procedure guideline's first choice "
    "(Boellaard et al. 2015, Eur J Nucl Med Mol Imaging 42:328)",
    "50 % of maximum": "50 % of the tumour's maximum (same guideline)",
    "SUV 2.5": "fixed SUVbw of 2.5 g/mL",
    "SUV 4.0": "fixed SUVbw of 4.0 g/mL",
}


def check_rule(rule: str) -> None:
    """Raise `InvalidInput`, naming the rules there are, if a rule is not one of them."""
    if rule not in RULES:
        raise InvalidInput(f"PET rule {rule!r} is unknown; there are: {', '.join(RULES)}.")


def pet_tumour(suv: Image, search: np.ndarray, rule: str = "41 % of maximum") -> np.ndarray:
    """The tumour around the hottest voxel of a search region.

    >>> mask = pet_tumour(suv, near_the_tumour, "41 % of maximum")   # doctest: +SKIP

    Parameters
    ----------
    suv : Image
        PET in g/mL (SUVbw).
    search : bool array, shape (k, j, i)
        Where to look: it must hold the tumour and leave out bladder, brain, heart and other hot organs.
    rule : str
        One of `RULES`.

    Returns
    -------
    bool array, shape (k, j, i)
        Voxels of the search region at or above the threshold, connected with the hottest one; enclosed cold parts
        (necrosis) are filled.

    Raises
    ------
    InvalidInput
        If the image is not in SUV, the rule is unknown, or nothing in the search region reaches the threshold.
    """
    if suv.unit != SUV_BODY_WEIGHT:
        raise InvalidInput(f"PET {suv.name!r} is in {suv.unit!r}: the threshold rules need SUVbw in g/mL.")
    check_rule(rule)
    if not search.any():
        raise InvalidInput("The search region for the PET tumour is empty.")
    values = np.where(search, suv.array, -np.inf)
    hottest = np.unravel_index(values.argmax(), values.shape)
    threshold = float(rule.split()[1]) if rule.startswith("SUV") else float(rule.split()[0]) / 100.0 * values[hottest]
    if values[hottest] < threshold or values[hottest] <= 0:
        raise InvalidInput(
            f"Nothing in the search region reaches {threshold:.3g} g/mL: its maximum is {values[hottest]:.3g}."
        )
    labels, _ = ndimage.label(values >= threshold, ndimage.generate_binary_structure(3, 3))
    return ndimage.binary_fill_holes(labels == labels[hottest])
