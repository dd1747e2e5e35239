"""Networks in torch: for training, and for inference where OpenVINO is not installed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .graph import NORM_EPSILON, Network, Step

RELU_GAIN = 2**0.5
"""Keeps the size of a signal through a convolution and a ReLU."""

_ACTIVATIONS = {"none": lambda x: x, "relu": functional.relu, "elu": functional.elu, "gelu": functional.gelu}


class TorchNetwork(nn.Module):
    """A network with plain weights."""

    def __init__(self, network: Network, weights: Mapping[str, np.ndarray]):
        super().__init__()
        network.check(weights)
        self.network = network
        self._weights = {name: torch.from_numpy(np.asarray(value, np.float32)) for name, value in weights.items()}

    def weight(self, step: Step) -> torch.Tensor:
        return self._weights[f"{step.name}.weight"]

    def bias(self, step: Step) -> torch.Tensor | None:
        return self._weights.get(f"{step.name}.bias")

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Scores (n, classes, k, j, i) of images (n, channels, k, j, i)."""
        results = {"image": image}
        uses = _last_uses(self.network)
        for number, step in enumerate(self.network.steps):
            inputs = [results[name] for name in step.inputs]
            results[step.name] = _ACTIVATIONS[step.activation](self._run(step, inputs))
            for name in step.inputs:
                if uses[name] == number:
                    del results[name]
        return results[self.network.steps[-1].name]

    def _run(self, step: Step, inputs: list[torch.Tensor]) -> torch.Tensor:
        x = inputs[0]
        if step.operation == "conv":
            pad = step.dilation * (step.kernel // 2)
            return functional.conv3d(x, self.weight(step), self.bias(step), padding=pad, dilation=step.dilation)
        if step.operation == "norm":
            return functional.instance_norm(x, eps=NORM_EPSILON)
        if step.operation == "shift":
            bias = self.bias(step)
            assert bias is not None
            return x + bias.to(x.dtype)[:, None, None, None]
        if step.operation == "pool":
            return functional.max_pool3d(x, 2)
        if step.operation == "grow":
            return functional.interpolate(x, scale_factor=2.0, mode="nearest")
        return torch.cat(inputs, 1)


class TrainableNetwork(TorchNetwork):
    """A network whose filters have a direction and, apart from it, a size, as it is trained.

    Weight normalisation (Salimans, Kingma 2016, arXiv:1602.07868): large steps turn a filter without blowing it up.
    """

    def __init__(self, network: Network, seed: int = 0):
        nn.Module.__init__(self)
        self.network = network
        generator = torch.Generator().manual_seed(seed)
        self.directions, self.gains, self.biases = (nn.ParameterDict() for _ in range(3))
        for step in network.steps:
            if step.operation == "conv":
                shape = network.weight_shape(step)
                # The size of a direction does not matter, but a step of the optimiser turns a small one further.
                first = torch.randn(shape, generator=generator) / float(np.prod(shape[1:])) ** 0.5
                self.directions[_key(step)] = nn.Parameter(first)
                self.gains[_key(step)] = nn.Parameter(torch.ones(step.channels))
            if step.has_bias:
                self.biases[_key(step)] = nn.Parameter(torch.zeros(step.channels))

    def weight(self, step: Step) -> torch.Tensor:
        direction, gain = self.directions[_key(step)], self.gains[_key(step)][:, None, None, None, None]
        length = direction.flatten(1).norm(dim=1)[:, None, None, None, None]
        return direction * (gain * _gain_at_first(step) / length)

    def bias(self, step: Step) -> torch.Tensor | None:
        return self.biases[_key(step)] if step.has_bias else None

    @torch.no_grad()
    def adopt(self, weights: Mapping[str, np.ndarray]) -> None:
        """Begin with plain weights."""
        self.network.check(weights)
        plain = TorchNetwork(self.network, weights)
        for step in self.network.convolutions:
            weight = plain.weight(step)
            length = weight.flatten(1).norm(dim=1).clamp(min=1e-8)
            self.directions[_key(step)].copy_(weight / length[:, None, None, None, None])
            self.gains[_key(step)].copy_(length / _gain_at_first(step))
        for step in self.network.steps:
            if step.has_bias:
                self.biases[_key(step)].copy_(plain.bias(step))

    @torch.no_grad()
    def weights(self) -> dict[str, np.ndarray]:
        """The plain weights of what was learnt."""
        weights = {f"{step.name}.weight": self.weight(step) for step in self.network.convolutions}
        biases = {f"{step.name}.bias": self.bias(step) for step in self.network.steps if step.has_bias}
        return {name: value.numpy().copy() for name, value in (weights | biases).items()}


def _key(step: Step) -> str:
    return step.name.replace(".", "_")


def _gain_at_first(step: Step) -> float:
    return RELU_GAIN if step.activation == "relu" else 1.0


def _last_uses(network: Network) -> dict[str, int]:
    return {name: number for number, step in enumerate(network.steps) for name in step.inputs}
