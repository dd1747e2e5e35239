"""The cases of known truth that registrations are measured on: the truth fits the images."""

import numpy as np
import pytest
from known_moves import CONTRASTS, KINDS, known_move, painted, random_way, thinned, tissue_maps, whither
from scipy.ndimage import map_coordinates


@pytest.fixture(scope="module")
def maps():
    return tissue_maps(thinning=4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_moving_image_shows_the_points_where_the_truth_has_them(maps, kind):
    case = known_move(maps, kind, "T1", seed=1)
    fixed = values(case.fixed, case.points)

    def likeness(off_mm) -> float:
        return np.corrcoef(fixed, values(case.moving, case.there + off_mm))[0, 1]

    beside = [likeness(sign * step) for step in np.eye(3) for sign in (-1, 1)]  # a quarter of a voxel
    assert likeness(0) > 0.94
    assert likeness(0) > max(beside)


def values(image, points) -> np.ndarray:
    return map_coordinates(image.array, image.grid.to_ijk(points).T[::-1], order=3)


def test_moves_are_as_large_as_they_are_said_to_be(maps):
    for kind, least, most in (("rigid", 9, 14), ("affine", 9, 14), ("deformable", 5, 7)):
        case = known_move(maps, kind, "T1", seed=3)
        lengths = case.errors_mm(lambda points: points)
        assert least < lengths.mean() < most
        assert lengths.max() < 25


@pytest.mark.parametrize("kind", KINDS)
def test_the_inverse_of_a_move_is_found(maps, kind):
    brain = maps["brain"]
    way = random_way(brain, kind, np.random.default_rng(0))
    points = brain.grid.to_ras(np.argwhere(brain.array > 0.5)[::50, ::-1])
    assert np.abs(way.pull(whither(way, points)) - points).max() < 2e-3


def test_contrasts_differ_and_share_their_move(maps):
    cases = [known_move(maps, "rigid", contrast, seed=2) for contrast in CONTRASTS]
    assert all(np.array_equal(cases[0].there, case.there) for case in cases)
    assert not np.array_equal(cases[0].there, known_move(maps, "rigid", "T1", seed=3).there)
    hounsfield = painted(maps, "CT-like", np.random.default_rng(0)).array
    assert hounsfield.min() < -900
    assert 20 < np.median(hounsfield[maps["wm"].array > 0.9]) < 60


def test_thinned_voxels_are_means_at_their_place(maps):
    image = maps["t1"]
    twice = thinned(image, 2)
    assert twice.array[3, 4, 5] == pytest.approx(image.array[6:8, 8:10, 10:12].mean())
    assert twice.grid.to_ras([5, 4, 3]) == pytest.approx(image.grid.to_ras([10.5, 8.5, 6.5]))
