"""Endless training images: `Synthesiser` makes them from label maps, `Scans` from labelled scans, `Mixture` of both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from TwinCore import Grid, Image, InvalidInput, resample

from .acquisition import acquired, cut, shown
from .contrast import CT_WINDOW, random_contrast, random_ct_window, random_gamma
from .recipe import Recipe
from .views import View, Views

STRIPPED = 0.1
"""Share of the images from which all but the brain is taken away, as tools before ours may have done."""

AIR_HU = -1000.0


@dataclass(frozen=True, eq=False)
class Sample:
    """A training image, from 0 to about 1, and the true class at the middle of each of its voxels; both (k, j, i)."""

    image: np.ndarray
    classes: np.ndarray
    kind: str
    spacing_mm: tuple[float, ...]


class Synthesiser:
    """Training images from label maps of whole heads or bodies.

    >>> recipe = read_recipe("brain")                                     # doctest: +SKIP
    >>> make = Synthesiser(recipe, [read_volume(path) for path in paths])  # doctest: +SKIP
    >>> make(seed=7).image.shape                                          # doctest: +SKIP
    (128, 128, 128)

    Parameters
    ----------
    recipe : Recipe
    label_maps : sequence of Image
        At least one, in numbers that the recipe knows.
    shape : tuple of int
        Voxels of the images along k, j, i (superior, anterior, right); a random part of the body is shown.
    spacing_mm : float
        Of the images; a voxel of more than 1 mm shows the mean of several places within it.
    kinds : dict of str to float, optional
        Shares of the contrasts; `contrast.KINDS` if none.

    Raises
    ------
    InvalidInput
        If there is no label map, or one holds labels that the recipe does not know.
    """

    def __init__(
        self,
        recipe: Recipe,
        label_maps: Sequence[Image],
        shape: tuple[int, int, int] = (128, 128, 128),
        spacing_mm: float = 1.0,
        kinds: dict[str, float] | None = None,
    ):
        if not label_maps:
            raise InvalidInput("There is no label map to make images from.")
        self.recipe, self.shape, self.spacing_mm, self.kinds = recipe, shape, spacing_mm, kinds
        self._views = Views(recipe, label_maps, shape, spacing_mm)

    def __call__(self, seed: int | Sequence[int]) -> Sample:
        """The training image of a seed: the same seed, the same image."""
        rng = np.random.default_rng(seed)
        which = int(rng.integers(len(self._views.maps)))
        contrast = random_contrast(self.recipe, rng, self.kinds)
        mean, deviation = contrast.mean.copy(), contrast.deviation.copy()
        visible = np.arange(len(mean), dtype=np.uint8)
        if rng.random() < STRIPPED:
            visible *= self.recipe.brain
            mean, deviation = mean[visible], deviation[visible]
        image, structures = self._views.rendered(which, self._views.random(which, rng), mean)
        structures = visible[structures]
        image += deviation[structures] * rng.standard_normal(self.shape, np.float32)
        image, spacing = acquired(image, self.spacing_mm, contrast.kind == "CT", rng)
        image = shown(image, contrast.window, contrast.gamma)
        image, truth = cut(image, self.recipe.class_of[structures], rng)
        return Sample(image, truth, contrast.kind, spacing)


class Scans:
    """Training images from scans that were labelled: turned, stretched, bent, and made worse as `Synthesiser`'s are.

    A scan of whose head only the brain is labelled is shown without the rest: what that is nobody has said.

    Parameters
    ----------
    recipe : Recipe
    scans : sequence of pairs of Image
        At least one scan and its label map, in one frame; "CT" in Hounsfield units, any other modality as it is.
    shape, spacing_mm
        As for `Synthesiser`.

    Raises
    ------
    InvalidInput
        If there is no scan, a label map holds labels that the recipe does not know, or a scan is constant.
    """

    def __init__(
        self,
        recipe: Recipe,
        scans: Sequence[tuple[Image, Image]],
        shape: tuple[int, int, int] = (128, 128, 128),
        spacing_mm: float = 1.0,
    ):
        if not scans:
            raise InvalidInput("There is no labelled scan to make images from.")
        self.recipe, self.shape, self.spacing_mm = recipe, shape, spacing_mm
        self._views = Views(recipe, [labels for _, labels in scans], shape, spacing_mm)
        self._is_ct = [scan.modality == "CT" for scan, _ in scans]
        self._brain_only = [bool(recipe.brain[np.unique(m[m > 0])].all()) for m in self._views.maps]
        self._scans = [_scaled(scan, grid) for (scan, _), grid in zip(scans, self._views.grids)]

    def __call__(self, seed: int | Sequence[int]) -> Sample:
        """The training image of a seed: the same seed, the same image."""
        rng = np.random.default_rng(seed)
        which = int(rng.integers(len(self._scans)))
        is_ct, gamma = self._is_ct[which], random_gamma(rng)
        window = random_ct_window(rng) if is_ct else (0.0, np.inf)
        image, structures = self._seen(which, self._views.random(which, rng), rng.random() < STRIPPED)
        image, spacing = acquired(image, self.spacing_mm, is_ct, rng)
        image, truth = cut(shown(image, window, gamma), self.recipe.class_of[structures], rng)
        return Sample(image, truth, "CT" if is_ct else "MR", spacing)

    def plain(self, which: int) -> Sample:
        """One scan as it is, to be judged on."""
        is_ct = self._is_ct[which]
        image, structures = self._seen(which, self._views.straight(which), False)
        window = (float(np.mean(CT_WINDOW[0])), float(np.mean(CT_WINDOW[1]))) if is_ct else (0.0, np.inf)
        spacing = (self.spacing_mm,) * 3
        return Sample(shown(image, window, 1.0), self.recipe.class_of[structures], "CT" if is_ct else "MR", spacing)

    def _seen(self, which: int, view: View, stripped: bool) -> tuple[np.ndarray, np.ndarray]:
        """Brightness and structures in a view."""
        air = AIR_HU if self._is_ct[which] else 0.0
        _, structures = self._views.rendered(which, view, np.zeros(len(self.recipe.structures), np.float32))
        image = self._views.looked_up(self._scans[which], view, air)
        if stripped or self._brain_only[which]:
            brain = self.recipe.brain[structures]
            image, structures = np.where(brain, image, np.float32(air)), structures * brain
        return image, structures


class Mixture:
    """As many images from one source as from another, at random."""

    def __init__(self, first: Callable[..., Sample], second: Callable[..., Sample]):
        self._sources = (first, second)

    def __call__(self, seed: int | Sequence[int]) -> Sample:
        return self._sources[int(np.random.default_rng(seed).random() < 0.5)](seed)


def _scaled(scan: Image, grid: Grid) -> np.ndarray:
    """A scan on the grid of its structures: Hounsfield units, or from 0 to 1 between its percentiles."""
    is_ct = scan.modality == "CT"
    array = resample(scan, grid, fill=AIR_HU if is_ct else float(scan.array.min())).array.astype(np.float32)
    low, high = np.percentile(array, (0.5, 99.5))
    if not high > low:
        raise InvalidInput(f"Scan {scan.name!r} is constant where it is labelled.")
    return array if is_ct else np.clip((array - np.float32(low)) / np.float32(high - low), 0, 1.5)
