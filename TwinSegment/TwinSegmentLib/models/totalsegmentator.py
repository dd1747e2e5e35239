"""TotalSegmentator (Wasserthal and others 2023, Radiology: Artificial Intelligence 5:e230024), where it is installed.

It runs as a program of its own, which fetches its own weights, and says by its settings whether it sends its maker
statistics of use. Its masks come back as files, one a structure, and are checked as all files are.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from TwinCore import Grid, Image, InvalidInput, Job, Segment, Segmentation
from TwinCore.guard import display_name
from TwinCore.segmentation import PALETTE
from TwinCore.volume_file import read_volume

from ..networks.model import Label, check_channels
from .anatomy import Labelled, volumes_without_interval
from .catalogue import Entry
from .installed import find_totalsegmentator
from .programs import run_program, write_channels

MASK = ".nii.gz"
MOST_STRUCTURES = 1000
_TASK = re.compile(r"[a-z0-9_]+\Z")


def label_by_totalsegmentator(entry: Entry, images: Sequence[Image], grid: Grid, job: Job) -> Labelled:
    """Segment an image by one of TotalSegmentator's tasks.

    Parameters
    ----------
    entry : Entry
        Its settings are the `task`, and whether the `fast` model of 3 mm does. Its labels have in `file` the names that
        TotalSegmentator gives its structures; those that it does not list come as they are called.
    images : sequence of Image
        One.
    grid : Grid
        Of the answer.
    job : Job
        Killed with the program if cancelled.

    Raises
    ------
    MissingPackage
        If TotalSegmentator is not installed.
    InvalidInput
        If the image is of another modality, the program fails, or what it wrote is not on the image's grid.
    """
    task = str(entry.settings.get("task", "total"))
    if not _TASK.match(task):
        raise InvalidInput(f"Model {entry.name!r}: {task!r} is no task of TotalSegmentator.")
    check_channels(entry.name, images, entry.modalities)
    program = find_totalsegmentator(entry)
    with tempfile.TemporaryDirectory(prefix="digitaltwin-") as name:
        folder = Path(name)
        image, masks = folder / f"image{MASK}", folder / "masks"
        write_channels(images, [image])
        masks.mkdir()
        fast = ["--fast"] if entry.settings.get("fast") else []
        run_program([program, "-i", str(image), "-o", str(masks), "--task", task, *fast], folder, job, entry.seconds)
        found = _read(masks, images[0].grid, _labels(entry), job)
    if not found.segments:
        raise InvalidInput(f"Model {entry.name!r} finds nothing in the image: it shows something else, or is turned.")
    segmentation = found if grid.same_as(found.grid) else found.on_grid(grid)
    return Labelled(segmentation, None, volumes_without_interval(entry.name, segmentation))


def _read(folder: Path, grid: Grid, labels: dict[str, Label], job: Job) -> Segmentation:
    """The masks that are not empty as segments; they do not overlap, or the later one counts."""
    files = sorted(path for path in folder.iterdir() if path.name.endswith(MASK))
    if len(files) > MOST_STRUCTURES:
        raise InvalidInput(f"TotalSegmentator wrote {len(files)} structures, and {MOST_STRUCTURES} are the most.")
    layer, segments = np.zeros(grid.shape, np.uint16), list[Segment]()
    for number, file in enumerate(job.each(files, "reading masks"), 1):
        mask = read_volume(file)
        if not mask.grid.same_as(grid):
            raise InvalidInput(f"TotalSegmentator wrote {display_name(file.name)} on another grid than the image's.")
        inside = mask.array > 0.5
        if inside.any():
            stem = file.name.removesuffix(MASK)
            one = labels.get(stem) or Label(display_name(stem.replace("_", " ")), PALETTE[number % len(PALETTE)])
            layer[inside] = number
            segments.append(Segment(one.name, 0, number, one.colour, one.code))
    return Segmentation(grid, (layer,), tuple(segments))


def _labels(entry: Entry) -> dict[str, Label]:
    """The catalogue's labels by the names of their files."""
    return {str(row.get("file", row["name"])): one for row, one in zip(entry.settings["labels"], entry.labels)}
