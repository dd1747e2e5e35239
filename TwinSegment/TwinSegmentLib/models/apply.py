"""A model of the catalogue on a patient's images, whatever kind it is of: a network of ours, or a program."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from TwinCore import Grid, Image, Job

from .anatomy import Labelled, label
from .catalogue import Entry
from .load import load_model
from .nnunet import label_by_nnunet
from .totalsegmentator import label_by_totalsegmentator

PROGRAMS: dict[str, Callable[[Entry, Sequence[Image], Grid, Job], Labelled]] = {
    "totalsegmentator": label_by_totalsegmentator,
    "nnunet": label_by_nnunet,
}
"""By kind, what runs the program."""


def label_by(
    entry: Entry, images: Sequence[Image], grid: Grid | None = None, *, looks: int = 1, job: Job | None = None
) -> Labelled:
    """What a model of the catalogue finds; see `anatomy.label`.

    Parameters
    ----------
    entry : Entry
    images : sequence of Image
    grid : Grid, optional
        Of the answer; the first image's if none.
    looks : int
        Of a network; a program looks once.
    job : Job, optional

    Returns
    -------
    Labelled
    """
    job, grid = job or Job(), grid or images[0].grid
    if entry.kind not in PROGRAMS:
        model = load_model(entry)
        return label(model, images, grid, looks=looks, volume_factors=entry.volume_factors, job=job)
    if looks > 1:
        job.warn(f"Model {entry.name!r} is a program of its own, which looks once.")
    return PROGRAMS[entry.kind](entry, images, grid, job)
