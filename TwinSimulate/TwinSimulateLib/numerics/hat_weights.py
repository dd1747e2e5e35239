"""Between a fine grid and a coarse one with the same axes: linear from coarse to fine, and what that conserves back."""

from __future__ import annotations

import numpy as np

from TwinCore import Grid


class HatWeights:
    """How much of each coarse voxel each fine one is made of: the product of one linear function along each axis.

    Parameters
    ----------
    fine, coarse : Grid
        With the same axes.
    """

    def __init__(self, fine: Grid, coarse: Grid):
        self._along = [self._axis(fine, coarse, axis) for axis in range(3)]
        self._volumes = fine.voxel_volume_ml / coarse.voxel_volume_ml

    def to_fine(self, values: np.ndarray) -> np.ndarray:
        """Coarse values (k, j, i, ...), linear between the centres of the coarse voxels and level beyond them."""
        for axis, weights in enumerate(self._along):
            values = np.moveaxis(np.tensordot(weights, values, (1, axis)), 0, axis)
        return values

    def to_coarse(self, values: np.ndarray) -> np.ndarray:
        """Fine values (k, j, i), 0 beyond their grid, as averages: their integral is kept."""
        for axis, weights in enumerate(self._along):
            values = np.moveaxis(np.tensordot(weights, values, (0, axis)), 0, axis)
        return values * self._volumes

    @staticmethod
    def _axis(fine: Grid, coarse: Grid, axis: int) -> np.ndarray:
        count, size = fine.shape[axis], coarse.shape[axis]
        places = np.zeros((count, 3))
        places[:, 2 - axis] = np.arange(count)
        at = np.clip(coarse.to_ijk(fine.to_ras(places))[:, 2 - axis], 0, size - 1)
        return np.maximum(1.0 - np.abs(at[:, None] - np.arange(size)), 0.0)
