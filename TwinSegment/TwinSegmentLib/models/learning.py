"""Learning from a correction: the last layers of a network of ours are fitted to one patient's corrected labels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from TwinCore import Image, InvalidInput, Job, Segmentation
from TwinCore.segmentation import carry_mask

from ..networks.graph import Network, Step
from ..networks.model import Model, brightened
from ..networks.torch_engine import TorchNetwork, TrainableNetwork
from ..networks.weights import save_weights
from ..training import loss_of
from .anatomy import BRIGHTNESSES
from .catalogue import CATALOGUE, NAME, Entry, cache_folder, read_catalogue
from .load import WEIGHTS

STEPS, RATE, LOOKS = 40, 3e-3, 3
LAST = 2
"""Convolutions that learn: they say what is made of features that stay as they are."""


def learn(
    model: Model,
    images: Sequence[Image],
    truth: Segmentation,
    *,
    steps: int = STEPS,
    job: Job | None = None,
) -> dict[str, np.ndarray]:
    """Weights that have seen a patient's corrected labels.

    The features that the network sees in the images, at several brightnesses, are found once; then its last two
    convolutions learn which classes they mean. Classes of which the truth has no segment are taken to be as the network
    finds them.

    Parameters
    ----------
    model : Model
        A network of ours, whose classes exclude one another.
    images : sequence of Image
        One a channel of the model.
    truth : Segmentation
        Segments with the names of the model's labels: all that there is of each of them.
    steps : int
    job : Job, optional

    Returns
    -------
    dict of str to array
        All weights of the network, new.

    Raises
    ------
    InvalidInput
        If the network is not ours, or no segment has the name of a label.
    """
    if not isinstance(model.network, Network) or model.overlapping:
        raise InvalidInput(f"Model {model.name!r} cannot learn: only networks of one's own training can.")
    job = job or Job()
    front, last = split(model.network, LAST)
    seeing, fitting = job.split(features=1, learning=2)
    with seeing:
        grid = model.field_of_view(images, job=seeing)
        values, _ = model.inputs(images, grid)
        seen = TorchNetwork(front, _of(model.weights, front))
        with torch.no_grad():
            shown = [brightened(values, power) for power in BRIGHTNESSES[:LOOKS]]
            features = [seen(torch.from_numpy(one)[None]) for one in seeing.each(shown)]
    weights = _of(model.weights, last)
    with torch.no_grad():
        found = TorchNetwork(last, weights)(features[0]).argmax(1)[0].numpy()
    classes = torch.from_numpy(_classes(model, truth, grid, found))
    with fitting:
        learnt = _fitted(last, weights, features, classes, steps, fitting)
    return {**model.weights, **learnt}


def split(network: Network, last: int) -> tuple[Network, Network]:
    """The first part of a network, up to one result on which alone the rest depends, and the rest: its last layers."""
    steps = network.steps
    begin = [n for n, step in enumerate(steps) if step.operation == "conv"][-last]
    source, made = steps[begin].inputs[0], {step.name for step in steps[begin:]}
    if any(name not in made | {source} for step in steps[begin:] for name in step.inputs):
        raise InvalidInput("The network's last layers see several of its earlier results: they cannot learn alone.")

    def renamed(step: Step) -> Step:
        return replace(step, inputs=tuple("image" if name == source else name for name in step.inputs))

    end = 1 + next(n for n, step in enumerate(steps) if step.name == source)
    rest = Network(network.sizes[source], tuple(map(renamed, steps[begin:])))
    return Network(network.channels, steps[:end], network.multiple), rest


def _of(weights: Mapping[str, np.ndarray], network: Network) -> dict[str, np.ndarray]:
    """The weights that belong to a part of a network."""
    names = {step.name for step in network.steps}
    return {name: value for name, value in weights.items() if name.rpartition(".")[0] in names}


def _classes(model: Model, truth: Segmentation, grid, found: np.ndarray) -> np.ndarray:
    """Class numbers (k, j, i) on the network's grid: as the truth has them, and as found where it says nothing."""
    numbers = {one.name: n for n, one in enumerate(model.labels)}
    told = [name for name in truth.names if numbers.get(name)]
    if not told:
        raise InvalidInput(
            f"No segment has the name of a label of model {model.name!r}: {', '.join(list(numbers)[1:])}."
        )
    classes = np.where(np.isin(found, [numbers[name] for name in told]), 0, found).astype(np.int64)
    for name in told:
        classes[carry_mask(truth.mask(name), truth.grid, grid)] = numbers[name]
    return classes


def _fitted(
    network: Network,
    weights: Mapping[str, np.ndarray],
    features: Sequence[torch.Tensor],
    classes: torch.Tensor,
    steps: int,
    job: Job,
) -> dict[str, np.ndarray]:
    last = TrainableNetwork(network)
    last.adopt(weights)
    optimiser = torch.optim.Adam(last.parameters(), lr=RATE)
    for step in job.each(range(steps)):
        for group in optimiser.param_groups:
            group["lr"] = RATE * (1 - step / steps)
        loss = loss_of(last(features[step % len(features)]), classes)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    return last.weights()


def keep(entry: Entry, name: str, weights: Mapping[str, np.ndarray]) -> Path:
    """Add what was learnt to the user's own catalogue, as a model of a new name; one of that name there is replaced.

    Raises
    ------
    InvalidInput
        If the name is one of the project's models or cannot be a name, or the entry is not of kind "own".
    """
    if entry.kind != "own":
        raise InvalidInput(f"Model {entry.name!r} cannot learn: only networks of one's own training can.")
    if not NAME.match(name):
        raise InvalidInput(f"A model's name is of small letters, digits, dots and hyphens, not {name!r}.")
    own = cache_folder() / CATALOGUE
    rows = [dict(e.settings) for e in read_catalogue(own).values()] if own.is_file() else []
    if name in read_catalogue() and name not in {row["name"] for row in rows}:
        raise InvalidInput(f"{name!r} is the name of a model of the project; choose another.")
    row = {**entry.settings, "name": name, "title": f"{entry.title}, learnt from corrections", "source": entry.name}
    row["limits"] = f"{entry.limits} It has learnt from corrections that nobody has validated.".strip()
    row.pop("volume_factors", None)
    folder = cache_folder() / name
    folder.mkdir(parents=True, exist_ok=True)
    path = save_weights(weights, folder / WEIGHTS)
    fresh = own.with_suffix(".new")
    fresh.write_text(json.dumps([r for r in rows if r["name"] != name] + [row], indent=1) + "\n", "utf-8")
    fresh.replace(own)
    return path
