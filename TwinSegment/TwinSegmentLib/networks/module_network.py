"""A torch module where a `Network` is expected: its weights are its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .graph import LOCAL, WITHIN_A_NORM

VALUES_A_VOXEL = 128
"""About how many values a voxel a module holds at once."""

LOCAL_PARTS = re.compile(r"(Conv|ConvTranspose|BatchNorm|Dropout|MaxPool|AvgPool)3d|Dropout|Upsample|Identity|\w+LU")
"""Names of modules without parts whose result at a voxel depends on its surroundings alone."""

NORMS = re.compile(r"InstanceNorm3d|GroupNorm|AdaptiveAvgPool3d")


@dataclass(frozen=True, eq=False)
class ModuleNetwork:
    """A torch module from (1, channels, k, j, i) to scores (1, classes, k, j, i).

    Parameters
    ----------
    module : torch.nn.Module
    channels, classes : int
    multiple : int
        The input's size along each axis must be a multiple of this.
    """

    module: Any
    channels: int
    classes: int
    multiple: int = 32

    @property
    def window_freedom(self) -> float:
        """Share by which a window may be longer; 0 if a part may hold the size, as a transformer's do."""
        parts = {type(part).__name__ for part in self.module.modules() if not list(part.children())}
        others = {name for name in parts if not LOCAL_PARTS.fullmatch(name)}
        if not all(NORMS.fullmatch(name) for name in others):
            return 0.0
        return WITHIN_A_NORM if others else LOCAL

    @property
    def values_a_voxel(self) -> float:
        return VALUES_A_VOXEL

    def check(self, weights: Mapping[str, np.ndarray]) -> None:
        """The module has its weights already."""
