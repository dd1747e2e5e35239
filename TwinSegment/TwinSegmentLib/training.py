"""Training a network on synthetic images, in pieces: it can be stopped at any time and taken up again."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from TwinCore import InvalidInput, Job

from .generator import Sample
from .networks.graph import Network
from .networks.openvino_engine import quick_in_bfloat16
from .networks.torch_engine import TorchNetwork, TrainableNetwork

CHECKPOINT = "checkpoint.pt"
CURVE = "curve.jsonl"
AHEAD = 3
"""Images made while others are learnt from."""


@dataclass(frozen=True)
class Schedule:
    """How a training goes.

    Parameters
    ----------
    steps : int
        Images shown in all.
    rate : float
        Learning rate, reached after `warm_up` steps; over the last steps it falls to nothing.
    warm_up : int
    fall : float
        Share of the steps over which it falls.
    decay : float
        Weight decay of AdamW on the filters' directions, which keeps them turning: they are free of size, and without
        it each step would turn them less than the last one (Kosson and others 2024, arXiv:2305.17212).
    memory : float
        Share of the running mean of the weights that a step leaves; the mean is what is used.
    every : int
        Steps between two validations, which are also when the state is saved.
    seed : int
    """

    steps: int = 5000
    rate: float = 1e-2
    warm_up: int = 100
    fall: float = 0.25
    decay: float = 0.05
    memory: float = 0.99
    every: int = 200
    seed: int = 0

    def rate_at(self, step: int) -> float:
        if step < self.warm_up:
            return self.rate * (step + 1) / self.warm_up
        return self.rate * min((self.steps - step) / (self.fall * self.steps), 1.0)


@dataclass(frozen=True)
class Point:
    """One validation: after so many steps, the mean loss since the last one, and the Dice of each class."""

    step: int
    loss: float
    dice: dict[str, float]

    @property
    def mean_dice(self) -> float:
        return float(np.mean(list(self.dice.values()))) if self.dice else math.nan


def train(
    network: Network,
    classes: Sequence[str],
    make: Callable[[Sequence[int]], Sample],
    held_out: Sequence[Sample],
    folder: str | Path,
    schedule: Schedule | None = None,
    *,
    start: dict[str, np.ndarray] | None = None,
    until: int | None = None,
    job: Job | None = None,
) -> dict[str, np.ndarray]:
    """Train a network on images that are made as they are needed.

    Parameters
    ----------
    network : Network
    classes : sequence of str
        Names of the classes, background first.
    make : callable
        From a seed, a sequence of ints, to a `Sample`.
    held_out : sequence of Sample
        What the network is validated on.
    folder : path
        Where the state and the learning curve are kept; a training that has begun there is taken up.
    schedule : Schedule, optional
    start : dict of str to array, optional
        Plain weights to begin with, if no training has begun in the folder.
    until : int, optional
        Step at which to pause; to the end of the schedule if none.
    job : Job, optional
        Cancelling it loses no more than the steps since the last validation.

    Returns
    -------
    dict of str to array
        The plain weights of the running mean.

    Raises
    ------
    InvalidInput
        If the folder holds a training of another network or schedule.
    """
    schedule, job, folder = schedule or Schedule(), job or Job(), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = _State(network, schedule, start)
    if (folder / CHECKPOINT).exists():
        state.load(folder / CHECKPOINT)
    last = schedule.steps if until is None else min(until, schedule.steps)
    losses: list[float] = []
    so_far = ""
    with _ahead(make, schedule.seed, range(state.step, last)) as samples:
        for sample in samples:
            job.report(state.step / last, f"step {state.step} of {last}{so_far}")
            losses.append(state.learn(sample))
            if state.step % schedule.every == 0 or state.step == last:
                dice = validated(network, state.mean.weights(), classes, held_out)
                point = Point(state.step, float(np.mean(losses)), dice)
                with open(folder / CURVE, "a", encoding="utf-8") as curve:
                    curve.write(json.dumps(asdict(point)) + "\n")
                state.save(folder / CHECKPOINT)
                so_far = f", Dice {point.mean_dice:.3f} after {state.step}"
                losses = []
    return state.mean.weights()


def validated(
    network: Network, weights: dict[str, np.ndarray], classes: Sequence[str], samples: Sequence[Sample]
) -> dict[str, float]:
    """Mean Dice of each class but the background, over the samples that show it."""
    model = TorchNetwork(network, weights)
    scores: dict[str, list[float]] = {name: [] for name in classes[1:]}
    with torch.no_grad():
        for sample in samples:
            found = model(_tensor(sample.image)).argmax(1)[0].numpy()
            for number, name in enumerate(classes[1:], 1):
                truth, guess = sample.classes == number, found == number
                if truth.any():
                    scores[name].append(2.0 * (truth & guess).sum() / (truth.sum() + guess.sum()))
    return {name: float(np.mean(values)) for name, values in scores.items() if values}


def loss_of(scores: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Cross-entropy plus one minus the soft Dice of the classes that are there.

    Parameters
    ----------
    scores : tensor, shape (1, count, k, j, i)
    classes : tensor of int64, shape (k, j, i)
        The true class of each voxel.
    """
    count, flat = scores.shape[1], classes.flatten()
    log_share = functional.log_softmax(scores, 1).reshape(count, -1)
    of_truth = log_share.gather(0, flat[None])[0]
    truth = torch.bincount(flat, minlength=count).to(scores.dtype)
    both = torch.zeros_like(truth).index_add(0, flat, of_truth.exp())
    claimed = log_share.exp().sum(1)
    present = truth > 0
    dice = (2 * both[present] + 1) / (truth[present] + claimed[present] + 1)
    return (1 - dice.mean()) - of_truth.mean()


class _State:
    """A network that is trained, the running mean of its weights, and its optimiser."""

    def __init__(self, network: Network, schedule: Schedule, start: dict[str, np.ndarray] | None):
        self.network, self.schedule, self.step = network, schedule, 0
        self.in_bfloat16 = quick_in_bfloat16()
        self.model = TrainableNetwork(network, schedule.seed)
        if start is not None:
            self.model.adopt(start)
        self.mean = TrainableNetwork(network, schedule.seed)
        self.mean.load_state_dict(self.model.state_dict())
        others = [*self.model.gains.parameters(), *self.model.biases.parameters()]
        groups = [
            {"params": list(self.model.directions.parameters()), "weight_decay": schedule.decay},
            {"params": others, "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=schedule.rate)

    def learn(self, sample: Sample) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = self.schedule.rate_at(self.step)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.in_bfloat16):
            scores = self.model(_tensor(sample.image))
        loss = loss_of(scores.float(), torch.from_numpy(sample.classes.astype(np.int64)))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        share = min(self.schedule.memory, self.step / (self.step + 10))
        with torch.no_grad():
            for mean, value in zip(self.mean.parameters(), self.model.parameters()):
                mean.lerp_(value, 1 - share)
        return float(loss.detach())

    def save(self, path: Path) -> None:
        state = {
            "step": self.step,
            "schedule": asdict(self.schedule),
            "model": self.model.state_dict(),
            "mean": self.mean.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        fresh = path.with_suffix(".new")
        torch.save(state, fresh)
        fresh.replace(path)

    def load(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        if state["schedule"] != asdict(self.schedule):
            raise InvalidInput(f"{path} belongs to a training of another schedule: {state['schedule']}.")
        try:
            self.model.load_state_dict(state["model"])
            self.mean.load_state_dict(state["mean"])
        except RuntimeError as error:
            raise InvalidInput(f"{path} belongs to a training of another network.") from error
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]


class _ahead:
    """Samples of the seeds of steps, made on another thread while the last one is learnt from."""

    def __init__(self, make: Callable[[Sequence[int]], Sample], seed: int, steps: range):
        self._make, self._seed, self._steps = make, seed, steps

    def __enter__(self) -> Iterator[Sample]:
        self._pool = ThreadPoolExecutor(1)
        return self._samples()

    def _samples(self) -> Iterator[Sample]:
        seeds = iter(self._steps)
        waiting = [self._pool.submit(self._make, (self._seed, s)) for _, s in zip(range(AHEAD), seeds)]
        while waiting:
            sample = waiting.pop(0).result()
            waiting += [self._pool.submit(self._make, (self._seed, s)) for _, s in zip(range(1), seeds)]
            yield sample

    def __exit__(self, *_) -> None:
        self._pool.shutdown(cancel_futures=True)


def _tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image, np.float32))[None, None]
