"""The folder of results: all of it appears at once, or nothing does."""

from __future__ import annotations

import csv
import itertools
import json
import math
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from TwinCore import InvalidInput, Quantity, Table
from TwinCore.units import NO_UNIT

MARK = "results.json"
"""What a folder of results always holds."""


@contextmanager
def whole_folder(out: Path, mark: str = MARK) -> Iterator[Path]:
    """A folder to write into, which takes the place of `out` when the context ends well and vanishes when it does not.

    Raises
    ------
    InvalidInput
        As `check_replaceable`.
    """
    out = out.absolute()
    check_replaceable(out, mark)
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield work
        work.chmod(0o755)
        if out.is_dir():
            shutil.rmtree(out)
        work.rename(out)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def check_replaceable(out: Path, mark: str = MARK) -> None:
    """Refuse a folder that is not to be replaced, before anything is computed for it.

    Only one that holds the file `mark`, or an empty one, is ever replaced.

    Raises
    ------
    InvalidInput
        If `out` is a file, or a folder that holds something else than earlier results.
    """
    if out.exists() and not out.is_dir():
        raise InvalidInput(f"The output folder {out.name!r} is a file: choose another name.")
    if out.is_dir() and any(out.iterdir()) and not (out / mark).is_file():
        raise InvalidInput(f"The folder {out.name!r} holds other things than earlier results, so it is not replaced.")


def as_entries(results: Mapping[str, Quantity | str]) -> dict[str, dict[str, Any]]:
    """Results as results.json holds them: a value and its unit each; numbers that are not finite become null."""
    return {
        name: _finite(r.as_dict()) if isinstance(r, Quantity) else {"value": r, "unit": ""}
        for name, r in results.items()
    }


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON; numbers that are not finite are an error."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")


def write_table(path: Path, table: Table) -> None:
    """Write a table as CSV, to six digits; a column's unit stands in brackets after its name."""
    units = {name: f" [{unit}]" for name, unit in table.units.items() if unit != NO_UNIT}
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([f"{name}{units.get(name, '')}" for name in table.columns])
        for row in zip(*table.columns.values()):
            writer.writerow([float(f"{value:.6g}") if isinstance(value, float) else value for value in row])


def file_names(names: Iterable[str]) -> dict[str, str]:
    """Names as those of files on any system, each once.

    >>> file_names(["T1", "T1 (Gd)", "../T1"])
    {'T1': 'T1', 'T1 (Gd)': 'T1_Gd', '../T1': 'T1_2'}
    """
    given: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9-]+", "_", name).strip("_") or "image"
        taken = {other.casefold() for other in given.values()}
        free = (f"{plain}_{number}" for number in itertools.count(2))
        given[name] = plain if plain.casefold() not in taken else next(n for n in free if n.casefold() not in taken)
    return given


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
