"""What the numbers of label maps mean: structures, the class that a network gives them, and how bright they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources

import numpy as np

from TwinCore import Image, InvalidInput, Segmentation, resample

SPACING_MM = 1.0


@dataclass(frozen=True)
class Structure:
    """One tissue of a label map.

    Parameters
    ----------
    name : str
    labels : tuple of int
        The numbers that stand for it in the label maps.
    label_class : str
        What a network calls it; several structures may share a class.
    brain : bool
        Whether it is left when the skull is stripped.
    means : mapping of str to float
        Its usual brightness by contrast: MR contrasts from 0 (no signal) to 1, CT in Hounsfield units.
    spread : float
        How much the usual MR brightness varies from one head to the next, as a standard deviation; CT numbers vary
        by this share of themselves.
    """

    name: str
    labels: tuple[int, ...]
    label_class: str
    brain: bool
    means: Mapping[str, float]
    spread: float = 0.05


@dataclass(frozen=True, eq=False)
class Recipe:
    """All structures of a kind of label map; the first is what surrounds the body.

    Raises
    ------
    InvalidInput
        If two structures claim one label, or a structure lacks a contrast that others have.
    """

    name: str
    structures: tuple[Structure, ...]
    source: str = ""

    def __post_init__(self):
        claimed: dict[int, str] = {}
        for structure in self.structures:
            if set(structure.means) != set(self.contrasts):
                raise InvalidInput(f"Recipe {self.name!r}: {structure.name!r} must have {', '.join(self.contrasts)}.")
            for label in structure.labels:
                if claimed.setdefault(label, structure.name) != structure.name:
                    raise InvalidInput(
                        f"Recipe {self.name!r}: {claimed[label]!r} and {structure.name!r} share label {label}."
                    )

    @property
    def contrasts(self) -> tuple[str, ...]:
        """The contrasts whose usual brightness is known."""
        return tuple(self.structures[0].means)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """What a network tells apart, background first."""
        return tuple(dict.fromkeys(s.label_class for s in self.structures))

    @cached_property
    def class_of(self) -> np.ndarray:
        """Class number of each structure."""
        return np.array([self.classes.index(s.label_class) for s in self.structures], np.uint8)

    @cached_property
    def brain(self) -> np.ndarray:
        """Whether each structure is left when the skull is stripped."""
        return np.array([s.brain for s in self.structures])

    def means(self, contrast: str) -> np.ndarray:
        """Usual brightness of each structure."""
        return np.array([s.means[contrast] for s in self.structures], np.float32)

    def label(self, structure: str) -> int:
        """The number that stands for a structure in a label map."""
        return next(s.labels[0] for s in self.structures if s.name == structure)

    def label_map_of(self, segmentation: Segmentation) -> Image:
        """Segments that have the names of classes as a label map in this recipe's numbers.

        Raises
        ------
        InvalidInput
            If a segment is named otherwise.
        """
        numbers = {s.label_class: s.labels[0] for s in reversed(self.structures)}
        odd = [name for name in segmentation.names if name not in numbers]
        if odd:
            raise InvalidInput(f"Recipe {self.name!r} has no class {odd[0]!r}: {', '.join(self.classes[1:])}.")
        labels = np.zeros(segmentation.grid.shape, np.uint16)
        for name in segmentation.names:
            labels[segmentation.mask(name)] = numbers[name]
        return Image(labels, segmentation.grid, name="labels")

    def structures_of(self, label_map: Image) -> Image:
        """A label map as numbers of structures (uint8), on a grid of 1 mm along the patient's axes.

        Raises
        ------
        InvalidInput
            If the map holds a label that the recipe does not know, or numbers that are not labels.
        """
        rounded = np.rint(label_map.array)
        if not np.array_equal(rounded, label_map.array) or rounded.min() < 0:
            raise InvalidInput(f"Label map {label_map.name!r} holds numbers that are no labels.")
        present = np.unique(rounded).astype(int)
        table = np.zeros(int(present[-1]) + 1, np.uint8)
        known = {label: n for n, structure in enumerate(self.structures) for label in structure.labels}
        unknown = [int(label) for label in present if label not in known]
        if unknown:
            raise InvalidInput(
                f"Label map {label_map.name!r} holds labels that recipe {self.name!r} does not know: "
                f"{', '.join(map(str, unknown[:10]))}."
            )
        for label in present:
            table[label] = known[label]
        dense = label_map.with_array(table[rounded.astype(np.intp)], modality="", unit="1")
        return resample(dense, label_map.grid.upright(SPACING_MM), interpolation="nearest")


def read_recipe(name: str) -> Recipe:
    """A recipe that comes with the project, by its name ("brain"); it may extend another one.

    Raises
    ------
    InvalidInput
        If there is none of that name.
    """
    file = resources.files(__package__) / f"{name}_recipe.json"
    if not name.isidentifier() or not file.is_file():
        raise InvalidInput(f"There is no recipe {name!r}.")
    data = json.loads(file.read_text("utf-8"))
    known = read_recipe(data["extends"]).structures if "extends" in data else ()
    return Recipe(data["name"], known + tuple(_structure(row) for row in data["structures"]), data["source"])


def _structure(row: Mapping) -> Structure:
    return Structure(
        row["name"], tuple(row["labels"]), row["class"], row["brain"], dict(row["means"]), row.get("spread", 0.05)
    )
