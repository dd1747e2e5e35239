"""What if the patient lay elsewhere, or a target had a wider margin: structures that move through a dose that stays.

The **static dose cloud**: the dose is taken to stay where it is in space while structures are moved, grown or shrunk in
it, and to scale as a whole with the prescription. That leaves out how the dose itself would change with the patient's
surface and densities, and that another prescription would be planned anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.ndimage import distance_transform_edt

from TwinCore import Grid, Image, InvalidInput
from TwinCore.guard import check_memory

from .dose_volume import DoseVolume, dose_volume

MOST_MM = 50.0
DIRECTIONS = {
    "right": (1.0, 0.0, 0.0),
    "left": (-1.0, 0.0, 0.0),
    "anterior": (0.0, 1.0, 0.0),
    "posterior": (0.0, -1.0, 0.0),
    "superior": (0.0, 0.0, 1.0),
    "inferior": (0.0, 0.0, -1.0),
}


def rescaled(histogram: DoseVolume, factor: float) -> DoseVolume:
    """The histogram if the whole dose were given this many times."""
    if not 0 < factor < 100:
        raise InvalidInput(f"A dose can be scaled by a factor between 0 and 100, not by {factor}.")
    return histogram.mapped(lambda dose: dose * factor)


def with_margin(structure: Image, margin_mm: float) -> Image:
    """The structure grown by a margin in every direction, or shrunk by a negative one.

    Raises
    ------
    InvalidInput
        If nothing of it is left, or the margin is more than 50 mm.
    """
    if not -MOST_MM <= margin_mm <= MOST_MM:
        raise InvalidInput(f"A margin must be from {-MOST_MM:g} to {MOST_MM:g} mm, not {margin_mm}.")
    spacing = structure.grid.spacing[::-1]
    pad = np.ceil(max(margin_mm, 0.0) / spacing).astype(int) + 1
    shape = np.array(structure.grid.shape) + 2 * pad
    check_memory(18.0 * np.prod(shape.astype(float)), f"The margin of {structure.name!r}")
    inside = np.pad(structure.array >= 0.5 if structure.array.dtype.kind == "f" else structure.array > 0, _both(pad))
    matrix = structure.grid.ijk_to_ras.copy()
    matrix[:3, 3] = structure.grid.to_ras(-pad[::-1])
    beyond = 0.25 * spacing.min()  # from the nearest voxel's centre to the edge: 0 to 1/2, by how the edge runs
    if margin_mm > 0:
        inside = distance_transform_edt(~inside, sampling=spacing) <= margin_mm + beyond
    elif margin_mm < 0:
        inside = distance_transform_edt(inside, sampling=spacing) > -margin_mm + beyond
    if not inside.any():
        raise InvalidInput(f"Structure {structure.name!r}: a margin of {margin_mm:g} mm leaves nothing of it.")
    return Image(inside, Grid(inside.shape, matrix), name=f"{structure.name} {margin_mm:+g} mm")


def moved(structure: Image, by_ras_mm: Sequence[float]) -> Image:
    """The structure elsewhere, by a vector in mm towards the patient's right, front and head."""
    matrix = structure.grid.ijk_to_ras.copy()
    matrix[:3, 3] += by_ras_mm
    return Image(structure.array, Grid(structure.grid.shape, matrix), name=structure.name)


def after_shifts(dose: Image, structure: Image, distance_mm: float) -> Mapping[str, DoseVolume]:
    """The histogram of a structure after shifts by one distance in each of the patient's six directions."""
    if not 0 < distance_mm <= MOST_MM:
        raise InvalidInput(f"A shift must be above 0 and at most {MOST_MM:g} mm, not {distance_mm}.")
    return {
        name: dose_volume(dose, moved(structure, [distance_mm * c for c in direction]))
        for name, direction in DIRECTIONS.items()
    }


def _both(pad: np.ndarray) -> list[tuple[int, int]]:
    return [(int(n), int(n)) for n in pad]
