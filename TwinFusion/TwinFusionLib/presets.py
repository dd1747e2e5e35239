"""Registration presets: how a pair of images is registered, as data (presets.json, and its schema beside it)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from TwinCore import Image, InvalidInput
from TwinCore.parameter import Choice, Parameter

BY_MODALITY, BY_PRESET = "by modality", "by preset"
MOTIONS = {
    "rigid": "turned and shifted",
    "affine": "turned, shifted, scaled and sheared",
    "deformable": "found rigidly, then bent",
}
ANYWHERE = "anywhere"
STARTS = {
    ANYWHERE: "all poses are tried",
    "frames": "where the images lie now: their own frames, or what they were brought to by hand or by tracking",
}


@dataclass(frozen=True)
class Preset:
    """How a pair of images is registered.

    Parameters
    ----------
    name : str
    description : str
        In plain words, for a reader who has to choose.
    motion : {"rigid", "affine", "deformable"}
        A deformation starts from the rigid answer.
    stiffness : float
        Of a deformation; more is smoother.
    finest_mm : float or None
        Finest grid of a deformation, in mm; None for the images' own.
    inside, outside : str
        What must be masked in and out, as "lungs" and "tumour"; "" for nothing.
    prepare : tuple of str
        Modalities whose images are harmonised before they are compared.
    """

    name: str
    description: str
    motion: str
    stiffness: float = 1.0
    finest_mm: float | None = None
    inside: str = ""
    outside: str = ""
    prepare: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModalityPair:
    """The preset that two modalities have where none is chosen, and how hard they are to register."""

    preset: str
    cost: float


@cache
def presets() -> dict[str, Preset]:
    """Every preset by its name, in the order in which they are offered."""
    return {name: _preset(name, entry) for name, entry in _document()["presets"].items()}


def _preset(name: str, entry: dict[str, Any]) -> Preset:
    return Preset(name, **{**entry, "prepare": tuple(entry.get("prepare", ()))})


@cache
def modality_pairs() -> dict[frozenset[str], ModalityPair]:
    """What is known of pairs of modalities; of one modality with itself, the set has one element."""
    return {frozenset(e["modalities"]): ModalityPair(e["preset"], e["cost"]) for e in _document()["pairs"]}


def find_preset(name: str) -> Preset:
    """The preset of a name; `InvalidInput` lists those that there are."""
    if name not in presets():
        raise InvalidInput(f"Preset {name!r} is not known; there are: {', '.join(presets())}.")
    return presets()[name]


def pair_of(fixed: Image, moving: Image) -> ModalityPair:
    """What is known of two images' modalities; `InvalidInput` names the image whose modality is not said."""
    for image in (fixed, moving):
        if not image.modality:
            raise InvalidInput(
                f"Image {image.name!r} does not say its modality (CT, MR, PT, US): it is needed to choose a preset."
            )
    return modality_pairs()[frozenset({fixed.modality, moving.modality})]


def choose_preset(fixed: Image, moving: Sequence[Image]) -> Preset:
    """The preset for images of one frame onto a fixed one, by the easiest pair of modalities among them.

    >>> choose_preset(ct, [pet]).name       # doctest: +SKIP
    'PET-CT'

    Raises
    ------
    InvalidInput
        If an image does not say its modality.
    """
    return find_preset(min((pair_of(fixed, image) for image in moving), key=lambda pair: pair.cost).preset)


def fusion_parameters() -> tuple[Choice | Parameter, ...]:
    """What can be chosen for a fusion as a whole, declared once: panels, case files and the command follow it."""
    ours = "set by reasoning"
    return (
        Choice(
            "preset",
            BY_MODALITY,
            {BY_MODALITY: "the usual one for each pair", **{p.name: p.description for p in presets().values()}},
            "How the images are registered.",
        ),
        Choice("motion", BY_PRESET, {BY_PRESET: "as the preset says", **MOTIONS}, "How an image may move."),
        Choice("start", ANYWHERE, STARTS, "Where the search begins; landmarks take its place."),
        Parameter(
            "stiffness",
            "",
            "1",
            0.0,
            0.0,
            100.0,
            "Smoothness of a deformation; 0 for the preset's.",
            ours,
            lowest_means=BY_PRESET,
        ),
        Parameter(
            "finest_mm",
            "",
            "mm",
            0.0,
            0.0,
            20.0,
            "Finest grid of a deformation; 0 for the preset's.",
            ours,
            lowest_means=BY_PRESET,
        ),
        Parameter(
            "spacing_mm",
            "",
            "mm",
            0.0,
            0.0,
            20.0,
            "Voxel edge of fused images; 0 for the reference's own.",
            ours,
            lowest_means="as the reference",
        ),
        Parameter("seed", "", "1", 0.0, 0.0, 999999.0, "Of the random samples.", ours),
    )


@cache
def _document() -> dict:
    return json.loads(resources.files(__package__).joinpath("presets.json").read_text("utf-8"))
