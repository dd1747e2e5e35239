"""Parameters of the tumour growth model by tumour and tissue, each with its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from TwinCore import InvalidInput, LogNormal, Parameter
from TwinCore.units import DIFFUSIVITY, GRAY, NO_UNIT, PER_DAY

from .declared import BARRIER, CELLULARITY, DIFFUSION_TENSOR, TREATMENT, Declaration, Requirement


@dataclass(frozen=True)
class Preset:
    """A tumour in its tissues.

    Parameters
    ----------
    title : str
    tissues : mapping of str to str or None
        Segments that the tumour can grow into, each with the parameter that divides the diffusivity there, if any.
    parameters : tuple of Parameter
    stiffness_kpa : mapping of str to float
        Young's modulus of each tissue and of the tumour, where it may move them.
    """

    title: str
    tissues: Mapping[str, str | None]
    parameters: tuple[Parameter, ...]
    stiffness_kpa: Mapping[str, float] = field(default_factory=dict)


CLONOGENS = Parameter(
    "clonogen_density",
    "N/V",
    "/mL",
    1e7,
    1e3,
    1e10,
    "Cells per mL of the tumour from which it could grow again.",
    "Of the order that models of tumour control take (Webb and Nahum 1993, Phys Med Biol 38:653), chosen wide",
    LogNormal(1e7, 10.0),
)


def _declare(rate, diffusivity, alpha, alpha_beta, threshold, *others: Parameter) -> tuple[Parameter, ...]:
    """The parameters that every preset has: (median, factor to the 95th percentile, source) of the uncertain ones."""

    def uncertain(name, symbol, unit, low, high, meaning, value):
        return Parameter(name, symbol, unit, value[0], low, high, meaning, value[2], LogNormal(value[0], value[1]))

    return (
        uncertain("proliferation_rate", "ρ", PER_DAY, 1e-4, 1.0, "Net growth rate of sparse tumour cells.", rate),
        uncertain(
            "diffusivity",
            "D",
            DIFFUSIVITY,
            1e-4,
            5.0,
            "Spread of tumour cells where they move most easily.",
            diffusivity,
        ),
        uncertain("alpha", "α", "/Gy", 1e-4, 2.0, "Cell kill per Gy of a low dose.", alpha),
        uncertain(
            "alpha_beta",
            "α/β",
            GRAY,
            0.5,
            50.0,
            "Dose at which the linear and quadratic cell kill are equal.",
            alpha_beta,
        ),
        Parameter(
            "detection_threshold",
            "θ",
            NO_UNIT,
            threshold[0],
            0.01,
            0.99,
            "Density, as a fraction of the carrying capacity, at which the outline was drawn.",
            threshold[1],
        ),
        uncertain(
            "outline_scale",
            "s",
            NO_UNIT,
            0.5,
            2.0,
            "Volume of the tumour at the reference scan over that within its outline.",
            (1.0, 1.18, "An error of 10 % (one standard deviation), as for volumes at follow-up: a choice"),
        ),
        replace(CLONOGENS, prior=None),
        *others,
    )


def _moving(strain_source: str, coupling_source: str) -> tuple[Parameter, Parameter]:
    """The parameters of a tumour that may push the tissue round it aside."""
    return (
        Parameter(
            "mass_effect_strain",
            "ε_g",
            NO_UNIT,
            0.0,
            0.0,
            0.5,
            "Strain by which tissue would, alone, grow in every direction while it fills with tumour cells; 0 leaves "
            "all tissue in its place.",
            strain_source,
        ),
        Parameter(
            "stress_coupling",
            "γ",
            "/kPa",
            0.0,
            0.0,
            10.0,
            "How much stress hinders the spread of cells: D falls as exp(-γ von Mises stress).",
            coupling_source,
        ),
    )


PRESETS = {
    "soft-tissue sarcoma": Preset(
        "Soft-tissue sarcoma in one uniform tissue",
        {"soft tissue": None},
        _declare(
            (
                0.02,
                3.0,
                "Wide, chosen with D so that a nodule of 1 cm radius doubles in about 40 days, the division between "
                "faster and slower "
                "sarcoma metastases in Casson et al., Cancer 69 (1992) 662; growth rates of primary tumours were "
                "not found",
            ),
            (0.05, 3.0, "Wide, chosen with ρ: see there"),
            (
                0.23,
                2.2,
                "From the survival at 2 Gy, median 0.52 and range 0.27 to 0.76, of 14 sarcoma cell lines (Radiation "
                "Research 2021, "
                "doi 10.1667/RADE-20-00226.1); cells in a dish, so probably an upper estimate for hypoxic bulk tumour",
            ),
            (
                4.0,
                2.0,
                "As used for soft-tissue sarcoma by the review of Radiation Oncology 17 (2022), doi "
                "10.1186/s13014-022-02072-9; median "
                "4.9 Gy in 14 cell lines (doi 10.1667/RADE-20-00226.1)",
            ),
            (0.5, "Chosen: no published value for the density at a sarcoma's outline"),
        ),
    ),
    "glioma": Preset(
        "Glioblastoma in white and grey matter",
        {"white matter": None, "grey matter": "white_to_grey_ratio"},
        _declare(
            (
                0.05,
                2.5,
                "Within 0.035 to 0.2 per day of the GliODIL synthetic tumours; with D it doubles a 20 mL tumour in "
                "three to seven weeks, as "
                "untreated glioblastomas do (median 21 days: Ellingson et al., Cancer 122 (2016) 1718)",
            ),
            (0.1, 2.5, "Within 0.035 to 0.2 mm²/day of the GliODIL synthetic tumours (white matter)"),
            (
                0.06,
                2.5,
                "Between model fits to single patients (about 0.03, unverified) and 0.12 (0.10 to 0.14) from pooled "
                "trials: Pedicini et al., "
                "Clinical radiobiology of glioblastoma multiforme",
            ),
            (
                8.0,
                1.5,
                "8 Gy (5.0 to 10.8) from pooled trials: Pedicini et al., Clinical radiobiology of glioblastoma "
                "multiforme",
            ),
            (
                0.8,
                "Outline of enhancement on T1 with gadolinium, as in proliferation-invasion models; FLAIR or T2 "
                "outlines take 0.16 (unverified)",
            ),
            Parameter(
                "white_to_grey_ratio",
                "D_w/D_g",
                NO_UNIT,
                10.0,
                1.0,
                100.0,
                "How much more easily tumour cells move in white than in grey matter.",
                "Low end of the 10 to 30 of the GliODIL synthetic tumours; older models use 5",
            ),
            Parameter(
                "oedema_threshold",
                "θ_o",
                NO_UNIT,
                0.16,
                0.01,
                0.99,
                "Density from which FLAIR or T2 shows oedema.",
                "As in proliferation-invasion models (unverified)",
            ),
            Parameter(
                "necrosis_threshold",
                "θ_n",
                NO_UNIT,
                0.95,
                0.01,
                0.99,
                "Density from which the core is taken to be necrotic.",
                "Chosen between the outline of enhancement and full density; the 0.70 to 0.85 of the GliODIL synthetic "
                "tumours go with enhancement from 0.45 to 0.60",
            ),
            Parameter(
                "drug_efficacy",
                "ε",
                NO_UNIT,
                0.03,
                1e-3,
                5.0,
                "Logarithm of the cell kill by 75 mg/m² of temozolomide where delivery is that of the tumour's mean.",
                "Chosen wide: at the median ρ the whole regimen delays regrowth by the 2.5 months that it added to "
                "median survival (12.1 to 14.6 months: Stupp et al., N Engl J Med 352 (2005) 987); 0.054 in the "
                "demonstration of TumorTwin (arXiv 2505.00670)",
                LogNormal(0.03, 3.0),
            ),
            *_moving(
                "Off: how far a glioma pushes differs from patient to patient; 0.05 to 0.35 paint the shifts of the "
                "training images",
                "Off: used for breast tumours (Weis and others 2013, Phys Med Biol 58:5851); no value for glioma "
                "was found",
            ),
        ),
        # White and grey matter of cattle by indentation, Budday and others 2015, J Mech Behav Biomed Mater 46:318
        # (figures unverified); the tumour is taken to be as its surroundings.
        {"white matter": 1.9, "grey matter": 1.4, "tumour": 1.9},
    ),
    "breast cancer": Preset(
        "Breast cancer in fibroglandular and fatty tissue",
        {"fibroglandular tissue": None, "fatty tissue": None},
        _declare(
            (
                0.018,
                3.0,
                "Chosen with D so that a tumour of 1 cm radius doubles in about 100 days, as triple-negative ones do "
                "(103 ± 43 days in 17 patients by ultrasound: Ryu and others 2014, European Radiology 24:2227); "
                "voxel by voxel and under chemotherapy -0.5 to 0.1 per day are allowed by Jarrett and others 2021, "
                "Nature Protocols 16:5309",
            ),
            (
                0.01,
                3.0,
                "Wide, chosen with ρ: see there. The at most 0.001 mm²/day of Jarrett and others 2021, whose ρ varies "
                "from voxel to voxel, makes a front too thin for a grid of images",
            ),
            (0.08, 2.0, "0.08 Gy⁻¹ from clinical trials: Qi, White and Li 2011, Radiotherapy and Oncology 100:282"),
            (2.9, 1.6, "2.88 Gy from clinical trials: Qi, White and Li 2011, Radiotherapy and Oncology 100:282"),
            (0.5, "Chosen: no published value for the density at the outline of enhancement of a breast tumour"),
            Parameter(
                "drug_efficacy",
                "ε",
                NO_UNIT,
                0.8,
                1e-3,
                5.0,
                "Logarithm of the cell kill by a standard dose of a drug where delivery is that of the tumour's mean.",
                "Chosen wide: at the medians, two doses in six weeks leave less than half of the cells; no measured "
                "value was found (Wu and others 2025, npj Digital Medicine 8:195, calibrate it in each patient)",
                LogNormal(0.8, 3.0),
            ),
            *_moving(
                "Off: skin and chest wall are both held, which a breast's skin is not",
                "Off; 2.5 in the code of Jarrett and others 2021, for the stress of other forces than growth",
            ),
        ),
        # As in the code of Jarrett and others 2021: fat 2 kPa, fibroglandular tissue twice and tumour ten times that.
        {"fibroglandular tissue": 4.0, "fatty tissue": 2.0, "tumour": 20.0},
    ),
}


def titles() -> dict[str, str]:
    """The presets with what each is."""
    return {name: preset.title for name, preset in PRESETS.items()}


def gliomas() -> dict[str, str]:
    """Those in white and grey matter."""
    return {name: p.title for name, p in PRESETS.items() if set(p.tissues) == {"white matter", "grey matter"}}


def find_preset(name: str, model: str) -> Preset:
    """A preset by its name; `InvalidInput` lists those that there are."""
    if name not in PRESETS:
        raise InvalidInput(f"There is no preset {name!r} of {model}; there are: {', '.join(PRESETS)}.")
    return PRESETS[name]


def growth(name: str) -> Declaration:
    """What the growth model says of itself under a preset."""
    preset = find_preset(name, "tumour growth")
    grown_into = (Requirement("segment", t, "tissue that the tumour can grow into") for t in preset.tissues)
    outline = Requirement("segment", "tumour", "outline at the reference scan")
    return Declaration(preset.parameters, (outline, *grown_into, BARRIER, DIFFUSION_TENSOR, CELLULARITY, *TREATMENT))
