"""MONAI bundles as data: which network, how images are shown to it, its windows and labels; nothing is executed.

A bundle's configuration may hold Python expressions and name any class to be called. Here only three of its parts are
read: the network, the preprocessing and the inferer; of these only classes that are listed here, with plain values, are
understood, and references to other values of the configuration are followed. Everything else is refused by name, or not
looked at.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from TwinCore import InvalidInput, MissingPackage

from ..networks.model import Label, Model, Shown
from ..networks.module_network import ModuleNetwork
from ..networks.program_file import INSTEAD, program_in

NETWORKS = ("UNet", "BasicUNet", "SegResNet", "DynUNet", "SwinUNETR", "UNETR", "VNet")
NEEDS_EINOPS = ("SwinUNETR", "UNETR")
DROPPED = (("SwinUNETR", "img_size"),)
"""Arguments that MONAI has done away with, since they change nothing."""

IGNORED = (
    "LoadImage",
    "EnsureChannelFirst",
    "EnsureType",
    "CastToType",
    "CropForeground",
    "ToTensor",
)
"""Transforms without which an image is shown the same here: reading, types, and cutting to what is not background."""

AS_IT_IS = Shown("window", 0.0, 1.0, None)
BY_CHANNEL = ("NormalizeIntensity", "ScaleIntensity", "ScaleIntensityRangePercentiles")
LARGEST_MULTIPLE = 32
"""No network here halves its input more than five times."""

PALETTE_STEP = 0.618034
LARGEST_CONFIG, LARGEST_WEIGHTS = 5_000_000, 4_000_000_000
DEEPEST = 20


def read_bundle(path: str | Path, given: Mapping[str, Any] | None = None) -> Model:
    """A model from a bundle's folder or zip file.

    Parameters
    ----------
    path : path
        With `configs/inference.json`, `configs/metadata.json` and `models/model.pt`.
    given : mapping, optional
        Values of the configuration in place of its own, by name: where it has an expression.

    Raises
    ------
    InvalidInput
        If something is missing or damaged, or the parts that are read name a class, an expression or a transform that
        is not known here; the message names it.
    MissingPackage
        If torch or MONAI is not installed.
    """
    path = Path(path)
    files = _Files(path)
    try:
        config = _Config({**json.loads(files.read("configs/inference.json", LARGEST_CONFIG)), **(given or {})})
        metadata = json.loads(files.read("configs/metadata.json", LARGEST_CONFIG))
        network_name, arguments = config.network()
        window, overlap = config.inferer()
        overlapping = config.overlapping()
        labels = _labels(metadata, overlapping)
        channels = int(metadata["network_data_format"]["inputs"]["image"]["num_channels"])
        looks = config.looks(channels)
        modality = _modality(metadata)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(f"Bundle {path.name!r} cannot be read: {error}.") from error
    module = _module(network_name, arguments, path.name)
    _load_weights(files, module, path.name)
    network = ModuleNetwork(module, channels, len(labels), math.gcd(LARGEST_MULTIPLE, *(window or ())))
    if network.window_freedom:
        from ..networks.torch_module import least_multiple

        network = replace(network, multiple=least_multiple(module, channels, network.multiple))
    return Model(
        path.stem,
        network,
        {},
        labels,
        spacing_mm=looks.spacing_mm,
        axes=looks.axes,
        shown={"": looks.shown or AS_IT_IS},
        modalities=(modality,) * channels,
        window=window,
        overlap=overlap,
        overlapping=overlapping,
    )


@dataclass
class _Looks:
    """How images are shown to the network."""

    axes: str = "SAR"
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    shown: Shown | None = None


class _Files:
    """The files of a folder or a zip; none outside it can be named."""

    def __init__(self, path: Path):
        if not path.exists():
            raise InvalidInput(f"There is no bundle {path.name!r}.")
        self._path, self._prefix = path, ""
        if path.is_file():
            try:
                with zipfile.ZipFile(path) as archive:
                    names = archive.namelist()
            except zipfile.BadZipFile as error:
                raise InvalidInput(f"Bundle {path.name!r} is neither a folder nor a zip file.") from error
            inside = [name for name in names if name.endswith("configs/inference.json")]
            self._prefix = min(inside, key=len).removesuffix("configs/inference.json") if inside else ""

    def read(self, name: str, most: int) -> bytes:
        """One file, unless it is larger than `most` bytes; `InvalidInput` if it is not there."""
        try:
            if self._path.is_dir():
                file = self._path / name
                if file.resolve().is_relative_to(self._path.resolve()) and file.stat().st_size <= most:
                    return file.read_bytes()
            else:
                with zipfile.ZipFile(self._path) as archive, archive.open(self._prefix + name) as member:
                    data = member.read(most + 1)
                    if len(data) <= most:
                        return data
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise InvalidInput(f"Bundle {self._path.name!r} has no {name} that could be read: {error}.") from error
        raise InvalidInput(f"Bundle {self._path.name!r}: {name} is larger than {most} bytes, or lies outside of it.")


class _Config:
    """The parts of a configuration that are read, as plain values."""

    def __init__(self, content: Mapping[str, Any]):
        self._content = content

    def network(self) -> tuple[str, dict[str, Any]]:
        part = self._plain(self._content["network_def"])
        name = _class(part.pop("_target_"), NETWORKS, "network")
        return name, part

    def inferer(self) -> tuple[tuple[int, int, int] | None, float]:
        """Size of the windows, and their overlap; none where the whole volume is seen at once."""
        raw = self._content.get("inferer", {"_target_": "SimpleInferer"})
        part = self._plain({key: raw[key] for key in ("_target_", "roi_size", "overlap") if key in raw})
        name = _class(part.pop("_target_"), ("SlidingWindowInferer", "SimpleInferer"), "inferer")
        if name == "SimpleInferer":
            return None, 0.0
        size = part["roi_size"]
        k, j, i = (int(n) for n in (size if isinstance(size, list) else 3 * [size]))
        if min(k, j, i) < 1:
            raise ValueError(f"its windows have a size of {size}")
        return (k, j, i), float(part.get("overlap", 0.25))

    def overlapping(self) -> bool:
        """Whether each class has a probability of its own, by a sigmoid, and is taken where it is above a half."""
        sigmoid = False
        for raw in self._content.get("postprocessing", {}).get("transforms", []):
            name = str(raw["_target_"]).rsplit(".", 1)[-1].removesuffix("d").removesuffix("D")
            sigmoid |= name == "Activations" and raw.get("sigmoid") is True
            if sigmoid and name == "AsDiscrete" and raw.get("threshold", 0.5) != 0.5:
                raise ValueError(f"its classes begin at a probability of {raw['threshold']}, not of 0.5")
        return sigmoid

    def looks(self, channels: int) -> _Looks:
        """How the images are shown; what one transform makes, the next takes up."""
        found = _Looks()
        transforms = self._content["preprocessing"]["transforms"]
        for raw in transforms:
            name = str(raw["_target_"]).rsplit(".", 1)[-1]
            base = name.removesuffix("d").removesuffix("D")
            if base in IGNORED:
                continue
            part = self._plain({key: value for key, value in raw.items() if key in _NEEDED.get(base, ())})
            if base not in _NEEDED:
                raise ValueError(f"the transform {name!r} is not known here")
            if base in BY_CHANNEL and channels > 1 and not part.get("channel_wise"):
                raise ValueError(f"the transform {name!r} takes its {channels} channels together")
            before = found.shown
            _NEEDED_BY[base](found, part)
            if found.shown is not before and found.shown is not None:
                found.shown = replace(found.shown, first=before)
        return found

    def _plain(self, value: Any, depth: int = 0) -> Any:
        """A value with references followed; expressions and classes within it are refused."""
        if depth > DEEPEST:
            raise ValueError("references go round in a circle")
        if isinstance(value, Mapping):
            if depth and "_target_" in value:
                raise ValueError(f"{value['_target_']!r} would be called inside another")
            return {str(key): self._plain(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [self._plain(item, depth + 1) for item in value]
        if isinstance(value, str) and value.startswith("$"):
            raise ValueError(f"the expression {value[:80]!r} would have to be executed; give its value in its place")
        if isinstance(value, str) and value.startswith("@"):
            return self._plain(self._referred(value[1:]), depth + 1)
        return value

    def _referred(self, name: str) -> Any:
        place: Any = self._content
        for part in name.replace("#", "::").split("::"):
            place = place[int(part)] if isinstance(place, list) else place[part]
        return place


def _class(target: Any, allowed: Sequence[str], what: str) -> str:
    """The name of a class that is allowed: alone, or with the path that MONAI has it under."""
    path, _, name = str(target).rpartition(".")
    if name not in allowed or (path and not path.startswith("monai.")):
        raise ValueError(f"the {what} {target!r} is not one of {', '.join(allowed)}")
    return name


def _orient(found: _Looks, part: Mapping[str, Any]) -> None:
    found.axes = str(part["axcodes"])[::-1]  # MONAI's arrays run along i, j, k, and ours along k, j, i


def _space(found: _Looks, part: Mapping[str, Any]) -> None:
    spacing = part["pixdim"][::-1] if isinstance(part["pixdim"], list) else part["pixdim"]
    found.spacing_mm = tuple(float(s) for s in (spacing if isinstance(spacing, list) else [spacing] * 3))  # type: ignore


def _scale_range(found: _Looks, part: Mapping[str, Any]) -> None:
    a_min, a_max = float(part["a_min"]), float(part["a_max"])
    found.shown = _linear("window", a_min, a_max, part)


def _scale_percentiles(found: _Looks, part: Mapping[str, Any]) -> None:
    if (part.get("b_min", 0), part.get("b_max", 1)) != (0, 1):
        raise ValueError("percentiles are not scaled to the range from 0 to 1")
    found.shown = Shown(
        "percentiles", float(part["lower"]), float(part["upper"]), (0.0, 1.0) if part.get("clip") else None
    )


def _scale(found: _Looks, part: Mapping[str, Any]) -> None:
    ends = (float(part.get("minv", 0.0)), float(part.get("maxv", 1.0)))
    found.shown = Shown("percentiles", 0.0, 100.0, None, ends)


def _normalise(found: _Looks, part: Mapping[str, Any]) -> None:
    found.shown = Shown("z-score of signal" if part.get("nonzero") else "z-score", clip=None)


def _linear(kind: str, a_min: float, a_max: float, part: Mapping[str, Any]) -> Shown:
    """The values that become 0 and 1, where `a_min` becomes `b_min` and `a_max` becomes `b_max`."""
    b_min, b_max = float(part.get("b_min") or 0.0), float(1.0 if part.get("b_max") is None else part["b_max"])
    scale = (a_max - a_min) / (b_max - b_min)
    low = a_min - b_min * scale
    return Shown(kind, low, low + scale, (b_min, b_max) if part.get("clip") else None)


_NEEDED: Mapping[str, Sequence[str]] = {
    "Orientation": ("axcodes",),
    "Spacing": ("pixdim",),
    "ScaleIntensityRange": ("a_min", "a_max", "b_min", "b_max", "clip"),
    "ScaleIntensityRangePercentiles": ("lower", "upper", "b_min", "b_max", "clip", "channel_wise"),
    "ScaleIntensity": ("minv", "maxv", "channel_wise"),
    "NormalizeIntensity": ("nonzero", "channel_wise"),
}
_NEEDED_BY: Mapping[str, Callable[[_Looks, Mapping[str, Any]], None]] = {
    "Orientation": _orient,
    "Spacing": _space,
    "ScaleIntensityRange": _scale_range,
    "ScaleIntensityRangePercentiles": _scale_percentiles,
    "ScaleIntensity": _scale,
    "NormalizeIntensity": _normalise,
}


def _labels(metadata: Mapping[str, Any], overlapping: bool) -> list[Label]:
    channels = metadata["network_data_format"]["outputs"]["pred"]["channel_def"]
    names = [str(channels[str(number)]).replace("_", " ") for number in range(len(channels))]
    if overlapping:
        return [Label(name, _colour(n)) for n, name in enumerate(names)]
    if names[0].strip().lower() != "background":
        raise ValueError("its classes overlap, or have no background: one label a voxel cannot be given")
    return [Label("background", (0.0, 0.0, 0.0))] + [Label(name, _colour(n)) for n, name in enumerate(names[1:])]


def _colour(number: int) -> tuple[float, float, float]:
    """Colours that differ, by steps of the golden section round the colour wheel."""
    import colorsys

    return colorsys.hsv_to_rgb((number * PALETTE_STEP) % 1.0, 0.55, 0.9)


def _modality(metadata: Mapping[str, Any]) -> str:
    said = str(metadata["network_data_format"]["inputs"]["image"].get("modality", "")).upper()
    return {"CT": "CT", "MR": "MR", "MRI": "MR", "PET": "PT", "PT": "PT", "US": "US"}.get(said, "CT/MR/PT/US")


def _module(name: str, arguments: Mapping[str, Any], bundle: str):
    try:
        import monai.networks.nets as nets
    except ImportError as error:
        raise MissingPackage("monai", "A MONAI bundle", "pip install 'digitaltwin[ai]'") from error
    if name in NEEDS_EINOPS and find_spec("einops") is None:
        raise MissingPackage("einops", f"A {name}", "pip install einops")
    arguments = {key: value for key, value in arguments.items() if (name, key) not in DROPPED}
    try:
        return getattr(nets, name)(**arguments)
    except (TypeError, ValueError, AssertionError, KeyError, RuntimeError) as error:
        raise InvalidInput(f"Bundle {bundle!r}: its {name} cannot be made: {error}.") from error


def _load_weights(files: _Files, module, bundle: str) -> None:
    """The numbers of model.pt, read without executing anything, into the module."""
    import pickle

    import torch

    data = files.read("models/model.pt", LARGEST_WEIGHTS)
    program = program_in(io.BytesIO(data))
    if program:
        raise InvalidInput(f"Bundle {bundle!r}: its model.pt, {program}, {INSTEAD}.")
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        for key in ("state_dict", "model"):
            state = state[key] if isinstance(state, dict) and isinstance(state.get(key), dict) else state
        module.load_state_dict(state)
    except (pickle.UnpicklingError, RuntimeError, AttributeError, TypeError, EOFError, ValueError) as error:
        raise InvalidInput(f"Bundle {bundle!r}: its weights cannot be loaded: {str(error)[:300]}") from error
