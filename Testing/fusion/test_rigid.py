"""Rigid registration: known moves recovered across contrasts, and the measure's own properties."""

import numpy as np
import pytest
from phantoms import SHAPE, mean_error_mm, pair, rigid

from TwinCore import Grid, Image, InvalidInput, Job, JobCancelled
from TwinFusionLib.mutual_information import BINS, Channel, mutual_information, to_bins
from TwinFusionLib.rigid import register_rigid


@pytest.mark.parametrize(
    ("degrees", "axis", "shift"),
    [(8, (1, 2, 3), (12, -7, 20)), (22, (1, 0, 0), (30, 25, -790)), (30, (0, 1, 1), (-400, 60, 15))],
)
def test_recovers_a_known_move_across_contrasts_from_anywhere(degrees, axis, shift):
    truth = rigid(degrees, axis, shift)
    fixed, moving = pair(truth)
    result = register_rigid(fixed, [moving])
    assert mean_error_mm(result.transform, truth, moving) < 1.0  # a quarter of a voxel, at the corners
    assert result.nmi > result.nmi_before


def test_is_the_same_every_time():
    fixed, moving = pair(rigid(10, (1, 1, 0), (15, 0, 5)))
    once, again = (register_rigid(fixed, [moving]).transform for _ in range(2))
    assert np.array_equal(once.matrix, again.matrix)


def test_images_of_one_frame_move_together():
    truth = rigid(12, (0, 0, 1), (10, 10, 10))
    fixed, moving = pair(truth)
    blank = moving.with_array(np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32), name="noise")
    result = register_rigid(fixed, [moving, blank])
    assert mean_error_mm(result.transform, truth, moving) < 2.0


@pytest.mark.parametrize(
    ("array", "words"),
    [(np.zeros(SHAPE), "constant"), (np.random.default_rng(0).random((2, 52, 48)), "'flat'.*2 voxels")],
)
def test_an_image_that_cannot_be_registered_is_named(array, words):
    fixed, _ = pair(rigid(0, (1, 0, 0), (0, 0, 0)))
    with pytest.raises(InvalidInput, match=words):
        register_rigid(fixed, [Image(array, Grid.isotropic(array.shape, 4.0), "MR", name="flat")])


def test_cancel_stops_it():
    fixed, moving = pair(rigid(5, (1, 0, 0), (1, 2, 3)))
    job = Job(lambda report: job.cancel() if report.fraction > 0.2 else None)
    with pytest.raises(JobCancelled):
        register_rigid(fixed, [moving], job=job)


def test_measure_is_one_without_dependence_and_near_two_with_complete_dependence():
    grid = Grid.isotropic(SHAPE, 4.0)
    rng = np.random.default_rng(1)
    image, other = (Image(rng.integers(0, 8, SHAPE).astype(np.float32), grid, "MR") for _ in range(2))

    def measure(onto: Image) -> float:
        channel = Channel.at_resolution(onto, image, None, 0.0)
        return mutual_information(channel.sample(20000, 0), channel.onto, np.eye(4)[None])[0][0]

    assert measure(image) > 1.8  # less than 2: each sample is shared between two bins
    assert measure(other) == pytest.approx(1.0, abs=0.01)


def test_bins_do_not_depend_on_the_unit():
    values = np.random.default_rng(2).gamma(1.0, 1.0, 20000)
    assert np.allclose(to_bins(values), to_bins(1e-4 * values), atol=1e-3)
    assert to_bins(values).max() <= BINS - 1
