"""What a simulation should take, by what an earlier one on the same twin has taken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from TwinCore.expectation import Expectation

BYTES_A_VOXEL = 64.0
"""Tissues, cover, distance and density of a run, and the answer on the anatomy's grid."""


def expected(
    records: Iterable[Mapping[str, Any]],
    voxels: int,
    model: str,
    members: int,
    scenarios: int,
    horizon_days: float = 1.0,
) -> Expectation:
    """Time and memory of a prediction; the time is not known before the first one on a twin.

    Parameters
    ----------
    records : iterable of mapping
        Provenance of the twin's runs, the newest first.
    voxels : int
        Of the anatomy.
    model : str
    members, scenarios : int
        Runs, and treatments under which each is run.
    horizon_days : float
    """
    memory = BYTES_A_VOXEL * voxels
    for record in records:
        before = record.get("parameters", {})
        if before.get("model") == model and before.get("scenarios"):
            work = before["members"] * len(before["scenarios"]) * before.get("horizon_days", 1.0)
            return Expectation(record["seconds"] * members * scenarios * horizon_days / work, memory)
    return Expectation(None, memory)
