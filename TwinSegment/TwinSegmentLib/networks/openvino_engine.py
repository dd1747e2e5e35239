"""Networks in OpenVINO: the quick engine, and small enough to come with a first installation."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import cache

import numpy as np

from TwinCore import Job, MissingPackage

from .graph import NORM_EPSILON, Network, Step

LOOK_EVERY_MS = 50
"""How often a run looks whether its job is cancelled."""


SPACE, A_CHANNEL = [2, 3, 4], [1, -1, 1, 1, 1]
"""Axes of (n, channels, k, j, i), and what brings a number a channel to them."""

Each = Callable[[Sequence[np.ndarray], Job | None], Generator[np.ndarray, None, None]]
"""From images (channels, k, j, i) of one shape, and a job, to their scores (classes, k, j, i) in turn, all float32.

Scores are valid until the next ones are asked for. When the job is cancelled, so are the runs.
"""


def compiled(network: Network, weights: Mapping[str, np.ndarray], shape: tuple[int, ...], at_once: int = 1) -> Each:
    """A network for images of one shape.

    Parameters
    ----------
    network : Network
    weights : mapping of str to array
    shape : three ints
    at_once : int
        Images that are run side by side, each on its share of the processor's cores.

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
    return infer_each(model, at_once)


def infer_each(model, at_once: int = 1) -> Each:
    """The same for a model of OpenVINO."""
    _spread_group_norms(model)
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": at_once}
    compiled_model = core().compile_model(model, "CPU", settings)
    idle: list = []

    def each(images: Sequence[np.ndarray], job: Job | None = None) -> Generator[np.ndarray, None, None]:
        running: deque = deque()
        try:
            for image in images:
                request = idle.pop() if idle else compiled_model.create_infer_request()
                request.start_async([np.ascontiguousarray(image, np.float32)[None]])
                running.append(request)
                # One more than can run, so that none waits while the scores of another are used.
                if len(running) > at_once:
                    yield _scores(running, idle, job)
            while running:
                yield _scores(running, idle, job)
        finally:
            for request in running:
                request.cancel()
                # It stops at the end of the operation it is at, seconds later where that is large: nobody waits for it.
                threading.Thread(target=_stopped, args=(request,), daemon=True).start()

    return each


def _scores(running: deque, idle: list, job: Job | None) -> np.ndarray:
    """Those of the request that was started first."""
    while not running[0].wait_for(LOOK_EVERY_MS):
        if job is not None:
            job.checkpoint()
    idle.append(running.popleft())
    return idle[-1].get_output_tensor(0).data[0]


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
    return available() and "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@cache
def core():
    """OpenVINO's core, one for the whole process.

    With its processor's plugin it sets up the stack on which signals are handled, as AMX needs a larger one, and frees
    it at its own end. Were that on another thread than it began on, the next signal, such as Ctrl-C, would crash.
    """
    return openvino_package().Core()


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
        return ops.mvn(x, np.array(SPACE), True, NORM_EPSILON, "INSIDE_SQRT")
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


def _spread_group_norms(model) -> None:
    """Replace group normalisations by sums over each channel, and sums of these.

    The package's own way regroups the channels of the whole image in memory and back: a third of a SegResNet's time.
    """
    ops = openvino_package().opset13
    for node in model.get_ordered_ops():
        if node.get_type_name() != "GroupNormalization" or len(node.input_value(0).get_shape()) != 5:
            continue
        x, scale, bias = (node.input_value(n) for n in range(3))
        count, channels, *space = x.get_shape()
        groups, epsilon = (node.get_attributes()[name] for name in ("num_groups", "epsilon"))

        a_group = [count, groups, channels // groups]
        mean = _group_mean(ops, ops.reduce_mean(x, SPACE, True), a_group)
        norm = ops.reduce_l2(ops.subtract(x, mean), SPACE, True)
        variance = _group_mean(ops, ops.multiply(ops.multiply(norm, norm), np.float32(1 / np.prod(space))), a_group)
        deviation = ops.sqrt(ops.add(variance, np.float32(epsilon)))
        factor = ops.divide(ops.reshape(scale, A_CHANNEL, False), deviation)
        offset = ops.subtract(ops.reshape(bias, A_CHANNEL, False), ops.multiply(mean, factor))
        node.output(0).replace(ops.add(ops.multiply(x, factor), offset).output(0))


def _group_mean(ops, values, a_group: list[int]):
    """The mean over each group of channels of numbers (n, channels, 1, 1, 1), at each of its channels."""
    mean = ops.reduce_mean(ops.reshape(values, a_group, False), [2], True)
    return ops.reshape(ops.broadcast(mean, a_group), [a_group[0], a_group[1] * a_group[2], 1, 1, 1], False)
