"""Networks given as torch modules: traced once and run by OpenVINO, or run by torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from TwinCore import Job

from .openvino_engine import infer_function, openvino_package


def compiled_module(
    module: torch.nn.Module, channels: int, shape: tuple[int, int, int], threads: int | None = None
) -> Callable[..., np.ndarray]:
    """A function from an image (channels, k, j, i) of one shape, and a job, to the module's scores (classes, k, j, i).

    Parameters
    ----------
    module : torch.nn.Module
        From (1, channels, k, j, i) to (1, classes, k, j, i), whose way does not depend on the values.
    channels : int
    shape : three ints
    threads : int, optional

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
    decoder = TorchScriptPythonDecoder(module, example_input=(example,))  # must outlive the conversion
    model = frontend.convert(frontend.load(decoder))
    model.reshape([1, channels, *shape])
    return infer_function(model, threads)


def run_module(module: torch.nn.Module) -> Callable[..., np.ndarray]:
    """The same in torch itself, which cannot be cancelled on the way."""
    module.eval()

    def run(image: np.ndarray, job: Job | None = None) -> np.ndarray:
        with torch.inference_mode():
            return module(torch.from_numpy(np.ascontiguousarray(image, np.float32))[None])[0].numpy()

    return run
