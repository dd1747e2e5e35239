"""What a fusion found, frame by frame, and what is reported of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from TwinCore import Grid, Image, Job, Quantity, Table
from TwinCore.transform import Transform

from .attention import Attention
from .groups import Link
from .presets import Preset
from .quality import Quality, assess
from .quality_fields import uncertainty_map
from .registration import Found, Landmarks
from .verdict import Verdict, judge

GRADES = ("good", "check", "failed")
FIGURES = {
    "nmi_before": "1",
    "nmi": "1",
    "overlap": "1",
    "spread_mm": "mm",
    "z_score": "1",
    "residual_mm": "mm",
    "consistency_mm": "mm",
    "body_overlap": "1",
}
"""The figures of a registration that are reported, with their units."""


@dataclass(frozen=True, eq=False)
class Registration:
    """How one frame of images was brought into the reference frame.

    Parameters
    ----------
    link : Link
        What was registered to what.
    preset : Preset
        How, with what was chosen instead of the preset's own.
    found : Found
        The move onto the frame of the fixed image.
    transform : Transform
        The move into the reference's frame: the same, or by way of other frames.
    repeats : tuple of Transform
        The same by answers from other samples.
    quality : Quality
        The figures that the verdict is on.
    verdict : Verdict
        On this registration and those that it rests on.
    notes : tuple of str
        What was done to the images before they were compared.
    """

    link: Link
    preset: Preset
    found: Found
    transform: Transform
    repeats: tuple[Transform, ...]
    quality: Quality
    verdict: Verdict
    notes: tuple[str, ...] = ()

    @property
    def frame(self) -> str:
        return self.link.frame

    @property
    def images(self) -> tuple[str, ...]:
        """Names of all images that are moved."""
        return self.link.carried

    @property
    def way(self) -> str:
        """In words, what was registered to what and how."""
        moving = " and ".join(image.name for image in self.link.moving)
        carried = [name for name in self.images if name not in {image.name for image in self.link.moving}]
        along = f", carrying {' and '.join(carried)}" if carried else ""
        return f"{moving} to {self.link.fixed.name} ({self.preset.name}, {self.preset.motion}){along}"

    @classmethod
    def judged(
        cls,
        link: Link,
        preset: Preset,
        found: Found,
        onto: Registration | None,
        attention: Attention,
        landmarks: Landmarks | None = None,
        seed: int = 0,
        job: Job | None = None,
    ) -> Registration:
        """A registration with its verdict; what rests on a doubtful one is no better than that.

        Of several moving images the one that tells most of the fixed image is judged. `onto` is the registration of the
        fixed image's own frame, None if that is the reference's.
        """
        assessed = [
            assess(
                link.fixed,
                image,
                found.transform,
                repeats=found.repeats,
                fixed_mask=attention.mask(link.fixed),
                moving_mask=_regarded(attention, image),
                landmarks=landmarks,
                linear=found.linear,
                seed=seed,
                job=job,
            )
            for image in link.moving
        ]
        quality = max(assessed, key=lambda q: (q.nmi == q.nmi, q.nmi))
        verdict = judge(quality)
        if onto is None:
            return cls(link, preset, found, found.transform, found.repeats, quality, verdict)
        transform = found.transform.then(onto.transform)
        repeats = tuple(a.then(b) for a, b in zip(found.repeats, onto.repeats))
        return cls(link, preset, found, transform, repeats, quality, _resting_on(onto, verdict))

    def uncertainty(self, grid: Grid) -> Image:
        """Where the answers from other samples disagree: a map in mm, on a grid of the reference frame."""
        image = uncertainty_map(self.repeats, grid)
        return image.with_array(image.array, name=f"{self.frame} uncertainty")


def _regarded(attention: Attention, image: Image) -> np.ndarray | None:
    """The part of a moving image that is judged: what is compared, near the focus where there is one."""
    mask, weight = attention.mask(image), attention.weight(image)
    if weight is None or (mask is not None and not (mask & weight).any()):
        return mask
    return weight if mask is None else mask & weight


def _resting_on(onto: Registration, verdict: Verdict) -> Verdict:
    if onto.verdict.grade == "good":
        return verdict
    grade = max(verdict.grade, onto.verdict.grade, key=GRADES.index)
    return Verdict(
        grade,
        (*verdict.reasons, f"it rests on the registration of {onto.frame}, graded {onto.verdict.grade}"),
        max(verdict.probability, onto.verdict.probability),
    )


def worst(registrations: Sequence[Registration]) -> Registration:
    """The one with the worst verdict, the first of equals."""
    return max(registrations, key=lambda r: GRADES.index(r.verdict.grade))


def fusion_results(registrations: Sequence[Registration]) -> dict[str, Quantity | str]:
    """What is reported of the registrations: the way, the worst verdict with its reasons, and what it rests on."""
    if not registrations:
        return {"verdict": "good"}
    shown = worst(registrations)
    return {
        "verdict": shown.verdict.grade,
        "verdict_reasons": "; ".join(shown.verdict.reasons),
        "registration_way": "; ".join(r.way for r in registrations),
        "registration_failure_probability": Quantity(shown.verdict.probability, "1"),
        **{f"registration_{name}": Quantity(getattr(shown.quality, name), unit) for name, unit in FIGURES.items()},
    }


def registration_table(registrations: Sequence[Registration]) -> Table:
    """One row a registration: what, how, its verdict and the figures behind it."""
    columns: dict[str, list] = {
        "frame": [r.frame for r in registrations],
        "way": [r.way for r in registrations],
        "verdict": [r.verdict.grade for r in registrations],
        "reasons": ["; ".join(r.verdict.reasons) for r in registrations],
        "prepared": [" ".join(r.notes) for r in registrations],
        "failure_probability": [r.verdict.probability for r in registrations],
        **{name: [getattr(r.quality, name) for r in registrations] for name in FIGURES},
    }
    return Table("Registrations", columns, {"failure_probability": "1", **FIGURES})
