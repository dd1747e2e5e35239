"""A model that is no more than a threshold: what it finds is known beforehand."""

from __future__ import annotations

import numpy as np

from TwinSegmentLib.networks.graph import Network, Step
from TwinSegmentLib.networks.model import Label, Model


def bright_and_dark() -> Model:
    """A network that calls bright voxels 1 and dark ones 0: one threshold at one half."""
    network = Network(
        1,
        (
            Step("blocks", "gather", ("image",), 8),
            Step("scores", "conv", ("blocks",), 16, kernel=1),
            Step("voxels", "scatter", ("scores",), 2),
        ),
        multiple=2,
    )
    weights = {"scores.weight": np.zeros((16, 8, 1, 1, 1), np.float32), "scores.bias": np.zeros(16, np.float32)}
    for voxel in range(8):
        weights["scores.weight"][2 * voxel + 1, voxel] = 40.0
        weights["scores.bias"][2 * voxel + 1] = -20.0
    labels = [Label("background", (0, 0, 0)), Label("bright", (1, 1, 0), ("SCT", "1", "Bright"))]
    return Model("threshold", network, weights, labels, spacing_mm=2.0)
