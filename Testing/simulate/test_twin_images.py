"""What a model takes from a twin besides its tissues: barriers, diffusion tensors, doses, on real MRML."""

import numpy as np
import pytest

from TwinCore import Grid, GridTransform, Image, InvalidInput, LinearTransform, MissingInput, Segmentation
from TwinCore.scene import Twin, boot, execute, load, new_scene, node_to_image, save
from TwinSimulateLib.declared import BARRIER, DIFFUSION_TENSOR, DOSE, Requirement
from TwinSimulateLib.fibre_tensor import fibre_tensor
from TwinSimulateLib.step import SimulationStep
from TwinSimulateLib.twin_anatomy import anatomy_of

GRID = Grid.isotropic((20, 20, 20))
NEEDS = (Requirement("segment", "tumour", "outline"), BARRIER, DIFFUSION_TENSOR)
TURN = np.array([[0, -1, 0, 30], [1, 0, 0, 0], [0, 0, 1, 5], [0, 0, 0, 1.0]])
"""A quarter turn about the patient's axis, and a shift."""


def tensors(direction, grid=GRID, ratio=4.0) -> Image:
    """Fibres along a direction in RAS."""
    d = np.asarray(direction, float) / np.linalg.norm(direction)
    t = 0.7e-3 * (np.eye(3) + (ratio - 1) * np.outer(d, d))
    channels = np.broadcast_to(t[np.triu_indices(3)], (*grid.shape, 6)).astype(np.float32)
    return Image(channels, grid, unit="mm2/s", name="diffusion_tensor")


def fibres(image: Image) -> np.ndarray:
    """The direction along which the tensor in the middle is longest, up to its sign."""
    return np.abs(np.linalg.eigh(fibre_tensor(image, GRID)[10, 10, 10])[1][:, -1])


@pytest.fixture
def twin():
    pytest.importorskip("slicer")
    twin = Twin.create("Virtual", new_scene())
    ball = ((np.indices(GRID.shape) - 10) ** 2).sum(0) < 16
    wall = np.zeros(GRID.shape, bool)
    wall[:, :, 15] = True
    masks = {"tumour": ball, "soft tissue": np.ones(GRID.shape, bool), "barrier": wall & ~ball}
    with twin.run("TwinSegment", {}) as run:
        run.add_segmentation(Segmentation.from_masks(GRID, masks), "Anatomy")
    return twin


def moved_image(twin, move) -> tuple:
    """An input image, moved into the frame of the twin's reference."""
    values = np.random.default_rng(0).random(GRID.shape).astype(np.float32)
    twin.add_image(Image(values, GRID, "CT", "1", name="CT"), reference=True)
    image = twin.add_image(Image(values, GRID, "MR", "1", name="T1"))
    with twin.run("TwinFusion", {}) as run:
        run.add_transform(move, image, twin.node("reference"))
    return image


def test_a_barrier_is_taken_where_there_is_one_and_may_have_another_name(twin):
    assert anatomy_of(twin, NEEDS, {}).tissues["barrier"][10, 10, 15]
    with twin.run("TwinSegment", {}) as run:
        falx = np.zeros(GRID.shape, bool)
        falx[:, 3] = True
        run.add_segmentation(Segmentation.from_masks(GRID, {"Falx": falx}), "Falx")
    assert anatomy_of(twin, NEEDS, {"barrier": "Falx"}).tissues["barrier"][10, 3, 10]
    with pytest.raises(MissingInput, match="no segment 'Tentorium'"):
        anatomy_of(twin, NEEDS, {"barrier": "Tentorium"})
    twin.revert_last_run()
    twin.revert_last_run()
    with twin.run("TwinSegment", {}) as run:
        run.add_segmentation(Segmentation.from_masks(GRID, {"tumour": falx}), "Anatomy")
    assert list(anatomy_of(twin, NEEDS, {}).tissues) == ["tumour"]


def test_a_tensor_of_the_scene_is_turned_out_of_its_measurement_frame_and_with_its_parent(twin):
    """Fibres along the second axis of a frame turned by 90 degrees, under a parent turned by 90 degrees again."""
    slicer, scene = pytest.importorskip("slicer"), boot()
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    node = scene.AddNewNodeByClass("vtkMRMLDiffusionTensorVolumeNode", "diffusion_tensor")
    voxels = vtkImageData()
    voxels.SetDimensions(20, 20, 20)
    along = np.broadcast_to(np.diag([1.0, 4.0, 1.0]).ravel(), (8000, 9))
    stored = numpy_to_vtk(np.ascontiguousarray(along), deep=True)
    voxels.GetPointData().SetTensors(stored)
    node.SetAndObserveImageData(voxels)
    node.SetIJKToRASMatrix(vtkMatrix4x4())
    frame = vtkMatrix4x4()
    frame.DeepCopy([0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1])  # its axes lie along RAS y, z, x
    node.SetMeasurementFrameMatrix(frame)
    image = node_to_image(node)
    assert image.array.shape == (20, 20, 20, 6)
    np.testing.assert_allclose(image.array[3, 4, 5], [1, 0, 0, 1, 0, 4], atol=1e-6)
    parent, quarter = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode"), vtkMatrix4x4()
    quarter.DeepCopy([1, 0, 0, 0, 0, 0, -1, 19, 0, 1, 0, 0, 0, 0, 0, 1])  # about x: z goes to -y
    parent.SetMatrixTransformToParent(quarter)
    node.SetAndObserveTransformNodeID(parent.GetID())
    np.testing.assert_allclose(node_to_image(node).array[3, 4, 5], [1, 0, 0, 4, 0, 1], atol=1e-6)
    assert isinstance(node, slicer.vtkMRMLScalarVolumeNode)
    twin.set_nodes("field", [node.GetID()])
    np.testing.assert_allclose(fibres(anatomy_of(twin, NEEDS, {}).images["diffusion_tensor"]), [0, 1, 0], atol=1e-6)


def test_a_tensor_lies_where_its_image_is_moved_and_turns_with_it(twin, tmp_path):
    image = moved_image(twin, LinearTransform(TURN))
    source = Grid.isotropic((20, 20, 20), 1.0, (0, 11, -5))  # which the turn puts onto the anatomy's
    twin.add_field(tensors([1, 0, 0], source), image)
    save(twin, tmp_path / "twin.mrb")
    new_scene()
    (twin,) = load(tmp_path / "twin.mrb")
    found = anatomy_of(twin, NEEDS, {}).images["diffusion_tensor"]
    np.testing.assert_allclose(fibres(found), [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(found.grid.ijk_to_ras, TURN @ source.ijk_to_ras, atol=1e-5)


def test_nine_channels_are_as_good_as_six_and_others_are_refused(twin):
    six = tensors([1, 1, 0])
    places = np.array([0, 1, 2, 1, 3, 4, 2, 4, 5])
    np.testing.assert_allclose(fibres(six.with_array(six.array[..., places])), fibres(six), atol=1e-6)
    with pytest.raises(InvalidInput, match=r"six channels .* or nine"):
        fibre_tensor(six.with_array(six.array[..., :5]), GRID)
    for order in ([0, 3, 5, 1, 2, 4], [0, 1, 3, 2, 4, 5]):  # diagonal first; lower triangle by rows
        fractions = six.with_array(six.array[..., order])
        with pytest.raises(InvalidInput, match="in this order"):
            fibre_tensor(fractions, GRID)


def test_a_deformed_tensor_is_refused_and_a_deformed_dose_is_carried(twin):
    move = GridTransform(np.broadcast_to([2.0, 0, 0], (*GRID.shape, 3)).copy(), GRID)
    image = moved_image(twin, move)
    dose = Image(np.broadcast_to(np.arange(20, dtype=np.float32), GRID.shape).copy(), GRID, unit="Gy", name="dose")
    twin.add_field(dose, image)
    found = anatomy_of(twin, (*NEEDS, DOSE), {}).images["dose"]
    assert found.array[10, 10, 10] == pytest.approx(dose.array[10, 10, 10] + 2, abs=0.01)  # from 2 mm further on
    twin.add_field(tensors([1, 0, 0]), image)
    with pytest.raises(InvalidInput, match="would be moved by a deformation"):
        anatomy_of(twin, (*NEEDS, DOSE), {})


def test_units_and_names_are_held_to(twin):
    dose = Image(np.ones(GRID.shape, np.float32), GRID, unit="cGy", name="dose")
    with pytest.raises(MissingInput, match="needs the image 'dose': total dose of the plan"):
        anatomy_of(twin, (*NEEDS, DOSE), {})
    twin.add_field(dose)
    with pytest.raises(InvalidInput, match="'dose' cannot be the dose: it is in 'cGy', not in Gy"):
        anatomy_of(twin, (*NEEDS, DOSE), {})
    with pytest.raises(InvalidInput, match="no use for the image 'dose'; it takes: diffusion_tensor"):
        anatomy_of(twin, NEEDS, {}, images={"dose": dose})
    assert anatomy_of(twin, NEEDS, {}).images == {}


def test_the_step_takes_barrier_and_tensor_and_records_them(twin):
    """A wall keeps the tumour on its side; along the wall it spreads with the fibres."""
    chosen = {"horizon_days": 60, "members": 2, "values": {"diffusivity": 0.3}}
    twin.add_field(tensors([0, 0, 1]))
    run = execute(twin, SimulationStep("soft-tissue sarcoma", **chosen))
    with_wall = run.outputs.frames[2].array  # before it has filled the box
    assert run.outputs.frames[-1].array[10, 10, 16:].max() < 0.05
    assert with_wall[17, 10, 10] > 1.05 * with_wall[10, 17, 10]
    assert "diffusion_tensor" in [entry["name"] for entry in run.provenance["inputs"]]
    assert run.provenance["parameters"]["images"] == {}
    given = execute(
        twin, SimulationStep("soft-tissue sarcoma", images={"diffusion_tensor": tensors([0, 1, 0])}, **chosen)
    )
    across = given.outputs.frames[2].array
    assert across[10, 17, 10] > 1.05 * across[17, 10, 10]
    assert given.provenance["parameters"]["images"]["diffusion_tensor"]["sha256"]
