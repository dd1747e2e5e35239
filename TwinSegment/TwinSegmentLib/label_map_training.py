"""From label maps, and labelled scans where there are any, to the weights of a network: what is trained, on what, and
how far it can be trusted."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from TwinCore import Image, InvalidInput, Job

from .generator import Mixture, Recipe, Sample, Scans, Synthesiser, read_recipe
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

Labelled = tuple[Image, Image]
"""A scan and its label map."""


@dataclass(frozen=True)
class Stage:
    """Images of one size along k, j, i and one spacing, shown up to a step."""

    shape: tuple[int, int, int]
    spacing_mm: float
    until: int


@dataclass(frozen=True)
class Plan:
    """What is trained.

    Parameters
    ----------
    stages : tuple of Stage
        Coarse images first, which are learnt from quickly; the last one's spacing is that of the network's use.
    recipe : str
        Of the label maps.
    widths : tuple of int
        Channels of the network's levels, from the images' resolution on.
    schedule : Schedule
    """

    stages: tuple[Stage, ...]
    recipe: str = "brain"
    widths: tuple[int, ...] = (16, 32, 64, 96, 96)
    schedule: Schedule = field(default_factory=Schedule)

    @classmethod
    def coarse_to_fine(cls, steps: int, seed: int = 0, every: int = 250, recipe: str = "brain") -> Plan:
        """Heads at 4, 3 and 2 mm, in one field of view: most steps at the coarse spacings, most time at the fine one.

        Parameters
        ----------
        steps, seed, every : int
            Of the `Schedule`.
        recipe : str
        """
        coarse, middle = round(0.42 * steps), round(0.74 * steps)
        stages = (
            Stage((48, 64, 48), 4.0, coarse),
            Stage((64, 80, 64), 3.0, middle),
            Stage((96, 112, 96), 2.0, steps),
        )
        return cls(stages, recipe, schedule=Schedule(steps=steps, seed=seed, every=every))

    @classmethod
    def refining(cls, steps: int, seed: int = 0, every: int = 250, recipe: str = "brain") -> Plan:
        """Heads at 2 mm alone, for weights that are good already: a lower rate, which falls nearly from the start."""
        schedule = Schedule(steps=steps, rate=4e-3, fall=0.8, seed=seed, every=every)
        return cls((Stage((96, 112, 96), 2.0, steps),), recipe, schedule=schedule)

    def network(self, recipe: Recipe) -> Network:
        return unet(len(recipe.classes), self.widths)


def train_on_label_maps(
    label_maps: Sequence[Image],
    held_out: Sequence[Image],
    folder: str | Path,
    plan: Plan,
    *,
    scans: Sequence[Labelled] = (),
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
    plan : Plan
    scans : sequence of pairs of Image
        Scans and their label maps, of which half of the images are made.
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
    job, folder = job or Job(), Path(folder)
    recipe = read_recipe(plan.recipe)
    network = plan.network(recipe)

    def tested_on(stage: Stage) -> list[Sample]:
        return held_out_samples(recipe, held_out, stage)

    weights = trained(plan, recipe, label_maps, scans, tested_on, folder, start, job)
    path = save_weights(weights, folder / WEIGHTS)
    found = calibrated(network, load_weights(path), recipe, held_out, plan.stages[-1], job)
    (folder / CALIBRATION).write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    return path


def trained(
    plan: Plan,
    recipe: Recipe,
    label_maps: Sequence[Image],
    scans: Sequence[Labelled],
    tested_on: Callable[[Stage], Sequence[Sample]],
    folder: Path,
    start: dict[str, np.ndarray] | None = None,
    job: Job | None = None,
) -> dict[str, np.ndarray]:
    """The plain weights after all stages of a plan, on images of label maps, of labelled scans, or of both."""
    network = plan.network(recipe)
    if any(size % network.multiple for stage in plan.stages for size in stage.shape):
        raise InvalidInput(f"The sizes of the images must be multiples of {network.multiple} voxels.")
    weights: dict[str, np.ndarray] = {}
    for stage in plan.stages:
        make, samples = _source(recipe, label_maps, scans, stage), tested_on(stage)
        weights = train(
            network, recipe.classes, make, samples, folder, plan.schedule, start=start, until=stage.until, job=job
        )
    return weights


def _source(
    recipe: Recipe, label_maps: Sequence[Image], scans: Sequence[Labelled], stage: Stage
) -> Callable[..., Sample]:
    """Images of a stage, from a seed."""
    if not scans:
        return Synthesiser(recipe, label_maps, stage.shape, stage.spacing_mm)
    real = Scans(recipe, scans, stage.shape, stage.spacing_mm)
    return Mixture(Synthesiser(recipe, label_maps, stage.shape, stage.spacing_mm), real) if label_maps else real


def calibrated(
    network: Network,
    weights: dict[str, np.ndarray],
    recipe: Recipe,
    held_out: Sequence[Image],
    stage: Stage,
    job: Job | None = None,
) -> dict[str, Any]:
    """Temperature and reach of volume intervals on images of label maps that were not learnt from, and what they do.

    Half of the images fit, the other half tells the expected calibration error without and with the temperature, and
    how often the intervals hold the true volume.
    """
    job, engine = job or Job(), Engine(network, weights)
    make = Synthesiser(recipe, held_out, stage.shape, stage.spacing_mm)
    voxel_ml = stage.spacing_mm**3 / 1000

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


def held_out_samples(recipe: Recipe, label_maps: Sequence[Image], stage: Stage) -> list[Sample]:
    """For each label map one image of each usual contrast."""
    samples = []
    for number, label_map in enumerate(label_maps):
        for kind in HELD_OUT_KINDS:
            make = Synthesiser(recipe, [label_map], stage.shape, stage.spacing_mm, {kind: 1.0})
            samples.append(make((1, number)))
    return samples
