"""Networks given as torch modules: traced once and run by OpenVINO, or run by torch."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence

import numpy as np
import torch

from TwinCore import Job

from .openvino_engine import Each, infer_each, openvino_package


def compiled_module(module: torch.nn.Module, channels: int, shape: tuple[int, int, int], at_once: int = 1) -> Each:
    """A module for images of one shape, as `openvino_engine.compiled` gives it.

    Parameters
    ----------
    module : torch.nn.Module
        From (1, channels, k, j, i) to (1, classes, k, j, i), whose way does not depend on the values.
    channels : int
    shape : three ints
    at_once : int

    Raises
    ------
    MissingPackage
        If OpenVINO is not installed.
    """
    openvino_package()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    module.eval()
    example = torch.zeros(1, channels, *shape)
    frontend = FrontEndManager().load_by_framework("pytorch")
    with torch.no_grad():  # must outlive the conversion; a check would run the module twice more
        decoder = TorchScriptPythonDecoder(module, example_input=(example,), trace_kwargs={"check_trace": False})
    model = frontend.convert(frontend.load(decoder))
    model.reshape([1, channels, *shape])
    return infer_each(model, at_once)


def least_multiple(module: torch.nn.Module, channels: int, largest: int) -> int:
    """The least power of 2 of which an input's size must be a multiple, tried on tensors of sizes without numbers.

    Parameters
    ----------
    module : torch.nn.Module
        From (1, channels, k, j, i) to (1, classes, k, j, i).
    channels : int
    largest : int
        A multiple that is known to do, and is given if no lesser one does.
    """
    sizes_alone = {name: value.to("meta") for name, value in (*module.named_parameters(), *module.named_buffers())}
    multiple = 1
    while multiple < largest:
        shape = (3 * largest + multiple,) * 3
        with contextlib.suppress(RuntimeError, ValueError), torch.inference_mode():
            image = torch.zeros(1, channels, *shape, device="meta")
            if torch.func.functional_call(module, sizes_alone, (image,)).shape[2:] == shape:
                return multiple
        multiple *= 2
    return largest


def run_module(module: torch.nn.Module) -> Each:
    """The same in torch itself, which cannot be cancelled on the way."""
    module.eval()

    def each(images: Sequence[np.ndarray], job: Job | None = None) -> Generator[np.ndarray, None, None]:
        for image in images:
            with torch.inference_mode():
                scores = module(torch.from_numpy(np.ascontiguousarray(image, np.float32))[None])[0].numpy()
            yield scores

    return each
