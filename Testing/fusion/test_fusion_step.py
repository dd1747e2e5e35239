"""The fusion step on a real MRML scene."""

from dataclasses import replace

import numpy as np
import pytest
from phantoms import mean_error_mm, pair, rigid
from stand_in import stand_in_register

from TwinCore import (
    CompositeTransform,
    Grid,
    Image,
    InvalidInput,
    Job,
    JobCancelled,
    MissingInput,
    resample,
)
from TwinCore.scene import (
    Twin,
    execute,
    load,
    new_scene,
    node_to_sequence,
    node_to_table,
    node_to_transform,
    save,
    snapshot,
    transform_to_node,
)
from TwinFusionLib import step as step_module
from TwinFusionLib import time_series
from TwinFusionLib.fused import region_grid
from TwinFusionLib.linear import LinearResult
from TwinFusionLib.registration import Found
from TwinFusionLib.step import FrameChoice, FusionStep

TRUTH = rigid(15, (1, 0, 1), (20, -30, 120))


@pytest.fixture
def twin(scene):
    twin = Twin.create("Anna", scene)
    fixed, moving = pair(TRUTH)
    twin.add_image(fixed, reference=True)
    twin.add_image(moving)
    return twin


def test_leaves_transform_fused_images_and_verdict_in_the_scene(twin):
    inputs = [image.array.copy() for _, image in twin.images()]
    run = execute(twin, FusionStep(seed=1))
    transform = node_to_transform(twin.node("transform"))
    moving = twin.images()[1][1]
    assert mean_error_mm(transform, TRUTH, moving) < 1.0
    node = twin.node("transform")
    assert node.GetNodeReference(node.GetMovingNodeReferenceRole()).GetName() == "moving"
    assert node.GetNodeReference(node.GetFixedNodeReferenceRole()).GetName() == "fixed"
    fused = [twin.image(n) for n in twin.nodes("fused")]
    assert [f.name for f in fused] == ["fixed fused", "moving fused"]
    assert all(f.grid.same_as(twin.images()[0][1].grid) for f in fused)
    assert run.results["verdict"] == "good"
    assert all(np.array_equal(before, image.array) for before, (_, image) in zip(inputs, twin.images()))


@pytest.mark.parametrize(
    ("laid", "found"), [(rigid(10, (1, 0, 1), (14, -24, 114)), True), (rigid(0, (1, 0, 0), (0, 0, 0)), False)]
)
def test_what_was_laid_by_hand_is_refined(twin, laid, found):
    """Where nothing was laid, the images are 120 mm apart, and a climb from there leads elsewhere."""
    node, moving = twin.images()[1]
    node.SetAndObserveTransformNodeID(transform_to_node(laid, twin.scene, "by hand").GetID())
    execute(twin, FusionStep(start="frames"))
    whole = laid.then(node_to_transform(twin.node("transform")))
    assert (mean_error_mm(whole, TRUTH, moving) < 1.0) == found


def test_images_in_the_reference_frame_are_not_moved(twin):
    execute(twin, FusionStep(frames={"fixed": "scanner", "moving": "scanner"}))
    assert twin.nodes("transform") == []
    assert len(twin.nodes("fused")) == 2


def test_region_is_cut_from_the_reference_without_resampling(twin):
    execute(twin, FusionStep(frames={"fixed": "a", "moving": "a"}, region_ras_mm=((-40, -40, -40), (40, 40, 41))))
    fused, reference = twin.image(twin.nodes("fused")[0]), twin.images()[0][1]
    at = np.rint(reference.grid.to_ijk(fused.grid.origin)).astype(int)[::-1]
    box = tuple(slice(a, a + n) for a, n in zip(at, fused.grid.shape))
    assert np.allclose(fused.array, reference.array[box], atol=1e-5)


def test_unknown_image_is_named_and_the_scene_is_left_alone(twin):
    before = snapshot(twin.scene)
    with pytest.raises(MissingInput, match="'nobody'.*fixed, moving"):
        execute(twin, FusionStep(frames={"nobody": "MR"}))
    assert snapshot(twin.scene) == before


def test_no_reference_is_named(scene):
    with pytest.raises(MissingInput, match="reference"):
        execute(Twin.create("Anna", scene), FusionStep())


@pytest.mark.parametrize("region", [((0, 0, 0), (0, 1, 1)), ((900, 0, 0), (950, 10, 10)), ((0, 0), (1, 1))])
def test_impossible_region_is_refused(region):
    with pytest.raises(InvalidInput, match="region"):
        region_grid(Grid.isotropic((10, 10, 10), 2.0), region)


def test_two_images_of_one_name_are_refused(scene):
    twin = Twin.create("Anna", scene)
    image = Image(np.random.default_rng(0).random((8, 8, 8)), Grid.isotropic((8, 8, 8)), "MR", name="same")
    twin.add_image(image, reference=True)
    node = twin.add_image(image)
    node.SetName("same")
    with pytest.raises(InvalidInput, match="same name"):
        execute(twin, FusionStep())


@pytest.fixture
def found(monkeypatch):
    """Frames move as set in this mapping, without any engine; what was asked for is under "asked"."""
    shifts = {}
    monkeypatch.setattr(step_module, "register", stand_in_register(shifts))
    return shifts


@pytest.fixture
def session(scene):
    """A twin of an MR with a PET and a CT beside it, small and featureless: for tests of what goes where."""
    twin, rng = Twin.create("Anna", scene), np.random.default_rng(0)
    for name, modality, unit in (("MR", "MR", "1"), ("PET", "PT", "g/mL"), ("CT", "CT", "[hnsf'U]")):
        values = rng.uniform(0, 5, (12, 14, 16)) if modality != "CT" else rng.uniform(-1000, 500, (12, 14, 16))
        grid = Grid.isotropic((12, 14, 16), 4.0)
        twin.add_image(Image(values.astype(np.float32), grid, modality, unit, name=name), reference=name == "MR")
    return twin


def test_a_pet_is_carried_by_its_ct(session, found):
    found["CT"] = (3, 0, 0)
    run = execute(session, FusionStep(frames={"PET": "scanner", "CT": "scanner"}))
    assert [entry[:2] for entry in found["asked"]] == [("MR", ["CT"])]
    assert run.results["registration_way"] == "CT to MR (CT-MR, rigid), carrying PET"
    assert [n.GetName() for n in session.nodes("transform")] == ["PET to MR", "CT to MR"]
    for node in session.nodes("transform"):
        assert np.allclose(node_to_transform(node).matrix[:3, 3], (3, 0, 0))


def test_a_ct_that_is_not_in_hounsfield_units_is_warned_of_though_it_is_not_registered(session, found):
    _, _, (_, ct) = session.images()
    raised = np.where(np.arange(16) < 8, 24.0, 1064.0) + np.zeros(ct.grid.shape)  # air and soft tissue, 1024 too high
    session.add_image(ct.with_array(raised.astype(np.float32), unit="1", name="raised"))
    run = execute(session, FusionStep(frames={"MR": "scanner", "CT": "scanner", "PET": "scanner", "raised": "scanner"}))
    [warning] = run.provenance["warnings"]
    assert "CT 'raised' is not in Hounsfield units" in warning
    assert found["asked"] == []


def test_a_way_over_another_frame_adds_up(session, found):
    found.update(CT=(3, 0, 0), PET=(0, 5, 0))
    run = execute(session, FusionStep(seed=3))
    assert run.results["registration_way"] == "CT to MR (CT-MR, rigid); PET to CT (PET-CT, rigid)"
    moves = {n.GetName(): node_to_transform(n).matrix[:3, 3] for n in session.nodes("transform")}
    assert np.allclose(moves["PET to MR"], (3, 5, 0))
    table = node_to_table(session.node("table"))
    assert list(table.columns["frame"]) == ["CT", "PET"]
    assert list(table.columns["way"])[1] == "PET to CT (PET-CT, rigid)"
    uncertainty = {n.GetName(): session.image(n) for n in session.nodes("uncertainty")}
    assert {i.unit for i in uncertainty.values()} == {"mm"}
    inside = np.s_[2:-2, 2:-2, 2:-2]
    assert np.allclose(uncertainty["PET uncertainty"].array[inside], 2 * uncertainty["CT uncertainty"].array[inside])


def test_what_is_chosen_for_a_frame_alone_is_taken(session, found):
    points = session.images()[0][1].grid.corners()
    choices = {"PET": FrameChoice("abdomen", "rigid", (points, points)), "CT": FrameChoice(motion="affine")}
    run = execute(session, FusionStep(choices=choices, preset="thorax", stiffness=2.0))
    asked = {moving[0]: (fixed, preset.name, preset.motion) for fixed, moving, preset, _ in found["asked"]}
    assert asked == {"PET": ("MR", "abdomen", "rigid"), "CT": ("MR", "thorax", "affine")}
    assert all(preset.stiffness == 2.0 for _, _, preset, _ in found["asked"])
    recorded = run.provenance["parameters"]
    assert recorded["preset"] == "thorax"
    assert recorded["choices"]["CT"] == {"motion": "affine", "landmarks": None}
    assert recorded["choices"]["PET"]["landmarks"][0] == points.tolist()


def test_a_search_begins_at_the_frames_where_that_is_chosen_and_no_landmarks_are_given(session, found):
    points = session.images()[0][1].grid.corners()
    execute(session, FusionStep(start="frames", choices={"PET": FrameChoice(landmarks=(points, points))}))
    assert found["starts"]["PET"] is None
    assert np.array_equal(found["starts"]["CT"].matrix, np.eye(4))
    execute(session, FusionStep(frames={"PET": "scanner"}, choices={"scanner": FrameChoice(start="frames")}))
    assert found["starts"]["CT"] is None
    assert np.array_equal(found["starts"]["PET"].matrix, np.eye(4))


def test_deformations_are_chains_of_nodes_and_the_fused_images_follow_them(session, found):
    found["CT"] = (4, 0, 0)
    execute(session, FusionStep(frames={"PET": "scanner", "CT": "scanner"}, preset="thorax"))
    transform = node_to_transform(session.node("transform"))
    assert isinstance(transform, CompositeTransform)
    ct, fused = session.images()[2][1], session.image(session.nodes("fused")[2])
    expected = resample(ct, fused.grid, transform, fill=-1000)
    np.testing.assert_allclose(fused.array, expected.array, atol=1e-3)
    assert fused.array[6, 7, 0] == -1000  # beside the CT


def test_parents_of_the_inputs_are_honoured_and_nothing_is_hardened(session, found):
    ct = session.nodes("image")[2]
    parent = transform_to_node(rigid(0, (1, 0, 0), (8, 0, 0)), session.scene, "user's own")
    original = session.image(ct)
    ct.SetAndObserveTransformNodeID(parent.GetID())
    found["CT"] = (-8, 0, 0)
    execute(session, FusionStep(frames={"PET": "MR"}))
    assert ct.GetParentTransformNode() is parent
    np.testing.assert_allclose(session.image(session.nodes("fused")[2]).array, original.array, atol=1e-3)
    parent.SetAndObserveTransformNodeID(session.node("transform").GetID())  # as a user would put it
    assert session.image(ct).grid.same_as(original.grid)


def test_fused_images_have_the_spacing_asked_for_and_make_a_stack(session, found, tmp_path):
    execute(session, FusionStep(spacing_mm=2.0, stack=True))
    images = [session.image(n) for n in session.nodes("fused")]
    assert all(np.allclose(i.grid.spacing, 2.0) and i.grid.shape == (24, 28, 32) for i in images)
    save(session, tmp_path / "twin.mrb")
    new_scene()
    [loaded] = load(tmp_path / "twin.mrb")
    stack, channels = loaded.channels()
    assert stack.array.dtype == np.float32
    assert stack.grid.same_as(images[0].grid)
    np.testing.assert_array_equal(stack.array, np.stack([i.array for i in images], -1).astype(np.float32))
    assert channels[1] == {"name": "PET", "modality": "PT", "unit": "g/mL"}


def test_a_series_is_held_still_and_brought_along(session, found, monkeypatch, tmp_path):
    """Time point 1 shows most; point 2 lies 4 mm to the right of it, and the whole 4 mm below the MR."""
    pet = session.images()[1][1]
    points = [replace(pet, array=pet.array * scale, time=float(n)) for n, scale in enumerate((0.5, 1.0, 0.8))]
    session.add_series(points, "dynamic PET")
    found["dynamic PET"] = (0, 0, 4)

    def register(fixed, moving, preset, start, seed, job, preparation):
        job.checkpoint()
        assert preset.name == "follow-up"
        assert fixed.time == 1.0
        move = rigid(0, (1, 0, 0), (-4.0 * (moving[0].time == 2.0), 0, 0))
        return Found(move, (move,), LinearResult(move, (move,), 1.2, 1.0, 0.9, 0.0, 0.0))

    monkeypatch.setattr(time_series, "register", register)
    run = execute(session, FusionStep())
    assert "dynamic PET to CT (PET-CT, rigid)" in run.results["registration_way"]
    fused = node_to_sequence(session.nodes("sequence")[0])
    assert [i.time for i in fused] == [0.0, 1.0, 2.0]
    np.testing.assert_allclose(fused[0].array[1:], 0.5 * pet.array[:-1], atol=1e-4)
    np.testing.assert_allclose(fused[2].array[1:, :, :-1], 0.8 * pet.array[:-1, :, 1:], atol=1e-4)
    motion = node_to_table(session.nodes("table")[1])
    assert motion.columns["right"].tolist() == [0, 0, -4]
    assert motion.units["right"] == "mm"
    save(session, tmp_path / "twin.mrb")
    new_scene()
    [loaded] = load(tmp_path / "twin.mrb")
    assert [node.GetName() for node, _ in loaded.series()] == ["dynamic PET"]
    loaded.revert_last_run()
    assert [n.GetName() for n in loaded.nodes("sequence")] == ["dynamic PET"]


def test_cancelling_at_any_moment_leaves_the_scene_as_it_was(session, found):
    before, reports = snapshot(session.scene), []
    execute(session, FusionStep(), Job(reports.append))
    session.revert_last_run()
    assert snapshot(session.scene) == before
    for stop in range(1, len(reports) + 1):
        count = iter(range(1, 1000))
        job = Job(lambda _: job.cancel() if next(count) == stop else None)  # noqa: B023
        with pytest.raises(JobCancelled):
            execute(session, FusionStep(), job)
        assert snapshot(session.scene) == before


@pytest.mark.parametrize(
    ("step", "error", "words"),
    [
        (FusionStep(preset="knee"), InvalidInput, "Preset 'knee' is not known"),
        (FusionStep(choices={"CT": FrameChoice(motion="elastic")}), InvalidInput, "Motion 'elastic' is not known"),
        (FusionStep(start="here"), InvalidInput, "Start 'here' is not known"),
        (FusionStep(choices={"US": FrameChoice()}), MissingInput, "no frame 'US'; it has: CT, MR, PET"),
        (FusionStep(outside={"US": np.ones((2, 2, 2), bool)}), MissingInput, "no image 'US'"),
        (FusionStep(preset="follow-up with a tumour"), MissingInput, "needs the tumour masked"),
        (FusionStep(spacing_mm=0.01), InvalidInput, "million voxels"),
        (FusionStep(frames={"MR": "a", "CT": "a"}, region_ras_mm=((900, 0, 0), (950, 9, 9))), InvalidInput, "region"),
    ],
)
def test_what_cannot_be_is_told_before_any_registration(session, found, step, error, words):
    before = snapshot(session.scene)
    with pytest.raises(error, match=words):
        execute(session, step)
    assert found["asked"] == []
    assert snapshot(session.scene) == before
