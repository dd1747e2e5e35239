"""A model that is no more than a threshold: what it finds is known beforehand."""

from __future__ import annotations

import numpy as np

from TwinSegmentLib.networks.graph import Network, Step
from TwinSegmentLib.networks.model import Label, Model


def bright_and_dark() -> Model:
    """A network that calls bright voxels 1 and dark ones 0: one threshold at one half."""
    network = Network(1, (Step("scores", "conv", ("image",), 2, kernel=1),))
    weights = {
        "scores.weight": np.array([0.0, 40.0], np.float32).reshape(2, 1, 1, 1, 1),
        "scores.bias": np.array([0.0, -20.0], np.float32),
    }
    labels = [Label("background", (0, 0, 0)), Label("bright", (1, 1, 0), ("SCT", "1", "Bright"))]
    return Model("threshold", network, weights, labels, spacing_mm=2.0)
