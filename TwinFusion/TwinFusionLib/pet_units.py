"""What the values of a PET series are: activity, counts, or an SUV and of which kind."""

from __future__ import annotations

from pydicom.dataset import Dataset

from TwinCore.dicom.file import items
from TwinCore.errors import InvalidInput
from TwinCore.guard import display_name
from TwinCore.units import BECQUEREL_PER_ML, SUV_BODY_SURFACE, SUV_BODY_WEIGHT, SUV_LEAN_BODY

COUNTS = "{counts}"
ACTIVITY = {"BQML": BECQUEREL_PER_ML, "CNTS": COUNTS}
# Units (0054,1001) and SUV Type (0054,1006), which is BW where it is not given and the units are GML.
SUV_UNITS = {("GML", "BW"): SUV_BODY_WEIGHT, ("GML", "LBMJANMA"): SUV_LEAN_BODY, ("CM2ML", "BSA"): SUV_BODY_SURFACE}
_DEFAULT_TYPE = {"GML": "BW", "CM2ML": "BSA"}
# UCUM codes by which an enhanced PET object says the same (DICOM PS3.16, PET units).
_CODES = {
    "bq/ml": ("BQML", ""),
    "g/ml{suvbw}": ("GML", "BW"),
    "g/ml{suvlbm(janma)}": ("GML", "LBMJANMA"),
    "cm2/ml{suvbsa}": ("CM2ML", "BSA"),
}


def pet_unit(header: Dataset, name: str) -> str:
    """The unit (UCUM) of a PET slice's values; refused where the header does not say it, or says another SUV."""
    units = str(header.get("Units", "") or "")
    if units in ACTIVITY:
        return ACTIVITY[units]
    if units not in _DEFAULT_TYPE:
        raise InvalidInput(
            f"{name}: the PET units (0054,1001) are {display_name(units, 'not given')}; they must be one of "
            f"{', '.join((*ACTIVITY, *_DEFAULT_TYPE))}."
        )
    kind = str(header.get("SUVType", "") or _DEFAULT_TYPE[units])
    if (units, kind) not in SUV_UNITS:
        raise InvalidInput(
            f"{name}: the values are SUV of type {display_name(kind)} (0054,1006) in {units}; known are "
            f"{', '.join(f'{k} in {u}' for u, k in SUV_UNITS)}. Export the series in BQML."
        )
    return SUV_UNITS[units, kind]


def as_classic(header: Dataset) -> Dataset:
    """The header of an enhanced PET frame with units, slope and corrections where classic PET has them; others as is.

    An enhanced object gives the unit with a real-world value mapping, in place of the rescale slope and intercept.
    """
    codes = items(header, "MeasurementUnitsCodeSequence", "PET")
    if header.get("Modality") != "PT" or "Units" in header or not codes:
        return header
    code = _CODES.get(str(codes[0].get("CodeValue", "")).lower())
    if code is None:
        return header
    header.Units, header.SUVType = code
    header.RescaleSlope = header.get("RealWorldValueSlope")
    header.RescaleIntercept = header.get("RealWorldValueIntercept")
    given = (("DecayCorrected", "DECY"), ("AttenuationCorrected", "ATTN"))
    header.CorrectedImage = [word for keyword, word in given if header.get(keyword) == "YES"]
    header.DecayCorrection = "START" if header.get("DecayCorrectionDateTime") else ""
    return header
