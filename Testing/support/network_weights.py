"""Weights at random, for tests of what runs networks."""

from __future__ import annotations

import numpy as np

from TwinSegmentLib.networks.graph import Network


def random_weights(network: Network, seed: int = 0) -> dict[str, np.ndarray]:
    rng, weights = np.random.default_rng(seed), {}
    for step in network.convolutions:
        shape = network.weight_shape(step)
        weights[f"{step.name}.weight"] = rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32)
    for step in network.steps:
        if step.has_bias:
            weights[f"{step.name}.bias"] = rng.normal(0, 0.1, step.channels).astype(np.float32)
    return weights
