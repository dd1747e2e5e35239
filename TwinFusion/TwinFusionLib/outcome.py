"""What a fusion found, frame by frame, and what is reported of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from TwinCore import Grid, Image, Job, Quantity, Table
from TwinCore.transform import Transform

from .groups import Link
from .presets import Preset
from .registration import Found
from .verdict import Verdict, judge

GRADES = ("good", "check", "failed")


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
    verdict : Verdict
        On this registration and those that it rests on.
    """

    link: Link
    preset: Preset
    found: Found
    transform: Transform
    repeats: tuple[Transform, ...]
    verdict: Verdict

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
    def judged(cls, link: Link, preset: Preset, found: Found, onto: Registration | None, job: Job) -> Registration:
        """A registration with its verdict; what rests on a doubtful one is no better than that.

        `onto` is the registration of the fixed image's own frame, None if that is the reference's.
        """
        from types import SimpleNamespace

        verdict = judge(
            SimpleNamespace(z_score=9.0, **vars(found.linear)),
            max(float(i.grid.spacing.max()) for i in (link.fixed, *link.moving)),
        )
        if onto is None:
            return cls(link, preset, found, found.transform, found.repeats, verdict)
        transform = found.transform.then(onto.transform)
        repeats = tuple(a.then(b) for a, b in zip(found.repeats, onto.repeats))
        return cls(link, preset, found, transform, repeats, _resting_on(onto, verdict))

    def uncertainty(self, grid: Grid) -> Image:
        """Where the answers from other samples disagree: a map in mm, on a grid of the reference frame."""
        points = grid.to_ras(np.moveaxis(np.indices(grid.shape)[::-1], 0, -1))
        seen = np.stack([transform.pull(points) for transform in self.repeats])
        spread = np.sqrt(((seen - seen.mean(0)) ** 2).sum(-1).sum(0) / (len(seen) - 1))
        return Image(spread.astype(np.float32), grid, unit="mm", name=f"{self.frame} uncertainty")


def _resting_on(onto: Registration, verdict: Verdict) -> Verdict:
    if onto.verdict.grade == "good":
        return verdict
    grade = max(verdict.grade, onto.verdict.grade, key=GRADES.index)
    return Verdict(
        grade, (*verdict.reasons, f"it rests on the registration of {onto.frame}, graded {onto.verdict.grade}")
    )


def worst(registrations: Sequence[Registration]) -> Registration:
    """The one with the worst verdict, the first of equals."""
    return max(registrations, key=lambda r: GRADES.index(r.verdict.grade))


def fusion_results(registrations: Sequence[Registration]) -> dict[str, Quantity | str]:
    """What is reported of the registrations: the way, the worst verdict with its reasons, and what it rests on."""
    if not registrations:
        return {"verdict": "good"}
    shown = worst(registrations)
    linear = shown.found.linear
    return {
        "verdict": shown.verdict.grade,
        "verdict_reasons": "; ".join(shown.verdict.reasons),
        "registration_way": "; ".join(r.way for r in registrations),
        "registration_nmi_before": Quantity(linear.nmi_before, "1"),
        "registration_nmi": Quantity(linear.nmi, "1"),
        "registration_overlap": Quantity(linear.overlap, "1"),
        "registration_spread_mm": Quantity(linear.spread_mm, "mm"),
    }


def registration_table(registrations: Sequence[Registration]) -> Table:
    """One row a registration: what, how, its verdict and the figures behind it."""
    columns: dict[str, list] = {
        "frame": [r.frame for r in registrations],
        "way": [r.way for r in registrations],
        "verdict": [r.verdict.grade for r in registrations],
        "reasons": ["; ".join(r.verdict.reasons) for r in registrations],
        "nmi_before": [r.found.linear.nmi_before for r in registrations],
        "nmi": [r.found.linear.nmi for r in registrations],
        "overlap": [r.found.linear.overlap for r in registrations],
        "spread_mm": [r.found.linear.spread_mm for r in registrations],
    }
    return Table("Registrations", columns, {"nmi_before": "1", "nmi": "1", "overlap": "1", "spread_mm": "mm"})
