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
        self._parameters_of = {
            step.name: tuple(
                torch.from_numpy(np.asarray(weights[f"{step.name}.{part}"], np.float32)) for part in _PARTS
            )
            for step in network.convolutions
        }

    def convolution(self, step: Step) -> tuple[torch.Tensor, torch.Tensor]:
        return self._parameters_of[step.name]

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
            weight, bias = self.convolution(step)
            return functional.conv3d(
                x, weight, bias, padding=step.dilation * (step.kernel // 2), dilation=step.dilation
            )
        if step.operation == "norm":
            return functional.instance_norm(x, eps=NORM_EPSILON)
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
        for step in network.convolutions:
            shape, key = network.weight_shape(step), step.name.replace(".", "_")
            # The size of a direction does not matter, but a step of the optimiser turns a small one further.
            first = torch.randn(shape, generator=generator) / float(np.prod(shape[1:])) ** 0.5
            self.directions[key] = nn.Parameter(first)
            self.gains[key] = nn.Parameter(torch.ones(step.channels))
            self.biases[key] = nn.Parameter(torch.zeros(step.channels))

    def convolution(self, step: Step) -> tuple[torch.Tensor, torch.Tensor]:
        key = step.name.replace(".", "_")
        direction, gain = self.directions[key], self.gains[key][:, None, None, None, None]
        length = direction.flatten(1).norm(dim=1)[:, None, None, None, None]
        return direction * (gain * _gain_at_first(step) / length), self.biases[key]

    @torch.no_grad()
    def adopt(self, weights: Mapping[str, np.ndarray]) -> None:
        """Begin with plain weights."""
        self.network.check(weights)
        for step in self.network.convolutions:
            key = step.name.replace(".", "_")
            weight, bias = (torch.from_numpy(np.asarray(weights[f"{step.name}.{part}"], np.float32)) for part in _PARTS)
            length = weight.flatten(1).norm(dim=1).clamp(min=1e-8)
            self.biases[key].copy_(bias)
            self.directions[key].copy_(weight / length[:, None, None, None, None])
            self.gains[key].copy_(length / _gain_at_first(step))

    @torch.no_grad()
    def weights(self) -> dict[str, np.ndarray]:
        """The plain weights of what was learnt."""
        return {
            f"{step.name}.{part}": value.numpy().copy()
            for step in self.network.convolutions
            for part, value in zip(_PARTS, self.convolution(step))
        }


_PARTS = ("weight", "bias")


def _gain_at_first(step: Step) -> float:
    return RELU_GAIN if step.activation == "relu" else 1.0


def _last_uses(network: Network) -> dict[str, int]:
    return {name: number for number, step in enumerate(network.steps) for name in step.inputs}
