"""From an entry of the catalogue to a model that can be used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

from ..networks.graph import Network, unet
from ..networks.meshnet import read_meshnet
from ..networks.model import Model, Shown
from ..networks.weights import load_weights
from .catalogue import Entry
from .fetch import verify


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
    if entry.kind == "own":
        network, weights = _own(entry)
    else:
        verify(entry)
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
        temperature=float(settings.get("temperature", 1.0)),
    )


def _own(entry: Entry) -> tuple[Network, dict]:
    widths = tuple(entry.settings["network"]["widths"])
    network = unet(len(entry.labels), widths, len(entry.modalities))
    with resources.as_file(resources.files(__package__) / f"{entry.name}.safetensors") as path:
        return network, load_weights(path)


def _shown(row: Mapping[str, Any]) -> Shown:
    clip = row.get("clip")
    limits = (float(clip[0]), float(clip[1])) if clip else None
    return Shown(row["kind"], float(row.get("low", 0)), float(row.get("high", 1)), limits)
