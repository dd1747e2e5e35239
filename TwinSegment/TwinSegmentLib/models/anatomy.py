"""A patient's images through a model: labels on their grid, how sure they are, and volumes with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from TwinCore import Grid, Image, InvalidInput, Job, Segmentation, Table

from ..networks.engine import Engine
from ..networks.model import Label, Model
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
        Entropy of the class probabilities, from 0 (certain) to 1 (all classes equally likely, or, where they overlap,
        each as likely as not); none from a program that gives labels alone.
    volumes : Table
        Of each segment: its volume, and the ends of the 90 % interval, in mL; NaN where the model was never calibrated.
    """

    segmentation: Segmentation
    uncertainty: Image | None
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
        return decided(model.name, model.labels, probabilities, grid, volume_factors or {})


def decided(
    name: str, labels: Sequence[Label], probabilities: Probabilities, grid: Grid, factors: Mapping[str, float]
) -> Labelled:
    """What follows from a model's probabilities: see `label` for the name, labels and factors of it.

    Raises
    ------
    InvalidInput
        If all is background.
    """
    masks, entropy = _masks(probabilities, grid)
    segmentation = _segments(name, labels, masks, grid)
    uncertainty = Image(entropy, grid, name=f"{name} uncertainty")
    numbers = [next(n for n, one in enumerate(labels) if one.name == found) for found in segmentation.names]
    reach = np.array([factors.get(found, np.nan) for found in segmentation.names]) * probabilities.doubtful_ml[numbers]
    return Labelled(segmentation, uncertainty, _volumes(name, segmentation, reach))


def volumes_without_interval(name: str, segmentation: Segmentation) -> Table:
    """Volumes by a program that gives labels alone: how far they can be trusted is not known."""
    return _volumes(name, segmentation, np.full(len(segmentation.names), np.nan))


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


def _masks(probabilities: Probabilities, grid: Grid) -> tuple[dict[int, np.ndarray], np.ndarray]:
    """Masks of the classes that there are, by number and without the background, and the entropy."""
    if probabilities.overlapping:
        each, entropy = probabilities.masks_onto(grid)
        return {n: mask for n, mask in enumerate(each) if mask.any()}, entropy
    labels, entropy = probabilities.onto(grid)
    present = np.flatnonzero(np.bincount(labels.ravel()))
    return {int(n): labels == n for n in present if n}, entropy


def _segments(name: str, labels: Sequence[Label], masks: Mapping[int, np.ndarray], grid: Grid) -> Segmentation:
    """Segments of the classes that a model found."""
    if not masks:
        raise InvalidInput(f"Model {name!r} finds nothing in the image: it shows something else, or is turned.")
    codes = {labels[n].name: code for n in masks if (code := labels[n].code)}
    colours = {labels[n].name: labels[n].colour for n in masks}
    return Segmentation.from_masks(grid, {labels[n].name: mask for n, mask in masks.items()}, codes, colours)


def _volumes(name: str, segmentation: Segmentation, reach_ml: np.ndarray) -> Table:
    """Ends of the volumes' intervals, which reach that far to either side: the doubtful volume times a factor."""
    volume = np.array([segmentation.volume_ml(one) for one in segmentation.names])
    columns: dict[str, list] = {
        "segment": segmentation.names,
        "volume, low": list(map(float, np.maximum(volume - reach_ml, 0))),
        "volume, high": list(map(float, volume + reach_ml)),
    }
    return Table(f"{name} volumes", columns, {column: "mL" for column in columns if column != "segment"})
