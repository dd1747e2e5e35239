"""Label maps: names, grids, and a named refusal of what is no label map."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from TwinCore import Grid, Image, InvalidInput, MissingInput
from TwinCore.itk import to_sitk
from TwinSegmentLib.label_map import read_label_map, segmentation_of

RNG = np.random.default_rng(3)
GRID = Grid.isotropic((10, 12, 14), 2.0, (-5, 6, 7))


def labels(dtype="uint8", values=(0, 4, 17, 1035)) -> np.ndarray:
    return RNG.choice(values, GRID.shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32", "int64"])
def test_every_label_becomes_a_segment(tmp_path, dtype):
    array = labels(dtype)
    sitk.WriteImage(to_sitk(Image(array, GRID)), str(tmp_path / "labels.nrrd"))
    segmentation = read_label_map(tmp_path / "labels.nrrd")
    assert segmentation.names == ["label 4", "label 17", "label 1035"]
    for value in (4, 17, 1035):
        np.testing.assert_array_equal(segmentation.mask(f"label {value}"), array == value)
    assert segmentation.layers[0].dtype == np.uint8
    assert segmentation.grid.same_as(GRID)


def test_named_labels_are_taken_and_others_left():
    array = labels("int32")
    segmentation = segmentation_of(Image(array, GRID), {1035: "cortex", 4: "ventricle"})
    assert segmentation.names == ["ventricle", "cortex"]
    np.testing.assert_array_equal(segmentation.mask("cortex"), array == 1035)
    with pytest.raises(MissingInput, match="no label 5; there are: 4, 17, 1035"):
        segmentation_of(Image(array, GRID), {4: "ventricle", 5: "other"})


def refused(array, *words, **options):
    with pytest.raises(InvalidInput) as caught:
        segmentation_of(Image(array, Grid.isotropic(array.shape), name="brain.nrrd"), **options)
    for word in ("brain.nrrd", *words):
        assert word in str(caught.value)


def test_what_is_no_label_map():
    refused(np.zeros((3, 3, 3), np.uint8), "empty")
    refused(np.ones((3, 3, 3), np.uint8), "every voxel is labelled")
    refused(labels("float32", (0, 1.5)), "fractional")
    refused(labels("int16", (0, 1, -1)), "negative", "-1")
    refused(np.arange(70_001, dtype=np.int32).reshape(1, 1, -1), "70000 labels", "Choose up to 255")
    refused(np.full((3, 3, 3), np.nan), "fractional")


def test_many_labels_can_be_chosen():
    many = Image(np.arange(70_001, dtype=np.int32).reshape(1, 1, -1), Grid((1, 1, 70_001), np.eye(4)))
    segmentation = segmentation_of(many, {n: str(n) for n in range(1, 401)})
    assert segmentation.layers[0].dtype == np.uint16
    assert [int(np.flatnonzero(segmentation.mask(name))[0]) for name in ("1", "256", "400")] == [1, 256, 400]


def test_labels_are_carried_to_the_grid_that_is_asked_for():
    array = np.zeros(GRID.shape, np.uint8)
    array[2:8, 3:9, 4:10], array[3:5, 4:6, 5:7] = 1, 2
    whole = segmentation_of(Image(array, GRID), {1: "liver", 2: "tumour"})
    assert segmentation_of(Image(array, GRID), {1: "liver", 2: "tumour"}, GRID).layers[0].dtype == np.uint8
    finer = segmentation_of(Image(array, GRID), {1: "liver", 2: "tumour"}, GRID.with_spacing(1.0))
    assert finer.grid.shape == (20, 24, 28)
    for name in whole.names:
        assert finer.volume_ml(name) == pytest.approx(whole.volume_ml(name), rel=0.25)
    with pytest.raises(InvalidInput, match="liver, tumour lies off the grid"):
        segmentation_of(Image(array, GRID), {1: "liver", 2: "tumour"}, Grid.isotropic((5, 5, 5), 1.0, (900, 0, 0)))


def test_real_label_map(data):
    segmentation = read_label_map(data("ct_totalseg") / "example_seg.nii.gz")
    assert len(segmentation.segments) > 20
    assert sum(segmentation.volume_ml(name) for name in segmentation.names) == pytest.approx(
        np.count_nonzero(segmentation.layers[0]) * segmentation.grid.voxel_volume_ml
    )
