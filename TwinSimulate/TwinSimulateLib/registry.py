"""Every model by name: a new one is one new file and one line here."""

from __future__ import annotations

from importlib import import_module

from TwinCore import InvalidInput

from .model import Model

MODELS = {
    "radiotherapy": "radiotherapy_model:Radiotherapy",
    "tumour_growth": "tumour_growth:TumourGrowth",
}


def find(name: str, preset: str) -> Model:
    """The model of that name with the parameters of that preset; `InvalidInput` names those there are."""
    if name not in MODELS:
        raise InvalidInput(f"There is no model {name!r}; there are: {', '.join(MODELS)}.")
    module, kind = MODELS[name].split(":")
    return getattr(import_module(f".{module}", __package__), kind)(preset)
