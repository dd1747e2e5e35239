"""The table beside a label map: which label is which segment, its colour, its coded meaning and what was measured."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from TwinCore import InvalidInput, Job, MissingInput, Segmentation, Table
from TwinCore.guard import display_name
from TwinCore.segmentation import Code, Colour
from TwinCore.volume_file import read_volume
from TwinSegmentLib.label_map import segmentation_of

MOST_BYTES = 1 << 20
_COLOUR = ("red", "green", "blue")


class Listed(NamedTuple):
    """What a row says of a segment, and does not say where there is None."""

    name: str
    colour: Colour | None
    code: Code | None


def write_label_table(segmentation: Segmentation, table: Table, path: Path) -> None:
    """One row a segment, numbered from 1 as they are listed, with the measures of a table of segments."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(_rows(segmentation, table))


def _rows(segmentation: Segmentation, table: Table) -> Iterator[list]:
    measures = [name for name in table.columns if name != "segment"]
    yield ["label", "segment", *_COLOUR, "code", "meaning"] + [f"{m} [{table.units[m]}]" for m in measures]
    for number, segment in enumerate(segmentation.segments):
        colour = [round(255 * share) for share in segment.colour]
        code = [" ".join(segment.code[:2]), segment.code[2]] if segment.code else ["", ""]
        yield [number + 1, segment.name, *colour, *code] + [f"{table.columns[m][number]:.6g}" for m in measures]


def read_labelled(labels: Path, table: Path | None = None, job: Job | None = None) -> Segmentation:
    """A label map with the names, colours and codes of the table beside it.

    Parameters
    ----------
    labels : Path
        A volume file whose whole numbers are segments.
    table : Path, optional
        As `write_label_table` writes it; the columns `label` and `segment` are enough. Where it is not given, the file
        of the same name that ends in .csv; without one, segments are "label 1" and so on.
    job : Job, optional
        Takes the warning about segments of the table that have no voxel.

    Raises
    ------
    MissingInput
        If a file is not there.
    InvalidInput
        If a file is damaged, or the table does not name a label of the map.
    """
    beside = labels.with_name(f"{labels.name.split('.')[0]}.csv")
    image = read_volume(labels)
    if table is None and not beside.is_file():
        return segmentation_of(image)
    listed = _read(table or beside)
    present = set(np.unique(image.array).tolist())
    named = {label: row for label, row in sorted(listed.items()) if label in present}
    if not named:
        raise InvalidInput(f"{display_name((table or beside).name)}: it names no label that is in {labels.name!r}.")
    absent = [row.name for label, row in listed.items() if label not in present]
    if absent and job is not None:
        job.warn(f"Segments of the table without voxels were left out: {', '.join(absent)}.")
    read = segmentation_of(image, {label: row.name for label, row in named.items()})
    segments = [
        replace(segment, colour=row.colour or segment.colour, code=row.code)
        for segment, row in zip(read.segments, named.values())
    ]
    return Segmentation(read.grid, read.layers, tuple(segments))


def _read(path: Path) -> dict[int, Listed]:
    where = display_name(path.name)
    if not path.is_file():
        raise MissingInput(f"There is no file {where!r}.")
    if path.stat().st_size > MOST_BYTES:
        raise InvalidInput(f"{where}: it is too large for a table of segments.")
    try:
        rows = list(csv.DictReader(path.read_text("utf-8-sig").splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"{where}: it is not a table in CSV (UTF-8).") from error
    listed: dict[int, Listed] = {}
    for number, row in enumerate(rows, 2):
        label = str(row.get("label") or "").strip()
        name = display_name(row.get("segment"), "")
        if not label.isdecimal() or not name or int(label) in listed:
            raise InvalidInput(
                f"{where}, line {number}: a row needs a label, which is a whole number and in no other row, and a "
                "segment's name."
            )
        listed[int(label)] = Listed(name, _colour(row, f"{where}, line {number}"), _code(row, name))
    return listed


def _colour(row: dict, where: str) -> Colour | None:
    words = [str(row.get(part) or "").strip() for part in _COLOUR]
    if not any(words):
        return None
    if not all(word.isdecimal() and int(word) <= 255 for word in words):
        raise InvalidInput(f"{where}: red, green and blue are whole numbers from 0 to 255.")
    red, green, blue = (int(word) / 255.0 for word in words)
    return red, green, blue


def _code(row: dict, name: str) -> Code | None:
    scheme, _, value = str(row.get("code") or "").strip().partition(" ")
    if not scheme or not value:
        return None
    return display_name(scheme), display_name(value), display_name(row.get("meaning"), name)
