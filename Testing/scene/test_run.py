"""The run bracket: all or nothing, its record, and reverting."""

import re

import numpy as np
import pytest

from TwinCore import InvalidInput, JobCancelled, MissingInput, Quantity, Table
from TwinCore.scene import Twin, hash_of, image_to_node, save, snapshot


@pytest.mark.parametrize("error", [ValueError, JobCancelled, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_scene_as_before(scene, twin, image, error, fill):
    before = snapshot(scene)

    def work():
        with twin.run("TwinFusion", {}, twin.nodes("image")) as run:
            fill(run, image)
            twin.adopt(twin.node("image"), "CT", "[hnsf'U]")
            assert snapshot(scene) != before
            raise error("stop")

    with pytest.raises(error):
        work()
    assert snapshot(scene) == before


def test_an_exception_in_a_second_run_leaves_the_first(scene, twin, image, fill):
    with twin.run("TwinFusion", {}) as run:
        fill(run, image)
    before = snapshot(scene)

    def work():
        with twin.run("TwinSegment", {}) as run:
            fill(run, image)
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        work()
    assert snapshot(scene) == before


def test_a_record_that_cannot_be_written_undoes_the_run(scene, twin, image, monkeypatch, fill):
    from TwinCore import provenance

    def broken(**_):
        raise OSError("disk full")

    before = snapshot(scene)
    monkeypatch.setattr(provenance, "record", broken)
    with pytest.raises(OSError, match="disk full"), twin.run("TwinFusion", {}) as run:
        fill(run, image)
    assert snapshot(scene) == before


def test_moved_and_renamed_items_are_put_back(scene, twin, image):
    import slicer

    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = tree.GetItemByDataNode(twin.node("image"))
    before = snapshot(scene)

    def work():
        with twin.run("TwinFusion", {}):
            tree.SetItemParent(item, tree.GetSceneItemID())
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        work()
    assert snapshot(scene) == before


def test_every_node_says_what_it_is_and_lies_in_its_folder(scene, twin, image, fill):
    with twin.run("TwinSimulate", {}) as run:
        fill(run, image)
    for role in ("field", "transform", "segmentation", "table", "plot", "sequence", "model", "report", "run"):
        for node in twin.nodes(role):
            assert node.GetAttribute("DigitalTwin.Role") == role
            assert node.GetAttribute("DigitalTwin.Run") == run.id
            assert ("Patient A", "Digital twin", "Physiology", node.GetName()) in snapshot(scene)["hierarchy"]
    assert twin.node("field").GetAttribute("DigitalTwin.Unit") == "Gy"
    assert twin.node("transform").GetNodeReference("spatialRegistrationMoving") is twin.node("image")
    assert twin.node("transform").GetNodeReference("spatialRegistrationFixed") is twin.node("reference")


def test_the_newest_run_leads_its_roles_in_the_order_it_added(twin, image):
    for names in (("a", "b"), ("c", "d")):
        with twin.run("TwinFusion", {}) as run:
            for name in names:
                run.add_image(image, "fused", name=name)
    assert [node.GetName() for node in twin.nodes("fused")] == ["c", "d", "a", "b"]
    assert twin.node("fused").GetName() == "c"


def test_the_record(twin, image):
    source = twin.node("image")
    with twin.run("TwinSegment", {"threshold": 0.41, "sampler_seed": 7, "box": (1, 2)}, [source]) as run:
        run.add_table(Table("t", {"x": [1]}))
        run.record(
            {"volume_ml": Quantity(np.float64(3.5), "mL"), "spread": Quantity(float("nan"), "1"), "verdict": "good"}
        )
        run.warn("coarse")
        run.warn("coarse")
    [record] = twin.provenance()
    assert record == run.provenance
    assert record["module"] == "TwinSegment"
    assert record["parameters"] == {"threshold": 0.41, "sampler_seed": 7, "box": [1, 2]}
    assert record["seeds"] == {"sampler_seed": 7}
    assert record["inputs"] == [
        {"name": "SUV", "class": "vtkMRMLScalarVolumeNode", "role": "image", "sha256": hash_of(source)}
    ]
    assert [entry["name"] for entry in record["outputs"]] == ["t"]
    assert record["results"] == {
        "volume_ml": {"value": 3.5, "unit": "mL"},
        "spread": {"value": "nan", "unit": "1"},
        "verdict": "good",
    }
    assert record["warnings"] == ["coarse"]
    assert {"DigitalTwin", "Python", "numpy", "slicer-core"} <= set(record["software"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", record["started"])


def test_two_equal_runs_differ_only_in_times_and_ids(twin, image, fill):
    for _ in range(2):
        with twin.run("TwinFusion", {"seed": 1}, twin.nodes("image")) as run:
            fill(run, image)
    first, second = (
        {k: v for k, v in r.items() if k not in ("run", "started", "seconds", "part_seconds")}
        for r in twin.provenance()
    )
    assert first == second


def test_the_hash_follows_values_and_place(scene, image):
    nodes = [
        image_to_node(i, scene)
        for i in (image, image, image.with_array(image.array + 1), image.with_array(image.array, unit="Gy"))
    ]
    hashes = [hash_of(node) for node in nodes]
    assert hashes[0] == hashes[1] == hashes[3] != hashes[2]
    nodes[0].SetOrigin(0, 0, 0)
    assert hash_of(nodes[0]) != hashes[0]


def test_parameters_that_no_record_holds_are_refused_before_the_run(scene, twin):
    before = snapshot(scene)
    with pytest.raises(InvalidInput, match="Parameter.image is a object"):
        twin.run("TwinFusion", {"image": object()})
    assert snapshot(scene) == before


def test_reverting_run_by_run_leads_back(scene, twin, image, fill):
    states = [snapshot(scene)]
    for module in ("TwinFusion", "TwinSegment", "TwinSimulate"):
        with twin.run(module, {}) as run:
            fill(run, image)
        states.append(snapshot(scene))
    states.pop()
    for module in ("TwinSimulate", "TwinSegment", "TwinFusion"):
        assert twin.revert_last_run()["module"] == module
        assert snapshot(scene) == states.pop()
    with pytest.raises(MissingInput, match="no run"):
        twin.revert_last_run()


def test_reverting_after_saving_takes_the_storage_nodes_too(scene, twin, image, tmp_path, fill):
    save(twin, tmp_path / "before.mrb")
    before = snapshot(scene)
    with twin.run("TwinFusion", {}) as run:
        fill(run, image)
    save(twin, tmp_path / "after.mrb")
    twin.revert_last_run()
    assert snapshot(scene) == before


def test_reverting_keeps_what_the_user_adopted(scene, twin, image):
    with twin.run("TwinFusion", {}) as run:
        kept = run.add_image(image.with_array(image.array, name="Kept"), "fused")
        run.add_image(image.with_array(image.array, name="Gone"), "fused")
    twin.adopt(kept, "PT", "g/mL")
    display = kept.GetDisplayNode()
    twin.revert_last_run()
    assert twin.nodes("fused") == []
    assert twin.nodes("image")[-1] is kept
    assert scene.IsNodePresent(kept)
    assert kept.GetDisplayNode() is display
    assert scene.GetNodesByName("Gone").GetNumberOfItems() == 0


def test_reverting_leaves_what_came_after_and_is_not_the_run_s(scene, twin, image):
    with twin.run("TwinFusion", {}) as run:
        run.add_image(image, "fused")
    mine = image_to_node(image, scene, "Mine")
    twin.revert_last_run()
    assert scene.IsNodePresent(mine)
    assert mine.GetDisplayNode() is not None


def test_inputs_are_not_touched(scene, twin, image, fill):
    node = twin.node("image")
    before = snapshot(scene)["nodes"][node.GetID()]
    with twin.run("TwinFusion", {}, [node]) as run:
        fill(run, image)
    assert snapshot(scene)["nodes"][node.GetID()] == before


def test_a_run_on_a_closed_scene_says_so(scene):
    twin = Twin.create("A", scene)
    run = twin.run("TwinFusion", {})
    scene.Clear(False)
    with pytest.raises(InvalidInput, match="no longer in the scene"), run:
        pass


def test_nothing_is_added_outside_the_bracket(scene, twin, image):
    run = twin.run("TwinFusion", {})
    with run:
        run.add_image(image, "fused")
    before = snapshot(scene)
    with pytest.raises(RuntimeError, match="within its bracket"):
        run.add_image(image, "fused")
    assert snapshot(scene) == before
