"""Bringing a model's files onto the machine, once the user has said so, and seeing that they are the right ones."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from TwinCore import InvalidInput, Job, MissingInput

from .catalogue import Entry, ModelFile

PIECE = 1 << 18
LARGEST = 4_000_000_000
"""Bytes of a file whose size is not known beforehand."""

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
    total, done = max(sum(file.size or 0 for file in missing), 1), 0
    for file in missing:
        partial = entry.folder / f"{file.name}.part"
        try:
            with open_url(file.url) as source, open(partial, "wb") as target:
                received = 0
                while piece := source.read(PIECE):
                    received += len(piece)
                    if received > (file.size or LARGEST):
                        break
                    target.write(piece)
                    job.report((done + received) / total if file.size else 0.5, f"fetching {file.name}")
            _check(file, partial)
            partial.replace(entry.folder / file.name)
        except (urllib.error.URLError, OSError) as error:
            raise MissingInput(
                f"{file.url} cannot be fetched ({error}). It can be put by hand into {entry.folder}."
            ) from error
        finally:
            partial.unlink(missing_ok=True)
        done += file.size or 0


def verify(entry: Entry) -> None:
    """Raise `MissingInput` if files of a model are not there, and `InvalidInput` if one is not the catalogue's."""
    missing = entry.missing_files()
    if missing:
        raise MissingInput(
            f"Model {entry.name!r} has not been fetched: {', '.join(file.name for file in missing)} "
            f"({size_in_words(missing)}) would go to {entry.folder}."
        )
    for file in entry.files:
        _check(file, entry.folder / file.name)


def size_in_words(files: Sequence[ModelFile]) -> str:
    """What there is to fetch, in MB, as far as it is known."""
    known = sum(file.size or 0 for file in files) / 1e6
    return f"{known:.1f} MB" if all(file.size for file in files) else "of unknown size"


def _check(file: ModelFile, path: Path) -> None:
    size, checksum = path.stat().st_size, hashlib.new(file.algorithm)
    with open(path, "rb") as stream:
        while piece := stream.read(PIECE):
            checksum.update(piece)
    if size != (file.size or size) or checksum.hexdigest() != file.checksum:
        raise InvalidInput(
            f"{file.name} from {file.url} is not the file of the catalogue: "
            f"{size} bytes with another checksum, where {file.size or 'some'} were expected."
        )


def _open(url: str) -> IO[bytes]:
    return urllib.request.urlopen(url, timeout=PATIENCE_S)  # https only: the catalogue allows no other scheme
