"""Made-up brains with tumours grown in them from a known point, and their outlines, drawn well or less well."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter

from TwinCore import Grid, resample
from TwinSimulateLib.model import Anatomy
from TwinSimulateLib.onset_forward import OnsetForward

SPACING_MM = 1.5
"""Finer than the grids of the fit, so that it is not judged on its own errors."""
SHAPE = (72, 84, 72)
OUTLINE_CORRELATION_MM = 8.0
TRUTH = {
    "origin_r": 22.0,
    "origin_a": 8.0,
    "origin_s": 10.0,
    "diffusivity": 0.12,
    "proliferation_rate": 0.04,
    "age": 220.0,
    "white_to_grey_ratio": 10.0,
    "detection_threshold": 0.7,
    "oedema_threshold": 0.25,
}


def brain(seed: int = 0) -> Anatomy:
    """An ellipsoid of 50 x 60 x 50 mm half-axes: white matter in uneven grey matter, round two ventricles."""
    k, j, i = np.meshgrid(*((np.arange(n) - (n - 1) / 2) * SPACING_MM for n in SHAPE), indexing="ij")
    depth = np.sqrt((i / 50) ** 2 + (j / 60) ** 2 + (k / 50) ** 2)
    uneven = gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 3.0)
    grey = depth + 0.05 * uneven / uneven.std() > 0.86
    ventricles = ((np.abs(i) - 9) / 5) ** 2 + (j / 18) ** 2 + ((k - 2) / 7) ** 2 < 1
    tissue = (depth < 1) & ~ventricles
    origin = [-(n - 1) / 2 * SPACING_MM for n in SHAPE[::-1]]
    grid = Grid.isotropic(SHAPE, SPACING_MM, origin)
    return Anatomy(grid, {"white matter": tissue & ~grey, "grey matter": tissue & grey})


def with_tumour(healthy: Anatomy, truth: Mapping[str, float], outline_sd_mm: float = 0.0, seed: int = 0) -> Anatomy:
    """The brain with the outlines of a tumour that has grown as `truth` says.

    Parameters
    ----------
    healthy : Anatomy
    truth : mapping of str to float
        As `TRUTH`.
    outline_sd_mm : float
        By how much each outline is off, to and fro over about 8 mm.
    seed : int
    """
    tissue = healthy.tissue("white matter") | healthy.tissue("grey matter")
    ijk = healthy.grid.to_ijk([truth[f"origin_{axis}"] for axis in "ras"])
    seed_voxel = np.zeros(tissue.shape, bool)
    seed_voxel[tuple(np.round(ijk).astype(int)[::-1])] = True
    core = seed_voxel
    for _ in range(3):  # tissue within the enhancement counts as white matter, so that the outline settles
        forward = OnsetForward(Anatomy(healthy.grid, {**healthy.tissues, "tumour": core, "flair": tissue}), SPACING_MM)
        density = resample(forward.image(forward.density(truth)), healthy.grid).array
        core = (density >= truth["detection_threshold"]) | seed_voxel
    random = np.random.default_rng(seed)

    def drawn(mask: np.ndarray) -> np.ndarray:
        if outline_sd_mm == 0 or not mask.any():
            return mask
        distance = np.where(mask, 0.5 - distance_transform_edt(mask), distance_transform_edt(~mask) - 0.5)
        off = gaussian_filter(random.normal(size=mask.shape), OUTLINE_CORRELATION_MM / SPACING_MM / np.sqrt(2.0))
        return (SPACING_MM * distance + outline_sd_mm * off / off.std() <= 0) & tissue

    outlines = {"tumour": drawn(core), "flair": drawn(density >= truth["oedema_threshold"])}
    return Anatomy(healthy.grid, {**healthy.tissues, **outlines})
