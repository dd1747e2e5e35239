"""A model learns from one patient's corrected labels, on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from TwinCore import InvalidInput, Job, MissingPackage
from TwinSegmentLib.models.catalogue import find_model
from TwinSegmentLib.models.load import load_model

from .label_table import read_labelled
from .loading import load_files
from .named_images import case_of_images


def learn_from_labels(
    paths: Sequence[Path],
    labels: Path,
    model: str,
    name: str,
    *,
    table: Path | None = None,
    modalities: Sequence[str] = (),
    job: Job | None = None,
) -> Path:
    """Make a new model of the user's own catalogue from one that is there and corrected labels.

    Parameters
    ----------
    paths : sequence of Path
        Volumes or DICOM folders: one a channel of the model, in its order and in one frame.
    labels : Path
        A label map in the frame of the images.
    model, name : str
        Of the model that learns, and of what it becomes.
    table : Path, optional
        Names of the labels; the file beside them if none.
    modalities : sequence of str
        Of images that are not DICOM, in order.
    job : Job, optional

    Returns
    -------
    Path
        The new weights.

    Raises
    ------
    MissingPackage
        If torch is not installed.
    TwinError
        If a file cannot be read, or the model cannot learn from the labels.
    """
    try:
        from TwinSegmentLib.models.learning import keep, learn
    except ModuleNotFoundError as error:
        raise MissingPackage(str(error.name), "Learning", "pip install 'digitaltwin[ai]'") from error
    job, entry = job or Job(), find_model(model)
    if len(paths) != len(entry.modalities):
        raise InvalidInput(f"Model {model!r} takes {len(entry.modalities)} images, not {len(paths)}.")
    reading, learning = job.split(reading=1, learning=4)
    with reading:
        loaded = load_files(*case_of_images(paths, modalities, patient="unnamed", job=reading, least=1), reading)
        images = list(loaded.images.values())
        truth = read_labelled(labels, table, reading)
    with learning:
        return keep(entry, name, learn(load_model(entry), images, truth, job=learning))
