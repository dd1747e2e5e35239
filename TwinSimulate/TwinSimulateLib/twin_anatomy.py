"""The tissues that a model needs, from the segmentations of a twin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from TwinCore import InvalidInput, MissingInput, Segmentation
from TwinCore.segmentation import carry_mask

from .declared import Requirement
from .model import Anatomy

if TYPE_CHECKING:
    from TwinCore.scene import Twin


def anatomy_of(
    twin: Twin, requires: Sequence[Requirement], segments: Mapping[str, str], optional: Sequence[str] = ()
) -> Anatomy:
    """Tissues on the grid of the tumour's segmentation.

    Parameters
    ----------
    twin : Twin
    requires : sequence of Requirement
        Of which the segments are taken.
    segments : mapping of str to str
        Segment of the twin for each of them; those left out have the model's own name.
    optional : sequence of str
        Names of tissues that are taken where there are such segments.

    Raises
    ------
    MissingInput, InvalidInput
        If a segment is not there, or the model has no use for one.
    """
    from TwinCore.scene import node_to_segmentation

    twin.node("segmentation")
    sources = [node_to_segmentation(node) for node in twin.nodes("segmentation")]
    there = {name for source in sources for name in source.names}
    wanted = {r.name: segments.get(r.name, r.name) for r in requires if r.kind == "segment"}
    wanted |= {name: segments.get(name, name) for name in optional if segments.get(name, name) in there}
    unknown = sorted(set(segments) - set(wanted))
    if unknown:
        raise InvalidInput(f"The model has no use for {', '.join(map(repr, unknown))}; it takes: {', '.join(wanted)}.")
    grid = _holding(sources, wanted["tumour"]).grid
    tissues = {}
    for role, segment in wanted.items():
        source = _holding(sources, segment)
        mask = source.mask(segment)
        tissues[role] = mask if source.grid.same_as(grid) else carry_mask(mask, source.grid, grid)
    return Anatomy(grid, tissues)


def _holding(sources: Sequence[Segmentation], name: str) -> Segmentation:
    for source in sources:
        if name in source.names:
            return source
    there = ", ".join(n for s in sources for n in s.names)
    raise MissingInput(f"The twin has no segment {name!r}, which the simulation needs; it has: {there}.")
