"""Structures from outlines: exact volumes, ends, gaps, holes, any orientation, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from dose_phantoms import VOLUME_ML, circle, outlines
from scipy.integrate import quad

from Testing.segment.test_rtstruct import FRAME, planes, write
from TwinCore import InvalidInput, Job, MissingInput
from TwinCore.image import Image, centroid
from TwinSegmentLib.structures import ENDS, read_structures, structure

SQUARE = np.array([[-10.0, -10], [10, -10], [10, 10], [-10, 10]])


def volume_ml(image: Image) -> float:
    return float(image.array.sum() * image.grid.voxel_volume_ml)


@pytest.mark.parametrize(("ends", "length"), [("slab", 12.0), ("cut", 9.0)])
def test_a_box_ends_where_its_convention_says(ends, length):
    box = structure(planes(SQUARE, [0, 3, 6, 9]), "box", ends)
    assert volume_ml(box) == pytest.approx(0.4 * length, rel=0.01)
    np.testing.assert_allclose(centroid(box.array, box.grid), [0, 0, 4.5], atol=0.1)


def test_a_tapered_end_holds_what_the_linear_interpolation_leaves():
    """Towards a plane that is empty, 5 x 3 mm from any edge, half the side shrinks from 10 mm by 15 u / (1 - u)."""
    box = structure(planes(SQUARE, [0, 3, 6, 9]), "box", "tapered")
    each_end = 3.0 * quad(lambda u: (2 * (10 - 15 * u / (1 - u))) ** 2, 0, 10 / 25)[0] / 1000
    assert volume_ml(box) == pytest.approx(0.4 * 9.0 + 2 * each_end, rel=0.01)


@pytest.mark.parametrize(
    ("body", "start", "ends", "tolerance"),
    [("sphere", 0.5, "slab", 2e-3), ("sphere", 0.5, "tapered", 5e-3), ("cylinder", 0.5, "slab", 1e-3),
     ("cone", 0.0, "cut", 2e-3)],
)  # fmt: skip
def test_bodies_of_known_volume_within_a_percent(body, start, ends, tolerance):
    drawn = structure(outlines(body, 1.0, start), body, ends)
    assert volume_ml(drawn) == pytest.approx(VOLUME_ML[body], rel=tolerance)


def test_between_planes_the_outline_is_interpolated():
    """A cone between two circles, not a stack of two discs."""
    drawn = structure([*planes(circle(10.0), [0]), *planes(circle(4.0), [5])], "cone", "cut")
    assert volume_ml(drawn) == pytest.approx(np.pi * 5 / 3 * (100 + 40 + 16) / 1000, rel=0.01)


def test_an_outline_within_an_outline_is_a_hole():
    ring = structure([*planes(circle(10.0), [0, 2, 4]), *planes(circle(5.0), [0, 2, 4])], "ring", "slab")
    assert volume_ml(ring) == pytest.approx(np.pi * 75 * 6 / 1000, rel=0.01)


def test_planes_left_out_leave_a_gap():
    """Two boxes one above the other, each with its own ends."""
    drawn = structure(planes(SQUARE, [0, 3, 6, 30, 33, 36]), "two", "slab")
    assert volume_ml(drawn) == pytest.approx(0.4 * 18, rel=0.01)


@pytest.mark.parametrize("seed", range(3))
def test_planes_of_any_orientation(seed):
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    move = np.array([50.0, -80, 400])
    drawn = [o @ turn.T + move for o in outlines("cylinder", 2.0, 1.0)]
    turned = structure(drawn, "turned", "slab")
    assert volume_ml(turned) == pytest.approx(VOLUME_ML["cylinder"], rel=0.005)
    np.testing.assert_allclose(centroid(turned.array, turned.grid), move, atol=0.1)


def test_what_cannot_be_a_structure_is_refused():
    with pytest.raises(InvalidInput, match="one plane only"):
        structure(planes(SQUARE, [0]), "flat")
    assert volume_ml(structure(planes(SQUARE, [0]), "flat", "slab", plane_mm=2.0)) == pytest.approx(0.8, rel=0.01)
    with pytest.raises(InvalidInput, match="'ghost'.*figure of eight"):
        structure(planes(SQUARE[[0, 2, 1, 3]], [0, 1]), "ghost")
    tilted = planes(SQUARE, [0, 3])
    tilted[1][0, 2] += 4
    with pytest.raises(InvalidInput, match="parallel planes"):
        structure(tilted, "tilted")
    with pytest.raises(InvalidInput, match="Ends 'round' is not known"):
        structure(planes(SQUARE, [0, 3]), "box", "round")
    line = np.array([[0.0, 0], [10, 0], [20, 0]])
    with pytest.raises(InvalidInput, match="'line'.*encloses nothing"):
        structure(planes(line, [0, 3]), "line")


def test_a_structure_set_is_read_and_its_points_are_left_out(tmp_path):
    regions = {"box": planes(SQUARE, [0, 3, 6]), "flat": planes(SQUARE, [3]), "mark": planes(SQUARE[:1], [0])}
    path, job = write(tmp_path / "rs.dcm", regions), Job()
    found = read_structures(path, FRAME, ends="slab", job=job)
    assert list(found) == ["box", "flat"]
    assert volume_ml(found["box"]) == pytest.approx(3.6, rel=0.01)
    assert volume_ml(found["flat"]) == pytest.approx(1.2, rel=0.01)  # as thick as the set's planes are apart
    assert "'mark'" in job.warnings[0]
    with pytest.raises(InvalidInput, match="'mark'"):
        read_structures(path, FRAME, ["mark"])
    with pytest.raises(MissingInput, match="box, flat, mark"):
        read_structures(path, FRAME, ["heart"])
    with pytest.raises(InvalidInput, match="no region of interest in it can be used.*frame of reference"):
        read_structures(path, "1.2.3")
    regions["ghost"] = planes(SQUARE[[0, 2, 1, 3]], [0, 3])
    path = write(tmp_path / "rs.dcm", regions)
    assert list(read_structures(path, FRAME, job=job)) == ["box", "flat"]
    assert any("figure of eight" in warning for warning in job.warnings)
    with pytest.raises(InvalidInput, match="figure of eight"):
        read_structures(path, FRAME, ["ghost"])
    assert ENDS.default == "tapered"
