"""A network in an ONNX file where a `Network` is expected: run by OpenVINO, which reads the file itself."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from TwinCore import InvalidInput, Job
from TwinCore.guard import check_memory

from .module_network import VALUES_A_VOXEL
from .onnx_file import FLOAT32, Port, read_onnx
from .openvino_engine import Each, core, infer_each

SMALLEST_PROBABILITY = 1e-7
FINAL = {"Softmax": "softmax", "Sigmoid": "sigmoid"}


@dataclass(frozen=True, eq=False)
class OnnxNetwork:
    """A network from (1, channels, k, j, i) to scores (1, classes, k, j, i), as a file.

    Parameters
    ----------
    path : Path
    channels, classes : int
    size : three ints, optional
        Of its input along k, j, i, if it takes but one.
    multiple : int
        The input's size along each axis must be a multiple of this.
    final : {"none", "softmax", "sigmoid"}
        What its scores have gone through already.
    """

    path: Path
    channels: int
    classes: int
    size: tuple[int, int, int] | None = None
    multiple: int = 1
    final: str = "none"

    @classmethod
    def read(cls, path: Path, multiple: int = 1) -> OnnxNetwork:
        """The network of a file.

        Parameters
        ----------
        path : Path
        multiple : int
            Of an input whose size is free.

        Raises
        ------
        InvalidInput
            If `onnx_file.read_onnx` refuses the file, or its network is not one from an image to classes of the
            image's size.
        """
        graph = read_onnx(path)
        if len(graph.inputs) != 1 or not graph.outputs:
            raise InvalidInput(f"{path.name}: its network has {len(graph.inputs)} inputs, and must have one.")
        image, scores = graph.inputs[0], graph.outputs[0]
        channels, size = _five(image, path.name, "input")
        classes, _ = _five(scores, path.name, "output")
        final = FINAL.get(graph.made_by.get(scores.name, ""), "none")
        return cls(path, channels, classes, size, 1 if size else multiple, final)

    @property
    def window_freedom(self) -> float:
        """None: what a file's network does with another window is not known."""
        return 0.0

    @property
    def values_a_voxel(self) -> float:
        return VALUES_A_VOXEL

    def check(self, weights: Mapping[str, np.ndarray]) -> None:
        """The file has its weights already."""

    def compiled(self, shape: tuple[int, int, int], at_once: int = 1) -> Each:
        """The network for images of one shape, as `openvino_engine.compiled` gives it.

        Raises
        ------
        MissingPackage
            If OpenVINO is not installed.
        InvalidInput
            If the network cannot be made for this shape, gives another, or needs more memory than there is.
        """
        try:
            model = core().read_model(str(self.path))
            model.reshape([1, self.channels, *shape])
            _check_results(model, self.path.name)
            given = list(model.output(0).get_shape())
            if given != [1, self.classes, *shape]:
                raise ValueError(f"it gives {given} for an input of {shape}")
            run = infer_each(model, at_once)
        except (RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[-1][:300]
            raise InvalidInput(f"{self.path.name}: its network cannot be run on {shape} voxels: {reason}") from error

        def each(images: Sequence[np.ndarray], job: Job | None = None) -> Generator[np.ndarray, None, None]:
            for found in run(images, job):
                yield _scores(found, self.final)

        return run if self.final == "none" else each


def _five(port: Port, file: str, what: str) -> tuple[int, tuple[int, int, int] | None]:
    """Channels, and the size in space if it is fixed, of an input or output (1, channels, k, j, i)."""
    shape = port.shape
    right = len(shape) == 5 and port.type == FLOAT32 and shape[0] in (1, None) and shape[1] is not None
    if not right or not all(n is None or 0 < n < 10_000 for n in shape):
        words = " x ".join("?" if n is None else str(n) for n in shape) or "nothing"
        raise InvalidInput(
            f"{file}: the {what} of its network is {words} of type {port.type}; it must be 1 x channels x k x j x i, "
            f"of 32-bit floating point (type {FLOAT32}) and of sizes that an image has."
        )
    k, j, i = shape[2:]
    fixed = (k, j, i) if k is not None and j is not None and i is not None else None
    return int(shape[1] or 0), fixed


def _check_results(model, file: str) -> None:
    """Refuse a network with a result that has no fixed size or more numbers than fit into memory."""
    for operator in model.get_ops():
        for output in operator.outputs():
            if output.get_partial_shape().is_dynamic:
                raise ValueError(f"the size of {operator.get_friendly_name()!r} is not known beforehand")
            numbers = float(np.prod([float(n) for n in output.get_shape()]))
            check_memory(4 * numbers, f"{file}: the result of {operator.get_friendly_name()!r}")


def _scores(probabilities: np.ndarray, final: str) -> np.ndarray:
    """Scores that softmax or sigmoid turns into these probabilities."""
    p = np.clip(probabilities, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    return np.log(p) if final == "softmax" else np.log(p) - np.log1p(-p)
