"""Where images are looked at when they are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
from scipy import ndimage

from TwinCore import Grid, Image, InvalidInput

FOCUS_MARGIN_MM = 30.0

Masks = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Attention:
    """Where images are looked at, by their names, as masks on their grids.

    Parameters
    ----------
    focus : mapping of str to bool array
        What matters most: the match is weighed towards it and its surroundings within 30 mm.
    inside, outside : mapping of str to bool array
        Only what is inside is compared, and nothing of what is outside.
    seen : mapping of Image to bool array
        By the image itself, for time points of one series share a name: what the scanner saw; nothing else is compared.
    """

    focus: Masks = field(default_factory=dict)
    inside: Masks = field(default_factory=dict)
    outside: Masks = field(default_factory=dict)
    seen: Mapping[Image, np.ndarray] = field(default_factory=dict)

    def mask(self, image: Image) -> np.ndarray | None:
        """The voxels of an image that are compared; None for all."""
        outside = self.outside.get(image.name)
        masks = (self.inside.get(image.name), self.seen.get(image), None if outside is None else ~outside)
        given = [mask for mask in masks if mask is not None]
        return reduce(np.logical_and, given) if given else None

    def weight(self, image: Image) -> np.ndarray | None:
        """The voxels of an image that matter most, with their surroundings; None for none in particular."""
        focus = self.focus.get(image.name)
        return None if focus is None else surroundings(focus, image.grid)

    def check(self, image: Image) -> None:
        """Raise `InvalidInput`, naming the image, if a mask of it is not on its grid or leaves nothing."""
        for masks, what in ((self.focus, "focus"), (self.inside, "mask inside"), (self.outside, "mask outside")):
            mask = masks.get(image.name)
            if mask is not None and (mask.shape != image.grid.shape or not mask.any()):
                wrong = "has no voxel set" if mask.shape == image.grid.shape else f"is of shape {mask.shape}"
                raise InvalidInput(
                    f"Image {image.name!r}: its {what} {wrong}; it must be on the image's grid and not empty."
                )
        left = self.mask(image)
        if left is not None and not left.any():
            within = " within its field of view" if image in self.seen else ""
            raise InvalidInput(f"Image {image.name!r}: its masks inside and outside leave no voxel to compare{within}.")


def surroundings(mask: np.ndarray, grid: Grid) -> np.ndarray:
    """A mask widened by the focus margin."""
    return ndimage.distance_transform_edt(~mask, sampling=grid.spacing[::-1]) <= FOCUS_MARGIN_MM
