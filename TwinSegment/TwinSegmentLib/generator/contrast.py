"""How bright each structure of a head is in one image: usual contrasts with variation, or any contrast at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .recipe import Recipe

ANY = "any"
KINDS = {ANY: 0.1, "T1": 0.2, "T2": 0.15, "FLAIR": 0.2, "CT": 0.35}
"""What images may show, and how often: most often CT, whose contrast is the least."""

CT_WINDOW = ((-60, 0), (70, 160))
"""Where the window in which a CT is shown may begin and end, in Hounsfield units: models see every CT in such a one."""

CT_SCANNER_HU, CT_LEAST_HU = 3.0, 30.0
"""Standard deviation, from head to head, of what all CT numbers have in common, as scanners differ by up to 10 (Oh and
others 2019, Am J Emerg Med 37:680); and the least of which a structure's own spread is a share. Grey matter is then
1.33 (0.11) times white matter; in 27 healthy heads it was 1.32 times (Choi and others 2008, PMID 18843066)."""


@dataclass(frozen=True, eq=False)
class Contrast:
    """Mean and standard deviation of each structure's voxels, and how the image is shown.

    Parameters
    ----------
    mean, deviation : array, shape (structures,)
    kind : str
    window : tuple of float
        Values outside are clipped.
    gamma : float
        Power to which the values, from 0 to 1 within the window, are raised.
    """

    mean: np.ndarray
    deviation: np.ndarray
    kind: str
    window: tuple[float, float]
    gamma: float


def random_contrast(recipe: Recipe, rng: np.random.Generator, kinds: dict[str, float] | None = None) -> Contrast:
    """One contrast, drawn from those that the recipe knows and from all that there could be."""
    possible = {kind: share for kind, share in (kinds or KINDS).items() if kind == ANY or kind in recipe.contrasts}
    share = np.array(list(possible.values()))
    kind = str(rng.choice(list(possible), p=share / share.sum()))
    count = len(recipe.structures)
    gamma = random_gamma(rng)
    spread = np.array([s.spread for s in recipe.structures])
    if kind == "CT":
        usual = recipe.means(kind)
        own = spread * np.maximum(np.abs(usual), CT_LEAST_HU) * rng.normal(0, 1, count)
        mean = usual + rng.normal(0, CT_SCANNER_HU) + own
        mean[0] = -1000.0
        window = random_ct_window(rng)
        deviation = rng.uniform(1.0, 6.0) + 0.05 * np.abs(mean) * rng.uniform(0, 1, count)
        deviation[0] = rng.uniform(0, 5)
        return Contrast(_f32(mean), _f32(deviation), kind, window, gamma)
    if kind == ANY:
        mean, deviation = rng.uniform(0, 1, count), rng.uniform(0.0, 0.1, count)
        mean[0] = rng.uniform(0, 1) if rng.random() < 0.05 else 0.0
    else:
        mean = np.clip(recipe.means(kind) + spread * rng.normal(0, 1, count), 0, 1.2)
        deviation = rng.uniform(0.01, 0.05) * rng.uniform(0.6, 1.6, count)
        mean[0] = 0.0
    deviation[0] = rng.uniform(0, 0.02)
    return Contrast(_f32(mean), _f32(deviation), kind, (0.0, np.inf), gamma)


def random_gamma(rng: np.random.Generator) -> float:
    """A power to which brightness is raised."""
    return float(np.exp(rng.normal(0, 0.25)))


def random_ct_window(rng: np.random.Generator) -> tuple[float, float]:
    """Lower and upper end, in Hounsfield units."""
    low, high = (float(rng.uniform(*ends)) for ends in CT_WINDOW)
    return low, high


def _f32(values) -> np.ndarray:
    return np.asarray(values, np.float32)
