"""Weights in files that hold numbers and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from TwinCore import InvalidInput, MissingPackage


def save_weights(weights: Mapping[str, np.ndarray], path: Path) -> Path:
    """Write weights as half-precision safetensors; the file appears at once, whole."""
    fresh = path.with_suffix(".new")
    halves = {name: np.ascontiguousarray(value, np.float16) for name, value in sorted(weights.items())}
    _safetensors().numpy.save_file(halves, fresh)
    fresh.replace(path)
    return path


def load_weights(path: Path) -> dict[str, np.ndarray]:
    """Weights of a safetensors file, as float32; nothing in it is executed.

    Raises
    ------
    InvalidInput
        If the file cannot be read, is not whole, or not of numbers.
    """
    safetensors = _safetensors()
    try:
        weights = safetensors.numpy.load_file(path)
    except OSError as error:
        raise InvalidInput(f"The weights {path} cannot be read: {error}.") from error
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise InvalidInput(f"{path} is not a whole safetensors file: {error}.") from error
    odd = [name for name, value in weights.items() if value.dtype.kind != "f"]
    if odd:
        raise InvalidInput(f"{path} holds weights that are not floating point: {', '.join(odd[:5])}.")
    return {name: value.astype(np.float32) for name, value in weights.items()}


def _safetensors():
    try:
        import safetensors.numpy
    except ImportError as error:
        raise MissingPackage("safetensors", "A network's weights", "pip install safetensors") from error
    return safetensors
