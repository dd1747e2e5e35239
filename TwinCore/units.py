"""Units of the physical quantities in the scene, in UCUM, with the words that a reader knows them by."""

HOUNSFIELD = "[hnsf'U]"
SUV_BODY_WEIGHT = "g/mL"
SUV_LEAN_BODY = "g/mL{SUVlbm}"
SUV_BODY_SURFACE = "cm2/mL"
BECQUEREL_PER_ML = "Bq/mL"
MILLILITRE = "mL"
MILLIMETRE = "mm"
GRAY = "Gy"
MILLIMETRE_OF_MERCURY = "mm[Hg]"
DAY = "d"
PER_DAY = "/d"
DIFFUSIVITY = "mm2/d"
NO_UNIT = "1"

WORDS = {
    HOUNSFIELD: "HU",
    SUV_BODY_WEIGHT: "SUVbw (g/mL)",
    SUV_LEAN_BODY: "SUVlbm (g/mL)",
    SUV_BODY_SURFACE: "SUVbsa (cm²/mL)",
    MILLIMETRE_OF_MERCURY: "mmHg",
    DIFFUSIVITY: "mm²/day",
    PER_DAY: "per day",
    DAY: "days",
    NO_UNIT: "",
}


def in_words(unit: str) -> str:
    """The unit as a report prints it."""
    return WORDS.get(unit, unit)
