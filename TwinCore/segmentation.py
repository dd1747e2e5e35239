"""`Segmentation`: named anatomy on a grid, overlapping segments allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .errors import InvalidInput, MissingInput
from .grid import Grid
from .image import Image
from .transform import Transform, resample

Code = tuple[str, str, str]
"""Coding scheme, value and meaning, as in DICOM: ("SCT", "4147007", "Mass")."""
Colour = tuple[float, float, float]
"""Red, green, blue from 0 to 1."""
UNCODED = ("SCT", "85756007", "Tissue")
"""What MRML and DICOM say of a segment that nobody has coded: they cannot say nothing."""
# Distinct, colour-blind-safe colours (Okabe and Ito 2008) for segments that come without one.
PALETTE = (
    (0.90, 0.62, 0.00),
    (0.34, 0.71, 0.91),
    (0.00, 0.62, 0.45),
    (0.94, 0.89, 0.26),
    (0.00, 0.45, 0.70),
    (0.84, 0.37, 0.00),
    (0.80, 0.47, 0.65),
    (0.60, 0.60, 0.60),
)


@dataclass(frozen=True)
class Segment:
    """One structure: its name, where it is kept, its colour and its coded meaning.

    Parameters
    ----------
    name : str
    layer : int
        Index of the label array that holds it.
    value : int
        Its label there.
    colour : Colour
    code : Code, optional
    """

    name: str
    layer: int
    value: int
    colour: Colour
    code: Code | None = None


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Named segments on one grid, kept as few label arrays as their overlaps allow.

    >>> grid = Grid.isotropic((8, 8, 8))
    >>> tumour = np.zeros(grid.shape, bool); tumour[2:4] = True
    >>> Segmentation.from_masks(grid, {"tumour": tumour}).volume_ml("tumour")
    0.128

    Parameters
    ----------
    grid : Grid
    layers : tuple of integer arrays, each of the grid's shape
    segments : tuple of Segment
    """

    grid: Grid
    layers: tuple[np.ndarray, ...]
    segments: tuple[Segment, ...] = field(default_factory=tuple)

    def __post_init__(self):
        names = [s.name for s in self.segments]
        if len(set(names)) != len(names):
            raise InvalidInput(f"Two segments have the same name: {', '.join(names)}.")
        for layer in self.layers:
            if layer.shape != self.grid.shape or not np.issubdtype(layer.dtype, np.integer):
                raise InvalidInput(
                    f"A label array of shape {layer.shape} and type {layer.dtype} does not fit a grid "
                    f"of shape {self.grid.shape}."
                )

    @classmethod
    def from_masks(
        cls,
        grid: Grid,
        masks: Mapping[str, np.ndarray],
        codes: Mapping[str, Code] | None = None,
        colours: Mapping[str, Colour] | None = None,
    ) -> Segmentation:
        """Segments from boolean arrays by name; those that overlap go to different layers.

        Codes and colours are by name too; a segment without a colour takes the next of the palette.
        """
        codes, colours = codes or {}, colours or {}
        layers: list[np.ndarray] = []
        held: list[int] = []  # how many segments each layer holds; a byte can tell 255 apart
        segments = []
        for number, (name, mask) in enumerate(masks.items()):
            mask = np.asarray(mask) > 0
            at = next((n for n, layer in enumerate(layers) if held[n] < 255 and not layer[mask].any()), len(layers))
            if at == len(layers):
                layers.append(np.zeros(grid.shape, np.uint8))
                held.append(0)
            held[at] += 1
            layers[at][mask] = held[at]
            colour = colours.get(name, PALETTE[number % len(PALETTE)])
            segments.append(Segment(name, at, held[at], colour, codes.get(name)))
        return cls(grid, tuple(layers), tuple(segments))

    @property
    def names(self) -> list[str]:
        return [s.name for s in self.segments]

    def mask(self, name: str) -> np.ndarray:
        """The segment as a boolean array; `MissingInput` names the segments there are."""
        for segment in self.segments:
            if segment.name == name:
                return self.layers[segment.layer] == segment.value
        raise MissingInput(f"There is no segment {name!r}; there are: {', '.join(self.names) or 'none'}.")

    def volume_ml(self, name: str) -> float:
        """Volume of the segment's voxels, in mL."""
        return float(np.count_nonzero(self.mask(name)) * self.grid.voxel_volume_ml)

    def on_grid(self, grid: Grid, transform: Transform | None = None) -> Segmentation:
        """The same segments carried to another grid, through a transform into the reference frame if one is given."""
        masks = {name: carry_mask(self.mask(name), self.grid, grid, transform) for name in self.names}
        codes = {s.name: s.code for s in self.segments if s.code}
        return Segmentation.from_masks(grid, masks, codes, {s.name: s.colour for s in self.segments})


def carry_mask(mask: np.ndarray, source: Grid, grid: Grid, transform: Transform | None = None) -> np.ndarray:
    """A mask on another grid: set where the linearly interpolated mask is at least 1/2: smooth edges stay in place."""
    return resample(Image(mask.astype(np.float32), source), grid, transform).array >= 0.5
