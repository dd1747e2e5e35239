"""The quickest engine that is installed, for a network and its weights."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence

import numpy as np

from TwinCore import InvalidInput, Job, MissingPackage

from . import openvino_engine
from .graph import Network
from .module_network import ModuleNetwork
from .onnx_network import OnnxNetwork
from .openvino_engine import Each

ENGINES = ("OpenVINO", "torch")


class Engine:
    """Runs a network on images of any size that it takes; what was prepared for a size is kept.

    >>> engine = Engine(network, weights)                           # doctest: +SKIP
    >>> scores = engine(image)                                      # doctest: +SKIP

    Parameters
    ----------
    network : Network, ModuleNetwork or OnnxNetwork
        The last in OpenVINO alone.
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

    def __init__(
        self,
        network: Network | ModuleNetwork | OnnxNetwork,
        weights: Mapping[str, np.ndarray],
        name: str | None = None,
    ):
        network.check(weights)
        self.network, self.weights = network, weights
        self.name = name or ("OpenVINO" if openvino_engine.available() else "torch")
        self._made: dict[tuple[int, ...], Each] = {}
        if self.name not in ENGINES:
            raise InvalidInput(f"Engine {self.name!r} is not one of {', '.join(ENGINES)}.")

    def __call__(self, image: np.ndarray, job: Job | None = None) -> np.ndarray:
        """Scores (classes, k, j, i) of an image (channels, k, j, i); valid until the next call.

        A job that is cancelled ends a run in OpenVINO at once.
        """
        return next(self.each([image], job))

    def each(
        self, images: Sequence[np.ndarray], job: Job | None = None, at_once: int = 1
    ) -> Generator[np.ndarray, None, None]:
        """Scores of images of one shape in turn, each valid until the next are asked for.

        OpenVINO runs as many `at_once` side by side: on two cores two take a tenth less time than one after the other.
        """
        channels, *shape = images[0].shape
        if channels != self.network.channels or any(n % self.network.multiple for n in shape):
            raise InvalidInput(
                f"The network takes {self.network.channels} channels of a size that is a multiple of "
                f"{self.network.multiple}, not {images[0].shape}."
            )
        key = (*shape, at_once)
        if key not in self._made:
            self._made = {key: self._make((shape[0], shape[1], shape[2]), at_once)}
        return self._made[key](images, job)

    def _make(self, shape: tuple[int, int, int], at_once: int) -> Each:
        if isinstance(self.network, OnnxNetwork):
            return self.network.compiled(shape, at_once)
        if isinstance(self.network, ModuleNetwork):
            from .torch_module import compiled_module, run_module

            if self.name == "OpenVINO":
                return compiled_module(self.network.module, self.network.channels, shape, at_once)
            return run_module(self.network.module)
        if self.name == "OpenVINO":
            return openvino_engine.compiled(self.network, self.weights, shape, at_once)
        return _in_torch(self.network, self.weights)


def _in_torch(network: Network, weights: Mapping[str, np.ndarray]) -> Each:
    try:
        from .torch_engine import TorchNetwork
        from .torch_module import run_module
    except ImportError as error:
        raise MissingPackage("openvino", "A network", "pip install openvino") from error
    return run_module(TorchNetwork(network, weights))
