"""Which image is registered to which: all frames of a patient into that of the reference, by the easiest way.

Images of one frame (one scanner session) move together. Between two frames the easiest pair of images is compared, as
presets.json rates pairs of modalities; a frame reaches the reference by the way of least total cost. So a PET whose CT
shares its frame rides on the CT, and a PET without one may go by way of another visit's CT to an MR.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse.csgraph import shortest_path

from TwinCore import Image

from .presets import pair_of


@dataclass(frozen=True, eq=False)
class Link:
    """One registration to be made: a frame onto another that is nearer to the reference.

    Parameters
    ----------
    frame, onto : str
        Frames of the moving images and of the fixed one.
    fixed : Image
        The image of `onto` that is looked at.
    moving : tuple of Image
        The images of `frame` that are looked at; the others are carried along.
    carried : tuple of str
        Names of all images of `frame`.
    """

    frame: str
    onto: str
    fixed: Image
    moving: tuple[Image, ...]
    carried: tuple[str, ...]


def by_frame(images: Sequence[Image], frames: Mapping[str, str]) -> dict[str, list[Image]]:
    """Images by their frame, in order; an image whose frame is not named has one of its own."""
    groups: dict[str, list[Image]] = {}
    for image in images:
        groups.setdefault(frames.get(image.name, image.name), []).append(image)
    return groups


def links(
    reference: Image, images: Sequence[Image], frames: Mapping[str, str], direct: Collection[str] = ()
) -> list[Link]:
    """The registrations that bring all images into the reference's frame, in the order in which they can be made.

    >>> [(link.frame, link.onto) for link in links(mr, [pet, ct], {})]      # doctest: +SKIP
    [('ct', 'mr'), ('pet', 'ct')]

    Parameters
    ----------
    reference : Image
    images : sequence of Image
        The others.
    frames : mapping of str to str
        Frame by the image's name.
    direct : collection of str
        Frames that must go straight to the reference's: their landmarks do.

    Raises
    ------
    InvalidInput
        If an image does not say its modality.
    """
    groups = by_frame([reference, *images], frames)
    names = list(groups)  # the reference's frame is the first
    costs = np.zeros((len(names), len(names)))  # 0: no way
    for a in range(len(names)):
        for b in range(a):
            if b == 0 or not {names[a], names[b]} & set(direct):
                costs[a, b] = costs[b, a] = _easiest(groups[names[b]], groups[names[a]])[0]
    reach, before = shortest_path(costs, directed=False, return_predecessors=True, indices=0)
    order = sorted(range(1, len(names)), key=lambda n: reach[n])
    return [_link(names[n], names[before[n]], groups) for n in order]


def _link(frame: str, onto: str, groups: Mapping[str, Sequence[Image]]) -> Link:
    _, fixed, moving = _easiest(groups[onto], groups[frame])
    return Link(frame, onto, fixed, moving, tuple(image.name for image in groups[frame]))


def _easiest(fixed: Sequence[Image], moving: Sequence[Image]) -> tuple[float, Image, tuple[Image, ...]]:
    """Cost of the easiest pair between two frames, its fixed image, and the moving images that are as easy to it."""
    cost, best = min(((pair_of(f, m).cost, f) for f in fixed for m in moving), key=lambda pair: pair[0])
    return cost, best, tuple(m for m in moving if pair_of(best, m).cost == cost)
