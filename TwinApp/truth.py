"""What is known of a virtual patient beside what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from TwinCore import Image, LinearTransform, Quantity
from TwinFusionLib.step import Outputs as Fused

from .loading import LoadedCase


@dataclass(frozen=True)
class TruthRow:
    """One known number: what was found, and the error as results.json reports it."""

    key: str
    title: str
    unit: str
    truth: float
    found: float

    @property
    def error(self) -> float:
        return self.found - self.truth


def truth_rows(loaded: LoadedCase, fused: Fused, results: Mapping[str, Quantity | str]) -> list[TruthRow]:
    """The case's known numbers beside those found; nothing where the case knows none."""
    truth, rows = loaded.case.truth, []
    moves = fused.moves()
    for name, matrix in truth.transforms.items():
        known, found = LinearTransform(np.array(matrix)), moves.get(name) or LinearTransform.identity()
        error = mean_distance_mm(loaded.images[name], known, found)
        rows.append(
            TruthRow(
                f"registration_{name}_mm", f"Registration of {name}, mean over the image's content", "mm", 0.0, error
            )
        )
    known_numbers = {"volume_ml": truth.volume_ml, **truth.parameters}
    for key, value in known_numbers.items():
        found_here = results.get(key)
        if value is not None and isinstance(found_here, Quantity):
            rows.append(
                TruthRow(key, key.replace("_ml", "").replace("_", " "), found_here.unit, value, found_here.value)
            )
    return rows


def mean_distance_mm(image: Image, known: LinearTransform, found: LinearTransform) -> float:
    """Mean distance, over the voxels brighter than the image's mean, between where two moves put them."""
    points = image.grid.to_ras(np.argwhere(image.array > image.array.mean())[:, ::-1])
    return float(np.linalg.norm(known.push(points) - found.push(points), axis=1).mean())
