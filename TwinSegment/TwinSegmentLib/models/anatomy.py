"""A patient's images through a model: labels on their grid, how sure they are, and volumes with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from TwinCore import Grid, Image, InvalidInput, Job, Segmentation, Table

from ..networks.engine import Engine
from ..networks.model import Model
from ..networks.probabilities import Probabilities

BRIGHTNESSES = (1.0, 0.8, 1.25, 0.9, 1.12)
"""Powers to which brightness is raised when a model looks again, in this order."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """What a model found.

    Parameters
    ----------
    segmentation : Segmentation
        Its classes, without the background and those of which there is nothing.
    uncertainty : Image
        Entropy of the class probabilities, from 0 (certain) to 1 (all classes equally likely).
    volumes : Table
        Of each segment: its volume, and the ends of the 90 % interval, in mL; NaN where the model was never calibrated.
    """

    segmentation: Segmentation
    uncertainty: Image
    volumes: Table


def label(
    model: Model,
    images: Sequence[Image],
    grid: Grid | None = None,
    *,
    looks: int = 1,
    volume_factors: Mapping[str, float] | None = None,
    job: Job | None = None,
) -> Labelled:
    """Segment images with a model.

    >>> found = label(load_model(find_model("meshnet-model18cls")), [t1])            # doctest: +SKIP
    >>> found.segmentation.volume_ml("hippocampus")                     # doctest: +SKIP

    Parameters
    ----------
    model : Model
    images : sequence of Image
        One a channel of the model, in one frame.
    grid : Grid, optional
        Of the answer; the first image's if none.
    looks : int
        How often the model looks, each time at other brightness and the second time mirrored, if its classes allow;
        probabilities are averaged, so that what depends on such changes shows as uncertain.
    volume_factors : dict of str to float, optional
        By class, how many times its doubtful volume the interval reaches to either side; see `calibration`.
    job : Job, optional

    Returns
    -------
    Labelled

    Raises
    ------
    InvalidInput
        If the images do not suit the model, or it finds nothing in them.
    MissingPackage
        If no engine for networks is installed.
    """
    if not 1 <= looks <= len(BRIGHTNESSES):
        raise InvalidInput(f"A model looks 1 to {len(BRIGHTNESSES)} times, not {looks}.")
    job, grid = job or Job(), grid or images[0].grid
    running, deciding = job.split(network=8 * looks, labels=2)
    with running:
        probabilities = _looked(model, images, looks, running)
    with deciding:
        labels, entropy = probabilities.onto(grid)
        segmentation = _segmentation(model, labels, grid)
        uncertainty = Image(entropy, grid, name=f"{model.name} uncertainty")
        return Labelled(segmentation, uncertainty, _volumes(model, segmentation, probabilities, volume_factors or {}))


def _looked(model: Model, images: Sequence[Image], looks: int, job: Job) -> Probabilities:
    """Mean probabilities over the looks."""
    engine = Engine(model.network, model.weights)
    searching, *parts = job.split(field_of_view=2, **{f"look_{n + 1}": 1 for n in range(looks)})
    with searching:
        grid = model.field_of_view(images, engine, searching)
    total: Probabilities | None = None
    for number, part in enumerate(parts):
        with part:
            mirrored = number % 2 == 1 and model.is_symmetric
            found = model.probabilities(
                images, engine, part, grid=grid, brightness=BRIGHTNESSES[number], mirrored=mirrored
            )
        if total is None:
            total = found
        else:
            total.array[...] += found.array
    assert total is not None
    if looks > 1:
        total.array[...] /= looks
    return total


def _segmentation(model: Model, labels: np.ndarray, grid: Grid) -> Segmentation:
    counts = np.bincount(labels.ravel(), minlength=len(model.labels))
    present = [(n, one) for n, one in enumerate(model.labels) if n and counts[n]]
    if not present:
        raise InvalidInput(f"Model {model.name!r} finds nothing in the image: it shows something else, or is turned.")
    codes = {one.name: one.code for _, one in present if one.code}
    colours = {one.name: one.colour for _, one in present}
    return Segmentation.from_masks(grid, {one.name: labels == n for n, one in present}, codes, colours)


def _volumes(
    model: Model, segmentation: Segmentation, probabilities: Probabilities, factors: Mapping[str, float]
) -> Table:
    """Volumes; the interval is the doubtful volume times the class's factor to either side."""
    names = segmentation.names
    numbers = [next(n for n, one in enumerate(model.labels) if one.name == name) for name in names]
    reach = np.array([factors.get(name, np.nan) for name in names]) * probabilities.doubtful_ml[numbers]
    volume = np.array([segmentation.volume_ml(name) for name in names])
    columns: dict[str, list] = {
        "segment": names,
        "volume, low": list(map(float, np.maximum(volume - reach, 0))),
        "volume, high": list(map(float, volume + reach)),
    }
    return Table(f"{model.name} volumes", columns, {name: "mL" for name in columns if name != "segment"})
