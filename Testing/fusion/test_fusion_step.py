"""The fusion step on a real MRML scene."""

import numpy as np
import pytest
from phantoms import mean_error_mm, pair, rigid

from TwinCore import Grid, Image, InvalidInput, MissingInput
from TwinCore.scene import Twin, execute, node_to_transform, snapshot
from TwinFusionLib.step import FusionStep, region_grid

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
