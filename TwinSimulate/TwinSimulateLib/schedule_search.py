"""The best schedule that normal tissue bears: the search over fractions, their days and the start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from TwinCore import InvalidInput, Job, MissingInput, Table, resample
from TwinCore.units import GRAY, MILLILITRE, NO_UNIT

from .fractionation import effective_sparing, tissue_bed_gy
from .inference.ensemble import band
from .model import Anatomy, Estimate, Posterior
from .radiotherapy import Schedule
from .search_space import SearchSpace
from .treatment import Combination, Treatment
from .tumour_answers import control_probability
from .tumour_growth import TumourGrowth


@dataclass(frozen=True, eq=False)
class SearchResult:
    """What a search has found.

    Parameters
    ----------
    best : Treatment
        The standard itself, if nothing is better.
    objective : Estimate
        Of the best: mL of cells at the last day or at the least, or the probability of control, over the members.
    probability_of_better : float
        Share of the members in which it is better than the standard.
    sparing : float
        That the search went by.
    table : Table
        All candidates, the best first.
    """

    best: Treatment
    objective: Estimate
    probability_of_better: float
    sparing: float
    table: Table


def search_schedule(
    model: TumourGrowth,
    anatomy: Anatomy,
    posterior: Posterior,
    space: SearchSpace,
    last_day: float,
    job: Job,
    members: int = 16,
    seed: int = 0,
) -> SearchResult:
    """The schedule of best expected outcome whose effect on normal tissue is not above that of the standard.

    Every candidate is run with the same members (an exhaustive search: the candidates are few). Without growth between
    fractions the answer is known: few large fractions if the tumour's alpha/beta is below that of the normal tissue
    over its sparing, many small ones if above (Unkelbach et al., Phys Med Biol 58 (2013) 159).

    Parameters
    ----------
    model : TumourGrowth
    anatomy : Anatomy
        For an organ at risk with its image "dose".
    posterior : Posterior
    space : SearchSpace
    last_day : float
        From the reference scan; schedules end before it.
    job : Job
    members, seed : int

    Raises
    ------
    MissingInput
        If the organ is to be looked at and there is no dose.
    InvalidInput
        If the standard does not end before the last day.
    """
    if space.standard.days[-1] >= last_day:
        raise InvalidInput(f"The standard, {space.standard.name}, must end before the last day, {last_day:g}.")
    if space.objective == "burden" and len(set(space.start_days)) > 1:
        job.warn(
            "Cells at the last day are fewer the later they were killed, for a dense tumour hardly grows meanwhile: "
            "compare starts by the nadir or by control."
        )
    sparing = space.sparing if space.organ is None else organ_sparing(anatomy, space.organ)
    schedules = space.candidates(sparing, last_day)
    treatments = [_with_others(schedule, space.others) for schedule in schedules]
    ensembles, drawn = model.ensembles(anatomy, posterior, treatments, (0.0, last_day), job, members, seed)
    burdens = np.array([e.burden_ml[:, -1] for e in ensembles])
    control = np.array([control_probability(e.least_burden_ml, drawn) for e in ensembles])
    nadirs = np.array([e.least_burden_ml for e in ensembles])
    merits = {"burden": -burdens, "nadir": -nadirs, "control": control}[space.objective]
    better = np.mean(merits > merits[0], axis=1)
    order = np.argsort(-merits.mean(axis=1), kind="stable")
    rows = [
        {
            "scenario": treatments[n].name,
            "dose_per_fraction": schedules[n].dose_gy,
            "dose": schedules[n].total_gy,
            "tissue_bed": sparing * tissue_bed_gy(schedules[n], space.alpha_beta_gy, sparing),
            **_mean_with_band("burden", burdens[n]),
            **_mean_with_band("nadir", nadirs[n]),
            **_mean_with_band("tcp", control[n]),
            "probability_of_better": better[n],
        }
        for n in order
    ]
    best = int(order[0])
    objective = Estimate.of_members(np.abs(merits[best]), NO_UNIT if space.objective == "control" else MILLILITRE)
    return SearchResult(treatments[best], objective, float(better[best]), sparing, _table(rows))


def organ_sparing(anatomy: Anatomy, organ: str) -> float:
    """The effective sparing of an organ by the anatomy's dose, whose median in the tumour is what is prescribed."""
    if "dose" not in anatomy.images:
        raise MissingInput(
            f"The sparing of {organ!r} follows from the image 'dose': the total dose of the plan, in Gy."
        )
    dose = resample(anatomy.images["dose"], anatomy.grid).array
    weights = np.asarray(anatomy.tissue(organ), float)
    prescribed = float(np.median(dose[np.asarray(anatomy.tissue("tumour")) >= 0.5]))
    if not prescribed > 0:
        raise InvalidInput("The image 'dose' is 0 in the tumour: is it of this patient, in this frame?")
    inside = weights > 0
    return effective_sparing(dose[inside] / prescribed, weights[inside])


def _with_others(schedule: Schedule, others: Sequence[Treatment]) -> Treatment:
    if not others:
        return schedule
    courses = (*others, schedule)
    return Combination(" + ".join(course.name for course in courses), courses)


def _mean_with_band(name: str, values: np.ndarray) -> dict[str, float]:
    low, high = band(values, 90.0)
    return {name: float(np.mean(values)), f"{name}_low_90": float(low), f"{name}_high_90": float(high)}


def _table(rows: Sequence[Mapping[str, float | str]]) -> Table:
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    units = dict.fromkeys([name for name in columns if name != "scenario"], NO_UNIT)
    units.update(dict.fromkeys(("dose_per_fraction", "dose", "tissue_bed"), GRAY))
    units.update(dict.fromkeys([name for name in columns if name.startswith(("burden", "nadir"))], MILLILITRE))
    return Table("Schedule search", columns, units)
