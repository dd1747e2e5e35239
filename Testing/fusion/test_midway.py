"""Two visits half-way: neither is the standard of the other."""

import numpy as np
import pytest
from phantoms import pair, rigid

from TwinCore import InvalidInput, LinearTransform
from TwinFusionLib import midway as module
from TwinFusionLib.midway import common_grid, halved, midway

TRUTH = rigid(20, (1, 2, -1), (25, -10, 40))


@pytest.fixture(scope="module")
def both_ways():
    """The phantom's two images brought together in both orders; a registration done once is not done again."""
    fixed, moving = pair(TRUTH)
    kept, real = {}, module.register_linear

    def once(onto, images, *arguments, **options):
        key = onto.name, images[0].name
        if key not in kept:
            kept[key] = real(onto, images, *arguments, **options)
        return kept[key]

    module.register_linear = once
    try:
        return midway(moving, fixed), midway(fixed, moving), moving, fixed
    finally:
        module.register_linear = real


def test_swapping_the_two_gives_the_mirrored_answer(both_ways):
    one, other, *_ = both_ways
    for a, b in zip(one.moves, reversed(other.moves)):
        np.testing.assert_allclose(a.matrix, b.matrix, atol=1e-9)
    assert one.first.grid.same_as(other.second.grid, 1e-6)
    np.testing.assert_allclose(one.first.array, other.second.array, atol=1e-4)
    np.testing.assert_allclose(one.second.array, other.first.array, atol=1e-4)


def test_two_halves_are_the_whole_way(both_ways):
    one, _, moving, _ = both_ways
    points = moving.grid.corners()
    whole = one.moves[0].then(one.moves[1].inverse())
    assert np.linalg.norm(whole.push(points) - TRUTH.push(points), axis=1).mean() < 1.0
    assert one.inconsistency_mm < 2.0


def test_both_images_cover_the_middle(both_ways):
    one, _, moving, fixed = both_ways
    for image, move in ((moving, one.moves[0]), (fixed, one.moves[1])):
        ijk = one.first.grid.to_ijk(move.push(image.grid.corners()))
        assert (ijk > -1e-6).all()
        assert (ijk < np.array(one.first.grid.shape[::-1]) - 1 + 1e-6).all()
    assert np.allclose(one.first.grid.spacing, 4.0)


@pytest.mark.parametrize("scale", [1.0, 1.1])
def test_half_of_a_known_move(scale):
    matrix = TRUTH.matrix.copy()
    matrix[:3, :3] *= scale
    half = halved(LinearTransform(matrix), LinearTransform(np.linalg.inv(matrix)))
    np.testing.assert_allclose(half.then(half).matrix, matrix, atol=1e-9)


def test_half_of_two_moves_that_disagree_a_little_is_mirrored():
    back = LinearTransform(rigid(2, (0, 1, 0), (1, 2, 3)).matrix @ np.linalg.inv(TRUTH.matrix))
    half, mirrored = halved(TRUTH, back), halved(back, TRUTH)
    np.testing.assert_allclose(half.matrix @ mirrored.matrix, np.eye(4), atol=1e-9)
    assert np.abs(half.then(half).matrix - TRUTH.matrix).max() > 0.1


def test_a_half_turn_has_no_half():
    turn = LinearTransform(np.diag([-1.0, -1.0, 1.0, 1.0]))
    with pytest.raises(InvalidInput, match="180 degrees"):
        halved(turn, turn)


def test_the_grid_s_spacing_can_be_chosen():
    fixed, moving = pair(TRUTH)
    moves = TRUTH, LinearTransform.identity()
    assert np.allclose(common_grid(moving.grid, fixed.grid, moves, 7.0).spacing, 7.0)
