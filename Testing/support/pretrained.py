"""The pretrained MeshNets of the test data."""

from __future__ import annotations

from pathlib import Path

from TwinSegmentLib.models.catalogue import find_model
from TwinSegmentLib.models.load import shown_of
from TwinSegmentLib.networks.meshnet import read_meshnet
from TwinSegmentLib.networks.model import Model

MERGED = {"inferior lateral ventricle": "lateral ventricle"}
"""Classes that they divide and the brain recipe does not."""


def meshnet(data: Path, name: str) -> Model:
    """One of them by its name in the catalogue, such as "meshnet-model18cls"."""
    entry = find_model(name)
    network, weights = read_meshnet(data / "weights_brainchop" / name.removeprefix("meshnet-") / "model.json")
    shape = tuple(entry.settings["shape"])
    return Model(name, network, weights, entry.labels, axes=entry.settings["axes"], shape=shape, shown=shown_of(entry))
