"""PET as SUV, the standardised uptake value: activity per mL, by the dose per body weight, lean body mass or surface.

    SUV = activity per mL * body size / dose

with activity and dose taken at the same moment (see `pet_decay`) and the body size of `body_size`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from TwinCore.errors import InvalidInput
from TwinCore.guard import check_values, display_name
from TwinCore.image import Image
from TwinCore.job import Job
from TwinCore.units import SUV_BODY_SURFACE, SUV_BODY_WEIGHT, SUV_LEAN_BODY

from .body_size import body_size
from .dicom_series import read_series
from .pet_decay import decay_s, dose_bq, half_life_s, private_number
from .pet_units import ACTIVITY, pet_unit
from .series import Series

KINDS = {"bw": SUV_BODY_WEIGHT, "lbm": SUV_LEAN_BODY, "bsa": SUV_BODY_SURFACE}


def read_pet_suv(path: str | Path, series_uid: str | None = None, job: Job | None = None, kind: str = "bw") -> Image:
    """Read a PET series and return it as SUV.

    >>> read_pet_suv("study/pet").unit  # doctest: +SKIP
    'g/mL'

    Raises
    ------
    InvalidInput
        As `read_series`, and as `suv_factor`.
    """
    return to_suv(read_series(path, series_uid, job=job), kind)


def to_suv(series: Series, kind: str = "bw") -> Image:
    """The series' image as SUV; one that has this unit already is returned as it is, never converted twice.

    Parameters
    ----------
    series : Series
    kind : str
        "bw", by body weight, in g/mL; "lbm", by lean body mass after Janmahasatian, in g/mL{SUVlbm}; "bsa", by body
        surface after Du Bois, in cm2/mL. One kind becomes another by the ratio of the body sizes.

    Raises
    ------
    InvalidInput
        As `suv_factor`; also if the image is no PET, or one time point of a series whose decay correction does not say
        to which moment.
    """
    image = series.image
    _check_kind(kind)
    if image.modality != "PT":
        raise InvalidInput(
            f"{image.name}: SUV is made from PET (PT), not from {image.modality or 'an image without a modality'}."
        )
    if image.unit == KINDS[kind]:
        return image
    if image.unit not in (*KINDS.values(), *ACTIVITY.values()):
        raise InvalidInput(f"{image.name}: its unit is {display_name(image.unit)}, from which no SUV can be made.")
    first = series.headers[0]
    corrected_to_start = first.get("DecayCorrection") == "START" and not first.get("DecayCorrectionDateTime")
    if series.frames > 1 and corrected_to_start and image.unit not in KINDS.values():
        raise InvalidInput(
            f"{image.name}: it is one of {series.frames} time points, corrected for decay to START (0054,1102): to the "
            "start of the series or of each time point, which the headers do not say. SUV needs a static series, or "
            "correction to the injection (ADMIN)."
        )
    suv = image.array * suv_factor(series.headers, kind).astype(np.float32)[:, None, None]
    check_values(suv, image.name)
    return image.with_array(suv, unit=KINDS[kind], name=f"SUV{kind}")


def suv_factor(headers: tuple[Dataset, ...], kind: str = "bw") -> np.ndarray:
    """What each slice's rescaled values are multiplied by to become SUV.

    Parameters
    ----------
    headers : tuple of pydicom.Dataset
        Of every slice of the series.
    kind : str
        "bw", "lbm" or "bsa".

    Returns
    -------
    array, shape (slices,)
        In SUV per (Bq/mL), per count, or per SUV of another kind.

    Raises
    ------
    InvalidInput
        If a tag that the conversion needs is missing or cannot be what it says; the message gives the tag and the
        likely mistake.
    """
    _check_kind(kind)
    first = headers[0]
    unit = pet_unit(first, "PET")
    if unit in KINDS.values():
        there = next(k for k, u in KINDS.items() if u == unit)
        return np.full(len(headers), 1.0 if there == kind else body_size(first, kind) / body_size(first, there))
    _check_corrections(first)
    activity = np.ones(len(headers))
    if unit != ACTIVITY["BQML"]:
        direct = np.array([private_number(h, 0x7053, "Philips PET Private Group", 0x00) or 0.0 for h in headers])
        if (direct > 0).all():
            return direct if kind == "bw" else direct * body_size(first, kind) / body_size(first, "bw")
        activity = np.array([private_number(h, 0x7053, "Philips PET Private Group", 0x09) or 0.0 for h in headers])
        if not (activity > 0).all():
            raise InvalidInput(
                "PET: the values are counts (0054,1001 is CNTS) and neither Philips' SUV factor (7053,1000) nor its "
                "activity factor (7053,1009) is there; "
                "private tags were probably removed. Export the series with them, or in BQML."
            )
    size = body_size(first, kind)
    dose, half_life = dose_bq(first), half_life_s(first)
    return activity * size / (dose * 0.5 ** (decay_s(headers, half_life) / half_life))


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise InvalidInput(f"The kind of SUV is {display_name(kind)!r}; it must be one of {', '.join(KINDS)}.")


def _check_corrections(header: Dataset) -> None:
    corrected = header.get("CorrectedImage") or []
    corrected = [corrected] if isinstance(corrected, str) else list(corrected)
    for code, words in (("ATTN", "attenuation"), ("DECY", "decay")):
        if code not in corrected:
            raise InvalidInput(
                f"PET: the image is not corrected for {words}: {code} is not in Corrected Image (0028,0051). SUV needs "
                "the corrected series."
            )
    if header.get("DecayCorrection") not in ("START", "ADMIN"):
        raise InvalidInput(
            f"PET: the decay correction (0054,1102) is {display_name(header.get('DecayCorrection'), 'not given')}; it "
            "must be START or ADMIN, "
            "or the moment that the activity belongs to is not known."
        )
