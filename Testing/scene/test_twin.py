"""The twin: roles, adoption, subject hierarchy, and two of them in one scene."""

import numpy as np
import pytest

from TwinCore import InvalidInput, MissingInput
from TwinCore.scene import Twin, image_to_node, snapshot


def test_folders_of_a_new_twin(scene):
    Twin.create("Patient A", scene)
    below = {path[2:] for path in snapshot(scene)["hierarchy"] if path[:2] == ("Patient A", "Digital twin")}
    assert below == {(), ("Images",), ("Fusion",), ("Anatomy",), ("Physiology",)}


def test_an_added_image_is_reference_and_image_and_lies_in_its_folder(scene, twin, image):
    node = twin.node("reference")
    assert twin.nodes("image") == [node]
    assert node.GetAttribute("DigitalTwin.Role") == "image"
    assert ("Patient A", "Digital twin", "Images", "SUV") in snapshot(scene)["hierarchy"]
    [(same, again)] = twin.images()
    assert same is node
    np.testing.assert_array_equal(again.array, image.array)


def test_a_missing_role_is_named(twin):
    with pytest.raises(MissingInput, match="'Patient A' has no segmentation yet"):
        twin.node("segmentation")


def test_an_unknown_role_is_refused(twin):
    with pytest.raises(InvalidInput, match="'fusion' is not a role"):
        twin.nodes("fusion")


def test_adopting_changes_nothing_but_attributes_and_roles(scene, twin, image):
    node = image_to_node(image.with_array(image.array, modality="", unit="1", time=None), scene, "Mine")
    before = snapshot(scene)
    twin.adopt(node, "MR", "1", time="2024-05-06", reference=True)
    after = snapshot(scene)
    assert after["hierarchy"] == before["hierarchy"]
    changed = {i for i in after["nodes"] if after["nodes"][i] != before["nodes"].get(i)}
    assert changed == {node.GetID(), twin.mrml_node.GetID()}
    mine = {**after["nodes"][node.GetID()], "attributes": before["nodes"][node.GetID()]["attributes"]}
    assert mine == before["nodes"][node.GetID()]
    assert twin.nodes("reference") == [node]
    assert twin.image(node).time == "2024-05-06"


def test_adopting_twice_keeps_one_entry(twin):
    node = twin.node("image")
    twin.adopt(node, "PT", "g/mL")
    assert twin.nodes("image") == [node]


def test_only_volumes_of_the_scene_can_be_adopted(scene, twin):
    with pytest.raises(InvalidInput, match="is not a volume"):
        twin.adopt(scene.AddNewNodeByClass("vtkMRMLModelNode", "m"), "CT", "[hnsf'U]")


def test_two_twins_do_not_mix(scene, image):
    first, second = Twin.create("Same name", scene), Twin.create("Same name", scene)
    one = first.add_image(image)
    with second.run("TwinFusion", {}) as run:
        other = run.add_image(image, "fused")
    assert Twin.all(scene) == [first, second]
    assert (first.nodes("image"), first.nodes("fused")) == ([one], [])
    assert (second.nodes("image"), second.nodes("fused")) == ([], [other])
    with pytest.raises(MissingInput, match="no run"):
        first.revert_last_run()
    second.revert_last_run()
    assert first.nodes("image") == [one]
    assert second.nodes("fused") == []


def test_folders_that_the_user_deleted_are_made_again(scene, twin, image):
    import slicer

    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    tree.RemoveItem(tree.GetItemChildWithName(tree.GetSceneItemID(), "Patient A"), False, True)
    twin.add_image(image)
    assert ("Patient A", "Digital twin", "Images", "SUV") in snapshot(scene)["hierarchy"]


def test_a_twin_of_a_closed_scene_says_so(scene, twin, image):
    scene.Clear(False)
    with pytest.raises(InvalidInput, match="no longer in the scene"):
        twin.add_image(image)
    assert Twin.all(scene) == []


def test_another_module_s_node_is_no_twin(scene):
    with pytest.raises(InvalidInput, match="not the node of a digital twin"):
        Twin(scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "DigitalTwin"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda node, array: array.__setitem__((0, 0, 0), np.nan), "NaN or infinite"),
        (lambda node, array: array.fill(3.0), "every voxel has the value 3"),
        (lambda node, array: node.SetSpacing(1000.0, 1000.0, 1000.0), "micrometres"),
    ],
)
def test_an_implausible_volume_is_not_adopted_and_left_as_it_was(scene, image, spoil, words):
    from slicer.util import arrayFromVolume

    node = image_to_node(image, scene)
    twin = Twin.create("A", scene)
    spoil(node, arrayFromVolume(node))
    before = snapshot(scene)
    with pytest.raises(InvalidInput, match=words):
        twin.adopt(node, "PT", "g/mL")
    assert snapshot(scene) == before
