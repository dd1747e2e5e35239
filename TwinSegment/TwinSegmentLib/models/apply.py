"""A model of the catalogue on a patient's images, whatever kind it is of: a network of ours, or a program."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from TwinCore import Grid, Image, Job, MissingInput, MissingPackage

from .anatomy import Labelled, label
from .catalogue import Entry
from .fetch import size_in_words, verify
from .load import load_model
from .nnunet import find_nnunet, label_by_nnunet
from .totalsegmentator import find_totalsegmentator, label_by_totalsegmentator

PROGRAMS: dict[str, tuple[Callable[[Entry], str], Callable[[Entry, Sequence[Image], Grid, Job], Labelled]]] = {
    "totalsegmentator": (find_totalsegmentator, label_by_totalsegmentator),
    "nnunet": (find_nnunet, label_by_nnunet),
}
"""By kind: what finds the program, and what runs it."""


def check_ready(entry: Entry) -> None:
    """Raise `MissingInput` or `MissingPackage` if a model cannot be used yet: says what is to be done."""
    if entry.kind in PROGRAMS:
        PROGRAMS[entry.kind][0](entry)
    else:
        verify(entry)


def state_in_words(entry: Entry) -> str:
    """Whether a model is ready, is to be fetched (how much), or to be installed."""
    missing = entry.missing_files()
    if missing:
        return f"to fetch, {size_in_words(missing)}"
    try:
        if entry.kind in PROGRAMS:
            check_ready(entry)
    except MissingPackage as error:
        return f"to install, {error.package}"
    except MissingInput:
        return f"to be put into {entry.folder}"
    return "ready"


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
    return PROGRAMS[entry.kind][1](entry, images, grid, job)
