"""From an entry of the catalogue to a model that can be used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..networks.graph import Network, unet
from ..networks.meshnet import read_meshnet
from ..networks.model import Model, Shown
from ..networks.onnx_network import OnnxNetwork
from ..networks.weights import load_weights
from .catalogue import Entry
from .fetch import verify

ONNX = "model.onnx"
WEIGHTS = "weights.safetensors"
"""What training writes, and what an entry of kind "own" has in its folder."""


def load_model(entry: Entry) -> Model:
    """A model ready to be used.

    Raises
    ------
    MissingInput
        If files of it have not been fetched.
    InvalidInput
        If a file is not the one of the catalogue, or does not hold what it should.
    """
    settings = entry.settings
    verify(entry)
    network: Network | OnnxNetwork
    weights: Mapping[str, Any] = {}
    if entry.kind == "own":
        network, weights = _own(entry)
    elif entry.kind == "onnx":
        network = OnnxNetwork.read(entry.folder / ONNX, int(settings.get("multiple", 1)))
    else:
        network, weights = read_meshnet(entry.folder / "model.json")
    shape = settings.get("shape")
    return Model(
        entry.name,
        network,
        weights,
        entry.labels,
        spacing_mm=float(settings["spacing_mm"]),
        axes=settings["axes"],
        shown={modality: _shown(how) for modality, how in settings["shown"].items()},
        modalities=entry.modalities,
        window=network.size if isinstance(network, OnnxNetwork) and network.size else settings.get("window"),
        overlap=float(settings.get("overlap", 0.25)),
        shape=tuple(shape) if shape else None,
        temperature=float(settings.get("temperature", 1.0)),
        overlapping=bool(settings.get("overlapping", False)),
    )


def _own(entry: Entry) -> tuple[Network, dict]:
    widths = tuple(entry.settings["network"]["widths"])
    network = unet(len(entry.labels), widths, len(entry.modalities))
    return network, load_weights(entry.folder / WEIGHTS)


def _shown(row: Mapping[str, Any]) -> Shown:
    clip = row.get("clip")
    limits = (float(clip[0]), float(clip[1])) if clip else None
    return Shown(row["kind"], float(row.get("low", 0)), float(row.get("high", 1)), limits)
