"""What SUV is normalised by: body weight, lean body mass or body surface, from a PET header.

Lean body mass is Janmahasatian's (Clin Pharmacokinet 2005;44:1051), body surface Du Bois' (Arch Intern Med 1916;17:
863).
"""

from __future__ import annotations

from pydicom.dataset import Dataset

from TwinCore.errors import InvalidInput
from TwinCore.guard import display_name

from .pet_decay import positive


def body_size(header: Dataset, kind: str) -> float:
    """Body weight in g ("bw"), lean body mass in g ("lbm") or body surface in cm² ("bsa").

    Raises
    ------
    InvalidInput
        If weight, height or sex are missing or cannot be what they say; the message gives the tag and the likely
        mistake.
    """
    weight = _weight_kg(header)
    if kind == "bw":
        return weight * 1000.0
    height = _height_m(header)
    bmi = weight / height**2
    if not 5 < bmi < 120:
        raise InvalidInput(
            f"PET: weight {weight:g} kg (0010,1030) and height {height:g} m (0010,1020) do not fit together: a body "
            f"mass index of {bmi:.3g} kg/m2. Check both."
        )
    if kind == "bsa":
        return 0.007184 * weight**0.425 * (100.0 * height) ** 0.725 * 1e4
    constant, slope = {"M": (6680.0, 216.0), "F": (8780.0, 244.0)}[_sex(header)]
    return 9270.0 * weight / (constant + slope * bmi) * 1000.0


def _weight_kg(header: Dataset) -> float:
    weight = positive(header, "PatientWeight", "the patient's weight (0010,1030)")
    if weight > 700:
        raise InvalidInput(
            f"PET: the patient's weight (0010,1030) is {weight:g} kg: it was probably given in grams. It must be in kg."
        )
    return weight


def _height_m(header: Dataset) -> float:
    height = positive(header, "PatientSize", "the patient's height (0010,1020)")
    if 25 < height < 280:
        raise InvalidInput(
            f"PET: the patient's height (0010,1020) is {height:g} m: it was probably given in centimetres. It must be "
            "in m."
        )
    if not 0.25 < height < 2.8:
        raise InvalidInput(f"PET: the patient's height (0010,1020) is {height:g} m, which nobody has. It must be in m.")
    return height


def _sex(header: Dataset) -> str:
    sex = str(header.get("PatientSex", "") or "").strip().upper()
    if sex not in ("M", "F"):
        raise InvalidInput(
            f"PET: the patient's sex (0010,0040) is {display_name(sex, 'not given')}; lean body mass is known for M "
            "and F. Take SUV by body weight or body surface."
        )
    return sex
