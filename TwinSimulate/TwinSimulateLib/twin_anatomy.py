"""The tissues and images that a model takes, from a twin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from TwinCore import Image, InvalidInput, MissingInput, Segmentation
from TwinCore.segmentation import carry_mask

from .declared import Requirement
from .model import Anatomy
from .twin_images import images_of

if TYPE_CHECKING:
    from TwinCore.scene import Twin


def anatomy_of(
    twin: Twin,
    requires: Sequence[Requirement],
    segments: Mapping[str, str],
    optional: Sequence[str] = (),
    images: Mapping[str, Image] | None = None,
) -> Anatomy:
    """Tissues on the grid of the tumour's segmentation, and images in its frame.

    Parameters
    ----------
    twin : Twin
    requires : sequence of Requirement
        What is taken; of what is optional, what there is.
    segments : mapping of str to str
        Segment of the twin for each of them; those left out have the model's own name.
    optional : sequence of str
        Names of further tissues that are taken where there are such segments.
    images : mapping of str to Image, optional
        Those that are not the twin's own, by the model's names for them, in the twin's frame.

    Raises
    ------
    MissingInput, InvalidInput
        If a segment or an image is not there, the model has no use for one, or an image is in another unit.
    """
    from TwinCore.scene import node_to_segmentation

    twin.node("segmentation")
    sources = [node_to_segmentation(node) for node in twin.nodes("segmentation")]
    there = {name for source in sources for name in source.names}
    wanted = {r.name: segments.get(r.name, r.name) for r in requires if r.kind == "segment" and not r.optional}
    optional = [*optional, *(r.name for r in requires if r.kind == "segment" and r.optional)]
    wanted |= {name: segments.get(name, name) for name in optional if segments.get(name, name) in there}
    takes = [*wanted, *(name for name in optional if name not in wanted)]
    unknown = sorted(set(segments) - set(takes))
    if unknown:
        raise InvalidInput(f"The model has no use for {', '.join(map(repr, unknown))}; it takes: {', '.join(takes)}.")
    wanted |= {name: segment for name, segment in segments.items() if name in optional}  # named, so it must be there
    grid = _holding(sources, wanted["tumour"]).grid
    tissues = {}
    for role, segment in wanted.items():
        source = _holding(sources, segment)
        mask = source.mask(segment)
        tissues[role] = mask if source.grid.same_as(grid) else carry_mask(mask, source.grid, grid)
    return Anatomy(grid, tissues, images_of(twin, requires, images or {}, grid))


def _holding(sources: Sequence[Segmentation], name: str) -> Segmentation:
    for source in sources:
        if name in source.names:
            return source
    there = ", ".join(n for s in sources for n in s.names)
    raise MissingInput(f"The twin has no segment {name!r}, which the simulation needs; it has: {there}.")
