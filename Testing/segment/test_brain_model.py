"""The built-in brain model: it is there, small, and finds the brain in a real head however that lies in its image."""

from __future__ import annotations

import numpy as np
import pytest

from TwinCore import Grid, Image, resample
from TwinCore.volume_file import read_volume
from TwinSegmentLib.generator import read_recipe
from TwinSegmentLib.measure import dice
from TwinSegmentLib.models.anatomy import label
from TwinSegmentLib.models.catalogue import find_model
from TwinSegmentLib.models.load import WEIGHTS, load_model

ENTRY = find_model("brain-anatomy")
MESHNET_ML = {
    "cerebral white matter": 478.6,
    "cerebral cortex": 584.1,
    "thalamus": 17.4,
    "caudate": 7.9,
    "hippocampus": 8.9,
    "brain stem": 22.9,
}
"""Voxels of 1 mm3 that the pretrained MeshNet of 18 classes gives on the same image: another network's opinion."""


def test_the_model_comes_with_the_project_and_knows_the_recipes_classes():
    assert (ENTRY.folder / WEIGHTS).stat().st_size < 5e6
    assert not ENTRY.missing_files()
    assert tuple(one.name for one in ENTRY.labels) == read_recipe("brain").classes
    assert all(one.code for one in ENTRY.labels[1:])
    assert set(ENTRY.volume_factors) == set(read_recipe("brain").classes[1:])
    assert load_model(ENTRY).network.classes == 20


@pytest.fixture(scope="module")
def t1(data) -> Image:
    return read_volume(data("brain_t1") / "t1_crop.nii.gz", "MR")


@pytest.fixture(scope="module")
def found(t1):
    return label(load_model(ENTRY), [t1], volume_factors=ENTRY.volume_factors)


def test_a_real_brain_has_the_volumes_that_another_network_finds(found):
    for name, volume_ml in MESHNET_ML.items():
        assert found.segmentation.volume_ml(name) == pytest.approx(volume_ml, rel=0.25)
    row = found.volumes.columns["segment"].index("thalamus")
    low, high = (found.volumes.columns[f"volume, {end}"][row] for end in ("low", "high"))
    assert low < found.segmentation.volume_ml("thalamus") < high


def test_a_turned_grid_far_from_its_middle_gives_the_same_anatomy(t1, found):
    """The head on an oblique grid of 1.5 mm with 80 mm of air on one side."""
    angle = np.deg2rad(12)
    matrix = np.eye(4)
    matrix[:3, :3] = 1.5 * np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    shape = (150, 200, 220)
    centre = t1.grid.centre + [60.0, 0, 0]
    matrix[:3, 3] = centre - matrix[:3, :3] @ ((np.array(shape[::-1]) - 1) / 2)
    turned = resample(t1, Grid(shape, matrix))
    again = label(load_model(ENTRY), [turned], t1.grid).segmentation
    for name in ("cerebral white matter", "thalamus", "brain stem"):
        assert dice(again.mask(name), found.segmentation.mask(name)) > 0.85
