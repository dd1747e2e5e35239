"""Rigid and affine registration: known moves recovered across contrasts, and the measure's own properties."""

from dataclasses import replace

import numpy as np
import pytest
from known_moves import known_move, thinned, tissue_maps
from phantoms import SHAPE, mean_error_mm, pair, rigid
from scipy.ndimage import gaussian_filter

from TwinCore import Grid, Image, InvalidInput, Job, JobCancelled, LinearTransform, resample
from TwinCore.volume_file import read_volume
from TwinFusionLib.climb import climb
from TwinFusionLib.filters import at_resolution
from TwinFusionLib.landmarks import check_landmarks, fit_points
from TwinFusionLib.linear import FIRST_APART, LATTICE, REPEATS, Measure, Pair, register_linear, starting_poses
from TwinFusionLib.motion import along_steps, moved, spread_rotations
from TwinFusionLib.mutual_information import mutual_information, mutual_information_slope
from TwinFusionLib.sampling import BINS, Region, Target, sample, to_bins
from TwinFusionLib.scan import scan
from TwinFusionLib.search import SHIFT_MM, distances, lattice, separate


@pytest.mark.parametrize(
    ("degrees", "axis", "shift"),
    [
        (8, (1, 2, 3), (12, -7, 20)),
        (35, (1, 0, 0), (30, 25, -790)),
        (90, (0, 1, 1), (-400, 60, 15)),
        (170, (1, -1, 0.3), (20, -40, 30)),
    ],
)
def test_recovers_a_known_move_across_contrasts_from_anywhere(degrees, axis, shift):
    truth = rigid(degrees, axis, shift)
    fixed, moving = pair(truth)
    result = register_linear(fixed, [moving])
    assert mean_error_mm(result.transform, truth, moving) < 1.0  # a quarter of a voxel, at the corners
    assert result.nmi > result.nmi_before
    assert result.runner_up < 0.8


def test_recovers_a_known_affine_move():
    stretch = np.eye(4)
    stretch[:3, :3] = [[1.04, 0.02, 0], [0, 0.97, 0.02], [0.02, 0, 1.03]]
    truth = LinearTransform(rigid(20, (1, 2, 3), (12, -7, 20)).matrix @ stretch)
    _, moving = pair(rigid(0, (1, 0, 0), (0, 0, 0)))
    fixed = resample(moving, moving.grid, truth)
    result = register_linear(fixed, [moving], "affine")
    assert mean_error_mm(result.transform, truth, moving) < 0.4  # a tenth of a voxel, at the corners
    assert mean_error_mm(register_linear(fixed, [moving]).transform, truth, moving) > 3.0


def test_is_the_same_every_time():
    fixed, moving = pair(rigid(10, (1, 1, 0), (15, 0, 5)))
    once, again = (register_linear(fixed, [moving]).transform for _ in range(2))
    assert np.array_equal(once.matrix, again.matrix)


def test_images_of_one_frame_move_together():
    truth = rigid(12, (0, 0, 1), (10, 10, 10))
    fixed, moving = pair(truth)
    blank = moving.with_array(np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32), name="noise")
    result = register_linear(fixed, [moving, blank])
    assert mean_error_mm(result.transform, truth, moving) < 2.0


def test_what_is_masked_out_does_not_count():
    """A false half on either image misleads the search, unless it is masked out."""
    truth = rigid(10, (0, 1, 1), (8, -6, 12))
    fixed, moving = pair(truth)
    kept = np.zeros(SHAPE, bool)
    kept[:26] = True
    noise = np.random.default_rng(5).permutation(moving.array.ravel()).reshape(SHAPE)
    spoilt = moving.with_array(np.where(kept, moving.array, noise))
    result = register_linear(fixed, [spoilt], moving_masks=[kept])
    assert mean_error_mm(result.transform, truth, moving) < 2.0
    ones = register_linear(moving, [fixed], fixed_mask=kept)
    assert mean_error_mm(ones.transform, truth.inverse(), fixed) < 2.0


@pytest.mark.parametrize(
    ("array", "words"),
    [(np.zeros(SHAPE), "constant"), (np.random.default_rng(0).random((2, 52, 48)), "'flat'.*2 voxels")],
)
def test_an_image_that_cannot_be_registered_is_named(array, words):
    fixed, _ = pair(rigid(0, (1, 0, 0), (0, 0, 0)))
    with pytest.raises(InvalidInput, match=words):
        register_linear(fixed, [Image(array, Grid.isotropic(array.shape, 4.0), "MR", name="flat")])


def test_cancel_stops_it():
    fixed, moving = pair(rigid(5, (1, 0, 0), (1, 2, 3)))
    job = Job(lambda report: job.cancel() if report.fraction > 0.2 else None)
    with pytest.raises(JobCancelled):
        register_linear(fixed, [moving], job=job)


def test_measure_is_one_without_dependence_and_near_two_with_complete_dependence():
    grid = Grid.isotropic(SHAPE, 4.0)
    rng = np.random.default_rng(1)
    image, other = (Image(rng.integers(0, 8, SHAPE).astype(np.float32), grid, "MR") for _ in range(2))
    on_the_grid = Region(grid).draw(20000, rng)
    on_the_grid = grid.to_ras(np.rint(grid.to_ijk(on_the_grid)))

    def measure(onto: Image) -> float:
        samples = sample(image, Region(grid), None, 10, 0)
        ijk = np.rint(grid.to_ijk(on_the_grid)).astype(int)
        bins = np.rint(to_bins(image.array))[ijk[:, 2], ijk[:, 1], ijk[:, 0]].astype(np.uint64)
        drawn = type(samples)(on_the_grid, bins)
        return mutual_information(drawn, Target.of(onto, onto, None), np.eye(4)[None])[0][0]

    assert measure(image) > 1.8  # less than 2: each sample is shared between two bins
    assert measure(other) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("masked", [False, True])
def test_the_measure_s_slope_is_that_of_its_values(masked):
    """Against central differences along each number of a step; some samples are leaving the target, or its mask."""
    truth = rigid(5, (1, 0, 2), (4, 3, -2))
    fixed, moving = (at_resolution(image, 8.0) for image in pair(truth))
    samples = sample(moving, Region(moving.grid), None, 30000, 0)
    onto, centre = Target.of(fixed, fixed, _oblique_half(fixed) if masked else None), moving.grid.centre
    pose = rigid(2, (0, 1, 0), (3, -2, 1)).matrix @ truth.matrix
    _, overlap, *slopes = mutual_information_slope(samples, onto, pose[None])
    assert 0.25 < overlap[0] < (0.6 if masked else 0.95)
    steps = 0.1 * np.concatenate([np.eye(12), -np.eye(12)])
    measured = mutual_information_slope(samples, onto, moved(np.tile(pose, (24, 1, 1)), steps, centre))[:2]
    for by_pose, value in zip(slopes, measured):
        slope = along_steps(pose[None], by_pose, centre, 12)[0]
        np.testing.assert_allclose(slope, (value[:12] - value[12:]) / 0.2, atol=0.01 * np.abs(slope).max())


def _oblique_half(image: Image) -> np.ndarray:
    ijk = np.moveaxis(np.indices(image.grid.shape)[::-1], 0, -1)
    return (image.grid.to_ras(ijk) - image.grid.centre) @ [1.0, 0.7, 0.4] > 0


def test_climbing_reaches_the_top_of_a_hill_and_never_descends():
    """The hill is a paraboloid over where three points are taken, whose top is known."""
    top = rigid(25, (1, 2, 0), (9, -4, 6)).matrix
    points = np.c_[100 * np.eye(3), np.ones(3)]

    def slope(poses):
        miss = points @ poses[:, :3].transpose(0, 2, 1) - points @ top[:3].T
        return -(miss**2).sum((1, 2)), -2 * miss.transpose(0, 2, 1) @ points

    starts = np.array([rigid(d, (0, 0, 1), (d, 0, 0)).matrix for d in (0, 30, -50)])
    ends = climb(slope, starts, np.zeros(3), 6, 60, 20.0, Job())
    assert (slope(ends)[0] >= slope(starts)[0]).all()
    np.testing.assert_allclose(ends, np.tile(top, (3, 1, 1)), atol=0.02)


def test_close_to_the_answer_the_overlap_is_left_out_of_the_measure():
    truth = rigid(10, (1, 1, 0), (15, 0, 5))
    fixed, moving = pair(truth)
    fixed = fixed.crop((SHAPE[0] // 3, 0, 0), SHAPE)
    images = Pair(fixed, [moving], [None], None, [None])
    (channels,) = images.channels(images.levels[-1], [0])
    far, close = Measure(channels, None), Measure(channels, None, close=True)
    (nmi,), (overlap,), by_nmi, by_overlap = far.nmi(truth.matrix[None])
    assert 0.5 < overlap < 0.9
    for measure, share, by_share in ((far, overlap, by_overlap), (close, 1.0, 0.0)):
        value, slopes = measure(truth.matrix[None])
        assert value[0] == pytest.approx((nmi - 1) * share)
        np.testing.assert_allclose(slopes, by_nmi * share + (nmi - 1) * by_share)


@pytest.mark.parametrize("masked", [False, True])
def test_climbs_meet_at_one_top_where_samples_leave_the_target(masked):
    """Where samples leave in steps climbs are caught: up to 0.6 mm from the middle one, without overlap 0.2 mm."""
    truth = rigid(10, (1, 1, 0), (15, 0, 5))
    fixed, moving = pair(truth)
    fixed = fixed if masked else fixed.crop((SHAPE[0] // 3, 0, 0), SHAPE)
    images = Pair(fixed, [moving], [None], _oblique_half(fixed) if masked else None, [None])
    last = images.levels[-1]
    (channels,) = images.channels(last, [0])
    steps = np.random.default_rng(0).normal(0, 2, (12, 6))
    starts = moved(np.repeat(truth.matrix[None], 12, 0), steps, images.centre)
    for close in (False, True):
        tops = Measure(channels, None, close).climb(images, starts, "rigid", last, Job())
        apart = distances(np.median(tops, 0), tops, images.corners())
        assert apart.max() < 0.1


def test_small_images_that_overlap_in_part_are_registered():
    """On coarse images, of a dozen voxels, samples fade over much of the overlap: it is judged to the very border."""
    shape, length, truth = (40, 50, 40), 40, rigid(20, (1, 1, 0), (6, 0, 4))
    texture = gaussian_filter(np.random.default_rng(0).standard_normal(shape), 3.0)
    whole = Image(texture.astype(np.float32), Grid.isotropic(shape, 0.5), "US")
    one, other = whole.crop((0, 0, 0), (shape[0], length, shape[2])), whole.crop((0, shape[1] - length, 0), shape)
    away = Grid(other.grid.shape, truth.inverse().matrix @ other.grid.ijk_to_ras)
    result = register_linear(one, [replace(other, grid=away)])
    assert mean_error_mm(result.transform, truth, replace(other, grid=away)) < 0.1
    assert result.overlap == pytest.approx(0.75, abs=0.05)


def test_where_no_candidate_overlaps_as_it_should_all_are_followed(monkeypatch):
    truth = rigid(12, (0, 0, 1), (10, 10, 10))
    fixed, moving = pair(truth)
    near, wrong = (
        LinearTransform(rigid(0, (1, 0, 0), shift).matrix @ truth.matrix) for shift in ((4, 0, 0), (80, 0, 0))
    )
    candidates = np.array([wrong.matrix, near.matrix])
    monkeypatch.setattr("TwinFusionLib.linear.starting_poses", lambda *_: (candidates, 1.1))
    result = register_linear(fixed, [moving])
    assert result.overlap < 1.1
    assert mean_error_mm(result.transform, truth, moving) < 1.0


@pytest.mark.parametrize(("modality", "left_out"), [("MR", True), ("PT", False)])
def test_the_overlap_is_left_out_of_the_last_climb_but_not_with_pet(monkeypatch, modality, left_out):
    truth = rigid(10, (1, 1, 0), (15, 0, 5))
    fixed, moving = pair(truth)
    made = []

    def noted(channels, landmarks, close=False):
        made.append(close)
        return Measure(channels, landmarks, close)

    monkeypatch.setattr("TwinFusionLib.linear.Measure", noted)
    register_linear(replace(fixed, modality=modality), [moving], start=truth)
    assert made[-REPEATS:] == [left_out] * REPEATS
    assert not any(made[:-REPEATS])


def test_affine_answers_hardly_depend_on_the_samples_where_the_images_end_differently(data):
    """An average CT and a T1, of different people and fields of view; caught on the overlap's steps: 0.19 mm."""
    average = read_volume(data("brain_ct") / "ct_brain_atlas_1mm.nii.gz", "CT")
    average = thinned(average.with_array(average.array.astype(np.float32)), 2)
    t1 = known_move(tissue_maps(), "rigid", "T1", 1, 2).fixed
    nearby = register_linear(t1, [average]).transform
    answers = [register_linear(t1, [average], "affine", start=nearby, seed=seed).transform for seed in range(6)]
    mean = LinearTransform(np.mean([answer.matrix for answer in answers], 0))
    body = average.grid.to_ras(np.argwhere(average.array > average.array.mean())[::500, ::-1])
    scatter = [np.linalg.norm(answer.push(body) - mean.push(body), axis=1).mean() for answer in answers]
    assert np.mean(scatter) < 0.15


def test_a_broad_wrong_hill_leaves_room_for_a_narrow_right_one():
    """Five poses wide on each side, a little more than a step of the lattice apart, each better than the right one."""
    beside = np.argwhere(np.ones((5, 5, 5))) * 1.1 * SHIFT_MM
    poses = np.tile(np.eye(4), (len(beside) + 1, 1, 1))
    poses[:-1, :3, 3], poses[-1, :3, 3] = beside, 400.0
    scores = np.append(1.0 + np.random.default_rng(0).random(len(beside)), 0.9)

    def reached(steps_apart):
        return len(beside) in separate(poses, scores, LATTICE.survivors, steps_apart * SHIFT_MM, np.zeros(3))

    assert reached(FIRST_APART)
    assert not reached(1.0)


def test_a_search_begins_with_poses_that_lie_apart():
    fixed, moving = pair(rigid(35, (1, 0, 0), (30, 25, -790)))
    heads = Pair(fixed, [moving], [None], None, [None])
    poses, _ = starting_poses(heads, None, 0, Job())
    levers = heads.centre + 100.0 * np.concatenate([np.eye(3), -np.eye(3)])
    apart = [distances(poses[n], poses[n + 1 :], levers).min() for n in range(len(poses) - 1)]
    assert len(poses) == LATTICE.survivors
    assert min(apart) > 1.5 * SHIFT_MM * heads.scale


def test_turns_are_spread_over_all_there_are():
    turns = spread_rotations(1000)
    np.testing.assert_allclose(turns[0], np.eye(3), atol=1e-12)
    np.testing.assert_allclose(turns @ turns.transpose(0, 2, 1), np.tile(np.eye(3), (1000, 1, 1)), atol=1e-12)
    rng = np.random.default_rng(0)
    others = [rigid(*(rng.uniform(0, 180), rng.standard_normal(3), (0, 0, 0))).matrix[:3, :3] for _ in range(200)]
    traces = np.einsum("nij,mij->nm", turns, others)
    nearest = np.degrees(np.arccos(np.clip((traces.max(0) - 1) / 2, -1, 1)))
    assert nearest.max() < 25.0


def test_poses_to_begin_with_cover_every_overlap_and_those_kept_lie_apart():
    fixed, moving = Grid.isotropic(SHAPE, 4.0), Grid.isotropic((30, 30, 30), 4.0, (500, 0, -900))
    turns, shifts = lattice(fixed, moving)
    middles = turns[:, :3, :3] @ moving.centre + turns[:, :3, 3]
    np.testing.assert_allclose(middles, np.tile(fixed.centre, (len(turns), 1)), atol=1e-9)
    most = np.abs(shifts).max(0) * 4.0
    room = (np.array(SHAPE[::-1]) - 30) * 2.0
    assert (most >= room).all()  # the small image reaches every border of the large one
    assert (most <= room + 60.0).all()
    poses = np.tile(turns, (5, 1, 1))
    poses[:, 0, 3] += np.repeat(np.arange(5) * 30.0, len(turns))
    scores = np.random.default_rng(0).random(len(poses))
    kept = separate(poses, scores, 20, 60.0, moving.centre)
    assert len(kept) == 20
    assert scores[kept[0]] == scores.max()
    assert (np.diff(scores[kept]) <= 0).all()


def test_the_rough_measure_of_a_lattice_is_that_of_each_pose_alone():
    """Whole voxels of shift and nearest voxels: against a count of pairs written out."""
    fixed, moving = (at_resolution(image, 8.0) for image in pair(rigid(5, (1, 0, 2), (4, 3, -2))))
    samples, onto = sample(moving, Region(moving.grid), None, 400, 0), Target.of(fixed, fixed, None)
    turns, shifts = (
        np.array([rigid(d, (1, 1, 0), (0, 5, 0)).matrix for d in (0, 70)]),
        np.array([[0, 0, 0], [2, -1, 3]]),
    )
    nmi, overlap = scan(samples, onto, turns, shifts)
    rows = samples.bins.astype(int) // 2
    size = np.array(fixed.grid.shape[::-1])
    for t, s in np.ndindex(2, 2):
        to_voxels = onto.ras_to_ijk @ turns[t]
        ijk = np.floor(samples.points @ to_voxels[:3, :3].T + to_voxels[:3, 3] + 0.5).astype(int) + shifts[s]
        inside = ((ijk >= 0) & (ijk < size)).all(1)
        i, j, k = ijk[inside].T
        columns = np.minimum((onto.bins[k, j, i] + 0.5) / 2, 15).astype(int)
        joint = np.zeros((16, 16))
        np.add.at(joint, (rows[inside], columns), 1 / inside.sum())
        entropies = [-(p[p > 0] * np.log(p[p > 0])).sum() for p in (joint.sum(0), joint.sum(1), joint.ravel())]
        assert overlap[t, s] == pytest.approx(inside.mean(), abs=0.006)
        assert nmi[t, s] == pytest.approx((entropies[0] + entropies[1]) / entropies[2], abs=0.01)


def test_landmarks_give_the_pose_that_brings_them_closest():
    truth, rng = rigid(140, (1, 1, -1), (50, 60, -300)), np.random.default_rng(3)
    points = rng.uniform(-60, 60, (6, 3))
    np.testing.assert_allclose(fit_points(points, truth.push(points)), truth.matrix, atol=1e-9)
    landmarks = check_landmarks(truth.push(points), points)
    value, slope = landmarks.term(truth.matrix[None])
    np.testing.assert_allclose(value, 0, atol=1e-12)
    np.testing.assert_allclose(slope, 0, atol=1e-9)


def test_bins_do_not_depend_on_the_unit():
    values = np.random.default_rng(2).gamma(1.0, 1.0, 20000)
    assert np.allclose(to_bins(values), to_bins(1e-4 * values), atol=1e-3)
    assert to_bins(values).max() <= BINS - 1
