"""Margins of equal volume: an even one round the outline against the one that holds most of the predicted cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt

from TwinCore import Image, InvalidInput, Job, Table
from TwinCore.guard import check_memory
from TwinCore.units import MILLILITRE, MILLIMETRE, NO_UNIT

from .inference.ensemble import band
from .model import Anatomy, Posterior
from .plan_what_ifs import MOST_MM
from .radiotherapy import NO_TREATMENT
from .treatment import Treatment
from .tumour_growth import TumourGrowth


@dataclass(frozen=True, eq=False)
class Margins:
    """Even and model-based margins side by side.

    Parameters
    ----------
    table : Table
        A row a margin: its volume, the share of the cells beyond the outline that each covers (median and 90 %
        interval of the members), the difference, the share of members in which the model-based one covers more, and,
        where the anatomy has the tissue "recurrence", the share of its voxels that each covers.
    even, model_based : list of Image
        The regions, the tumour among them, as masks.
    """

    table: Table
    even: list[Image]
    model_based: list[Image]


def compare_margins(
    model: TumourGrowth,
    anatomy: Anatomy,
    posterior: Posterior,
    margins_mm: Sequence[float],
    day: float,
    job: Job,
    treatment: Treatment = NO_TREATMENT,
    members: int = 24,
    seed: int = 0,
) -> Margins:
    """What margins of equal volume cover of the cells that are predicted beyond the outline.

    The even margin is all tissue within a distance of the outline. The model-based one is the outline and as much of
    the tissue as the even one has, where the expected share of the cells is highest: no other region of its volume
    covers more of them on average.

    Parameters
    ----------
    model : TumourGrowth
    anatomy : Anatomy
        Also the tissue "recurrence", if a margin is to be held against one.
    posterior : Posterior
    margins_mm : sequence of float
        Above 0, at most 50 mm.
    day : float
        Of the cells, from the reference scan: 0 for those that are there unseen.
    job : Job
    treatment : Treatment
        Until that day.
    members, seed : int

    Raises
    ------
    InvalidInput
        If a margin or the day is not possible.
    """
    if not margins_mm or not all(0 < mm <= MOST_MM for mm in margins_mm) or day < 0:
        raise InvalidInput(f"Margins are above 0 and at most {MOST_MM:g} mm, at day 0 or later: {list(margins_mm)}.")
    tumour = np.asarray(anatomy.tissue("tumour")) >= 0.5
    tissue = _tissue(model, anatomy) | tumour
    check_memory(4.0 * members * np.count_nonzero(tissue), "The margins' ensemble")
    shares = np.empty((members, np.count_nonzero(tissue)), np.float32)
    times = (0.0, day) if day > 0 else (0.0,)
    for m, member in enumerate(job.each(posterior.samples(members, seed), "members of the ensemble")):
        density = model.simulate(anatomy, member, times, job, treatment).fields["density"].array
        unseen = np.where(tumour, 0.0, density)[tissue]
        shares[m] = unseen / max(float(unseen.sum(dtype=np.float64)), 1e-30)
    spacing = anatomy.grid.spacing[::-1]
    # to the outline, half-way between the voxels on its sides, as `Stages` has it
    distance = distance_transform_edt(~tumour, sampling=spacing)[tissue] - 0.5 * spacing.min()
    outlined = tumour[tissue]
    expected = shares.mean(axis=0)
    densest = np.argsort(np.where(outlined, -np.inf, -expected), kind="stable")
    recurrence = np.asarray(anatomy.tissues["recurrence"])[tissue] if "recurrence" in anatomy.tissues else None
    rows, even, chosen = [], [], []
    for margin in margins_mm:
        within = outlined | (distance <= margin)
        best = np.zeros_like(within)
        best[densest[: np.count_nonzero(within)]] = True
        rows.append(_row(margin, within, best, shares, recurrence, anatomy.grid.voxel_volume_ml))
        even.append(_mask(within, tissue, anatomy, f"even margin of {margin:g} mm"))
        chosen.append(_mask(best, tissue, anatomy, f"model-based margin, volume of {margin:g} mm"))
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    units = dict.fromkeys(columns, NO_UNIT) | {"margin": MILLIMETRE, "volume": MILLILITRE}
    return Margins(Table("Margins of equal volume", columns, units), even, chosen)


def _row(margin, within, best, shares, recurrence, voxel_ml) -> dict[str, float]:
    covered = {"even": shares[:, within].sum(axis=1), "model_based": shares[:, best].sum(axis=1)}
    covered["difference"] = covered["model_based"] - covered["even"]
    row = {"margin": float(margin), "volume": float(np.count_nonzero(within) * voxel_ml)}
    for name, values in covered.items():
        low, high = band(values, 90.0)
        row |= {name: float(np.median(values)), f"{name}_low_90": float(low), f"{name}_high_90": float(high)}
    row["probability_of_better"] = float(np.mean(covered["difference"] > 0))
    if recurrence is not None and recurrence.sum() > 0:
        for name, region in (("even", within), ("model_based", best)):
            row[f"recurrence_{name}"] = float(recurrence[region].sum() / recurrence.sum())
    return row


def _tissue(model: TumourGrowth, anatomy: Anatomy) -> np.ndarray:
    """Where the tumour can grow."""
    names = [r.name for r in model.requires() if r.kind == "segment" and r.name != "tumour" and not r.optional]
    return np.asarray(np.sum([np.asarray(anatomy.tissue(name), np.float32) for name in names], axis=0) >= 0.5)


def _mask(inside: np.ndarray, tissue: np.ndarray, anatomy: Anatomy, name: str) -> Image:
    whole = np.zeros(anatomy.grid.shape, bool)
    whole[tissue] = inside
    return Image(whole, anatomy.grid, name=name)
