"""One registration: images of one frame onto a fixed image, as a preset says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from TwinCore import Image, InvalidInput, Job, LinearTransform, MissingInput
from TwinCore.transform import Transform

from .attention import Attention
from .landmarks import check_landmarks
from .linear import LinearResult, register_linear
from .prepared import Preparation
from .presets import BY_PRESET, MOTIONS, Preset

THINNEST = 4

Landmarks = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Found:
    """What a registration found: the move of the moving images onto the fixed one.

    Parameters
    ----------
    transform : Transform
    repeats : tuple of Transform
        The answers from other samples.
    linear : LinearResult
        Of its linear part.
    """

    transform: Transform
    repeats: tuple[Transform, ...]
    linear: LinearResult


def settle(preset: Preset, motion: str = BY_PRESET, stiffness: float = 0.0, finest_mm: float = 0.0) -> Preset:
    """The preset, with what was chosen instead; "by preset" and 0 leave it as it is."""
    if motion not in (BY_PRESET, *MOTIONS):
        raise InvalidInput(f"Motion {motion!r} is not known; there are: {', '.join(MOTIONS)}.")
    return replace(
        preset,
        motion=preset.motion if motion == BY_PRESET else motion,
        stiffness=stiffness or preset.stiffness,
        finest_mm=finest_mm or preset.finest_mm,
    )


def check_pair(
    fixed: Image, moving: Sequence[Image], preset: Preset, attention: Attention, landmarks: Landmarks | None = None
) -> None:
    """Say before anything is computed why images cannot be registered as a preset says.

    Raises
    ------
    InvalidInput
        If an image is a single slice, too thin or constant, a mask is empty or not on its image's grid, or landmarks
        are fewer than three or lie on one line; the message names the image.
    MissingInput
        If the preset needs a mask that is not given.
    """
    for image in (fixed, *moving):
        check_image(image)
        attention.check(image)
    names = [image.name for image in (fixed, *moving)]
    for needed, masks, word in (
        (preset.inside, attention.inside, "inside"),
        (preset.outside, attention.outside, "outside"),
    ):
        if needed and not any(name in masks for name in names):
            raise MissingInput(
                f"Preset {preset.name!r} needs the {needed} masked ({word}) on {' or '.join(map(repr, names))}: "
                "name the segment, or choose another preset."
            )
    if landmarks is not None:
        try:
            check_landmarks(*landmarks)
        except InvalidInput as error:
            raise InvalidInput(f"Landmarks of {names[1]!r} on {fixed.name!r}: {error}") from error


def check_image(image: Image) -> None:
    """Raise `InvalidInput` if an image is a single slice, thinner than four voxels, or constant."""
    thin = min(image.grid.shape)
    if thin == 1:
        raise InvalidInput(
            f"Image {image.name!r} is a single slice (2-D): it cannot be registered to a volume. Give the whole volume."
        )
    if thin < THINNEST:
        raise InvalidInput(f"Image {image.name!r} is only {thin} voxels thin: 3-D registration needs {THINNEST}.")
    if image.array.min() == image.array.max():
        raise InvalidInput(f"Image {image.name!r} is constant: every voxel is {image.array.flat[0]:g}.")


def check_together(reference: Image, image: Image) -> None:
    """Raise `InvalidInput` if an image that is said to be in the reference's frame lies wholly beside it."""
    for one, other in ((reference, image), (image, reference)):
        index = np.stack(np.meshgrid(*(np.linspace(0, n - 1, 17) for n in one.grid.shape[::-1])), -1)
        ijk = other.grid.to_ijk(one.grid.to_ras(index))
        if ((ijk >= -0.5) & (ijk <= np.array(other.grid.shape[::-1]) - 0.5)).all(-1).any():
            return
    apart = np.linalg.norm(reference.grid.centre - image.grid.centre)
    raise InvalidInput(
        f"Image {image.name!r} is said to share the frame of {reference.name!r}, but lies wholly beside it "
        f"(their centres are {apart:.0f} mm apart): give it a frame of its own, so that it is registered."
    )


def register(
    fixed: Image,
    moving: Sequence[Image],
    preset: Preset,
    attention: Attention | None = None,
    landmarks: Landmarks | None = None,
    start: LinearTransform | None = None,
    seed: int = 0,
    job: Job | None = None,
    preparation: Preparation | None = None,
) -> Found:
    """Register images of one frame onto a fixed image.

    What is compared are the images harmonised as the preset says, within what the scanners saw; those given stay as
    they are.

    >>> found = register(ct, [mr], choose_preset(ct, [mr]))          # doctest: +SKIP
    >>> resample(mr, ct.grid, found.transform)                       # doctest: +SKIP

    Parameters
    ----------
    fixed : Image
    moving : sequence of Image
        All are compared at once; a deformation looks at the first only.
    preset : Preset
    attention : Attention, optional
    landmarks : pair of arrays, shape (n, 3), optional
        RAS points of the fixed and of the moving images that belong together.
    start : LinearTransform, optional
        Where to begin; all poses are tried without it.
    seed : int
    job : Job, optional
    preparation : Preparation, optional
        What was harmonised for other registrations already.

    Raises
    ------
    InvalidInput, MissingInput
        As `check_pair`; or if the masks leave nothing of what the scanner saw.
    """
    job, attention, preparation = job or Job(), attention or Attention(), preparation or Preparation()
    check_pair(fixed, moving, preset, attention, landmarks)
    deforms = preset.motion == "deformable"
    rest = {"deformation": 3.0} if deforms else {}
    before, first, *second = job.split(preparation=0.3, alignment=1, **rest)
    with before:
        (fixed, *moving), attention = preparation.compared([fixed, *moving], preset, attention, before)
    fixed_mask, moving_masks = attention.mask(fixed), [attention.mask(image) for image in moving]
    with first:
        linear = register_linear(
            fixed,
            moving,
            "rigid" if deforms else preset.motion,
            focus=[attention.weight(image) for image in moving],
            fixed_mask=fixed_mask,
            moving_masks=moving_masks,
            landmarks=landmarks,
            start=start,
            seed=seed,
            job=first,
        )
    if not deforms:
        return Found(linear.transform, linear.repeats, linear)
    from .deformable import register_deformable

    with second[0] as part:
        bent = register_deformable(
            fixed,
            moving[0],
            linear.transform,
            fixed_mask=fixed_mask,
            moving_mask=moving_masks[0],
            stiffness=preset.stiffness,
            finest_mm=preset.finest_mm,
            job=part,
        )
    repeats = tuple(repeat.then(bent.transform) for repeat in linear.repeats)
    return Found(linear.transform.then(bent.transform), repeats, linear)
