"""`Network`: what a convolutional network computes, as a list of operations, apart from what computes it.

One description serves training (torch) and inference (OpenVINO, or torch), and weights hold nothing but numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from TwinCore import InvalidInput

OPERATIONS = ("conv", "norm", "shift", "pool", "grow", "join")
"""Convolution; instance normalisation; a bias; halving by maxima; doubling by repetition; channels side by side."""

NORM_EPSILON = 1e-5

LOCAL, WITHIN_A_NORM = 1.0, 0.25
"""Share by which a window may differ from the one trained with: of a network in which a voxel's score depends on its
surroundings alone, whatever the window, and of one that normalises over the window."""

ACTIVATIONS = ("none", "relu", "elu", "gelu")


@dataclass(frozen=True)
class Step:
    """One operation.

    Parameters
    ----------
    name : str
        Of its result, and of its weights: "<name>.weight" of a convolution, "<name>.bias" where there is one.
    operation : str
        One of `OPERATIONS`.
    inputs : tuple of str
        Names of earlier results; "image" is the network's input.
    channels : int
        Of its result.
    kernel, dilation : int
        Of a convolution, which is padded with zeros so that the size stays.
    activation : str
        One of `ACTIVATIONS`, after the operation.
    biased : bool
        Whether a convolution adds a bias; one before a normalisation would be lost.
    """

    name: str
    operation: str
    inputs: tuple[str, ...]
    channels: int
    kernel: int = 3
    dilation: int = 1
    activation: str = "none"
    biased: bool = True

    @property
    def has_bias(self) -> bool:
        return self.operation == "shift" or (self.operation == "conv" and self.biased)


@dataclass(frozen=True, eq=False)
class Network:
    """The steps of a network, from `channels` of input to the scores of its classes.

    Parameters
    ----------
    channels : int
    steps : tuple of Step
        The last one's result are the scores.
    multiple : int
        The input's size along each axis must be a multiple of this.

    Raises
    ------
    InvalidInput
        If a step is not known or refers to a result that does not exist.
    """

    channels: int
    steps: tuple[Step, ...]
    multiple: int = 1
    sizes: Mapping[str, int] = field(init=False)

    def __post_init__(self):
        sizes = {"image": self.channels}
        for step in self.steps:
            if step.operation not in OPERATIONS or step.activation not in ACTIVATIONS:
                raise InvalidInput(f"Network step {step.name!r}: {step.operation} with {step.activation} is not known.")
            missing = [name for name in step.inputs if name not in sizes]
            if missing:
                raise InvalidInput(f"Network step {step.name!r} needs {', '.join(missing)}, which no step made.")
            sizes[step.name] = step.channels
        object.__setattr__(self, "sizes", sizes)

    @property
    def classes(self) -> int:
        return self.steps[-1].channels

    @property
    def window_freedom(self) -> float:
        """Share by which a window may be longer than the one that it was trained with."""
        return WITHIN_A_NORM if any(step.operation == "norm" for step in self.steps) else LOCAL

    @property
    def values_a_voxel(self) -> int:
        """About how many values a voxel of the input the widest step holds at once."""
        return max(sum(self.sizes[name] for name in (*step.inputs, step.name)) for step in self.steps)

    @property
    def convolutions(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.operation == "conv")

    def weight_shape(self, step: Step) -> tuple[int, ...]:
        """Shape (out, in, k, k, k) of a convolution's weight."""
        return (step.channels, self.sizes[step.inputs[0]], *[step.kernel] * 3)

    def check(self, weights: Mapping[str, np.ndarray]) -> None:
        """Raise `InvalidInput` if weights are missing, too many, of another shape, or not finite."""
        expected: dict[str, tuple[int, ...]] = {}
        expected.update({f"{step.name}.weight": self.weight_shape(step) for step in self.convolutions})
        expected.update({f"{step.name}.bias": (step.channels,) for step in self.steps if step.has_bias})
        if set(weights) != set(expected):
            odd = sorted(set(weights) ^ set(expected))
            raise InvalidInput(f"The weights do not belong to the network: {', '.join(odd[:5])}.")
        for name, shape in expected.items():
            if weights[name].shape != shape:
                raise InvalidInput(f"Weight {name!r} has shape {weights[name].shape}, and the network needs {shape}.")
            if not np.isfinite(weights[name]).all():
                raise InvalidInput(f"Weight {name!r} holds values that are not finite.")


def unet(classes: int, widths: Sequence[int], channels: int = 1) -> Network:
    """A U-shaped network (Ronneberger and others 2015), light at the input's resolution.

    Results are normalised over the whole input, which is therefore to be shown at once and not in windows.
    """
    steps: list[Step] = []

    def conv(name: str, source: str, width: int, kernel: int = 3) -> str:
        steps.append(Step(name, "conv", (source,), width, kernel=kernel, biased=False))
        steps.append(Step(f"{name}.norm", "norm", (name,), width))
        steps.append(Step(f"{name}.shift", "shift", (f"{name}.norm",), width, activation="relu"))
        return f"{name}.shift"

    last = conv("down0.1", "image", widths[0])
    skips = [last]
    for level, width in enumerate(widths[1:], 1):
        steps.append(Step(f"pool{level}", "pool", (last,), widths[level - 1]))
        last = conv(f"down{level}.2", conv(f"down{level}.1", f"pool{level}", width), width)
        skips.append(last)
    for level in range(len(widths) - 2, -1, -1):
        width = widths[level]
        steps.append(Step(f"grow{level}", "grow", (conv(f"narrow{level}", last, width, kernel=1),), width))
        steps.append(Step(f"join{level}", "join", (f"grow{level}", skips[level]), 2 * width))
        last = conv(f"up{level}.1", f"join{level}", width)
        last = conv(f"up{level}.2", last, width) if level else last
    steps.append(Step("scores", "conv", (last,), classes, kernel=1))
    return Network(channels, tuple(steps), 2 ** (len(widths) - 1))


def meshnet(
    classes: int,
    filters: int,
    dilations: Sequence[int],
    activation: str = "relu",
    channels: int = 1,
) -> Network:
    """A chain of dilated convolutions at full resolution (Fedorov and others 2017, arXiv:1612.00940)."""
    steps, last = [], "image"
    for number, dilation in enumerate(dilations):
        name = f"conv{number}"
        steps.append(Step(name, "conv", (last,), filters, dilation=dilation, activation=activation))
        last = name
    steps.append(Step("scores", "conv", (last,), classes, kernel=1))
    return Network(channels, tuple(steps))
