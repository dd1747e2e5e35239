"""What ensembles of the tumour growth model say: predictions with their bands, and the table of scenarios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from TwinCore import Grid, Image, Quantity, Table
from TwinCore.units import DAY, GRAY, MILLILITRE, NO_UNIT

from .inference.ensemble import band
from .model import Curve, Estimate, Result
from .tumour_run import Ensemble

BENEFIT = 0.1
"""A scenario benefits a member if it leaves this part less viable volume than the first: less would not show."""


def prediction(ensemble: Ensemble, members: Sequence[Mapping[str, float]], grid: Grid, error: float) -> Result:
    """The ensemble's fields, curves and numbers, these at its last time; `error` is that of the grid."""
    last = float(ensemble.times_days[-1])
    survivors = np.array([ensemble.schedule.survival(m["alpha"], m["alpha_beta"]) for m in members])
    return Result(
        fields={
            "probability": Image(
                ensemble.probability,
                grid,
                unit=NO_UNIT,
                time=last,
                name=f"probability of tumour, {ensemble.schedule.name}",
            ),
            "density": Image(
                ensemble.mean_density, grid, unit=NO_UNIT, time=last, name=f"mean density, {ensemble.schedule.name}"
            ),
        },
        curves={
            "volume": Curve.of_members(ensemble.times_days, ensemble.volume_ml, MILLILITRE),
            "burden": Curve.of_members(ensemble.times_days, ensemble.burden_ml, MILLILITRE),
        },
        numbers={
            "volume": Estimate.of_members(ensemble.volume_ml[:, -1], MILLILITRE),
            "minimum_volume": Estimate.of_members(ensemble.volume_ml.min(axis=1), MILLILITRE),
            "days_to_regrow": Estimate.of_members(ensemble.days_to_regrow, DAY),
            "surviving_fraction": Estimate.of_members(survivors, NO_UNIT),
            "discretisation_error": Quantity(error, NO_UNIT),
        },
    )


def scenario_table(ensembles: Sequence[Ensemble], members: Sequence[Mapping[str, float]]) -> Table:
    """One row a scenario; differences and benefit are member by member, to the first scenario.

    BED and EQD2 are at the members' median alpha/beta; "days_to_regrow" is the median, infinite where most members have
    not regrown. "burden" is the volume that the viable cells would fill if packed to the carrying capacity: it still
    tells scenarios apart that leave nothing to see.
    """
    alpha_beta = float(np.median([m["alpha_beta"] for m in members]))
    first = ensembles[0].volume_ml[:, -1]
    rows = []
    for ensemble in ensembles:
        schedule, final = ensemble.schedule, ensemble.volume_ml[:, -1]
        low, high = band(final, 90.0)
        burden_low, burden_high = band(ensemble.burden_ml[:, -1], 90.0)
        difference_low, difference_high = band(final - first, 90.0)
        rows.append(
            {
                "scenario": schedule.name,
                "dose": schedule.total_gy,
                "bed": schedule.bed_gy(alpha_beta),
                "eqd2": schedule.eqd2_gy(alpha_beta),
                "volume": np.median(final),
                "volume_low_90": low,
                "volume_high_90": high,
                "minimum_volume": np.median(ensemble.volume_ml.min(axis=1)),
                "days_to_regrow": np.median(ensemble.days_to_regrow),
                "burden": np.median(ensemble.burden_ml[:, -1]),
                "burden_low_90": burden_low,
                "burden_high_90": burden_high,
                "difference": np.median(final - first),
                "difference_low_90": difference_low,
                "difference_high_90": difference_high,
                "probability_of_benefit": np.mean(final < (1.0 - BENEFIT) * first),
            }
        )
    units = {"dose": GRAY, "bed": GRAY, "eqd2": GRAY, "days_to_regrow": DAY, "probability_of_benefit": NO_UNIT}
    columns = {name: [r[name] if name == "scenario" else float(r[name]) for r in rows] for name in rows[0]}
    return Table("Scenarios", columns, {name: units.get(name, MILLILITRE) for name in columns if name != "scenario"})
