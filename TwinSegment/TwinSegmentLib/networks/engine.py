"""The quickest engine that is installed, for a network and its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from TwinCore import InvalidInput, MissingPackage

from . import openvino_engine
from .graph import Network

ENGINES = ("OpenVINO", "torch")


class Engine:
    """Runs a network on images of any size that it takes; what was prepared for a size is kept.

    >>> engine = Engine(network, weights)                           # doctest: +SKIP
    >>> scores = engine(image)                                      # doctest: +SKIP

    Parameters
    ----------
    network : Network
    weights : mapping of str to array
    name : {"OpenVINO", "torch"}, optional
        The first that is installed, if none is named.

    Raises
    ------
    MissingPackage
        If the engine, or any, is not installed.
    InvalidInput
        If the weights do not belong to the network.
    """

    def __init__(self, network: Network, weights: Mapping[str, np.ndarray], name: str | None = None):
        network.check(weights)
        self.network, self.weights = network, weights
        self.name = name or ("OpenVINO" if openvino_engine.available() else "torch")
        self._made: dict[tuple[int, ...], Callable[[np.ndarray], np.ndarray]] = {}
        if self.name not in ENGINES:
            raise InvalidInput(f"Engine {self.name!r} is not one of {', '.join(ENGINES)}.")

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Scores (classes, k, j, i) of an image (channels, k, j, i); valid until the next call."""
        shape = image.shape[1:]
        if image.shape[0] != self.network.channels or any(n % self.network.multiple for n in shape):
            raise InvalidInput(
                f"The network takes {self.network.channels} channels of a size that is a multiple of "
                f"{self.network.multiple}, not {image.shape}."
            )
        if shape not in self._made:
            make = openvino_engine.compiled if self.name == "OpenVINO" else _in_torch
            self._made = {shape: make(self.network, self.weights, shape)}
        return self._made[shape](image)


def _in_torch(network: Network, weights: Mapping[str, np.ndarray], shape: tuple[int, ...]):
    try:
        import torch

        from .torch_engine import TorchNetwork
    except ImportError as error:
        raise MissingPackage("openvino", "A network", "pip install openvino") from error
    model = TorchNetwork(network, weights)

    def run(image: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(np.ascontiguousarray(image, np.float32))[None])[0].numpy()

    return run
