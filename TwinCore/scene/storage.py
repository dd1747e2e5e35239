"""Saving a scene as `.mrb`, and loading one that may come from anywhere."""

from __future__ import annotations

import math
import os
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from urllib.parse import unquote
from xml.etree import ElementTree

from ..errors import InvalidInput, MissingInput
from ..guard import available_memory
from .boot import boot, mrml
from .state import SceneState
from .twin import Twin, is_twin

GIGABYTE = 2**30
MAX_MEMBERS = 100_000
# Names of MRML attributes that hold the path of a file.
_PATHS = re.compile(r"^(fileName|fileListMember\d+|uri(ListMember\d+)?)$")


def save(scene_or_twin, path: str | Path) -> Path:
    """Save the scene as a bundle that any Slicer opens; an existing file is replaced only by a complete one.

    Raises
    ------
    InvalidInput
        If the name does not end in `.mrb`, or the folder cannot be written to.
    """
    path = Path(path)
    if path.suffix != ".mrb":
        raise InvalidInput(f"A scene is saved as a .mrb file, not as {path.name!r}.")
    if not path.parent.is_dir():
        raise InvalidInput(f"The folder {str(path.parent)!r} does not exist.")
    scene = scene_or_twin.scene if isinstance(scene_or_twin, Twin) else scene_or_twin
    messages = mrml().vtkMRMLMessageCollection()
    try:
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=path.parent) as folder:
            draft = Path(folder) / path.name
            if not scene.WriteToMRB(draft.as_posix(), None, messages) or not draft.is_file():
                reason = messages.GetAllMessagesAsString() or "is the disk full?"
                raise InvalidInput(f"The scene could not be saved to {str(path)!r}: {reason}")
            os.replace(draft, path)
    except OSError as error:
        raise InvalidInput(f"The scene could not be saved to {str(path)!r}: {error.strerror or error}.") from error
    return path


def load(path: str | Path, scene=None, limit_bytes: int | None = None) -> list[Twin]:
    """Add a bundle's nodes to the scene (the running one if none is named), and give the twins among them.

    The bundle is checked before and while it is unpacked: its files must stay in their folder and in memory.

    Parameters
    ----------
    path : str or Path
    scene : vtkMRMLScene, optional
    limit_bytes : int, optional
        Most that it may unpack to; by default the memory that is free now.

    Raises
    ------
    MissingInput
        If there is no such file.
    InvalidInput
        If it is not a bundle, is hostile, or one of its files cannot be read; the scene is then as it was before.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingInput(f"There is no file {str(path)!r}.")
    scene = scene or boot()
    limit = limit_bytes or available_memory() or 8 * GIGABYTE
    with tempfile.TemporaryDirectory(prefix="DigitalTwin-") as folder:
        description = _checked(path, Path(folder), limit)
        return _import(scene, description, path.name)


def _checked(path: Path, folder: Path, limit: int, within: bool = False) -> Path:
    """A bundle's description, once all of it is unpacked and looked at; the items of a sequence are one within it."""
    _unpack(path, folder, limit)
    found = sorted(folder.glob("*/*.mrml")) or sorted(folder.glob("*.mrml"))
    if len(found) != 1:
        raise InvalidInput(
            f"{path.name!r} is not a scene bundle: it holds {len(found)} .mrml files, where one is expected."
        )
    _check_paths(found[0], path.name)
    _check_volumes(folder, path.name, limit)
    for number, bundle in enumerate(sorted(p for p in folder.rglob("*") if p.suffix.lower() == ".mrb")):
        if within:
            raise InvalidInput(f"{path.name!r} is refused: it holds bundles within bundles.")
        inner = folder / f".looked-at-{number}"
        _checked(bundle, inner, limit, within=True)
        shutil.rmtree(inner)
    return found[0]


def _import(scene, description: Path, name: str) -> list[Twin]:
    before = SceneState(scene)
    url, root = scene.GetURL(), scene.GetRootDirectory()
    messages = mrml().vtkMRMLMessageCollection()
    scene.SetURL(description.as_posix())
    scene.SetRootDirectory(description.parent.as_posix())
    try:
        complete = scene.Import(messages)
    finally:
        scene.SetURL(url)
        scene.SetRootDirectory(root)
    new = before.made()
    if not complete:
        before.restore()
        raise InvalidInput(
            f"{name!r} could not be read: {messages.GetAllMessagesAsString() or 'its description is damaged'}."
        )
    return [Twin(node) for node in new if is_twin(node)]


def _unpack(path: Path, folder: Path, limit: int) -> None:
    """Unpack a bundle after looking at its table of contents; what it says of sizes is then held to while reading."""
    try:
        with zipfile.ZipFile(path) as bundle:
            members = bundle.infolist()
            _check_members(members, path.name, limit)
            for member in members:
                target = folder / member.filename
                if member.is_dir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with bundle.open(member) as packed, target.open("wb") as plain:
                    shutil.copyfileobj(packed, plain, 2**20)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, OSError) as error:
        raise InvalidInput(f"{path.name!r} is not a complete scene bundle (.mrb): {error}.") from error


def _check_members(members: list[zipfile.ZipInfo], name: str, limit: int) -> None:
    size = sum(member.file_size for member in members)
    if len(members) > MAX_MEMBERS:
        raise InvalidInput(f"{name!r} holds {len(members)} files, more than the {MAX_MEMBERS} that a scene may have.")
    if size > limit:
        raise InvalidInput(
            f"{name!r} would unpack to {size / GIGABYTE:.2f} GB, more than the {limit / GIGABYTE:.2f} GB accepted here."
        )
    for member in members:
        if _leaves_folder(member.filename) or stat.S_ISLNK(member.external_attr >> 16):
            raise InvalidInput(
                f"{name!r} is refused: its member {member.filename!r} would be written "
                "outside the folder it is unpacked to."
            )


def _check_paths(description: Path, name: str) -> None:
    """A bundle's nodes may name only files of the bundle."""
    try:
        for _, element in ElementTree.iterparse(description):
            for key, value in element.attrib.items():
                if _PATHS.match(key) and value and (_leaves_folder(unquote(value)) or key.startswith("uri")):
                    raise InvalidInput(
                        f"{name!r} is refused: a node names {value!r}, which is not a file of the bundle."
                    )
    except ElementTree.ParseError as error:
        raise InvalidInput(f"{name!r} is not a complete scene bundle: its description is damaged ({error}).") from error


def _check_volumes(folder: Path, name: str, limit: int) -> None:
    """The volumes that NRRD headers announce must fit as well: they are packed once more inside."""
    size = 0
    for path in folder.rglob("*.n*"):
        if path.suffix in (".nrrd", ".nhdr"):
            with path.open("rb") as file:
                header = file.read(2**16).split(b"\n\n")[0].replace(b"\r", b"").decode("latin-1")
            sizes = re.search(r"^sizes:([\d ]+)$", header, re.MULTILINE)
            wide = re.search(r"^type: *(double|.*long|u?int64)", header, re.MULTILINE)
            size += math.prod(map(int, sizes[1].split())) * (8 if wide else 1) if sizes else 0
    if size > limit:
        raise InvalidInput(
            f"{name!r} announces volumes of at least {size / GIGABYTE:.2f} GB, more than the "
            f"{limit / GIGABYTE:.2f} GB accepted here."
        )


def _leaves_folder(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or "://" in name or re.match("[A-Za-z]:", name) is not None
