"""TwinSegment's whole work on a twin: labelled anatomy on the grid of the fused images, with its measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from TwinCore import Grid, Image, InvalidInput, Job, MissingInput, Quantity, Segmentation, Table, centroid
from TwinCore.segmentation import carry_mask
from TwinCore.surface import Surface, surfaces_of
from TwinCore.transform import Transform
from TwinCore.units import SUV_BODY_WEIGHT

from .body import body
from .brain_tissue import brain_tissue
from .measure import dice, joined, segment_table, with_volumes
from .models.anatomy import Labelled
from .models.apply import label_by
from .models.catalogue import find_model
from .models.installed import check_ready
from .pet_threshold import check_rule, pet_tumour
from .tidy import Tidy, tidied, tidied_segments

if TYPE_CHECKING:
    from TwinCore.scene import Run, Twin

SEARCH_MARGIN_MM = 10.0
HEALTHY = "liver"
"""The outline with which PERCIST compares."""

TISSUE_COLOURS = {
    "soft tissue": (0.60, 0.56, 0.52),
    "cerebrospinal fluid": (0.30, 0.42, 0.60),
    "grey matter": (0.58, 0.58, 0.62),
    "white matter": (0.93, 0.92, 0.88),
}
"""Quiet colours for what surrounds the tumour."""
SKULL_STRIPPED_BACKGROUND = 0.02
"""Share of a skull-stripped T1's maximum below which there is no brain."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """Fused images by the name of the image they come from, and the moves of the images into the reference frame."""

    fused: Mapping[str, Image]
    moves: Mapping[str, Transform]
    grid: Grid


@dataclass(frozen=True, eq=False)
class Outputs:
    """The anatomy, its measures, the numbers to report, how sure a model was of its labels, and their surfaces."""

    segmentation: Segmentation
    table: Table
    results: Mapping[str, Quantity]
    uncertainty: Image | None = None
    surfaces: Mapping[str, Surface] = field(default_factory=dict)


@dataclass
class SegmentStep:
    """Label the anatomy of a twin: outlines drawn elsewhere, thresholds, tissue classes and models, on one grid.

    >>> step = SegmentStep(outlines={"T1": rtstruct}, target="GTV", body="PET")           # doctest: +SKIP
    >>> execute(twin, step).results["volume_ml"]                                          # doctest: +SKIP
    Quantity(value=366.1, unit='mL')

    Parameters
    ----------
    target : str, optional
        The segment that everything turns on, the tumour: as outlined on the reference image; if not there, on another
        image, carried over; if nowhere, made by `pet_rule`. None where a model's anatomy is all that is wanted.
    outlines : mapping of str to Segmentation
        Outlines by the name of the image that they were drawn on. Those of other images than the reference are carried
        into its frame and named "<segment> (<image>)".
    pet_rule : str, optional
        Threshold rule of `pet_threshold.RULES` by which the tumour is also found in the PET.
    pet_search : array, shape (2, 3), optional
        Lowest and highest RAS corner of where the PET tumour is looked for, in mm; within 10 mm of the target if none.
    body : str, optional
        Name of the image from which the body's outline is taken, as the segment "soft tissue" (without the target).
    brain : str, optional
        Name of the skull-stripped T1 from which tissue classes are made.
    centroid_reference_ras_mm : sequence of float, optional
        Where the target's centroid is known to be: the error of the carried outline is reported against it.
    model : str, optional
        A model of the catalogue, which labels the anatomy besides; where it and an outline have a name in common, the
        outline is kept.
    model_images : sequence of str
        Names of the images that the model takes, in its order.
    looks : int
        How often the model looks at them; see `models.apply.label_by`.
    tidy : Tidy
        What is done to the segments that are found here, by the PET rule and by the model; outlines stay as drawn.
    """

    target: str | None = None
    outlines: Mapping[str, Segmentation] = field(default_factory=dict)
    pet_rule: str | None = None
    pet_search: Sequence[Sequence[float]] | None = None
    body: str | None = None
    brain: str | None = None
    centroid_reference_ras_mm: Sequence[float] | None = None
    model: str | None = None
    model_images: Sequence[str] = ()
    looks: int = 1
    tidy: Tidy = Tidy()
    name: str = "TwinSegment"

    def parameters(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "outlines": {image: outlines.names for image, outlines in self.outlines.items()},
            "pet_rule": self.pet_rule,
            "pet_search": self.pet_search,
            "body": self.body,
            "brain": self.brain,
            "centroid_reference_ras_mm": self.centroid_reference_ras_mm,
            "model": self.model,
            "model_images": list(self.model_images),
            "looks": self.looks,
            "tidy": asdict(self.tidy),
        }

    def check(self) -> None:
        """Raise `InvalidInput` if what was chosen is not possible, so that it is told before anything is computed."""
        if self.pet_rule is not None:
            check_rule(self.pet_rule)
        if all(choice is None for choice in (self.target, self.model, self.body, self.brain)):
            raise MissingInput(
                "Nothing to segment was chosen: name a target, or a model, or an image of the body or brain."
            )
        if self.model is not None:
            check_ready(find_model(self.model))

    def read(self, twin: Twin) -> Inputs:
        from TwinCore.scene import node_to_transform

        self.check()
        if not twin.nodes("fused"):
            raise MissingInput("The twin has no fused images yet: run TwinFusion first.")
        fused: dict[str, Image] = {}
        for node in twin.nodes("fused"):
            image = twin.image(node)
            fused.setdefault(
                image.name.removesuffix(" fused"), image.with_array(image.array, name=image.name.removesuffix(" fused"))
            )
        moves: dict[str, Transform] = {}
        for node in twin.nodes("transform"):
            moving = node.GetNodeReference(node.GetMovingNodeReferenceRole())
            if moving is not None:
                moves.setdefault(moving.GetName(), node_to_transform(node))
        for named in (*self.outlines, self.body, self.brain, *self.model_images):
            if named is not None and named not in fused:
                raise MissingInput(f"The twin has no fused image {named!r}; it has: {', '.join(fused)}.")
        return Inputs(fused, moves, next(iter(fused.values())).grid)

    def compute(self, inputs: Inputs, job: Job) -> Outputs:
        carry, classify, look, measure = job.split(outlines=2, tissues=6, model=12 if self.model else 1, measures=2)
        with carry:
            masks = self._carried(inputs, carry)
        with classify:
            if self.target is not None:
                masks = self._target_and_tissues(self.target, masks, inputs, classify)
            else:
                masks |= self._tissues(np.zeros(inputs.grid.shape, bool), inputs, classify)
        with look:
            labelled = self._labelled(inputs, look)
        with measure:
            segmentation = Segmentation.from_masks(inputs.grid, masks, colours=TISSUE_COLOURS)
            if labelled is not None:
                segmentation = joined(segmentation, labelled.segmentation)
            surfaces = surfaces_of(segmentation, measure)
            table = segment_table(segmentation, list(inputs.fused.values()), surfaces)
            if labelled is not None:
                table = with_volumes(table, labelled.volumes)
            uncertainty = labelled.uncertainty if labelled else None
            return Outputs(segmentation, table, self._results(segmentation, inputs), uncertainty, surfaces)

    def write(self, run: Run, outputs: Outputs) -> None:
        run.add_segmentation(outputs.segmentation, "Anatomy", outputs.surfaces)
        if outputs.uncertainty is not None:
            run.add_image(outputs.uncertainty, "uncertainty")
        run.add_table(outputs.table)
        run.record(outputs.results)

    def _labelled(self, inputs: Inputs, job: Job) -> Labelled | None:
        """What the model finds in its images."""
        if self.model is None:
            return None
        entry = find_model(self.model)
        if entry.limits:
            job.warn(f"Model {entry.name!r}: {entry.limits}")
        names = self.model_images or list(inputs.fused)[: len(entry.modalities)]
        images = [inputs.fused[name] for name in names]
        labelled = label_by(entry, images, inputs.grid, looks=self.looks, job=job)
        return replace(labelled, segmentation=tidied_segments(labelled.segmentation, self.tidy, job))

    def _target_and_tissues(
        self, target: str, masks: dict[str, np.ndarray], inputs: Inputs, job: Job
    ) -> dict[str, np.ndarray]:
        if target not in masks:
            masks = {target: self._first_target(masks, inputs), **masks}
        if self.pet_rule is not None:
            masks[f"{target} (PET {self.pet_rule})"] = self._pet_tumour(masks[target], inputs, masks)
        return masks | self._tissues(masks[target], inputs, job)

    def _carried(self, inputs: Inputs, job: Job) -> dict[str, np.ndarray]:
        """Outlines on the common grid; those of an image that was moved keep its name."""
        masks = {}
        for image, outlines in job.each(list(self.outlines.items())):
            for name in outlines.names:
                mask = carry_mask(outlines.mask(name), outlines.grid, inputs.grid, inputs.moves.get(image))
                masks[f"{name} ({image})" if image in inputs.moves else name] = mask
                if not mask.any():
                    job.warn(f"Segment {name!r} of {image!r} lies outside the grid of the fused images.")
        return masks

    def _first_target(self, masks: Mapping[str, np.ndarray], inputs: Inputs) -> np.ndarray:
        """The target where the reference has no outline of it: carried from another image, or found in the PET."""
        carried = [mask for name, mask in masks.items() if name.startswith(f"{self.target} (")]
        if carried:
            return carried[0]
        if self.pet_rule is None:
            raise MissingInput(f"No outline is named {self.target!r} and no PET rule is given: there is no target.")
        return self._pet_tumour(None, inputs, masks)

    def _pet_tumour(self, target: np.ndarray | None, inputs: Inputs, masks: Mapping[str, np.ndarray]) -> np.ndarray:
        pet = _pet(inputs)
        if pet is None:
            raise MissingInput("A PET rule is given, but the twin has no PET in SUV.")
        healthy = next((mask for name, mask in masks.items() if name.lower().startswith(HEALTHY)), None)
        found = pet_tumour(pet, self._search(target, inputs.grid), str(self.pet_rule), healthy)
        return tidied(found, pet.grid, self.tidy)

    def _search(self, target: np.ndarray | None, grid: Grid) -> np.ndarray:
        if self.pet_search is not None:
            box = np.asarray(self.pet_search, float)
            centres = grid.to_ras(np.indices(grid.shape)[::-1].reshape(3, -1).T)
            return ((centres >= box[0]) & (centres <= box[1])).all(-1).reshape(grid.shape)
        if target is None:
            raise MissingInput(
                "Without an outline of the target, the box in which to look for it in the PET must be given."
            )
        return ndimage.distance_transform_edt(~target, sampling=grid.spacing[::-1]) <= SEARCH_MARGIN_MM

    def _tissues(self, target: np.ndarray, inputs: Inputs, job: Job) -> dict[str, np.ndarray]:
        masks = {}
        if self.body is not None:
            masks["soft tissue"] = body(inputs.fused[self.body]) & ~target
        if self.brain is not None:
            t1 = inputs.fused[self.brain]
            brain = ndimage.binary_opening(t1.array > SKULL_STRIPPED_BACKGROUND * np.percentile(t1.array, 99.9))
            masks.update(brain_tissue(t1, ndimage.binary_fill_holes(brain), target, job))
        return masks

    def _results(self, segmentation: Segmentation, inputs: Inputs) -> dict[str, Quantity]:
        if self.target is None:
            return {}
        target, pet = segmentation.mask(self.target), _pet(inputs)
        if not target.any():
            raise InvalidInput(f"The target {self.target!r} has no voxel on the grid of the fused images.")
        results = {"volume_ml": Quantity(segmentation.volume_ml(self.target), "mL")}
        if pet is not None:
            results["suv_max"] = Quantity(float(pet.array.max()), SUV_BODY_WEIGHT)
            results["suv_max_target"] = Quantity(float(pet.array[target].max()), SUV_BODY_WEIGHT)
            results["suv_mean_target"] = Quantity(float(pet.array[target].mean()), SUV_BODY_WEIGHT)
        if self.pet_rule is not None:
            found = segmentation.mask(f"{self.target} (PET {self.pet_rule})")
            results["pet_volume_ml"] = Quantity(float(found.sum() * inputs.grid.voxel_volume_ml), "mL")
            results["pet_dice"] = Quantity(dice(found, target), "1")
        results.update(self._carried_results(inputs, target))
        return results

    def _carried_results(self, inputs: Inputs, target: np.ndarray) -> dict[str, Quantity]:
        """How well the outline of the first moved image lands: its whole mask, not what the common grid cuts off."""
        for image, outlines in self.outlines.items():
            if image in inputs.moves and self.target in outlines.names:
                mask = outlines.mask(str(self.target))
                results = {
                    "carried_dice": Quantity(
                        dice(carry_mask(mask, outlines.grid, inputs.grid, inputs.moves[image]), target), "1"
                    )
                }
                if self.centroid_reference_ras_mm is not None:
                    landed = inputs.moves[image].push(centroid(mask, outlines.grid))
                    error = float(np.linalg.norm(landed - np.asarray(self.centroid_reference_ras_mm, float)))
                    results["centroid_error_mm"] = Quantity(error, "mm")
                return results
        return {}


def _pet(inputs: Inputs) -> Image | None:
    return next((i for i in inputs.fused.values() if i.modality == "PT" and i.unit == SUV_BODY_WEIGHT), None)
