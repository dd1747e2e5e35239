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
        each as likely as not).
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
        masks, entropy = _masks(probabilities, grid)
        segmentation = _segments(model.name, model.labels, masks, grid)
        uncertainty = Image(entropy, grid, name=f"{model.name} uncertainty")
        return Labelled(segmentation, uncertainty, _volumes(model, segmentation, probabilities, volume_factors or {}))


def _looked(model: Model, images: Sequence[Image], looks: int, job: Job) -> Probabilities:
    """Mean probabilities over the looks."""
    engine = Engine(model.network, model.weights)
    parts = job.split(**{f"look_{n + 1}": 1 for n in range(looks)})
    total: Probabilities | None = None
    for number, part in enumerate(parts):
        with part:
            found = model.probabilities(
                images, engine, part, brightness=BRIGHTNESSES[number], mirrored=number % 2 == 1 and model.is_symmetric
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
