"""One registration: what cannot be registered is said before anything is computed; the rest goes as the preset says."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from phantoms import mean_error_mm, pair, rigid

from TwinCore import Grid, GridTransform, Image, InvalidInput, MissingInput
from TwinFusionLib import registration
from TwinFusionLib.attention import Attention
from TwinFusionLib.linear import LinearResult
from TwinFusionLib.presets import find_preset
from TwinFusionLib.registration import check_pair, check_together, register, settle
from TwinFusionLib.time_series import register_series

GRID = Grid.isotropic((8, 9, 10), 4.0)
RNG = np.random.default_rng(0)
FIXED = Image(RNG.random(GRID.shape), GRID, "MR", name="T1")
MOVING = Image(RNG.random(GRID.shape), GRID, "MR", name="T2")
NOTHING, ALL = np.zeros(GRID.shape, bool), np.ones(GRID.shape, bool)
RIGID = find_preset("MR contrasts")
CORNERS = GRID.corners()[:4]
TRUTH = rigid(8, (1, 0, 1), (6, -8, 5))


@pytest.mark.parametrize(
    ("moving", "words"),
    [
        (MOVING.crop((3, 0, 0), (4, 9, 10)), "'T2' is a single slice"),
        (MOVING.crop((3, 0, 0), (6, 9, 10)), "'T2' is only 3 voxels thin"),
        (MOVING.with_array(np.full(GRID.shape, -1000.0)), "'T2' is constant: every voxel is -1000"),
    ],
)
def test_images_that_cannot_be_registered_are_named(moving, words):
    for fixed, other in ((FIXED, moving), (moving, FIXED)):
        with pytest.raises(InvalidInput, match=words):
            check_pair(fixed, [other], RIGID, Attention())


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        ({"focus": {"T2": NOTHING}}, "'T2': its focus has no voxel"),
        ({"inside": {"T1": NOTHING}}, "'T1': its mask inside has no voxel"),
        ({"outside": {"T2": ALL[:4]}}, r"'T2': its mask outside is of shape \(4, 9, 10\)"),
        ({"outside": {"T2": ALL}}, "'T2': its masks inside and outside leave no voxel"),
    ],
)
def test_masks_that_cannot_be_used_are_named(masks, words):
    with pytest.raises(InvalidInput, match=words):
        check_pair(FIXED, [MOVING], RIGID, Attention(**masks))


@pytest.mark.parametrize("points", [CORNERS[:2], CORNERS[[0, 0, 1]], np.linspace([0, 0, 0], [30, 20, 10], 5)])
def test_landmarks_that_fix_no_pose_are_named(points):
    with pytest.raises(InvalidInput, match="Landmarks of 'T2' on 'T1'"):
        check_pair(FIXED, [MOVING], RIGID, Attention(), (points, points + 3))


def test_a_mask_that_the_preset_needs_is_asked_for():
    with pytest.raises(MissingInput, match=r"needs the lungs masked \(inside\) on 'T1' or 'T2'"):
        check_pair(FIXED, [MOVING], find_preset("inhale-exhale CT"), Attention())
    check_pair(FIXED, [MOVING], find_preset("inhale-exhale CT"), Attention(inside={"T1": ALL}))


def test_masks_combine():
    half, corner = NOTHING.copy(), NOTHING.copy()
    half[:4], corner[0, 0, 0] = True, True
    attention = Attention(inside={"T1": half}, outside={"T1": corner, "T2": corner})
    assert attention.mask(FIXED).sum() == half.sum() - 1
    assert attention.mask(MOVING).sum() == ALL.sum() - 1
    assert Attention().mask(FIXED) is None


def test_images_said_to_be_together_must_meet():
    far = Image(MOVING.array, Grid.isotropic(GRID.shape, 4.0, (0, 0, 500)), "CT", name="CT")
    with pytest.raises(InvalidInput, match="'CT' is said to share the frame of 'T1', but lies wholly beside it"):
        check_together(FIXED, far)
    tiny = Image(np.ones((2, 2, 2)), Grid.isotropic((2, 2, 2), 0.1, (17.9, 17.9, 17.9)), "CT", name="tiny")
    for one, other in ((FIXED, tiny), (tiny, FIXED)):
        check_together(one, other)


def test_what_is_chosen_takes_the_preset_s_place():
    thorax = find_preset("thorax")
    assert settle(thorax) == thorax
    other = settle(thorax, "rigid", 2.0, 3.0)
    assert (other.motion, other.stiffness, other.finest_mm, other.name) == ("rigid", 2.0, 3.0, "thorax")
    with pytest.raises(InvalidInput, match="'elastic' is not known"):
        settle(thorax, "elastic")


def test_a_series_is_registered_from_its_neighbours():
    fixed, moving = pair(TRUTH)
    noise = np.random.default_rng(1).normal(0, 0.02, moving.array.shape).astype(np.float32)
    found = register_series(fixed, [moving, moving.with_array(moving.array + noise)], RIGID, first=1, start=TRUTH)
    assert all(mean_error_mm(f.transform, TRUTH, moving) < 1.0 for f in found)
    with pytest.raises(InvalidInput, match="2 time points has no time point 2"):
        register_series(fixed, [moving, moving], RIGID, first=2)
    with pytest.raises(InvalidInput, match="Time point 1: Image 'moving' is constant"):
        register_series(fixed, [moving, moving.with_array(moving.array * 0)], RIGID, first=1)


def test_a_start_and_landmarks_lead_to_the_same_pose():
    fixed, moving = pair(TRUTH)
    points = moving.grid.corners()
    found = [register(fixed, [moving], RIGID, start=TRUTH)]
    found += [register(fixed, [moving], RIGID, landmarks=(TRUTH.push(points), points))]
    assert all(mean_error_mm(f.transform, TRUTH, moving) < 1.0 for f in found)
    assert all(len(f.repeats) == 3 for f in found)


def test_a_deformation_follows_the_rigid_answer(monkeypatch):
    """The engines are stood in for: what they are given, and how their answers are put together."""
    asked = {}

    def linear(fixed, moving, motion, **options):
        asked["linear"] = motion
        return LinearResult(TRUTH, (TRUTH, TRUTH), 1.2, 1.0, 0.9, 0.0, 0.0)

    def deformable(fixed, moving, start, **options):
        asked["deformable"] = (moving.name, start, options["stiffness"], options["finest_mm"], options["fixed_mask"])
        return SimpleNamespace(transform=GridTransform(np.full((*GRID.shape, 3), 2.0), GRID))

    monkeypatch.setattr(registration, "register_linear", linear)
    monkeypatch.setitem(sys.modules, "TwinFusionLib.deformable", SimpleNamespace(register_deformable=deformable))
    found = register(FIXED, [MOVING], settle(find_preset("thorax"), stiffness=3.0), Attention(inside={"T1": ALL}))
    assert asked["linear"] == "rigid"
    assert asked["deformable"][:4] == ("T2", TRUTH, 3.0, 2.0)
    assert asked["deformable"][4] is ALL
    assert len(found.repeats) == 2
    middle = GRID.centre
    np.testing.assert_allclose(found.transform.pull(middle), TRUTH.pull(middle + 2.0))
