"""Density of tumour cells on an image: from the apparent diffusion coefficient, and how far to trust such a map.

Cells hinder the diffusion of water, so the apparent diffusion coefficient (ADC) falls as they get denser; the usual
relation is linear, u = (ADC_w - ADC) / (ADC_w - ADC_least), from free water (u = 0) to the lowest ADC in the tumour
(u = 1): Atuegwu et al. 2011, Magnetic Resonance in Medicine 66:1689; Hormuth et al. 2017, Journal of the Royal Society
Interface 14:20161010. It holds inside a tumour only: normal brain has a low ADC too.

How well images tell cells: random forests on MR sequences explained R2 = 0.59 (conventional sequences alone: 0.52) of
the density in biopsies of gliomas (Gates et al. 2020, American Journal of Neuroradiology, doi 10.3174/ajnr.A6884); ADC
alone had r = -0.63 in 91 biopsies (Chang et al. 2017, ibid. 38:890), that is R2 = 0.40.
"""

from __future__ import annotations

import math

import numpy as np

from TwinCore import Image, InvalidInput
from TwinCore.units import NO_UNIT

R_SQUARED = 0.55
"""Share of the variance of true densities that a map of them explains."""
NOISE_SD = math.sqrt((1.0 - R_SQUARED) / R_SQUARED / 12.0)
"""0.26: the error of a map that explains R_SQUARED of densities spread evenly from 0 to 1, whose variance is 1/12."""
WATER_MM2_PER_S = 3.0e-3
"""ADC of free water at body temperature: phantoms reach 3.02e-3 (Hara et al. 2014, Oncology Letters 8:819)."""
MM2_PER_S = {"mm2/s": 1.0, "um2/s": 1e-6}
"""Units that an ADC map may have, in UCUM."""
LEAST_PERCENTILE = 1.0
LOWEST_MM2_PER_S = 1e-4


def least_adc_mm2_per_s(adc: Image, inside: np.ndarray) -> float:
    """The lowest ADC of a tumour, in mm2/s: its 1st percentile, so that no single noisy voxel sets the scale.

    Parameters
    ----------
    adc : Image
        In mm2/s or um2/s.
    inside : bool array, shape (k, j, i)
        The tumour.

    Raises
    ------
    InvalidInput
        If the unit is another, `inside` is empty or of another shape, or the values cannot be those of a tumour.
    """
    if adc.unit not in MM2_PER_S:
        raise InvalidInput(f"ADC map {adc.name!r} is in {adc.unit!r}: it must be in one of {', '.join(MM2_PER_S)}.")
    if inside.shape != adc.grid.shape or not inside.any():
        raise InvalidInput(f"ADC map {adc.name!r}: the outline of the tumour is empty, or not on the map's grid.")
    values = adc.array[inside] * MM2_PER_S[adc.unit]
    median = float(np.median(values))
    if not LOWEST_MM2_PER_S < median < WATER_MM2_PER_S:
        raise InvalidInput(
            f"ADC map {adc.name!r} has a median of {median:.3g} mm2/s in the tumour, where {LOWEST_MM2_PER_S:g} to "
            f"{WATER_MM2_PER_S:g} is possible: is its unit {adc.unit!r}?"
        )
    return max(float(np.percentile(values, LEAST_PERCENTILE)), LOWEST_MM2_PER_S)


def cellularity_of_adc(adc: Image, inside: np.ndarray, least_mm2_per_s: float | None = None) -> Image:
    """Density of tumour cells, 0 to 1, in a tumour; not a number outside it.

    Parameters
    ----------
    adc : Image
        In mm2/s or um2/s.
    inside : bool array, shape (k, j, i)
        The tumour on the map's grid.
    least_mm2_per_s : float, optional
        ADC where the density is 1; give one for all visits of a patient. `least_adc_mm2_per_s` of this map, if left
        out.

    Raises
    ------
    InvalidInput
        As `least_adc_mm2_per_s`, and if the least ADC is not below that of water.
    """
    found = least_adc_mm2_per_s(adc, inside)
    least = found if least_mm2_per_s is None else least_mm2_per_s
    if not 0.0 < least < WATER_MM2_PER_S:
        raise InvalidInput(f"The least ADC must be above 0 and below {WATER_MM2_PER_S:g} mm2/s, not {least:g}.")
    density = (WATER_MM2_PER_S - adc.array * MM2_PER_S[adc.unit]) / (WATER_MM2_PER_S - least)
    density = np.where(inside, np.clip(density, 0.0, 1.0), np.nan)
    return Image(density.astype(np.float32), adc.grid, unit=NO_UNIT, time=adc.time, name=adc.name)
