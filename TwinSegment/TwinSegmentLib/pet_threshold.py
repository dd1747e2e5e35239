"""Tumours in PET by published rules: thresholds, and the steepest edge."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from TwinCore import Image, InvalidInput
from TwinCore.units import SUV_BODY_WEIGHT

RULES = {
    "41 % of maximum": "41 % of the tumour's maximum, the EANM procedure guideline's first choice "
    "(Boellaard et al. 2015, Eur J Nucl Med Mol Imaging 42:328)",
    "50 % of maximum": "50 % of the tumour's maximum (same guideline)",
    "SUV 2.5": "fixed SUVbw of 2.5 g/mL",
    "SUV 4.0": "fixed SUVbw of 4.0 g/mL",
    "PERCIST": "1.5 times the mean of healthy liver plus 2 standard deviations (Wahl et al. 2009, J Nucl Med 50:122S), "
    "in SUVbw; needs an outline of the liver",
    "gradient": "the steepest edge between tumour and surroundings, by watershed (Geets et al. 2007, Eur J Nucl Med "
    "Mol Imaging 34:1427)",
}

EDGE_SIGMA_MM = 2.5
SURELY_INSIDE, SURELY_OUTSIDE = 0.7, 0.2
"""Shares of the tumour's maximum beyond which a voxel is taken for tumour, or for its surroundings."""


def check_rule(rule: str) -> None:
    """Raise `InvalidInput`, naming the rules there are, if a rule is not one of them."""
    if rule not in RULES:
        raise InvalidInput(f"PET rule {rule!r} is unknown; there are: {', '.join(RULES)}.")


def pet_tumour(
    suv: Image, search: np.ndarray, rule: str = "41 % of maximum", reference: np.ndarray | None = None
) -> np.ndarray:
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
    reference : bool array, shape (k, j, i), optional
        Healthy liver, for PERCIST.

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
    if rule == "gradient":
        return _within_steepest_edge(suv, search, hottest)
    threshold = _threshold(suv, rule, float(values[hottest]), reference)
    if values[hottest] < threshold or values[hottest] <= 0:
        raise InvalidInput(
            f"Nothing in the search region reaches {threshold:.3g} g/mL: its maximum is {values[hottest]:.3g}."
        )
    labels, _ = ndimage.label(values >= threshold, ndimage.generate_binary_structure(3, 3))
    return ndimage.binary_fill_holes(labels == labels[hottest])


def _threshold(suv: Image, rule: str, highest: float, reference: np.ndarray | None) -> float:
    if rule == "PERCIST":
        if reference is None or not reference.any():
            raise InvalidInput("The PERCIST rule needs an outline named 'liver', of healthy liver, to compare with.")
        healthy = suv.array[reference]
        return float(1.5 * healthy.mean() + 2.0 * healthy.std())
    return float(rule.split()[1]) if rule.startswith("SUV") else float(rule.split()[0]) / 100.0 * highest


def _within_steepest_edge(suv: Image, search: np.ndarray, hottest: tuple[np.intp, ...]) -> np.ndarray:
    """Watershed on the gradient's magnitude, flooded from the hot core and from the cool surroundings."""
    sigma = EDGE_SIGMA_MM / suv.grid.spacing[::-1]
    smooth = ndimage.gaussian_filter(suv.array.astype(np.float32), sigma)
    parts = [ndimage.sobel(smooth, axis) / step for axis, step in enumerate(suv.grid.spacing[::-1])]
    steepness = np.sqrt(sum(part**2 for part in parts))
    highest = float(suv.array[hottest])
    if highest <= 0:
        raise InvalidInput("Nothing in the search region takes up the tracer.")
    core, _ = ndimage.label(search & (suv.array >= SURELY_INSIDE * highest))
    marks = np.zeros(suv.array.shape, np.uint8)
    marks[(suv.array < SURELY_OUTSIDE * highest) | ~search] = 2
    marks[core == core[hottest]] = 1
    basins = sitk.MorphologicalWatershedFromMarkers(
        sitk.GetImageFromArray(steepness), sitk.GetImageFromArray(marks), False, True
    )
    return ndimage.binary_fill_holes(sitk.GetArrayFromImage(basins) == 1)
