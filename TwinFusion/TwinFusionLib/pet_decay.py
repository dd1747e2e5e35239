"""Dose, half-life and decay of a PET series: the moments that its headers tell, vendor by vendor.

Which moment the scanner corrected the activity to, and in which tag it says so, is the vendor-neutral procedure of the
RSNA QIBA FDG-PET/CT profile, SUV technical subcommittee (2018 pseudo-code), with these rules for the moment of a series
that is corrected to its START:

- the decay correction's own date and time (0018,9701), where an enhanced object gives it;
- else the series time, unless it is later than the earliest acquisition (the series was then stored again after the
  scan);
- in that case GE's private scan time (0009,100D), else the earliest acquisition of all slices.

What the procedure assumes in silence (dose in Bq, half-life in seconds) is checked here.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import numpy as np
from pydicom.dataset import Dataset

from TwinCore.dicom.file import items
from TwinCore.errors import InvalidInput

from .series import moment, parse_moment

# Half-lives in s of the nuclides used in PET (NNDC NuDat, rounded), by mass number and symbol.
HALF_LIVES = {
    ("11", "C"): 1222.0,
    ("13", "N"): 597.9,
    ("15", "O"): 122.2,
    ("18", "F"): 6586.0,
    ("64", "Cu"): 45720.0,
    ("68", "Ga"): 4063.0,
    ("82", "Rb"): 75.5,
    ("89", "Zr"): 282300.0,
    ("90", "Y"): 230500.0,
    ("124", "I"): 360800.0,
}
_ELEMENTS = {
    "C": "carbon",
    "N": "nitrogen",
    "O": "oxygen",
    "F": "fluorine",
    "Cu": "copper",
    "Ga": "gallium",
    "Rb": "rubidium",
    "Zr": "zirconium",
    "Y": "yttrium",
    "I": "iodine",
}
_LONG_LIVED_S = 12 * 3600.0
_MIDNIGHT_LIMIT = timedelta(hours=12)


def _radiopharmaceutical(header: Dataset) -> Dataset:
    sequence = items(header, "RadiopharmaceuticalInformationSequence", "PET")
    if not sequence:
        raise InvalidInput(
            "PET: the Radiopharmaceutical Information Sequence (0054,0016) is missing, and with it dose, half-life and "
            "injection time. "
            "It was probably removed when the data were de-identified."
        )
    return sequence[0]


def positive(header: Dataset, keyword: str, what: str) -> float:
    """A number above 0 that SUV cannot do without."""
    try:
        number = float(header.get(keyword) or 0)
    except (TypeError, ValueError):
        number = np.nan
    if not np.isfinite(number) or number <= 0:
        raise InvalidInput(f"PET: {what} is missing, 0 or not a number. Without it there is no SUV.")
    return number


def dose_bq(header: Dataset) -> float:
    """The injected dose, refused where it was plainly given in another unit."""
    dose = positive(_radiopharmaceutical(header), "RadionuclideTotalDose", "the injected dose (0018,1074)")
    if dose < 1e6:
        guess = "MBq" if dose < 2e4 else "kBq"
        raise InvalidInput(
            f"PET: the injected dose (0018,1074) is {dose:g} Bq, far too little for an image: it was probably given in "
            f"{guess}. It must be in Bq."
        )
    if dose > 1e11:
        raise InvalidInput(
            f"PET: the injected dose (0018,1074) is {dose:g} Bq, more than anyone is given. It must be in Bq."
        )
    return dose


def nuclide(header: Dataset) -> tuple[str, str] | None:
    """Mass number and symbol of the radionuclide, as far as the headers' words tell."""
    item = _radiopharmaceutical(header)
    words = [str(c.get("CodeMeaning", "")) for c in items(item, "RadionuclideCodeSequence", "PET")] + [
        str(item.get("Radiopharmaceutical", ""))
    ]
    for text in words:
        for mass, symbol in HALF_LIVES:
            either = f"(?:{symbol}|{_ELEMENTS[symbol]})"
            if re.search(
                rf"(?<![0-9]){mass}\W*{either}(?![a-z])|(?<![a-z]){either}\W*{mass}(?![0-9])", text, re.IGNORECASE
            ):
                return mass, symbol
    return None


def half_life_s(header: Dataset) -> float:
    """The half-life, refused where it is not that of the nuclide."""
    half_life = positive(_radiopharmaceutical(header), "RadionuclideHalfLife", "the half-life (0018,1075)")
    known = nuclide(header)
    if known is not None and not 0.95 < half_life / HALF_LIVES[known] < 1.05:
        right = HALF_LIVES[known]
        guess = next(
            (
                f": it was probably given in {word}"
                for factor, word in ((60, "minutes"), (3600, "hours"))
                if 0.95 < half_life * factor / right < 1.05
            ),
            "",
        )
        raise InvalidInput(
            f"PET: the half-life (0018,1075) is {half_life:g} s and that of {known[1]}-{known[0]} is {right:g} "
            f"s{guess}. It must be in seconds."
        )
    return half_life


def scan_start(headers: tuple[Dataset, ...]) -> datetime:
    """The moment that a series with decay correction START is corrected to."""
    corrected_to = parse_moment(str(headers[0].get("DecayCorrectionDateTime") or ""))
    if corrected_to is not None:
        return corrected_to
    series = moment(headers[0], "Series")
    acquisitions = [m for m in (moment(h, "Acquisition") for h in headers) if m]
    if series is not None and (not acquisitions or series <= min(acquisitions)):
        return series
    private = parse_moment(str(private_value(headers[0], 0x0009, "GEMS_PETD_01", 0x0D) or ""))
    start = private or (min(acquisitions) if acquisitions else None)
    if start is None:
        raise InvalidInput(
            "PET: neither the series' date and time (0008,0021; 0008,0031) nor those of the acquisition (0008,0022; "
            "0008,0032) are given, so the decay since the injection is not known."
        )
    return start


def decay_s(headers: tuple[Dataset, ...], half_life: float) -> float:
    """Seconds from the injection to the moment that the activity is corrected to."""
    if headers[0].DecayCorrection == "ADMIN":
        return 0.0
    scan = scan_start(headers)
    delay = scan - _injection(headers[0], scan, half_life)
    if delay < timedelta(0):
        raise InvalidInput(
            f"PET: the injection lies {-delay} h after the start of the scan. Check the injection time (0018,1072 or "
            "0018,1078) and the clock it was read from."
        )
    if delay.total_seconds() > 10 * half_life:
        raise InvalidInput(
            f"PET: the scan starts {delay} h after the injection, more than ten half-lives of {half_life:g} s. Check "
            "the injection's date (0018,1078), "
            "which de-identification may have changed alone, and the half-life (0018,1075), which must be in seconds."
        )
    return delay.total_seconds()


def _injection(header: Dataset, scan: datetime, half_life: float) -> datetime:
    """The injection's moment; a time without a date is the last such time before the scan, up to 12 h ago."""
    item = _radiopharmaceutical(header)
    dated = parse_moment(str(item.get("RadiopharmaceuticalStartDateTime") or ""))
    if dated is not None:
        return dated
    timed = parse_moment(f"{scan:%Y%m%d}" + str(item.get("RadiopharmaceuticalStartTime") or "").replace(":", ""))
    if timed is None:
        raise InvalidInput(
            "PET: the injection time (0018,1072 or 0018,1078) is missing. Without it the decay before the scan is not "
            "known."
        )
    if half_life > _LONG_LIVED_S:
        raise InvalidInput(
            "PET: the injection time (0018,1072) has no date, and with a nuclide this long-lived the scan may be days "
            "later. "
            "The injection's date and time (0018,1078) must be given."
        )
    day_before = timed - timedelta(days=1)
    return day_before if timed > scan and scan - day_before < _MIDNIGHT_LIMIT else timed


def private_value(header: Dataset, group: int, creator: str, element: int):
    try:
        return header.private_block(group, creator)[element].value
    except KeyError:
        return None


def private_number(header: Dataset, group: int, creator: str, element: int) -> float | None:
    """A private number, which is bytes where the file does not say its type."""
    value = private_value(header, group, creator, element)
    try:
        return float(value.decode("ascii").strip("\0 ") if isinstance(value, bytes) else value)
    except (TypeError, ValueError, UnicodeDecodeError):
        return None
