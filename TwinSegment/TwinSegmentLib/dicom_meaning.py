"""What a DICOM segment means and how it is shown: coded types (PS3.3 section 8.8), and colours in CIELab."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset

from TwinCore.dicom.file import items
from TwinCore.guard import display_name
from TwinCore.segmentation import UNCODED, Code, Colour

ANATOMICAL_STRUCTURE = ("SCT", "91723000", "Anatomical Structure")
ABNORMAL_STRUCTURE = ("SCT", "49755003", "Morphologically Abnormal Structure")
# Types of PS3.16 CID 7159 (lesions); all others are taken for anatomy.
ABNORMAL_TYPES = {
    "4147007",  # mass
    "52988006",  # lesion
    "108369006",  # neoplasm
    "372087000",  # neoplasm, primary
    "14799000",  # neoplasm, secondary
    "79654002",  # oedema
    "6574001",  # necrosis
    "50960005",  # haemorrhage
    "75753009",  # blood clot
    "55584005",  # embolus
    "367643001",  # cyst
    "44132006",  # abscess
    "27925004",  # nodule
    "409774005",  # inflammation
}
# Linear sRGB from CIE XYZ under D65. DICOM's profile connection space has D50 for white, but highdicom writes
# segmentations with D65, as DCMTK did until lately: so this gives back the colours that were meant.
_XYZ_TO_RGB = np.array(
    [[3.2404542, -1.5371385, -0.4985314], [-0.9692660, 1.8760108, 0.0415560], [0.0556434, -0.2040259, 1.0572252]]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])


def read_code(item: Dataset, keyword: str, name: str) -> Code | None:
    """Scheme, value and meaning of the first code of a sequence that has one; None if none says more than "tissue"."""
    for code in items(item, keyword, name):
        value = code.get("CodeValue") or code.get("LongCodeValue")
        if value:
            found = (
                display_name(code.get("CodingSchemeDesignator"), ""),
                display_name(value),
                display_name(code.get("CodeMeaning"), ""),
            )
            return None if found == UNCODED else found
    return None


def code_item(code: Code) -> Dataset:
    """A code as an item of a sequence; values of more than 16 characters go where such belong."""
    scheme, value, meaning = code
    made = Dataset()
    setattr(made, "CodeValue" if len(value) <= 16 else "LongCodeValue", value)
    made.CodingSchemeDesignator, made.CodeMeaning = scheme, meaning[:64] or value[:64]
    return made


def category_of(code: Code | None) -> Code:
    """The category (PS3.16 CID 7150) that a segment's type belongs to; tissue where there is no type."""
    if code is None:
        return UNCODED
    return ABNORMAL_STRUCTURE if code[0] == "SCT" and code[1] in ABNORMAL_TYPES else ANATOMICAL_STRUCTURE


def read_colour(item: Dataset) -> Colour | None:
    """The recommended display colour (CIELab in 16 bits, DICOM PS3.3 C.10.7.1.1) as sRGB from 0 to 1."""
    try:
        lightness, a, b = (float(v) / 65535.0 for v in item.RecommendedDisplayCIELabValue)
    except (AttributeError, TypeError, ValueError):
        return None
    y = (100.0 * lightness + 16.0) / 116.0
    f = np.array([y + (255.0 * a - 128.0) / 500.0, y, y - (255.0 * b - 128.0) / 200.0])
    xyz = _WHITE * np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    linear = np.clip(_XYZ_TO_RGB @ xyz, 0.0, 1.0)
    red, green, blue = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear).tolist()
    return red, green, blue


def cielab(colour: Colour) -> list[int]:
    """An sRGB colour as `read_colour` takes it: L*, a* and b* in 16 bits."""
    srgb = np.clip(colour, 0.0, 1.0)
    linear = np.where(srgb > 0.04045, ((srgb + 0.055) / 1.055) ** 2.4, srgb / 12.92)
    xyz = np.linalg.solve(_XYZ_TO_RGB, linear) / _WHITE
    x, y, z = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    shares = [(116.0 * y - 16.0) / 100.0, (500.0 * (x - y) + 128.0) / 255.0, (200.0 * (y - z) + 128.0) / 255.0]
    return [round(65535.0 * min(max(share, 0.0), 1.0)) for share in shares]
