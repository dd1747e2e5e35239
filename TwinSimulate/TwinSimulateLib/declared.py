"""What a model says of itself before anything is computed: its presets, its parameters and what it needs."""

from __future__ import annotations

from dataclasses import dataclass

from TwinCore import Parameter


@dataclass(frozen=True)
class Requirement:
    """A segment or an image that a model needs."""

    kind: str
    """"segment" or "image"."""
    name: str
    meaning: str
    optional: bool = False
    """Whether the model does without."""


@dataclass(frozen=True)
class Declaration:
    """The parameters of a model under one preset, and what it needs."""

    parameters: tuple[Parameter, ...]
    requires: tuple[Requirement, ...]
