"""The record of a run: what was computed, from what, with what, and how long it took."""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from importlib import metadata
from typing import Any

import numpy as np

from .errors import InvalidInput
from .results import Quantity

# Distributions whose version can change a number.
LIBRARIES = ("numpy", "scipy", "SimpleITK", "numba", "pydicom", "vtk", "slicer-core", "torch", "monai")


def software() -> dict[str, str]:
    """Versions of DigitalTwin, Python and the libraries that are installed."""
    from . import __version__

    versions = {"DigitalTwin": __version__, "Python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def content_hash(*parts: np.ndarray | str) -> str:
    """SHA-256 of arrays (type, shape and values) and words, the same on every platform."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            digest.update(f"{len(part)}:{part}".encode())
        else:
            array = np.ascontiguousarray(part, part.dtype.newbyteorder("<"))
            digest.update(f"{array.dtype.kind}{array.dtype.itemsize}{array.shape}".encode())
            digest.update(array.view(np.uint8).data if array.size else b"")
    return digest.hexdigest()


def as_json(value: Any, what: str) -> Any:
    """The value in terms that JSON holds; `InvalidInput` names what cannot be recorded.

    Quantities become a value with its unit and any intervals, arrays lists, and numbers that are not finite their
    name ("nan", "inf").
    """
    if isinstance(value, Quantity):
        return as_json(value.as_dict(), what)
    if isinstance(value, Mapping):
        return {str(key): as_json(entry, f"{what}.{key}") for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return as_json(value.tolist(), what)
    if isinstance(value, (list, tuple)):
        return [as_json(entry, what) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise InvalidInput(
        f"{what} is a {type(value).__name__}, which a run's record cannot hold: "
        "use numbers, words, lists and mappings of them."
    )


def seeds(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the parameters that seed a random generator: `seed`, `noise_seed`, ..."""
    return {name: value for name, value in parameters.items() if name == "seed" or name.endswith("_seed")}


def record(
    run: str,
    module: str,
    parameters: Mapping[str, Any],
    inputs: Iterable[Mapping[str, str]],
    outputs: Iterable[Mapping[str, str]],
    results: Mapping[str, Any],
    warnings: Iterable[str],
    started: datetime,
    seconds: float,
    part_seconds: Mapping[str, float],
) -> dict[str, Any]:
    """One run's provenance for JSON; equal runs differ only in `run`, `started`, `seconds` and `part_seconds`."""
    return {
        "run": run,
        "module": module,
        "started": started.astimezone(timezone.utc).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "part_seconds": {name: round(value, 3) for name, value in part_seconds.items()},
        "software": software(),
        "platform": {"system": platform.system(), "release": platform.release(), "machine": platform.machine()},
        "parameters": as_json(parameters, "Parameter"),
        "seeds": as_json(seeds(parameters), "Seed"),
        "inputs": [dict(entry) for entry in inputs],
        "outputs": [dict(entry) for entry in outputs],
        "results": as_json(results, "Result"),
        "warnings": list(warnings),
    }


def to_text(provenance: Mapping[str, Any]) -> str:
    """The record as indented JSON."""
    return json.dumps(provenance, indent=2, ensure_ascii=False, allow_nan=False)
