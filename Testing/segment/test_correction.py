"""Clicks that correct a segment: on a ball in noise, and on the organs of a patient with pieces cut off or added."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from TwinCore import Grid, Image, InvalidInput
from TwinCore.units import HOUNSFIELD
from TwinCore.volume_file import read_volume
from TwinSegmentLib.correction import corrected

OBLIQUE = np.array([[1.2, -0.9, 0, -20], [1.6, 1.2, 0, 10], [0, 0, 3, 5], [0, 0, 0, 1.0]]) * [[1, 1, 1, 1]]


@pytest.fixture(scope="module")
def ball() -> tuple[Image, np.ndarray]:
    """A bright ball of 20 mm on an oblique grid with thick slices."""
    grid = Grid((24, 50, 50), OBLIQUE)
    places = grid.to_ras(np.moveaxis(np.indices(grid.shape), 0, -1)[..., ::-1])
    truth = np.linalg.norm(places - grid.centre, axis=-1) < 20
    noise = np.random.default_rng(0).normal(0, 10, grid.shape)
    return Image((50 + 50 * truth + noise).astype(np.float32), grid, "MR", name="ball"), truth


def near(grid: Grid, place: np.ndarray, radius_mm: float) -> np.ndarray:
    places = grid.to_ras(np.moveaxis(np.indices(grid.shape), 0, -1)[..., ::-1])
    return np.linalg.norm(places - place, axis=-1) < radius_mm


def middle_of(error: np.ndarray, grid: Grid) -> np.ndarray:
    """Where a user would click: the place in the error that is farthest from its edge."""
    depth = ndimage.distance_transform_edt(error, sampling=grid.spacing[::-1])
    return grid.to_ras(np.array(np.unravel_index(depth.argmax(), depth.shape))[::-1])


def left_over(image: Image, truth: np.ndarray, wrong: np.ndarray, reach_mm: float = 12.0) -> float:
    """Share of the wrong voxels that one click leaves, or makes."""
    click = [middle_of(wrong ^ truth, image.grid)]
    points = {"outside_ras_mm" if (wrong & ~truth).any() else "inside_ras_mm": click}
    return np.count_nonzero(corrected(image, wrong, **points, reach_mm=reach_mm) ^ truth) / np.count_nonzero(
        wrong ^ truth
    )


@pytest.mark.parametrize("kind", ["missed", "taken"])
def test_one_click_mends_a_clear_error(ball, kind):
    image, truth = ball
    piece = near(image.grid, image.grid.centre + [17.0, 0, 0], 10)
    wrong = truth & ~piece if kind == "missed" else truth | piece
    assert np.count_nonzero(wrong ^ truth) > 100
    assert left_over(image, truth, wrong, 18) < 0.2


def test_far_from_the_clicks_nothing_changes(ball):
    image, truth = ball
    wrong = truth & ~near(image.grid, image.grid.centre + [17.0, 0, 0], 10)
    click = image.grid.centre + [15.0, 0, 0]
    found = corrected(image, wrong, [click], reach_mm=8)
    changed = found ^ wrong
    assert changed.any()
    assert not (changed & ~near(image.grid, click, 10)).any()
    assert not np.shares_memory(found, wrong)


def test_a_click_always_has_its_way(ball):
    image, truth = ball
    centre, corner = image.grid.centre, image.grid.to_ras([1, 1, 1])
    found = corrected(image, truth, [corner], [centre], reach_mm=0.1)
    k, j, i = np.rint(image.grid.to_ijk(centre)).astype(int)[::-1]
    assert not found[k, j, i]
    assert found[1, 1, 1]


def test_points_that_say_nothing_or_contradict_are_refused(ball):
    image, truth = ball
    with pytest.raises(InvalidInput, match="nothing to correct by"):
        corrected(image, truth)
    with pytest.raises(InvalidInput, match="outside 'ball'"):
        corrected(image, truth, [(1e4, 0, 0)])
    with pytest.raises(InvalidInput, match="both as inside and as outside"):
        corrected(image, truth, [image.grid.centre], [image.grid.centre])


def test_organs_of_a_patient(data):
    """Balls of 12 mm cut off from or added to six organs: one click takes away more than half of the error."""
    ct = read_volume(data("ct_totalseg") / "example_ct.nii.gz", "CT", HOUNSFIELD)
    labels = read_volume(data("ct_totalseg") / "example_seg.nii.gz").array
    sizes = np.bincount(labels.astype(int).ravel())
    rng, left = np.random.default_rng(1), []
    for label in np.argsort(sizes[1:])[::-1][:6] + 1:
        organ = labels == label
        edge = np.argwhere(organ & ~ndimage.binary_erosion(organ))
        for take in (True, False):
            piece = near(ct.grid, ct.grid.to_ras(edge[rng.integers(len(edge))][::-1]), 12)
            left.append(left_over(ct, organ, organ | piece if take else organ & ~piece))
    assert np.median(left) < 0.5
