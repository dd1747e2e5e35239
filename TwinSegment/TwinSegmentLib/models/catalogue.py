"""The catalogue: what each model segments, in which images, under which licence, and where its files are."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from TwinCore import InvalidInput

from ..networks.label import Label
from ..networks.program_file import INSTEAD, PROGRAM_KINDS

KINDS = ("own", "meshnet", "onnx", "monai", "totalsegmentator", "nnunet")
CACHE_VARIABLE = "DIGITALTWIN_MODELS"
"""Environment variable that names the folder of fetched models, which may also be filled by hand."""

CATALOGUE = "catalogue.json"
"""The project's, in this package; and the user's own, if there is one in the folder of models."""

ALGORITHMS = {64: "sha256", 40: "sha1"}
"""Of checksums, by how many hexadecimal digits they have."""

BUILT_IN = Path(__file__).parent / "built_in"
"""Folder of the models that come with the project, each in a folder of its name."""

GREY = (127, 127, 127)
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*\Z")


@dataclass(frozen=True)
class ModelFile:
    """A file to fetch: its name in the model's folder, where it is, its size if known, and its checksum.

    The checksum is a SHA-256, or a SHA-1 where that is all that its publisher gives.
    """

    name: str
    url: str
    size: int | None
    checksum: str

    @property
    def algorithm(self) -> str:
        """By the name that hashlib has for it."""
        return ALGORITHMS[len(self.checksum)]


@dataclass(frozen=True, eq=False)
class Entry:
    """One model of the catalogue.

    Parameters
    ----------
    name : str
        By which it is chosen.
    title : str
    system : str
        Organ system.
    kind : {"own", "meshnet", "onnx", "monai", "totalsegmentator", "nnunet"}
        The last two are programs that the user has installed.
    modalities : tuple of str
        Of its input images in order; "MR/CT" for either.
    labels : tuple of Label
        Background first, but where classes overlap.
    licence, source, limits : str
        Limits: what it is not good for.
    files : tuple of ModelFile
        To be fetched.
    seconds, memory_gb : float, optional
        About what a whole volume takes on two cores, where it was measured.
    settings : mapping
        The rest, as the kind needs it.
    """

    name: str
    title: str
    system: str
    kind: str
    modalities: tuple[str, ...]
    labels: tuple[Label, ...]
    licence: str
    source: str
    limits: str
    files: tuple[ModelFile, ...]
    seconds: float | None
    memory_gb: float | None
    settings: Mapping[str, Any] = field(repr=False)

    @property
    def volume_factors(self) -> Mapping[str, float]:
        """By class, the reach of its volume's interval in times its doubtful volume; empty if never calibrated."""
        return self.settings.get("volume_factors", {})

    @property
    def folder(self) -> Path:
        """Where its files are kept: beside this module if it comes with the project."""
        built_in = BUILT_IN / self.name
        return built_in if built_in.is_dir() else cache_folder() / self.name

    def missing_files(self) -> tuple[ModelFile, ...]:
        """Files that are not there yet, by name and size if known; their checksums are verified when it is loaded."""
        there = {path.name: path.stat().st_size for path in self.folder.iterdir()} if self.folder.is_dir() else {}
        return tuple(f for f in self.files if f.name not in there or f.size not in (None, there[f.name]))


def cache_folder() -> Path:
    """The folder of fetched models: that of DIGITALTWIN_MODELS, or one in the user's home."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else Path.home() / ".cache" / "digitaltwin" / "models"


def read_catalogue(path: str | Path | None = None) -> dict[str, Entry]:
    """The models by name: of one catalogue, or the project's and those of the user's in the folder of models.

    Raises
    ------
    InvalidInput
        If it does not keep to catalogue_schema.json in a way that matters here, or gives a model of the user's the name
        of one of the project's; names the entry.
    """
    if path is None:
        entries, own = _read(resources.files(__package__) / CATALOGUE), cache_folder() / CATALOGUE
        more = _read(own) if own.is_file() else {}
        for name in entries.keys() & more.keys():
            raise InvalidInput(f"The catalogue {own}: {name!r} is the name of a model of the project; choose another.")
        return entries | more
    return _read(Path(path))


def _read(file) -> dict[str, Entry]:
    """The entries of one file."""
    try:
        rows = json.loads(file.read_text("utf-8"))
        entries = [_entry(row) for row in rows]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(f"The catalogue {file} cannot be read: {error!r}.") from error
    by_name = {entry.name: entry for entry in entries}
    if len(by_name) != len(entries):
        raise InvalidInput(f"The catalogue {file} has two models of one name.")
    return by_name


def find_model(name: str, entries: Mapping[str, Entry] | None = None) -> Entry:
    """An entry by name; `InvalidInput` lists those that there are."""
    entries = read_catalogue() if entries is None else entries
    if name not in entries:
        raise InvalidInput(f"There is no model {name!r}; there are: {', '.join(entries)}.")
    return entries[name]


def _entry(row: Mapping[str, Any]) -> Entry:
    name = str(row["name"])
    if row["kind"] in PROGRAM_KINDS:
        raise ValueError(f"model {name!r}: {PROGRAM_KINDS[row['kind']]} {INSTEAD}")
    if not NAME.match(name) or row["kind"] not in KINDS:
        raise ValueError(f"model {name!r} has a name or kind that is not allowed")
    return Entry(
        name,
        str(row["title"]),
        str(row["system"]),
        row["kind"],
        tuple(row["modalities"]),
        tuple(_label(label) for label in row["labels"]),
        str(row["licence"]),
        str(row["source"]),
        str(row["limits"]),
        tuple(_file(file) for file in row["files"]),
        _number(row["seconds"]),
        _number(row["memory_gb"]),
        row,
    )


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


def _label(row: Mapping[str, Any]) -> Label:
    red, green, blue = row.get("colour", GREY)
    code = row.get("code")
    return Label(str(row["name"]), (red / 255, green / 255, blue / 255), tuple(code) if code else None)


def _file(row: Mapping[str, Any]) -> ModelFile:
    name, url = str(row["name"]), str(row["url"])
    if Path(name).name != name or name.startswith(".") or not url.startswith("https://"):
        raise ValueError(f"file {name!r} leaves its folder, or is not fetched by https")
    checksum = str(row.get("sha256") or row.get("sha1"))
    if not re.fullmatch("[0-9a-f]{64}" if row.get("sha256") else "[0-9a-f]{40}", checksum):
        raise ValueError(f"file {name!r} has no SHA-256, nor a SHA-1")
    return ModelFile(name, url, int(row["bytes"]) if "bytes" in row else None, checksum)
