"""MeshNets as TensorFlow.js files: a model.json that describes layers, and a file of their numbers.

The description is read as data: a chain of 3-D convolutions and activations, and nothing else, is understood.
A convolution whose name ends in "_gn" is followed by instance normalisation, which the layers do not list.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from TwinCore import InvalidInput

from .graph import ACTIVATIONS, Network, Step

NORMALISED = "_gn"
MOST_LAYERS, LARGEST_FILE = 200, 500_000_000


def read_meshnet(model_json: str | Path) -> tuple[Network, dict[str, np.ndarray]]:
    """A network and its weights, from model.json and the file beside it.

    Raises
    ------
    InvalidInput
        If the files are not those of a chain of convolutions with activations, whole and finite.
    """
    path = Path(model_json)
    try:
        model = json.loads(path.read_text("utf-8"))
        layers = _layers(model)
        network = Network(_channels(layers), tuple(_steps(layers)))
        weights = _weights(model["weightsManifest"], path.parent, network)
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise InvalidInput(f"{path} is not a MeshNet that can be read: {error}.") from error
    network.check(weights)
    return network, weights


def _layers(model: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    layers = model["modelTopology"]["model_config"]["config"]["layers"]
    if not 2 <= len(layers) <= MOST_LAYERS:
        raise ValueError(f"it has {len(layers)} layers")
    for earlier, layer in zip(layers, layers[1:]):
        if layer["inbound_nodes"][0][0][0] != earlier["name"] or len(layer["inbound_nodes"][0]) != 1:
            raise ValueError(f"layer {layer['name']!r} does not follow on the one before it")
    return layers


def _channels(layers: Sequence[Mapping[str, Any]]) -> int:
    if layers[0]["class_name"] != "InputLayer":
        raise ValueError("it does not begin with an input")
    return int(layers[0]["config"]["batch_input_shape"][-1])


def _steps(layers: Sequence[Mapping[str, Any]]) -> Iterator[Step]:
    last = "image"
    following = [*layers[2:], None]
    for layer, after in zip(layers[1:], following):
        config, name = layer["config"], layer["name"]
        if layer["class_name"] == "Activation":
            continue
        if layer["class_name"] != "Conv3D":
            raise ValueError(f"layer {name!r} is a {layer['class_name']}")
        activation = after["config"]["activation"] if after and after["class_name"] == "Activation" else "none"
        kernel, dilation = (_same(config[key], key) for key in ("kernel_size", "dilation_rate"))
        plain = config["padding"] == "same" and config["activation"] == "linear" and _same(config["strides"], "") == 1
        if not plain or activation not in ACTIVATIONS or kernel % 2 == 0:
            raise ValueError(f"layer {name!r} is a convolution of a kind that MeshNets do not have")
        normalised = name.endswith(NORMALISED)
        first = "none" if normalised else activation
        yield Step(name, "conv", (last,), int(config["filters"]), kernel, dilation, first)
        last = name
        if normalised:
            last = f"{name}.norm"
            yield Step(last, "norm", (name,), int(config["filters"]), activation=activation)


def _same(values: Sequence[int], what: str) -> int:
    if len(set(values)) != 1:
        raise ValueError(f"{what} differs between the axes")
    return int(values[0])


def _weights(manifest: Sequence[Mapping[str, Any]], folder: Path, network: Network) -> dict[str, np.ndarray]:
    """Kernels, as (out, in, k, j, i), and biases; zero where a layer has none."""
    (group,) = manifest
    (name,) = group["paths"]
    if Path(name).name != name:
        raise ValueError(f"the weights {name!r} are not beside the description")
    file = folder / name
    if file.stat().st_size > LARGEST_FILE:
        raise ValueError(f"{name} has {file.stat().st_size} bytes")
    numbers, start = np.fromfile(file, "<f4"), 0
    weights: dict[str, np.ndarray] = {
        f"{step.name}.bias": np.zeros(step.channels, np.float32) for step in network.convolutions
    }
    for entry in group["weights"]:
        layer, part = entry["name"].rsplit("/", 1)
        shape = tuple(int(n) for n in entry["shape"])
        size = int(np.prod(shape, dtype=np.int64))
        if entry["dtype"] != "float32" or min(shape, default=0) < 1 or start + size > numbers.size:
            raise ValueError(f"the numbers of {entry['name']!r} are not all there")
        values = numbers[start : start + size].reshape(shape)
        start += size
        if part == "kernel":
            weights[f"{layer}.weight"] = np.ascontiguousarray(values.transpose(4, 3, 0, 1, 2))
        else:
            weights[f"{layer}.{part}"] = values
    if start != numbers.size:
        raise ValueError(f"{name} holds {numbers.size - start} numbers too many")
    return weights
