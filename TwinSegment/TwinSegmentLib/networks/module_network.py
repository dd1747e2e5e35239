"""A torch module where a `Network` is expected: its weights are its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

VALUES_A_VOXEL = 128
"""About how many values a voxel a module holds at once."""


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
    def values_a_voxel(self) -> float:
        return VALUES_A_VOXEL

    def check(self, weights: Mapping[str, np.ndarray]) -> None:
        """The module has its weights already."""
