"""What a simulation should take, before it starts: voxels times steps of its runs, at a measured rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from TwinCore.expectation import Expectation

BYTES_A_VOXEL = 64.0
"""Tissues, cover, distance and density of a run, and the answer on the anatomy's grid."""
SECONDS_A_RUN = 0.02
SECONDS_A_VOXEL_STEP = 2.1e-9
SECONDS_A_VOXEL_STOP = 11e-9
"""Of a run of any size, of a step of time, and of a day on which something is done or seen: on two cores, measured for
ensembles of 27 runs on tumours of 7 to 360 mL, over 60 to 180 days."""
STOPS = 45
"""Days of output, and usual fractions."""
WIDER = 2.0
"""How much more an ensemble's runs take than the one at its default values, for some spread faster."""
SECONDS_A_RESPONSE = 0.025
"""Of one member's response to one plan, whose voxels are in histograms by then."""
USUAL_ML = 15.0
"""Of a tumour whose volume is not known."""


@dataclass(frozen=True)
class Work:
    """How much is asked: runs, treatments, days ahead (0 of a model that follows nothing over time), parameters, and
    the seconds before the first run."""

    members: int
    scenarios: int
    horizon_days: float
    values: Mapping[str, float]
    first_s: float = 0.0


def expected(work: Work, voxels: int, body_ml: float, tumour_ml: float | None = None) -> Expectation:
    """Time and memory of a prediction.

    Parameters
    ----------
    work : Work
    voxels : int
        Of the anatomy.
    body_ml : float
        Volume of the anatomy's grid, which no run leaves.
    tumour_ml : float, optional
    """
    memory = BYTES_A_VOXEL * voxels
    runs = work.members * work.scenarios
    diffusivity, rate = work.values.get("diffusivity"), work.values.get("proliferation_rate")
    if not work.horizon_days or not diffusivity or not rate:
        return Expectation(runs * SECONDS_A_RESPONSE, memory)
    radius_mm = (3000.0 * (tumour_ml or USUAL_ML) / (4.0 * math.pi)) ** (1 / 3)
    width = math.sqrt(diffusivity / rate)
    spacing = min(max(width / 0.7, 0.5), 2.0, max(radius_mm / 5.0, 0.5))
    way = 5.0 * math.sqrt(diffusivity * rate / 6.0) * work.horizon_days + 3.0 * math.sqrt(6.0) * width + 2.0
    box_ml = min((2.0 * (radius_mm + way)) ** 3 / 1000.0, body_ml or math.inf)
    steps = work.horizon_days / min(0.9 * spacing**2 / (6.0 * diffusivity), 0.5 / rate)
    one = 1000.0 * box_ml / spacing**3 * (steps * SECONDS_A_VOXEL_STEP + STOPS * SECONDS_A_VOXEL_STOP)
    return Expectation(work.first_s + runs * (SECONDS_A_RUN + WIDER * one), memory)
