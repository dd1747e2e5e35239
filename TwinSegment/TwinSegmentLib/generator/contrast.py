"""How bright each structure of a head is in one image: usual contrasts with variation, or any contrast at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .recipe import Recipe

ANY = "any"
KINDS = {ANY: 0.1, "T1": 0.4, "T2": 0.2, "FLAIR": 0.15, "CT": 0.15}
"""What images may show, and how often."""

CT_WINDOWS = ((-60, 0, 70, 160), (-300, -100, 200, 500), (-1000, -900, 1000, 2000))
"""Ways to show a CT: lowest and highest value of the window's lower end, and of its upper end, in Hounsfield units."""


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
    gamma = float(np.exp(rng.normal(0, 0.25)))
    if kind == "CT":
        mean = recipe.means(kind) + rng.normal(0, 1, count) * (2.0 + 0.1 * np.abs(recipe.means(kind)))
        mean[0] = -1000.0
        low, high, lower, upper = CT_WINDOWS[rng.integers(len(CT_WINDOWS))]
        window = (float(rng.uniform(low, high)), float(rng.uniform(lower, upper)))
        deviation = rng.uniform(1.0, 6.0) + 0.05 * np.abs(mean) * rng.uniform(0, 1, count)
        deviation[0] = rng.uniform(0, 5)
        return Contrast(_f32(mean), _f32(deviation), kind, window, gamma)
    if kind == ANY:
        mean, deviation = rng.uniform(0, 1, count), rng.uniform(0.0, 0.1, count)
        mean[0] = rng.uniform(0, 1) if rng.random() < 0.05 else 0.0
    else:
        spread = np.array([s.spread for s in recipe.structures])
        mean = np.clip(recipe.means(kind) + spread * rng.normal(0, 1, count), 0, 1.2)
        deviation = rng.uniform(0.01, 0.05) * rng.uniform(0.6, 1.6, count)
        mean[0] = 0.0
    deviation[0] = rng.uniform(0, 0.02)
    return Contrast(_f32(mean), _f32(deviation), kind, (0.0, np.inf), gamma)


def _f32(values) -> np.ndarray:
    return np.asarray(values, np.float32)
