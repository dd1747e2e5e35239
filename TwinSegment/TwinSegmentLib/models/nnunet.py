"""Trained nnU-Nets (Isensee and others 2021, Nature Methods 18:203), run by nnU-Net itself where it is installed.

nnU-Net loads a checkpoint with pickle, which may execute anything, and makes a network of whatever class the plans
name. Both are therefore looked at before it sees them: of a checkpoint, without loading it, which classes and functions
its pickle names; of the plans, which classes. What is not of those that nnU-Net itself writes is refused.
"""

from __future__ import annotations

import json
import pickletools
import re
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from TwinCore import Grid, Image, InvalidInput, Job, MissingInput
from TwinCore.guard import check_memory

from ..networks.model import check_channels
from ..networks.probabilities import Probabilities
from ..networks.program_file import program_in
from .anatomy import Labelled, decided
from .catalogue import Entry
from .installed import CHECKPOINT, find_nnunet
from .programs import run_program, write_channels

DEVICES = ("cpu", "cuda", "mps")
ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")
READERS = ("SimpleITKIO", "NibabelIO")
"""That keep an image's order of axes; others turn it."""

LARGEST_JSON, LARGEST_PICKLE = 50_000_000, 200_000_000
_FOLD = re.compile(r"fold_(\d+|all)\Z")
_NETWORK = re.compile(r"dynamic_network_architectures\.[\w.]+\Z|\w+\Z")
_PART = re.compile(r"(torch\.nn|dynamic_network_architectures)\.[\w.]+\Z")
_STORAGE = re.compile(r"torch (Float|Double|Half|BFloat16|Long|Int|Short|Char|Byte|Bool)Storage\Z")
_HARMLESS = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    "torch device",
    "torch Size",
    "numpy dtype",
    "numpy ndarray",
    "_codecs encode",
    *(f"numpy.{core}.multiarray {name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
}
_NAMED_ON_THE_WAY = {"STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"}
"""Steps of a pickle that name what they call elsewhere than in their argument; torch writes none of them."""


@dataclass(frozen=True)
class Results:
    """A folder of results that may be run: its folds, the ending of its images, its classes and channels."""

    folder: Path
    folds: tuple[str, ...]
    ending: str
    classes: int
    channels: int
    overlapping: bool


def read_results(folder: Path) -> Results:
    """Check a folder of results before nnU-Net sees it.

    Parameters
    ----------
    folder : Path
        With plans.json, dataset.json, and fold_0 and others with checkpoint_final.pth.

    Raises
    ------
    MissingInput
        If there is no fold with a checkpoint.
    InvalidInput
        If a file is damaged, or names a class or function that nnU-Net's own files do not.
    """
    plans, dataset = (_json(folder / name) for name in ("plans.json", "dataset.json"))
    folds = tuple(sorted(m[1] for p in folder.iterdir() if (m := _FOLD.match(p.name)) and (p / CHECKPOINT).is_file()))
    if not folds:
        raise MissingInput(f"There is no fold with a {CHECKPOINT} in {folder}.")
    try:
        _check_plans(plans, dataset)
        labels = {name: value for name, value in dataset["labels"].items() if name != "ignore"}
        overlapping = any(isinstance(value, list) and len(value) > 1 for value in labels.values())
        ending = dataset.get("file_ending", ENDINGS[0])
        if ending not in ENDINGS or "background" not in labels:
            raise ValueError(f"its images end in {ending!r}, or it has no background")
        channels = len(dataset["channel_names"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInput(f"nnU-Net's results in {folder} cannot be used: {error}.") from error
    for fold in folds:
        check_checkpoint(folder / f"fold_{fold}" / CHECKPOINT)
    return Results(folder, folds, ending, len(labels) - overlapping, channels, overlapping)


def check_checkpoint(path: Path) -> None:
    """Raise `InvalidInput` if loading a checkpoint would call anything but what makes tensors and numbers of it."""
    where = f"{path.parent.name}/{path.name}"
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            pickles = [name for name in names if name.endswith(".pkl")]
            if len(set(names)) != len(names) or len(pickles) != 1 or program_in(path):
                raise ValueError("it is not a checkpoint alone")
            if archive.getinfo(pickles[0]).file_size > LARGEST_PICKLE:
                raise ValueError(f"its description has more than {LARGEST_PICKLE} bytes")
            for step, argument, _ in pickletools.genops(archive.read(pickles[0])):
                if step.name in _NAMED_ON_THE_WAY:
                    raise ValueError(f"its pickle has a {step.name}, by which anything could be called")
                named = step.name == "GLOBAL"
                if named and not (argument in _HARMLESS or _STORAGE.match(str(argument))):
                    raise ValueError(f"it would call {str(argument).replace(' ', '.')!r}")
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, EOFError, RuntimeError) as error:
        raise InvalidInput(f"The checkpoint {where} is not given to nnU-Net: {error}.") from error


def label_by_nnunet(entry: Entry, images: Sequence[Image], grid: Grid, job: Job) -> Labelled:
    """Segment images by a trained nnU-Net, with the uncertainty and volumes of its probabilities.

    Parameters
    ----------
    entry : Entry
        Its folder has the results of a training, and its labels are those of dataset.json by their
        values, or its regions in their order, which overlap. The setting `device` is "cpu", "cuda" or "mps".
    images : sequence of Image
        One a channel; brought onto the grid of the first.
    grid : Grid
        Of the answer.
    job : Job

    Raises
    ------
    MissingPackage, MissingInput
        If nnU-Net is not installed, or its results are not there.
    InvalidInput
        If the results are refused, do not fit the entry, or nnU-Net fails.
    """
    device = str(entry.settings.get("device", DEVICES[0]))
    program, results = find_nnunet(entry), read_results(entry.folder)
    check_channels(entry.name, images, entry.modalities)
    said = (len(entry.labels), len(entry.modalities), bool(entry.settings.get("overlapping")))
    if said != (results.classes, results.channels, results.overlapping) or device not in DEVICES:
        raise InvalidInput(
            f"Model {entry.name!r}: the catalogue says {said[0]} classes, {said[1]} images, overlapping: {said[2]}, on "
            f"{device!r}; nnU-Net's results have {results.classes}, {results.channels}, {results.overlapping}."
        )
    with tempfile.TemporaryDirectory(prefix="digitaltwin-") as name:
        folder = Path(name)
        given, written = folder / "in", folder / "out"
        given.mkdir()
        written.mkdir()
        write_channels(images, [given / f"case_{n:04d}{results.ending}" for n in range(len(images))])
        places = ["-i", str(given), "-o", str(written), "-m", str(results.folder.resolve())]
        how = ["-f", *results.folds, "-chk", CHECKPOINT, "-device", device, "-npp", "1", "-nps", "1"]
        switches = ["--save_probabilities", "--disable_progress_bar"]
        run_program([program, *places, *how, *switches], folder, job, entry.seconds)
        array = _probabilities(written / "case.npz", (results.classes, *images[0].grid.shape))
    probabilities = Probabilities(array, images[0].grid, results.overlapping)
    return decided(entry.name, entry.labels, probabilities, grid, entry.volume_factors)


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise ValueError(f"it has more than {LARGEST_JSON} bytes")
        content = json.loads(path.read_text("utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it is no object")
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path.name} of nnU-Net's results cannot be read: {error}.") from error
    return content


def _check_plans(plans: Mapping[str, Any], dataset: Mapping[str, Any]) -> None:
    """The classes that plans name are networks and their parts, and their reader leaves images as they are."""
    for source in (plans.get("image_reader_writer"), dataset.get("overwrite_image_reader_writer")):
        if source not in (None, "None", *READERS):
            raise ValueError(f"its images are read by {source!r}, which is not one of {', '.join(READERS)}")
    for part in plans["configurations"].values():
        network = part.get("architecture", {})
        named = network.get("network_class_name", part.get("UNet_class_name", "PlainConvUNet"))
        if not _NETWORK.match(str(named)):
            raise ValueError(f"the network {str(named)[:80]!r} is none of nnU-Net's")
        for key in network.get("_kw_requires_import", ()):
            value = network["arch_kwargs"].get(key)
            if value is not None and not _PART.match(str(value)):
                raise ValueError(f"{str(value)[:80]!r} is no part of a network")


def _probabilities(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The array (classes, k, j, i) of an npz file, as (k, j, i, classes); nothing in it is executed."""
    check_memory(12.0 * float(np.prod(shape, dtype=float)), "The probabilities of nnU-Net")
    try:
        with zipfile.ZipFile(path) as archive, archive.open("probabilities.npy") as stream:
            if np.lib.format.read_magic(stream) != (1, 0):
                raise ValueError("it is written in an unknown version")
            found, by_column, kind = np.lib.format.read_array_header_1_0(stream)
            if found != shape or by_column or kind.kind != "f":
                raise ValueError(f"it holds {found} numbers of type {kind}, and {shape} are expected")
            values = np.frombuffer(stream.read(int(np.prod(shape)) * kind.itemsize), kind).reshape(shape)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise InvalidInput(f"nnU-Net's probabilities cannot be read: {error}.") from error
    array = np.ascontiguousarray(np.moveaxis(values, 0, -1), np.float32)
    if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1.001):
        raise InvalidInput("nnU-Net's probabilities are not between 0 and 1.")
    return array
