"""From label maps to the weights of a network: what is trained, on what, and how far it can be trusted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from TwinCore import Image, InvalidInput, Job

from .generator import Recipe, Sample, Synthesiser, read_recipe
from .models.calibration import calibrate, image_calibration_error, volume_errors
from .models.load import WEIGHTS
from .networks.engine import Engine
from .networks.graph import Network, unet
from .networks.weights import load_weights, save_weights
from .training import Schedule, train

CALIBRATION = "calibration.json"
CALIBRATED_ON = 32
"""Images for the calibration, and as many again to see what it does."""

HELD_OUT_KINDS = ("T1", "T2", "FLAIR", "CT")
HELD_OUT_SHAPE = (96, 112, 96)


@dataclass(frozen=True)
class Plan:
    """What is trained.

    Parameters
    ----------
    recipe : str
        Of the label maps.
    spacing_mm : float
        Of the images shown.
    widths : tuple of int
        Channels of the network's levels, from the images' resolution on.
    shapes : tuple of (tuple of int, int)
        Size of the images shown along k, j, i, in voxels, and the step up to which it is used.
    schedule : Schedule
    """

    recipe: str = "brain"
    spacing_mm: float = 2.0
    widths: tuple[int, ...] = (16, 32, 64, 96, 96)
    shapes: tuple[tuple[tuple[int, int, int], int], ...] = ((HELD_OUT_SHAPE, 5000),)
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=5000))

    def network(self, recipe: Recipe) -> Network:
        return unet(len(recipe.classes), self.widths)


def train_on_label_maps(
    label_maps: Sequence[Image],
    held_out: Sequence[Image],
    folder: str | Path,
    plan: Plan | None = None,
    *,
    start: dict[str, np.ndarray] | None = None,
    job: Job | None = None,
) -> Path:
    """Train a network on images made of label maps; taken up where it stopped if the folder holds a beginning.

    Parameters
    ----------
    label_maps : sequence of Image
    held_out : sequence of Image
        Label maps that are only validated on.
    folder : path
        For the state, the learning curve and, at the end, the weights.
    plan : Plan, optional
    start : dict of str to array, optional
        Weights to begin with.
    job : Job, optional

    Returns
    -------
    Path
        The file of the weights: half-precision safetensors. Beside it lie the learning curve and the calibration.

    Raises
    ------
    InvalidInput
        If a label map does not fit the recipe, or the sizes do not fit the network.
    """
    plan, job, folder = plan or Plan(), job or Job(), Path(folder)
    recipe = read_recipe(plan.recipe)
    network = plan.network(recipe)
    if any(size % network.multiple for shape, _ in plan.shapes for size in shape):
        raise InvalidInput(f"The sizes of the images must be multiples of {network.multiple} voxels.")
    samples = held_out_samples(recipe, held_out, plan.spacing_mm)
    weights: dict[str, np.ndarray] = {}
    for shape, until in plan.shapes:
        make = Synthesiser(recipe, label_maps, shape, plan.spacing_mm)
        weights = train(
            network, recipe.classes, make, samples, folder, plan.schedule, start=start, until=until, job=job
        )
    path = save_weights(weights, folder / WEIGHTS)
    found = calibrated(network, load_weights(path), recipe, held_out, plan.spacing_mm, job)
    (folder / CALIBRATION).write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    return path


def calibrated(
    network: Network,
    weights: dict[str, np.ndarray],
    recipe: Recipe,
    held_out: Sequence[Image],
    spacing_mm: float,
    job: Job | None = None,
) -> dict[str, Any]:
    """Temperature and reach of volume intervals on images of label maps that were not learnt from, and what they do.

    Half of the images fit, the other half tells the expected calibration error without and with the temperature, and
    how often the intervals hold the true volume.
    """
    job, engine = job or Job(), Engine(network, weights)
    make = Synthesiser(recipe, held_out, HELD_OUT_SHAPE, spacing_mm)
    voxel_ml = spacing_mm**3 / 1000

    def scores(image: np.ndarray) -> np.ndarray:
        job.checkpoint()
        return engine(image[None]).transpose(1, 2, 3, 0).copy()

    fit = calibrate(scores, (make((2, n)) for n in range(CALIBRATED_ON)), recipe.classes, voxel_ml)
    held: list[bool] = []
    errors: dict[str, list[float]] = {"without": [], "with": []}
    for number in range(CALIBRATED_ON):
        sample = make((3, number))
        found = scores(sample.image)
        for name, temperature in (("without", 1.0), ("with", fit.temperature)):
            errors[name].append(image_calibration_error(found, sample.classes, temperature))
        for name, error, doubt in volume_errors(found, sample.classes, recipe.classes, fit.temperature, voxel_ml):
            if name in fit.volume_factors:
                held.append(abs(error) <= fit.volume_factors[name] * doubt)
    return {
        "temperature": round(fit.temperature, 3),
        "expected_calibration_error": {name: round(float(np.mean(values)), 4) for name, values in errors.items()},
        "intervals_that_hold": round(float(np.mean(held)), 3),
        "volume_factors": {name: round(factor, 2) for name, factor in fit.volume_factors.items()},
    }


def held_out_samples(recipe: Recipe, label_maps: Sequence[Image], spacing_mm: float) -> list[Sample]:
    """For each label map one image of each usual contrast."""
    samples = []
    for number, label_map in enumerate(label_maps):
        for kind in HELD_OUT_KINDS:
            make = Synthesiser(recipe, [label_map], HELD_OUT_SHAPE, spacing_mm, {kind: 1.0})
            samples.append(make((1, number)))
    return samples
