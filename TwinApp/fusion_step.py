"""The fusion that a case asks for, as the step that does it."""

from __future__ import annotations

import numpy as np

from TwinCore import MissingInput
from TwinFusionLib.step import FrameChoice, FusionStep

from .case_file import FrameEntry
from .loading import LoadedCase


def fusion_step(loaded: LoadedCase) -> FusionStep:
    """The step, checked.

    Raises
    ------
    MissingInput
        If a segment that it names is outlined on no image that it could serve.
    InvalidInput
        If what was chosen is not possible.
    """
    asked = loaded.case.fusion
    step = FusionStep(
        frames=loaded.frames,
        focus=_masks(loaded, asked.focus, "focus"),
        inside=_masks(loaded, asked.inside, "inside"),
        outside=_masks(loaded, asked.outside, "outside"),
        region_ras_mm=asked.region_ras_mm,
        preset=asked.preset,
        motion=asked.motion,
        start=asked.start,
        stiffness=asked.stiffness,
        finest_mm=asked.finest_mm,
        spacing_mm=asked.spacing_mm,
        seed=asked.seed,
        choices={entry.name: _choice(entry) for entry in asked.frame},
        stack=asked.stack,
    )
    step.check()
    return step


def _masks(loaded: LoadedCase, segment: str | None, use: str) -> dict[str, np.ndarray]:
    """A segment on every image of the frames in which it is outlined; the focus is one of the moving images."""
    if segment is None:
        return {}
    still = loaded.frames[loaded.case.reference.name]
    masks = {n: m for n, m in loaded.masks(segment).items() if use != "focus" or loaded.frames[n] != still}
    if not masks:
        where = "any image to be moved" if use == "focus" else "any image"
        raise MissingInput(f"fusion.{use} names the segment {segment!r}, which is not outlined on {where}.")
    return masks


def _choice(entry: FrameEntry) -> FrameChoice:
    landmarks = None
    if entry.landmarks_ras_mm is not None:
        landmarks = np.array(entry.landmarks_reference_ras_mm, float), np.array(entry.landmarks_ras_mm, float)
    return FrameChoice(entry.preset, entry.motion, landmarks, entry.start)
