"""What labelled scans are worth beside made images: one plan, trained on each and on both, judged on other scans."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from TwinCore import Image, InvalidInput, Job, Table

from .generator import Sample, Scans, read_recipe
from .label_map_training import Labelled, Plan, Stage, trained
from .models.load import WEIGHTS
from .networks.weights import save_weights
from .training import validated

SOURCES = ("synthetic", "real", "real and synthetic")
"""What a network is trained on: images made of label maps, scans, or half of each."""

START = "start"
"""The weights that all three begin with, where such are given, as they are."""


def compare_sources(
    label_maps: Sequence[Image],
    scans: Sequence[Labelled],
    held_out: Sequence[Labelled],
    folder: str | Path,
    plan: Plan,
    start: dict[str, np.ndarray] | None = None,
    job: Job | None = None,
) -> Table:
    """Train one network on made images, one on scans and one on both, with the same steps and seed.

    Parameters
    ----------
    label_maps : sequence of Image
    scans : sequence of pairs of Image
        Scans and their label maps that are learnt from.
    held_out : sequence of pairs of Image
        Others, which all three are judged on as they are.
    folder : path
        For the state, the curve and the weights of each; a comparison that has begun there is taken up.
    plan : Plan
    start : dict of str to array, optional
        Plain weights that all three begin with.
    job : Job, optional

    Returns
    -------
    Table
        Dice of each class that the held-out scans show, by what was trained on, and first that of the `start` if there
        is one; last the mean.

    Raises
    ------
    InvalidInput
        If there is nothing to learn from or to be judged on, or a label map does not fit the recipe.
    """
    if not (label_maps and scans and held_out):
        raise InvalidInput("A comparison needs label maps, scans to learn from, and other scans to be judged on.")
    job, folder, recipe = job or Job(), Path(folder), read_recipe(plan.recipe)

    def tested_on(stage: Stage) -> list[Sample]:
        others = Scans(recipe, held_out, stage.shape, stage.spacing_mm)
        return [others.plain(which) for which in range(len(held_out))]

    network, judged_on = plan.network(recipe), tested_on(plan.stages[-1])
    found = {} if start is None else {START: validated(network, start, recipe.classes, judged_on)}
    for source, part in zip(SOURCES, job.split(**{source.replace(" ", "_"): 1 for source in SOURCES})):
        with part:
            maps = () if source == "real" else label_maps
            some = () if source == "synthetic" else scans
            own = folder / source.replace(" ", "_")
            weights = trained(plan, recipe, maps, some, tested_on, own, start, part)
            save_weights(weights, own / WEIGHTS)
            found[source] = validated(network, weights, recipe.classes, judged_on)
    names = list(found[SOURCES[0]])  # the classes that the held-out scans show: the same for all
    columns: dict[str, list] = {"class": [*names, "mean"]}
    for source, dice in found.items():
        columns[source] = [*(dice[name] for name in names), float(np.mean([dice[name] for name in names]))]
    return Table("Dice on held-out scans", columns, dict.fromkeys(found, "1"))
