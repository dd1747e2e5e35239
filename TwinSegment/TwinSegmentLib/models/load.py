"""From an entry of the catalogue to a model that can be used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..networks.graph import Network, unet
from ..networks.meshnet import read_meshnet
from ..networks.model import Model, Shown
from ..networks.weights import load_weights
from .catalogue import Entry
from .fetch import verify

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
    if entry.kind == "own":
        network, weights = _own(entry)
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
        window=settings.get("window"),
        shape=tuple(shape) if shape else None,
        centred_on=settings.get("centred_on", ""),
        temperature=float(settings.get("temperature", 1.0)),
    )


def _own(entry: Entry) -> tuple[Network, dict]:
    widths = tuple(entry.settings["network"]["widths"])
    network = unet(len(entry.labels), widths, len(entry.modalities))
    return network, load_weights(entry.folder / WEIGHTS)


def _shown(row: Mapping[str, Any]) -> Shown:
    clip = row.get("clip")
    limits = (float(clip[0]), float(clip[1])) if clip else None
    return Shown(row["kind"], float(row.get("low", 0)), float(row.get("high", 1)), limits)
