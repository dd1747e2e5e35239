"""`Model`: a network with what it needs to be used: how images are shown to it, and what its classes are called."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from TwinCore import Grid, Image, InvalidInput, Job, resample
from TwinCore.guard import available_memory, check_memory

from .engine import Engine
from .graph import Network
from .label import Label
from .module_network import ModuleNetwork
from .onnx_network import OnnxNetwork
from .probabilities import Probabilities, sigmoid, softmax
from .windows import fitted_windows, windowed

AIR = {"CT": -1000.0}
BODY_SHARE = 0.05
"""What is above the least brightness by this share of its range counts as body: windows without any are skipped."""

ONE_SIDED = ("left", "right", "spleen", "liver", "gallbladder", "stomach", "pancreas", "colon", "heart", "aorta")
"""Words in the name of what is on one side of the body, or is not the same in a mirror."""

BYTES_A_VALUE = 4
LEAST_WINDOW = 32

AT_ONCE = 2
"""Windows that are run side by side where memory suffices."""

MOST_MOVES = 4
NEAR_MM = 8.0
"""A field of view whose middle is this near to where it should be is left."""


@dataclass(frozen=True)
class Shown:
    """How brightness is shown to a network: `low` becomes 0 and `high` 1, clipped to `clip` if given.

    Where `ends` are given they stand in place of 0 and 1, after clipping.

    Parameters
    ----------
    kind : {"percentiles", "window", "z-score", "z-score of signal"}
        Whether low and high are percentiles of the image, or values in its unit; a z-score needs neither, and that of
        the signal looks at what is not 0 alone.
    low, high : float
    clip : pair of float, optional
    ends : pair of float
    first : Shown, optional
        How it is shown before that.
    """

    kind: str = "percentiles"
    low: float = 0.5
    high: float = 99.5
    clip: tuple[float, float] | None = (0.0, 1.5)
    ends: tuple[float, float] = (0.0, 1.0)
    first: Shown | None = None

    def __call__(self, values: np.ndarray, name: str) -> np.ndarray:
        """Brightness as the network takes it, float32; `InvalidInput` if the image is constant."""
        values = np.asarray(values, np.float32)
        if self.first is not None:
            values = self.first(values, name)
        if self.kind.startswith("z-score"):
            some = values[values != 0] if self.kind == "z-score of signal" and values.any() else values
            low, scale = float(some.mean()), float(some.std())
        else:
            low, high = (self.low, self.high) if self.kind == "window" else np.percentile(values, (self.low, self.high))
            scale = float(high - low)
        if not scale > 0:
            raise InvalidInput(f"Image {name!r} shows nothing to segment: it is constant, but for a few voxels.")
        signal = values != 0
        values = (values - np.float32(low)) * np.float32(1 / scale)
        if self.kind == "z-score of signal":
            values *= signal
        values = values if self.clip is None else np.clip(values, *self.clip)
        return values if self.ends == (0.0, 1.0) else values * np.float32(np.ptp(self.ends)) + np.float32(self.ends[0])


@dataclass(frozen=True, eq=False)
class Model:
    """A network that can be used on a patient's images.

    Parameters
    ----------
    name : str
    network : Network, ModuleNetwork or OnnxNetwork
    weights : mapping of str to array
    labels : sequence of Label
        One a class, background first; there is no background where classes overlap.
    spacing_mm : float or three floats
        Along i, j, k of its input.
    axes : str
        Where i, j, k of its input point: "RAS".
    shown : mapping of str to Shown
        By modality; "" for all others.
    modalities : sequence of str
        Of its channels; each may be several, separated by "/".
    window : int or three ints, optional
        Size of its windows along k, j, i, in voxels; the whole volume at once if none.
    overlap : float
        Share of a window that its neighbour covers too.
    shape : tuple of int, optional
        Size (k, j, i) that the volume is brought to, if it must be one size.
    centred_on : str
        Class whose middle the volume of that size is centred on; where the image is centred if none.
    temperature : float
        By which scores are divided, so that probabilities are calibrated.
    overlapping : bool
        Whether a voxel may be of several classes, each with a probability of its own, such as a tumour and its core.
    """

    name: str
    network: Network | ModuleNetwork | OnnxNetwork
    weights: Mapping[str, np.ndarray]
    labels: Sequence[Label]
    spacing_mm: float | tuple[float, float, float] = 1.0
    axes: str = "RAS"
    shown: Mapping[str, Shown] = field(default_factory=lambda: {"": Shown()})
    modalities: Sequence[str] = ("MR/CT",)
    window: int | tuple[int, int, int] | None = None
    overlap: float = 0.25
    shape: tuple[int, int, int] | None = None
    centred_on: str = ""
    temperature: float = 1.0
    overlapping: bool = False

    def __post_init__(self):
        if len(self.labels) != self.network.classes:
            raise InvalidInput(
                f"Model {self.name!r}: {len(self.labels)} labels for {self.network.classes} classes of its network."
            )
        if self.centred_on and (self.overlapping or self.centred_on not in [one.name for one in self.labels]):
            raise InvalidInput(
                f"Model {self.name!r}: it cannot be centred on {self.centred_on!r}, which is not one of its labels, or "
                "overlaps others."
            )

    def grid(self, image: Image) -> Grid:
        """The grid on which the network sees an image: along the patient's axes, of a size that it takes."""
        grid = image.grid.upright(self.spacing_mm, self.axes)
        if self.shape is not None:
            return _resized(grid, self.shape)
        least, multiple = _edges(self.window) or (0, 0, 0), self.network.multiple
        return _resized(grid, tuple(max(-(-n // multiple) * multiple, edge) for n, edge in zip(grid.shape, least)))

    def memory_gb(self, image: Image, window: int | tuple[int, ...] | None = None, at_once: int = 1) -> float:
        """About how much memory a run takes: scores, and the widest results of the network within windows at once."""
        grid, edges = self.grid(image), _edges(window or self.window)
        size = at_once * (grid.size if edges is None else min(math.prod(edges), grid.size))
        return BYTES_A_VALUE * (2 * grid.size * self.network.classes + 2 * size * self.network.values_a_voxel) / 1e9

    def window_that_fits(self, image: Image, job: Job) -> tuple[int, ...] | None:
        """The model's window, or half of it and so on until the memory suffices, which is said aloud.

        Raises
        ------
        InvalidInput
            If not even small windows fit, or the network takes but one size.
        """
        available, window, multiple = available_memory(), _edges(self.window), self.network.multiple
        fixed = isinstance(self.network, OnnxNetwork) and self.network.size is not None
        while available is not None and self.memory_gb(image, window) * 1e9 > available:
            k, j, i = (n // 2 // multiple * multiple for n in window or 3 * (max(self.grid(image).shape),))
            if fixed or max(k, j, i) < max(LEAST_WINDOW, multiple):
                check_memory(self.memory_gb(image, window) * 1e9, f"Model {self.name!r} on {image.name!r}")
            window = (max(k, multiple), max(j, multiple), max(i, multiple))
        if window != _edges(self.window):
            job.warn(
                f"Memory is short: model {self.name!r} looked at windows of {' x '.join(map(str, window or ()))} "
                "voxels, which may change labels."
            )
        return window

    def inputs(self, images: Sequence[Image], grid: Grid) -> tuple[np.ndarray, np.ndarray]:
        """Images as the network takes them, (channels, k, j, i), float32, and where any shows a body, (k, j, i).

        Raises
        ------
        InvalidInput
            If there are too few or too many, one is of a modality that the model does not know, or constant.
        """
        check_channels(self.name, images, self.modalities)
        channels, inside = [], np.zeros(grid.shape, bool)
        for image in images:
            shown = self.shown.get(image.modality, self.shown.get("", Shown()))
            on_grid = resample(image, grid, fill=AIR.get(image.modality, float(image.array.min())))
            channels.append(shown(on_grid.array, image.name))
            least, most = float(on_grid.array.min()), float(np.percentile(on_grid.array, 99.5))
            inside |= on_grid.array > least + BODY_SHARE * (most - least)
        return np.stack(channels), inside

    @property
    def is_symmetric(self) -> bool:
        """Whether no class is of one side of the body alone, so that a mirrored image has mirrored classes."""
        return not any(word in ONE_SIDED for one in self.labels for word in one.name.lower().split())

    def field_of_view(self, images: Sequence[Image], engine: Engine | None = None, job: Job | None = None) -> Grid:
        """The grid of an image; moved, where the model is to be centred on a class, until that class is central."""
        grid = self.grid(images[0])
        if not self.centred_on:
            return grid
        number = next(n for n, one in enumerate(self.labels) if one.name == self.centred_on)
        for part in (job or Job()).split(**{f"look_{n + 1}": 1 for n in range(MOST_MOVES)}):
            found = self.probabilities(images, engine, part, grid=grid)
            places = np.argwhere(found.array.argmax(-1) == number)
            if not len(places):
                break
            middle = grid.to_ras(np.percentile(places, (1, 99), axis=0).mean(0)[::-1])
            if np.linalg.norm(middle - grid.centre) < NEAR_MM:
                break
            matrix = grid.ijk_to_ras.copy()
            matrix[:3, 3] += middle - grid.centre
            grid = Grid(grid.shape, matrix)
        return grid

    def probabilities(
        self,
        images: Sequence[Image],
        engine: Engine | None = None,
        job: Job | None = None,
        *,
        grid: Grid | None = None,
        brightness: float = 1.0,
        mirrored: bool = False,
    ) -> Probabilities:
        """Probabilities of the classes, on the grid of the network.

        Parameters
        ----------
        images : sequence of Image
            One a channel, in the model's order.
        engine : Engine, optional
            The quickest that is installed if none.
        job : Job, optional
        grid : Grid, optional
            One of the model's; that of the first image if none.
        brightness : float
            Power to which what is shown is raised.
        mirrored : bool
            Whether right and left are exchanged for the network.

        Returns
        -------
        Probabilities

        Raises
        ------
        InvalidInput, MissingPackage
        """
        job, grid = job or Job(), grid or self.grid(images[0])
        engine = engine or Engine(self.network, self.weights)
        window = self.window_that_fits(images[0], job)
        values, inside = self.inputs(images, grid)
        if brightness != 1.0:
            values = brightened(values, brightness)
        side = 3 - next(n for n, letter in enumerate(self.axes) if letter in "RL")
        if mirrored:
            values, inside = np.ascontiguousarray(np.flip(values, side)), np.flip(inside, side - 1)
        size, starts = self._windows(images[0], inside, window)
        fits = available_memory() or math.inf
        at_once = AT_ONCE if len(starts) > 1 and 1e9 * self.memory_gb(images[0], size, AT_ONCE) <= fits else 1
        run = partial(engine.each, at_once=at_once)
        scores = windowed(run, values, self.network.classes, size, starts, job, self.overlapping)
        (sigmoid if self.overlapping else softmax)(scores, self.temperature)
        return Probabilities(np.flip(scores, side - 1).copy() if mirrored else scores, grid, self.overlapping)

    def _windows(
        self, image: Image, inside: np.ndarray, window: tuple[int, ...] | None
    ) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
        """Size and first voxels of the windows over a body: those that the memory suffices for."""
        if window is None:
            return inside.shape, [(0, 0, 0)] if inside.any() else []
        edges = tuple(min(edge, n) for edge, n in zip(window, inside.shape))
        fitted = partial(fitted_windows, inside, edges, self.overlap, multiple=self.network.multiple)
        size, starts = fitted(self.network.window_freedom)
        if 1e9 * self.memory_gb(image, size) > (available_memory() or math.inf):
            return fitted(0.0)
        return size, starts


def check_channels(name: str, images: Sequence[Image], modalities: Sequence[str]) -> None:
    """Raise `InvalidInput` if there are more or fewer images than a model takes, or one is of another modality."""
    if len(images) != len(modalities):
        raise InvalidInput(
            f"Model {name!r} takes {len(modalities)} images ({', '.join(modalities)}), not {len(images)}."
        )
    for image, wanted in zip(images, modalities):
        if image.modality not in wanted.split("/"):
            raise InvalidInput(
                f"Model {name!r} takes {wanted.replace('/', ' or ')}, and image {image.name!r} is "
                f"{image.modality or 'of no modality'}."
            )


def brightened(values: np.ndarray, power: float) -> np.ndarray:
    """What is shown to a network, raised to a power; below zero as above."""
    return np.sign(values) * np.abs(values) ** np.float32(power)


def _edges(window: int | tuple[int, ...] | None) -> tuple[int, ...] | None:
    """A window's size along k, j, i."""
    return (window, window, window) if isinstance(window, int) else window


def _resized(grid: Grid, shape: Sequence[int]) -> Grid:
    """A grid of another size round the same centre, its voxels in the same places."""
    first = (np.array(grid.shape) - shape) // 2
    matrix = grid.ijk_to_ras.copy()
    matrix[:3, 3] = grid.to_ras(first[::-1])
    depth, height, width = shape
    return Grid((depth, height, width), matrix)
