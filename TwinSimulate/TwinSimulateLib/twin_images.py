"""The images that a model takes, from a twin: in the frame of its reference, in the units that the model says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from TwinCore import Grid, Image, InvalidInput, LinearTransform, MissingInput, resample
from TwinCore.provenance import content_hash
from TwinCore.tensor import turned
from TwinCore.transform import Transform

from .declared import DIFFUSION_TENSOR, Requirement

if TYPE_CHECKING:
    from TwinCore.scene import Twin


def images_of(twin: Twin, requires: Sequence[Requirement], given: Mapping[str, Image], grid: Grid) -> dict[str, Image]:
    """Images by the model's names for them.

    One that is not given is the twin's field or input image of that name, moved into the frame of the reference.

    Parameters
    ----------
    twin : Twin
    requires : sequence of Requirement
    given : mapping of str to Image
    grid : Grid
        Of the anatomy: what a deformation moves is resampled there.

    Raises
    ------
    MissingInput, InvalidInput
        If one that the model cannot do without is not there, the model has no use for one, or its unit is another.
    """
    takes = {r.name: r for r in requires if r.kind == "image"}
    there = {name: given[name] if name in given else _of_twin(twin, name, grid) for name in takes}
    found = {name: image for name, image in there.items() if image is not None}
    check_images(requires, {**given, **found})
    for name, required in takes.items():
        if name not in found and not required.optional:
            raise MissingInput(f"The model needs the image {name!r}: {required.meaning}.")
    return found


def check_images(requires: Sequence[Requirement], images: Mapping[str, Image]) -> None:
    """Raise `InvalidInput` unless the model takes each of the images, by its name, in the unit that it is in."""
    takes = {r.name: r for r in requires if r.kind == "image"}
    for name, image in images.items():
        if name not in takes:
            raise InvalidInput(f"The model has no use for the image {name!r}; it takes: {', '.join(takes) or 'none'}.")
        units = takes[name].units
        if units and image.unit not in units:
            raise InvalidInput(
                f"The image {image.name!r} cannot be the {name}: it is in {image.unit!r}, not in {' or '.join(units)}."
            )


def _of_twin(twin: Twin, name: str, grid: Grid) -> Image | None:
    """The newest field of that name, or else the input image; None if there is neither."""
    for node in (*twin.nodes("field"), *twin.nodes("image")):
        if node.GetName() == name:
            return _moved(twin.image(node), twin.move_of(node), grid, name == DIFFUSION_TENSOR.name)
    return None


def _moved(image: Image, move: Transform | None, grid: Grid, tensors: bool) -> Image:
    """An image where a move takes it: its grid, if the move is one; its values on the anatomy's, if not."""
    if move is None:
        return image
    if isinstance(move, LinearTransform):
        there = Grid(image.grid.shape, move.matrix @ image.grid.ijk_to_ras)
        if tensors:
            image = turned(image, move.matrix[:3, :3])
        if there.is_orthogonal:
            return replace(image, grid=there)
    elif tensors:
        raise InvalidInput(
            f"{image.name!r} would be moved by a deformation, which turns tensors differently at every place: register "
            "it rigidly, or bring the tensors themselves into the reference's frame."
        )
    return resample(image, grid, move)


def hashed(image: Image) -> dict[str, str]:
    """An image as a run's record names it."""
    return {"name": image.name, "sha256": content_hash(image.array, image.grid.ijk_to_ras)}
