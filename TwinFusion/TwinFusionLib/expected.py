"""What a fusion should take, before it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from TwinCore.expectation import Expectation

from .presets import BY_MODALITY, BY_PRESET, modality_pairs, presets

RIGID_S, RIGID_S_A_MILLION = 6.0, 1.0
"""Of one registration from any pose with its verdict, and more for each million voxels: measured as 8 s at 0.03 million
and 14 s at 4 million on two busy cores."""
RESAMPLING_S_A_MILLION = 0.05
DEFORMABLE_S_A_MILLION = 5.0
BYTES_A_VOXEL = 50.0
"""1.64 GB were held for two images of 256 x 256 x 256 voxels."""


def expected(
    voxels: int, modalities: Sequence[str], moved: int, choices: Mapping[str, Any] | None = None
) -> Expectation:
    """Time and memory of a fusion.

    Parameters
    ----------
    voxels : int
        Of the reference.
    modalities : sequence of str
        Of all images, the reference's first.
    moved : int
        How many frames are registered.
    choices : mapping of str to Any, optional
        As `presets.fusion_parameters` declares them.
    """
    choices, millions = choices or {}, voxels / 1e6
    motion = choices.get("motion", BY_PRESET)
    if motion == BY_PRESET:
        preset = choices.get("preset", BY_MODALITY)
        names = [preset] if preset != BY_MODALITY else _usual(modalities)
        motion = max((presets()[name].motion for name in names if name in presets()), key=_seconds, default="rigid")
    seconds = (
        moved * (RIGID_S + (RIGID_S_A_MILLION + _seconds(motion)) * millions)
        + len(modalities) * RESAMPLING_S_A_MILLION * millions
    )
    return Expectation(seconds, BYTES_A_VOXEL * voxels * max(len(modalities), 1))


def _seconds(motion: str) -> float:
    """For a million voxels, beyond what a rigid registration takes."""
    return DEFORMABLE_S_A_MILLION if motion == "deformable" else 0.0


def _usual(modalities: Sequence[str]) -> list[str]:
    """The usual presets of the reference with each other image."""
    pairs = (frozenset({modalities[0], other}) for other in modalities[1:])
    return [modality_pairs()[pair].preset for pair in pairs if pair in modality_pairs()]
