"""Networks in OpenVINO: the quick engine, and small enough to come with a first installation."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping

import numpy as np

from TwinCore import Job, MissingPackage

from .graph import NORM_EPSILON, Network, Step

LOOK_EVERY_MS = 50
"""How often a run looks whether its job is cancelled."""


def compiled(
    network: Network, weights: Mapping[str, np.ndarray], shape: tuple[int, ...], threads: int | None = None
) -> Callable[..., np.ndarray]:
    """A function from an image (channels, k, j, i) of one shape to scores (classes, k, j, i), both float32.

    Its second argument may be a job: when that is cancelled, so is the run.

    Raises
    ------
    MissingPackage
        If OpenVINO is not installed.
    InvalidInput
        If the weights do not belong to the network.
    """
    ov = openvino_package()
    network.check(weights)
    image = ov.opset13.parameter([1, network.channels, *shape], np.float32)
    results = {"image": image}
    for step in network.steps:
        results[step.name] = _activated(ov.opset13, step, _made(ov.opset13, step, results, weights))
    model = ov.Model([results[network.steps[-1].name]], [image])
    return infer_function(model, threads)


def infer_function(model, threads: int | None = None) -> Callable[..., np.ndarray]:
    """A function from an image (channels, k, j, i), and a job, to the scores (classes, k, j, i) of a model."""
    settings: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    compiled_model = openvino_package().Core().compile_model(model, "CPU", settings)
    ready = [compiled_model.create_infer_request()]

    def run(values: np.ndarray, job: Job | None = None) -> np.ndarray:
        request = ready[0] if ready else compiled_model.create_infer_request()
        ready[:] = [request]
        request.start_async([np.ascontiguousarray(values, np.float32)[None]])
        while not request.wait_for(LOOK_EVERY_MS):
            if job is not None and job.is_cancelled:
                request.cancel()
                # It stops at the end of the operation it is at, seconds later where that is large: nobody waits for it.
                threading.Thread(target=_stopped, args=(request,), daemon=True).start()
                ready.clear()
                job.checkpoint()
        return request.get_output_tensor(0).data[0]

    return run


def _stopped(request) -> None:
    """Hold a cancelled request until it has stopped."""
    with contextlib.suppress(RuntimeError):  # which is how it says that it was cancelled
        request.wait()


def available() -> bool:
    try:
        openvino_package()
    except MissingPackage:
        return False
    return True


def quick_in_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 numbers itself, about twice as fast as float32."""
    return available() and "BF16" in openvino_package().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def openvino_package():
    """The package, or `MissingPackage`."""
    try:
        import openvino
        import openvino.opset13
    except ImportError as error:
        raise MissingPackage("openvino", "A network", "pip install openvino") from error
    return openvino


def _made(ops, step: Step, results: Mapping, weights: Mapping[str, np.ndarray]):
    x = results[step.inputs[0]]
    if step.operation == "conv":
        pad = [step.dilation * (step.kernel // 2)] * 3
        weight = np.ascontiguousarray(weights[f"{step.name}.weight"], np.float32)
        made = ops.convolution(x, weight, [1] * 3, pad, pad, [step.dilation] * 3)
        return _shifted(ops, step, made, weights) if step.has_bias else made
    if step.operation == "shift":
        return _shifted(ops, step, x, weights)
    if step.operation == "norm":
        return ops.mvn(x, np.array([2, 3, 4]), True, NORM_EPSILON, "INSIDE_SQRT")
    if step.operation == "pool":
        return ops.max_pool(x, [2] * 3, [1] * 3, [0] * 3, [0] * 3, [2] * 3).output(0)
    if step.operation == "grow":
        doubled = [2 * n for n in list(x.get_output_shape(0))[2:]]
        return ops.interpolate(x, doubled, "nearest", "sizes", axes=[2, 3, 4])
    return ops.concat([results[name] for name in step.inputs], 1)


def _shifted(ops, step: Step, x, weights: Mapping[str, np.ndarray]):
    return ops.add(x, np.asarray(weights[f"{step.name}.bias"], np.float32).reshape(1, -1, 1, 1, 1))


def _activated(ops, step: Step, x):
    made: dict[str, Callable] = {
        "none": lambda: x,
        "relu": lambda: ops.relu(x),
        "elu": lambda: ops.elu(x, 1.0),
        "gelu": lambda: ops.gelu(x, "erf"),
    }
    return made[step.activation]()
