"""The segmentation step on a real MRML scene."""

import numpy as np
import pytest

from TwinCore import Grid, Image, LinearTransform, MissingInput, Segmentation
from TwinCore.scene import Twin, execute, node_to_segmentation, node_to_table, snapshot
from TwinCore.surface import closed_surface
from TwinSegmentLib.step import SegmentStep
from TwinSegmentLib.tidy import Tidy, tidied

GRID = Grid.isotropic((24, 26, 28), 3.0, (-40, -40, -40))
MOVE = LinearTransform(np.array([[1, 0, 0, 12.0], [0, 1, 0, -6.0], [0, 0, 1, 700.0], [0, 0, 0, 1]]))


def ball(centre, radius) -> np.ndarray:
    return sum((axis - c) ** 2 for axis, c in zip(np.indices(GRID.shape), centre)) <= radius**2


TUMOUR = ball((12, 13, 10), 4)
MR_GRID = Grid(GRID.shape, np.linalg.inv(MOVE.matrix) @ GRID.ijk_to_ras)


@pytest.fixture
def twin(scene):
    return fused_twin(scene, TUMOUR)


def fused_twin(scene, hot: np.ndarray) -> Twin:
    """A twin whose fusion is done: a PET, and an MR that was moved onto it."""
    twin = Twin.create("Anna", scene)
    pet = Image(np.where(hot, 8.0, 0.6 * ball((12, 13, 14), 11)).astype(np.float32), GRID, "PT", "g/mL", name="PET")
    mr = Image(np.where(TUMOUR, 90.0, 50.0).astype(np.float32), MR_GRID, "MR", name="T1")
    nodes = [twin.add_image(pet, reference=True), twin.add_image(mr)]
    with twin.run("TwinFusion", {}) as run:
        run.add_image(pet, "fused", name="PET fused")
        run.add_image(mr.with_array(mr.array, grid=GRID), "fused", name="T1 fused")
        run.add_transform(MOVE, nodes[1], nodes[0])
    return twin


def test_carried_outline_lands_and_is_measured(twin):
    outlines = {n: Segmentation.from_masks(g, {"GTV": TUMOUR}) for n, g in (("PET", GRID), ("T1", MR_GRID))}
    reference = GRID.to_ras((10, 13, 12))
    step = SegmentStep("GTV", outlines, pet_rule="41 % of maximum", body="PET", centroid_reference_ras_mm=reference)
    results = execute(twin, step).results
    assert results["centroid_error_mm"].value == pytest.approx(0.0, abs=1e-3)
    assert results["carried_dice"].value == pytest.approx(1.0)
    assert results["pet_dice"].value == pytest.approx(1.0)
    assert results["volume_ml"].value == pytest.approx(TUMOUR.sum() * 0.027)
    assert (results["suv_mean_target"].value, results["suv_mean_target"].unit) == (pytest.approx(8.0), "g/mL")
    segmentation = node_to_segmentation(twin.node("segmentation"))
    assert segmentation.names == ["GTV", "GTV (T1)", "GTV (PET 41 % of maximum)", "soft tissue"]
    assert not (segmentation.mask("soft tissue") & TUMOUR).any()
    assert node_to_table(twin.node("table")).columns["segment"][0] == "GTV"


def test_target_is_carried_where_the_reference_has_no_outline(twin):
    execute(twin, SegmentStep("GTV", {"T1": Segmentation.from_masks(MR_GRID, {"GTV": TUMOUR})}))
    assert np.array_equal(node_to_segmentation(twin.node("segmentation")).mask("GTV"), TUMOUR)


def test_target_is_found_in_the_pet_where_nobody_outlined_it(twin):
    box = (GRID.to_ras((4, 6, 5)), GRID.to_ras((17, 20, 19)))
    execute(twin, SegmentStep("tumour", pet_rule="SUV 2.5", pet_search=box))
    assert np.array_equal(node_to_segmentation(twin.node("segmentation")).mask("tumour"), TUMOUR)


def test_what_is_found_is_tidied_and_what_was_drawn_is_not(scene):
    notched = TUMOUR.copy()
    notched[10:, 13, :] = False  # a cold cleft, one voxel wide
    twin = fused_twin(scene, notched)
    box = (GRID.to_ras((4, 6, 5)), GRID.to_ras((17, 20, 19)))
    tidy = Tidy(close_mm=3.5)
    execute(
        twin, SegmentStep("GTV", {"PET": Segmentation.from_masks(GRID, {"GTV": notched})}, "SUV 2.5", box, tidy=tidy)
    )
    anatomy = node_to_segmentation(twin.node("segmentation"))
    np.testing.assert_array_equal(anatomy.mask("GTV"), notched)
    np.testing.assert_array_equal(anatomy.mask("GTV (PET SUV 2.5)"), tidied(notched, GRID, tidy))
    assert notched.sum() < anatomy.mask("GTV (PET SUV 2.5)").sum() <= TUMOUR.sum()
    assert twin.provenance()[0]["parameters"]["tidy"] == {"close_mm": 3.5, "keep_largest": False, "fill_holes": False}


def test_the_anatomy_has_surfaces_for_the_3d_view_and_in_its_table(twin):
    execute(twin, SegmentStep("GTV", {"PET": Segmentation.from_masks(GRID, {"GTV": TUMOUR})}))
    node = twin.node("segmentation")
    shown = node.GetClosedSurfaceInternalRepresentation(node.GetSegmentation().GetNthSegmentID(0))
    assert shown.GetNumberOfPoints() == len(closed_surface(TUMOUR, GRID).points)
    table = node_to_table(twin.node("table"))
    assert table.columns["surface"][0] == pytest.approx(closed_surface(TUMOUR, GRID).area_mm2 / 100, rel=1e-6)
    assert table.units["surface"] == "cm2"
    assert table.columns["PET peak"][0] == pytest.approx(8.0)  # the ball is larger than a sphere of 1 mL


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (SegmentStep("GTV"), "No outline is named 'GTV'"),
        (SegmentStep("GTV", pet_rule="SUV 2.5"), "box"),
        (SegmentStep("GTV", body="CT"), "no fused image 'CT'.*PET, T1"),
    ],
)
def test_what_is_missing_is_named_and_the_scene_is_left_alone(twin, step, words):
    before = snapshot(twin.scene)
    with pytest.raises(MissingInput, match=words):
        execute(twin, step)
    assert snapshot(twin.scene) == before


def test_needs_fusion_first(scene):
    with pytest.raises(MissingInput, match="TwinFusion first"):
        execute(Twin.create("Anna", scene), SegmentStep("GTV"))
