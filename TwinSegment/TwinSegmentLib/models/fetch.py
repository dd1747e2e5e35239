"""Bringing a model's files onto the machine, once the user has said so, and seeing that they are the right ones."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO

from TwinCore import InvalidInput, Job, MissingInput

from .catalogue import Entry, ModelFile

PIECE = 1 << 18
PATIENCE_S = 30.0

Open = Callable[[str], IO[bytes]]


def fetch(entry: Entry, job: Job | None = None, open_url: Open | None = None) -> None:
    """Download the files of a model that are missing into the cache; nothing is kept that is not what it should be.

    Parameters
    ----------
    entry : Entry
    job : Job, optional
        Can be cancelled at any moment; what was not whole is removed.
    open_url : callable, optional
        From an address to a stream; urllib's if none.

    Raises
    ------
    InvalidInput
        If a file that arrives has another size or checksum than the catalogue says.
    MissingInput
        If a server cannot be reached: says where to put the files by hand.
    """
    job, open_url = job or Job(), open_url or _open
    missing = entry.missing_files()
    entry.folder.mkdir(parents=True, exist_ok=True)
    total, done = max(sum(file.size for file in missing), 1), 0
    for file in missing:
        partial = entry.folder / f"{file.name}.part"
        try:
            with open_url(file.url) as source, open(partial, "wb") as target:
                received = 0
                while piece := source.read(PIECE):
                    received += len(piece)
                    if received > file.size:
                        break
                    target.write(piece)
                    job.report((done + received) / total, f"fetching {file.name}")
            _check(file, partial)
            partial.replace(entry.folder / file.name)
        except (urllib.error.URLError, OSError) as error:
            raise MissingInput(
                f"{file.url} cannot be fetched ({error}). It can be put by hand into {entry.folder}."
            ) from error
        finally:
            partial.unlink(missing_ok=True)
        done += file.size


def verify(entry: Entry) -> None:
    """Raise `MissingInput` if files of a model are not there, and `InvalidInput` if one is not the catalogue's."""
    missing = entry.missing_files()
    if missing:
        raise MissingInput(
            f"Model {entry.name!r} has not been fetched: {', '.join(file.name for file in missing)} "
            f"({sum(file.size for file in missing) / 1e6:.1f} MB) would go to {entry.folder}."
        )
    for file in entry.files:
        _check(file, entry.folder / file.name)


def _check(file: ModelFile, path: Path) -> None:
    data = path.read_bytes()
    if len(data) != file.size or hashlib.sha256(data).hexdigest() != file.sha256:
        raise InvalidInput(
            f"{file.name} from {file.url} is not the file of the catalogue: "
            f"{len(data)} bytes with another checksum, where {file.size} were expected."
        )


def _open(url: str) -> IO[bytes]:
    return urllib.request.urlopen(url, timeout=PATIENCE_S)  # https only: the catalogue allows no other scheme
