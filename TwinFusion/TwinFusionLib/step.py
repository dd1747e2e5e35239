"""TwinFusion's whole work on a twin: every image into the reference frame, with a verdict on each move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from TwinCore import Grid, Image, InvalidInput, Job, LinearTransform, MissingInput, Quantity, resample

from .rigid import RigidResult, register_rigid
from .verdict import Verdict, judge

if TYPE_CHECKING:
    from TwinCore.scene import Run, Twin

FILL = {"CT": -1000.0}
"""Value outside an image's field of view: air for CT, nothing for the others."""

FOCUS_MARGIN_MM = 30.0


@dataclass(frozen=True, eq=False)
class Inputs:
    """The reference image and the others, by name, with their nodes to refer to later."""

    reference: Image
    images: Sequence[Image]
    nodes: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Registration:
    """How one frame of images was brought into the reference frame."""

    frame: str
    images: tuple[str, ...]
    transform: LinearTransform
    result: RigidResult
    verdict: Verdict


@dataclass(frozen=True, eq=False)
class Outputs:
    """Registrations by frame, and every image on the common grid; `nodes` are those of the inputs."""

    registrations: Sequence[Registration]
    fused: Sequence[Image]
    nodes: Mapping[str, Any]

    def moves(self) -> dict[str, LinearTransform | None]:
        """The move of every image but the reference into its frame, by name; None for one that is there already."""
        moved = {name: r.transform for r in self.registrations for name in r.images}
        return {image.name: moved.get(image.name) for image in self.fused[1:]}


@dataclass
class FusionStep:
    """Bring all images of a twin into the frame of its reference, rigidly.

    >>> run = execute(twin, FusionStep(frames={"T1": "MR", "T2": "MR"}))      # doctest: +SKIP
    >>> run.results["verdict"]                                                # doctest: +SKIP
    'good'

    Parameters
    ----------
    frames : mapping of str to str, optional
        Frame of reference of each image by its name: images of one frame are moved together, those in the frame of the
        reference are not moved. An image that is not named has a frame of its own.
    focus : mapping of str to bool array, optional
        For an image by its name, a mask on its grid of what matters most: the match is weighed towards it and its
        surroundings within 30 mm.
    region_ras_mm : array, shape (2, 3), optional
        Lowest and highest RAS corner of the part of the reference in which the fused images are wanted.
    seed : int
        Of the random samples of the registration.
    """

    frames: Mapping[str, str] = field(default_factory=dict)
    focus: Mapping[str, np.ndarray] = field(default_factory=dict)
    region_ras_mm: Sequence[Sequence[float]] | None = None
    seed: int = 0
    name: str = "TwinFusion"

    def parameters(self) -> dict[str, Any]:
        return {
            "method": "rigid, normalised mutual information",
            "frames": dict(self.frames),
            "focus": sorted(self.focus),
            "region_ras_mm": self.region_ras_mm,
            "seed": self.seed,
        }

    def read(self, twin: Twin) -> Inputs:
        node = twin.node("reference")
        reference = twin.image(node)
        others = {n.GetName(): n for n in twin.nodes("image") if n is not node}
        if len(others) != len(twin.nodes("image")) - 1 or node.GetName() in others:
            raise InvalidInput("Two images of the twin have the same name: rename one of them.")
        for named in (*self.frames, *self.focus):
            if named not in others and named != node.GetName():
                raise MissingInput(f"The twin has no image {named!r}; it has: {', '.join([node.GetName(), *others])}.")
        return Inputs(reference, [twin.image(n) for n in others.values()], {node.GetName(): node, **others})

    def compute(self, inputs: Inputs, job: Job) -> Outputs:
        groups = self._groups(inputs)
        grid = region_grid(inputs.reference.grid, self.region_ras_mm)
        register, fuse = job.split(registration=9, resampling=1)
        with register:
            parts = register.split(**dict.fromkeys(groups, 1)) if groups else []
            registrations = [
                self._register(inputs.reference, f, g, part) for (f, g), part in zip(groups.items(), parts)
            ]
        moves = {name: r.transform for r in registrations for name in r.images}
        with fuse:
            fused = [
                resample(image, grid, moves.get(image.name), fill=FILL.get(image.modality, 0.0))
                for image in fuse.each([inputs.reference, *inputs.images])
            ]
        return Outputs(registrations, fused, inputs.nodes)

    def write(self, run: Run, outputs: Outputs) -> None:
        fixed = run.twin.node("reference")
        for registration in outputs.registrations:
            for name in registration.images:
                run.add_transform(registration.transform, outputs.nodes[name], fixed, f"{name} to {fixed.GetName()}")
        for image in outputs.fused:
            run.add_image(image, "fused", name=f"{image.name} fused")
        run.record(fusion_results(outputs.registrations))

    def _groups(self, inputs: Inputs) -> dict[str, list[Image]]:
        """Images to be moved, by frame."""
        still = self.frames.get(inputs.reference.name)
        groups: dict[str, list[Image]] = {}
        for image in inputs.images:
            frame = self.frames.get(image.name, image.name)
            if frame != still:
                groups.setdefault(frame, []).append(image)
        return groups

    def _register(self, reference: Image, frame: str, images: Sequence[Image], job: Job) -> Registration:
        focus = [surroundings(self.focus[i.name], i.grid) if i.name in self.focus else None for i in images]
        with job:
            result = register_rigid(reference, images, focus, self.seed, job)
        voxel = max(float(image.grid.spacing.max()) for image in (reference, *images))
        verdict = judge(result, voxel)
        if verdict.grade != "good":
            job.warn(f"Registration of {frame}: {verdict}.")
        return Registration(frame, tuple(i.name for i in images), result.transform, result, verdict)


def fusion_results(registrations: Sequence[Registration]) -> dict[str, Quantity | str]:
    """What is reported of the registrations: the worst verdict with its reasons, and the figures it rests on."""
    if not registrations:
        return {"verdict": "good"}
    worst = max(registrations, key=lambda r: ("good", "check", "failed").index(r.verdict.grade))
    result = worst.result
    return {
        "verdict": worst.verdict.grade,
        "verdict_reasons": "; ".join(worst.verdict.reasons),
        "registration_nmi_before": Quantity(result.nmi_before, "1"),
        "registration_nmi": Quantity(result.nmi, "1"),
        "registration_overlap": Quantity(result.overlap, "1"),
        "registration_spread_mm": Quantity(result.spread_mm, "mm"),
        "registration_z_score": Quantity(result.z_score, "1"),
    }


def surroundings(mask: np.ndarray, grid: Grid) -> np.ndarray:
    """A mask widened by the focus margin."""
    if not mask.any():
        raise InvalidInput("The focus of a registration is empty: it has no voxel set.")
    return ndimage.distance_transform_edt(~mask, sampling=grid.spacing[::-1]) <= FOCUS_MARGIN_MM


def region_grid(grid: Grid, region_ras_mm: Sequence[Sequence[float]] | None) -> Grid:
    """The part of a grid whose voxel centres lie in a box given by its lowest and highest RAS corner.

    Raises
    ------
    InvalidInput
        If the box is not two points, or holds no voxel.
    """
    if region_ras_mm is None:
        return grid
    box = np.asarray(region_ras_mm, float)
    if box.shape != (2, 3) or not np.isfinite(box).all() or (box[0] >= box[1]).any():
        raise InvalidInput("A region must be two RAS points in mm, the lowest corner and the highest.")
    centres = grid.to_ras(np.indices(grid.shape)[::-1].reshape(3, -1).T).reshape(*grid.shape, 3)
    inside = ((centres >= box[0] - 1e-3) & (centres <= box[1] + 1e-3)).all(-1)
    if not inside.any():
        low, high = grid.corners().min(0).round(), grid.corners().max(0).round()
        raise InvalidInput(f"The region holds no voxel of the reference, which spans {low} to {high} mm.")
    occupied = np.argwhere(inside)
    return grid.crop(occupied.min(0), occupied.max(0) + 1)
