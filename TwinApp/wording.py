"""Numbers and names as a reader of the report sees them."""

from __future__ import annotations

import math
import re

from TwinCore import Quantity
from TwinCore.units import in_words
from TwinSimulateLib.model import Estimate

LONGEST = 300
# Control characters, lone surrogates and marks that turn the direction of text: none belongs in a name.
UNWANTED = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]+")
SMALLEST_VOLUME_ML = 0.001
NOT_REACHED = "not reached"

LABELS = {
    "volume_ml": "Tumour volume",
    "suv_max": "Highest SUV in the region",
    "suv_max_target": "Highest SUV in the tumour",
    "suv_mean_target": "Mean SUV in the tumour",
    "pet_volume_ml": "Tumour volume by PET threshold",
    "pet_dice": "PET threshold against outline (Dice)",
    "carried_dice": "Carried outline against reference outline (Dice)",
    "centroid_error_mm": "Tumour centre, distance from the known place",
    "registration_way": "Registered",
    "registration_nmi_before": "Similarity before registration (NMI)",
    "registration_nmi": "Similarity after registration (NMI)",
    "registration_overlap": "Share of the moved image inside the reference",
    "registration_spread_mm": "Disagreement of repeated registrations",
    "registration_z_score": "Similarity against other poses (z)",
    "registration_residual_mm": "Distance of the images' parts from their best match",
    "registration_consistency_mm": "Disagreement with registrations from other starts",
    "registration_body_overlap": "Overlap of the bodies' outlines (Dice)",
    "registration_failure_probability": "Probability that the registration is more than 5 mm off",
}


def plain(text: object, longest: int = LONGEST) -> str:
    """Words from a file without control characters and direction marks, cut where they are too long to print."""
    words = UNWANTED.sub(" ", str(text)).strip()
    return words if len(words) <= longest else words[: longest - 1] + "…"


def number(value: float) -> str:
    """Three significant digits, with thousands set apart; "not reached" for infinity.

    >>> number(1234.6), number(0.05678), number(3.0), number(2e-7)
    ('1\\u202f235', '0.0568', '3', '2.0 × 10⁻⁷')
    """
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return NOT_REACHED
    size = abs(value)
    if size >= 99.95:
        return _signed(f"{value:,.0f}".replace(",", "\u202f"))
    if size == 0 or size >= 1e-3:
        return _signed(f"{value:.3g}")
    mantissa, exponent = f"{value:.1e}".split("e")
    return _signed(f"{mantissa} × 10{str(int(exponent)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}")


def volume(value_ml: float) -> str:
    """A volume in mL; one that no image could show is only said to be small."""
    return number(value_ml) if value_ml >= SMALLEST_VOLUME_ML else f"under {SMALLEST_VOLUME_ML:g}"


def volume_interval(low_ml: float, high_ml: float) -> str:
    """Both ends of an interval of volumes."""
    return volume(high_ml) if high_ml < SMALLEST_VOLUME_ML else f"{volume(low_ml)} to {volume(high_ml)}"


def interval(low: float, high: float) -> str:
    """Both ends of an interval: "1.2 to 3.4"."""
    return f"{number(low)} to {number(high)}"


def with_unit(words: str, unit: str) -> str:
    """The number's words with the unit as a reader knows it, kept on one line."""
    known = in_words(unit)
    return f"{words}\u00a0{known}" if known else words


def quantity(value: Quantity | str) -> str:
    """A result in words, with its 90 % interval if it has one."""
    if not isinstance(value, Quantity):
        return plain(value)
    words = with_unit(number(value.value), value.unit)
    return f"{words} (90\u00a0% interval {interval(*value.interval_90)})" if isinstance(value, Estimate) else words


def percent(share: float) -> str:
    """A share from 0 to 1 as a whole percentage."""
    return f"{100 * share:.0f}\u00a0%"


def scenario(name: str) -> str:
    """A scenario's name for a reader."""
    return "no treatment" if name == "none" else plain(name)


def label(name: str) -> str:
    """What a result's key means, in words; an unknown key spelt out."""
    return LABELS.get(name, name.replace("_", " ").capitalize())


def _signed(words: str) -> str:
    return words.replace("-", "\u2212") if words.startswith("-") else words
