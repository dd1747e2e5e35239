"""The models of the catalogue as a user sees them: which suit the images that there are, and what each still lacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from TwinCore import InvalidInput

from .catalogue import Entry, read_catalogue
from .fetch import size_in_words
from .installed import state_in_words


@dataclass(frozen=True)
class Offer:
    """A model to be chosen.

    Parameters
    ----------
    name, title : str
        By which it is chosen, and as it is called, with its organ system.
    channels : tuple of str
        Modality of each image that it takes.
    images : tuple of str or None
        Images for its channels; None where one of them is not there.
    about : str
        What it is not good for, and its licence.
    lacks : str
        What is to be done before it can be used; "" for nothing.
    download : str
        How much there is to fetch and from where, in words; "" where nothing is.
    """

    name: str
    title: str
    channels: tuple[str, ...]
    images: tuple[str, ...] | None
    about: str
    lacks: str = ""
    download: str = ""


def offers(modalities: Mapping[str, str]) -> tuple[list[Offer], str]:
    """Every model of the catalogue, for images of these modalities by their names.

    Returns
    -------
    list of Offer
    str
        Why there are none: what is wrong with the user's own catalogue.
    """
    try:
        return [offer(entry, modalities) for entry in read_catalogue().values()], ""
    except InvalidInput as error:
        return [], str(error)


def offer(entry: Entry, modalities: Mapping[str, str]) -> Offer:
    """One model; what it lacks is looked up only where it suits the images."""
    title, about = f"{entry.system}: {entry.title}", f"{entry.limits} Licence: {entry.licence}."
    images = images_for(entry, modalities)
    if images is None:
        return Offer(entry.name, title, entry.modalities, None, about)
    state, missing = state_in_words(entry), entry.missing_files()
    hosts = ", ".join(sorted({urlsplit(file.url).hostname or "" for file in missing}))
    download = f"{size_in_words(missing)} from {hosts}" if missing else ""
    lacks = "" if state == "ready" else f"The model is not ready: {state}."
    return Offer(entry.name, title, entry.modalities, images, about, lacks, download)


def images_for(entry: Entry, modalities: Mapping[str, str]) -> tuple[str, ...] | None:
    """Images for the channels of a model, in its order, each the first that is of its modality and not yet taken.

    >>> images_for(find_model("meshnet-model18cls"), {"CT": "CT", "T1": "MR"})           # doctest: +SKIP
    ('T1',)

    Returns
    -------
    tuple of str, or None
        None where an image that the model takes is not there. Which of several of one modality a channel is, such as T1
        and T2, no modality tells: the user has to.
    """
    taken: list[str] = []
    for wanted in entry.modalities:
        fitting = (name for name, is_of in modalities.items() if is_of in wanted.split("/") and name not in taken)
        found = next(fitting, None)
        if found is None:
            return None
        taken.append(found)
    return tuple(taken)
