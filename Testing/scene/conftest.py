"""What the tests of the scene share: an empty scene for each, and images on awkward grids."""

from __future__ import annotations

import numpy as np
import pytest

from TwinCore import Grid, GridTransform, Image, LinearTransform, Quantity, Segmentation, Table
from TwinCore.scene import Twin


def random_grid(rng, shape=(5, 6, 7)) -> Grid:
    """An oblique, anisotropic grid, flipped as often as not."""
    axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = axes * rng.choice([-1, 1], 3) * rng.uniform(0.4, 5.0, 3)
    matrix[:3, 3] = rng.uniform(-300, 300, 3)
    return Grid(shape, matrix)


@pytest.fixture
def grid() -> Grid:
    return random_grid(np.random.default_rng(7))


@pytest.fixture
def image(grid) -> Image:
    values = np.random.default_rng(1).normal(size=grid.shape).astype(np.float32)
    return Image(values, grid, modality="PT", unit="g/mL", time=3.5, name="SUV")


@pytest.fixture
def twin(scene, image) -> Twin:
    """A twin with one image, which is its reference."""
    twin = Twin.create("Patient A", scene)
    twin.add_image(image, reference=True)
    return twin


@pytest.fixture
def fill():
    """`fill(run, image)` adds one of everything that a run can add."""
    return add_everything


def add_everything(run, image: Image) -> None:
    grid, source = image.grid, run.twin.node("reference")
    run.add_image(image.with_array(2 * image.array, modality="", name="Dose", unit="Gy"), "field")
    turn = np.array([[0, -1, 0, 5], [1, 0, 0, 7], [0, 0, 1, 2], [0, 0, 0, 1.0]])
    run.add_transform(LinearTransform(turn), moving=source, fixed=source, name="Rigid")
    displacement = np.random.default_rng(2).normal(size=(*grid.shape, 3))
    run.add_transform(GridTransform(displacement, grid), moving=source, fixed=source, name="Deformation")
    masks = {"tumour": image.array > 0.5, "oedema": image.array > 0}
    run.add_segmentation(Segmentation.from_masks(grid, masks, {"tumour": ("SCT", "4147007", "Mass")}), "Anatomy")
    table = Table(
        "Volumes",
        {"time": [0, 30], "volume": [8.0, 9.5], "scenario": ["none", "25 x 2 Gy"]},
        {"time": "d", "volume": "mL"},
    )
    node = run.add_table(table)
    run.add_plot("Growth", node, "time", ["volume"])
    days = (0.0, 7.0, 30.0)
    frames = [image.with_array(image.array + day, time=day) for day in days]
    played = run.add_sequence(frames, "Prediction")
    outlines = {
        day: Segmentation.from_masks(grid, {"tumour": image.array > 5 - day, "none": np.zeros(grid.shape, bool)})
        for day in days  # both are empty on the first
    }
    run.add_segmentations(outlines, "Predicted outline", beside=played)
    run.add_model(np.eye(3), [[0, 1, 2]], "Surface")
    run.add_report({"verdict": "good"}, "Findings")
    run.record({"volume_ml": Quantity(9.5, "mL"), "verdict": "good"})
    run.warn("coarse grid")
