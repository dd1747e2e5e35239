"""From an entry of the catalogue to a model that can be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from TwinCore import InvalidInput

from ..networks.graph import Network, unet
from ..networks.meshnet import read_meshnet
from ..networks.model import Model, Shown
from ..networks.onnx_network import OnnxNetwork
from ..networks.weights import load_weights
from .catalogue import Entry
from .fetch import verify
from .monai_bundle import read_bundle

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
    if entry.kind == "monai":
        return _bundle(entry)
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
        shown=shown_of(entry),
        modalities=entry.modalities,
        window=network.size if isinstance(network, OnnxNetwork) and network.size else settings.get("window"),
        overlap=float(settings.get("overlap", 0.25)),
        shape=tuple(shape) if shape else None,
        centred_on=settings.get("centred_on", ""),
        temperature=float(settings.get("temperature", 1.0)),
        overlapping=bool(settings.get("overlapping", False)),
    )


def shown_of(entry: Entry) -> dict[str, Shown]:
    """By modality, how brightness is shown to the entry's network."""
    return {modality: _shown(how) for modality, how in entry.settings["shown"].items()}


def _bundle(entry: Entry) -> Model:
    """A MONAI bundle, which says itself how images are shown to it, with the catalogue's labels."""
    file = entry.folder / entry.files[0].name if entry.files else entry.folder
    model = read_bundle(file, entry.settings.get("given"))
    if len(model.labels) != len(entry.labels) or len(model.modalities) != len(entry.modalities):
        raise InvalidInput(
            f"Model {entry.name!r} is not that of the catalogue: it has {len(model.labels)} classes and "
            f"{len(model.modalities)} images, and {len(entry.labels)} and {len(entry.modalities)} are expected."
        )
    return replace(
        model,
        name=entry.name,
        labels=entry.labels,
        modalities=entry.modalities,
        axes=entry.settings.get("axes", model.axes),
        spacing_mm=entry.settings.get("spacing_mm", model.spacing_mm),
    )


def _own(entry: Entry) -> tuple[Network, dict]:
    widths = tuple(entry.settings["network"]["widths"])
    network = unet(len(entry.labels), widths, len(entry.modalities))
    return network, load_weights(entry.folder / WEIGHTS)


def _shown(row: Mapping[str, Any]) -> Shown:
    clip = row.get("clip")
    limits = (float(clip[0]), float(clip[1])) if clip else None
    return Shown(row["kind"], float(row.get("low", 0)), float(row.get("high", 1)), limits)
