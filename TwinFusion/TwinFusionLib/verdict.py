"""The verdict on a registration: good, check or failed, with its reasons in words."""

from __future__ import annotations

from dataclasses import dataclass

from .rigid import RigidResult

LEAST_Z_SCORE = 1.0
LEAST_OVERLAP = 0.3
AMBIGUOUS = 0.97


@dataclass(frozen=True)
class Verdict:
    """How far a registration can be trusted.

    Parameters
    ----------
    grade : {"good", "check", "failed"}
    reasons : tuple of str
        What speaks against it, in words; empty when it is good.
    """

    grade: str
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return self.grade if not self.reasons else f"{self.grade}: {'; '.join(self.reasons)}"


def judge(result: RigidResult, voxel_mm: float) -> Verdict:
    """Judge a rigid registration by its repeatability, its distinctness and its overlap.

    The limits are set by reasoning, not yet calibrated on registrations of known error: "good" means that nothing
    speaks against the pose, not that its error is known.

    Parameters
    ----------
    result : RigidResult
    voxel_mm : float
        Largest voxel edge of the two images: a disagreement below it cannot be told from sampling.
    """
    failures, doubts = [], []
    if result.z_score < LEAST_Z_SCORE:
        failures.append(f"the images match hardly better than at poses 20 to 60 mm away (z = {result.z_score:.1f})")
    if result.overlap < LEAST_OVERLAP:
        failures.append(f"only {result.overlap:.0%} of the moved image lies inside the fixed one")
    if result.spread_mm > voxel_mm:
        doubts.append(
            f"repeated runs differ by up to {result.spread_mm:.1f} mm at the region's edge (voxel {voxel_mm:.1f} mm)"
        )
    if result.runner_up > AMBIGUOUS:
        doubts.append(f"a clearly different pose matches nearly as well ({result.runner_up:.0%} of the gain)")
    grade = "failed" if failures else "check" if doubts else "good"
    return Verdict(grade, tuple(failures + doubts))
