"""What ensembles of the tumour growth model say: predictions with their bands, and the table of scenarios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from TwinCore import Grid, Image, Quantity, Table
from TwinCore.units import DAY, GRAY, MILLILITRE, MILLIMETRE, NO_UNIT

from .inference.ensemble import band
from .model import Curve, Estimate, Result
from .tumour_run import Ensemble

BENEFIT = 0.1
"""A scenario benefits a member if it leaves this part less viable volume than the first: less would not show."""
CURVES = {"volume": MILLILITRE, "burden": MILLILITRE, "diameter": MILLIMETRE, "reach": MILLIMETRE}

Members = Sequence[Mapping[str, float]]


def prediction(ensemble: Ensemble, members: Members, grid: Grid, error: float, control: Ensemble | None) -> Result:
    """The ensemble's fields, curves and numbers, these at its last time.

    Parameters
    ----------
    ensemble : Ensemble
    members : sequence of mapping of str to float
    grid : Grid
    error : float
        Of the grid.
    control : Ensemble, optional
        The same members untreated: "days_gained" is told if it is there.
    """
    last, name = float(ensemble.times_days[-1]), ensemble.treatment.name
    curves = {
        "volume": ensemble.volume_ml,
        "burden": ensemble.burden_ml,
        "diameter": ensemble.diameter_mm,
        "reach": ensemble.reach_mm,
    }
    numbers = {curve: Estimate.of_members(values[:, -1], CURVES[curve]) for curve, values in curves.items()}
    del numbers["burden"]
    if control is not None:
        numbers["days_gained"] = Estimate.of_members(days_gained(ensemble, control), DAY)
    return Result(
        fields={
            field: Image(array, grid, unit=NO_UNIT, time=last, name=f"{words}, {name}")
            for field, words, array in (
                ("probability", "probability of tumour", ensemble.probability),
                ("density", "mean density", ensemble.mean_density),
            )
        },
        curves={curve: Curve.of_members(ensemble.times_days, v, CURVES[curve]) for curve, v in curves.items()},
        numbers={
            **numbers,
            "minimum_volume": Estimate.of_members(ensemble.volume_ml.min(axis=1), MILLILITRE),
            "days_to_regrow": Estimate.of_members(ensemble.days_to_regrow, DAY),
            "surviving_fraction": Estimate.of_members(_survivors(ensemble, members), NO_UNIT),
            "tcp": Estimate.of_members(control_probability(ensemble.least_burden_ml, members), NO_UNIT),
            "discretisation_error": Quantity(error, NO_UNIT),
        },
    )


def control_probability(least_burden_ml: Sequence[float] | np.ndarray, members: Members) -> np.ndarray:
    """Tumour control probability of each member: Poisson, that at the least no clonogenic cell is left."""
    return np.exp(-np.array([m["clonogen_density"] for m in members]) * np.asarray(least_burden_ml))


def days_gained(treated: Ensemble, control: Ensemble) -> np.ndarray:
    """Days by which each member's volume at the last time is behind that of its untreated virtual control.

    Neal et al., PLoS ONE 8 (2013) e51951: the last day less the day on which the control is as large. A tumour smaller
    than at the start is placed before it by the control's mean radial growth, which is linear in time (Neal et al.,
    Cancer Research 73 (2013) 2976). Infinite if the control does not grow.
    """
    gained = np.full(len(treated.volume_ml), np.inf)
    for m, (volume, grown) in enumerate(zip(treated.volume_ml[:, -1], control.volume_ml)):
        times, radii, radius = control.times_days, np.maximum.accumulate(np.cbrt(grown)), np.cbrt(volume)
        speed = (radii[-1] - radii[0]) / times[-1] if times[-1] > 0 else 0.0
        if speed > 0:
            before = radius < radii[0]
            same = (radius - radii[0]) / speed if before else np.interp(radius, radii, times)
            gained[m] = times[-1] - same
    return gained


def scenario_table(ensembles: Sequence[Ensemble], members: Members) -> Table:
    """One row a scenario; differences and what is better are member by member, to the first scenario.

    BED and EQD2 are at the members' median alpha/beta; "days_to_regrow" is the median, infinite where most members have
    not regrown. "burden" is the volume that the viable cells would fill if packed to the carrying capacity: it still
    tells scenarios apart that leave nothing to see, and so does "probability_of_fewer_cells". "days_gained" needs an
    untreated scenario, and is not a number without. "tcp" is the mean over the members.
    """
    control = untreated(ensembles)
    alpha_beta = float(np.median([m["alpha_beta"] for m in members]))
    first, first_burden = ensembles[0].volume_ml[:, -1], ensembles[0].burden_ml[:, -1]
    rows = []
    for ensemble in ensembles:
        treatment, final, burden = ensemble.treatment, ensemble.volume_ml[:, -1], ensemble.burden_ml[:, -1]
        gained = np.full(len(final), np.nan) if control is None else days_gained(ensemble, control)
        rows.append(
            {
                "scenario": treatment.name,
                "dose": treatment.total_gy,
                "bed": treatment.bed_gy(alpha_beta),
                "eqd2": treatment.eqd2_gy(alpha_beta),
                **_with_band("volume", final),
                "minimum_volume": np.median(ensemble.volume_ml.min(axis=1)),
                "days_to_regrow": np.median(ensemble.days_to_regrow),
                **_with_band("burden", burden),
                **_with_band("difference", final - first),
                "probability_of_benefit": np.mean(final < (1.0 - BENEFIT) * first),
                "probability_of_fewer_cells": np.mean(burden < (1.0 - BENEFIT) * first_burden),
                **_with_band("days_gained", gained),
                "diameter": np.median(ensemble.diameter_mm[:, -1]),
                "reach": np.median(ensemble.reach_mm[:, -1]),
                "tcp": np.mean(control_probability(ensemble.least_burden_ml, members)),
                "surviving_fraction": np.median(_survivors(ensemble, members)),
            }
        )
    columns = {name: [r[name] if name == "scenario" else float(r[name]) for r in rows] for name in rows[0]}
    return Table("Scenarios", columns, {name: _unit(name) for name in columns if name != "scenario"})


def untreated(ensembles: Sequence[Ensemble]) -> Ensemble | None:
    """The ensemble of a scenario in which nothing is done: the virtual control."""
    return next((e for e in ensembles if e.treatment.is_none), None)


def _with_band(name: str, values: np.ndarray) -> dict[str, float]:
    low, high = band(values, 90.0)
    return {name: np.median(values), f"{name}_low_90": low, f"{name}_high_90": high}


def _survivors(ensemble: Ensemble, members: Members) -> np.ndarray:
    return np.array([ensemble.treatment.survival(m) for m in members])


def _unit(column: str) -> str:
    if column in ("dose", "bed", "eqd2"):
        return GRAY
    if column.startswith("days"):
        return DAY
    if column.startswith(("probability", "tcp", "surviving")):
        return NO_UNIT
    return MILLIMETRE if column in ("diameter", "reach") else MILLILITRE
