"""The verdict on a registration: good, check or failed, with its reasons in words."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from .quality import Quality

WORDS = {
    "nmi": "the images explain each other little (NMI {0:.3f})",
    "z_score": "the images match hardly better than at poses 5 to 60 mm away (z = {0:.1f})",
    "local_z": "the images match hardly better than at poses 3 to 8 mm away (z = {0:.1f})",
    "drift_mm": "the best match nearby lies {0:.1f} mm away",
    "consistency_mm": "registered anew from starts 15 mm away, the images end {0:.1f} mm from here",
    "mirrored": "the image fits nearly as well when mirrored left to right ({0:.0%} of the gain)",
    "residual_mm": "parts of the image match best {0:.1f} mm from where they lie",
    "deficit": "parts of the image match better elsewhere (at {0:.0%} of the way from their best match to chance)",
    "explained": "part by part, one image explains only {0:.0%} of the other",
    "edges": "edges do not lie on edges (agreement {0:.2f}; 0.33 is chance)",
    "edge_gain": "edges fit hardly better than 12 mm away (gain {0:.2f})",
    "overlap": "only {0:.0%} of the moved image lies inside the fixed one",
    "body_overlap": "the outlines of the bodies disagree (overlap {0:.2f})",
    "inverse_consistency_mm": "the way there and back ends {0:.1f} mm off",
    "jacobian_min": "the deformation squeezes tissue to {0:.2f} of its volume",
    "folding": "the deformation folds in {0:.2%} of its voxels",
    "landmark_error_mm": "landmarks that belong together are {0:.1f} mm apart",
    "spread_mm": "repeated runs differ by up to {0:.1f} mm",
    "runner_up": "a clearly different pose matches nearly as well ({0:.0%} of the gain)",
}
"""What each figure says when it speaks against a registration."""

TELLING = 0.7
"""A figure is a reason from this much added to the logarithm of the odds, compared with usual good registrations."""


@dataclass(frozen=True)
class Verdict:
    """How far a registration can be trusted.

    Parameters
    ----------
    grade : {"good", "check", "failed"}
    reasons : tuple of str
        What speaks against it, in words; empty when it is good.
    probability : float
        Estimated probability that its mean error is above 5 mm.
    """

    grade: str
    reasons: tuple[str, ...]
    probability: float = float("nan")

    def __str__(self) -> str:
        return self.grade if not self.reasons else f"{self.grade}: {'; '.join(self.reasons)}"


@cache
def model() -> dict[str, Any]:
    """The calibrated model (verdict.json): weights of the figures, limits, and where they come from."""
    return json.loads(resources.files(__package__).joinpath("verdict.json").read_text("utf-8"))


def judge(quality: Quality) -> Verdict:
    """Judge a registration by its figures.

    A logistic model, calibrated on registrations of known error (docs/verdict.md), gives the probability that the mean
    error is above 5 mm; figures in mm or of folding that need no calibration have limits of their own. A worse figure
    never gives a better verdict; a figure that is not known counts neither way.

    Parameters
    ----------
    quality : Quality
    """
    if math.isnan(quality.nmi):
        share = f": {WORDS['overlap'].format(quality.overlap)}" if quality.overlap < 0.5 else ""
        return Verdict("failed", (f"the images hardly show anything in common{share}",), 1.0)
    against = contributions(quality)
    probability = 1 / (1 + math.exp(-(model()["intercept"] + sum(against.values()))))
    grade = (
        "failed"
        if probability > model()["failed_above"]
        else "check"
        if probability > model()["check_above"]
        else "good"
    )
    reasons = _reasons(quality, against) if grade != "good" else []
    for name, limit in model()["limits"].items():
        value, sign = getattr(quality, name), 1 if limit["worse"] == "above" else -1
        if sign * value > sign * limit["check"]:  # never so where it is nan
            beyond = "failed" if sign * value > sign * limit["failed"] else "check"
            grade = max(grade, beyond, key=("good", "check", "failed").index)
            probability = max(probability, model()[f"{beyond}_above"])
            reasons.insert(0, WORDS[name].format(value))
    return Verdict(grade, tuple(dict.fromkeys(reasons)), probability)


def contributions(quality: Quality) -> dict[str, float]:
    """What each figure adds to the logarithm of the odds of failure, by comparison with usual good registrations.

    Each group of pairs is compared with its like.
    """
    added = {}
    for name, feature in model()["features"].items():
        value = getattr(quality, name)
        if not math.isnan(value):
            held = min(max(value, feature["lowest"]), feature["highest"])
            added[name] = feature["weight"] * (held - feature["usual"][quality.group]) / feature["scale"]
    return added


def _reasons(quality: Quality, against: dict[str, float]) -> list[str]:
    """The telling figures in words, the worst first; at least one."""
    worst_first = sorted(against, key=lambda name: -against[name])
    telling = [name for name in worst_first if against[name] >= TELLING] or worst_first[:1]
    return [WORDS[name].format(getattr(quality, name)) for name in telling[:4]]
