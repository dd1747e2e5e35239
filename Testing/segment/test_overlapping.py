"""Classes that overlap, such as a tumour and its core: each has a probability, a mask and a volume of its own."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import onnx_files as onnx
import pytest
from bundle_files import bundle
from catalogue_rows import meshnet_row

from TwinApp.segmenting import write_labels
from TwinCore import Grid, Image, InvalidInput
from TwinCore.scene import Twin, execute, node_to_segmentation
from TwinCore.volume_file import read_volume
from TwinSegmentLib.models import catalogue as catalogue_module
from TwinSegmentLib.models.anatomy import label
from TwinSegmentLib.models.monai_bundle import read_bundle
from TwinSegmentLib.networks.graph import Network, Step
from TwinSegmentLib.networks.model import Label, Model, Shown
from TwinSegmentLib.networks.probabilities import Probabilities, sigmoid
from TwinSegmentLib.step import SegmentStep

NAMES, BRIGHTNESS = ("tumour core", "whole tumour", "enhancing tumour"), (0.5, 0.25, 0.75)
WEIGHT = np.full((3, 1, 1, 1, 1), 80, np.float32)
BIAS = -80 * np.array(BRIGHTNESS, np.float32)
GRID = Grid.isotropic((20, 22, 24), 2.0)
AS_IT_IS = {"": Shown("window", 0.0, 1.0, None)}


def brightness() -> np.ndarray:
    """A ball whose shells are brighter inwards: 0.4, 0.6, 0.9."""
    distance = np.sqrt(((np.indices(GRID.shape) - np.array([10, 11, 12])[:, None, None, None]) ** 2).sum(0))
    return np.select([distance < 3, distance < 5, distance < 8], [0.9, 0.6, 0.4], 0.0).astype(np.float32)


def nested(**changes) -> Model:
    network = Network(1, (Step("scores", "conv", ("image",), 3, kernel=1),))
    labels = [Label(name, (1.0, 0.2 * n, 0.0)) for n, name in enumerate(NAMES)]
    weights = {"scores.weight": WEIGHT, "scores.bias": BIAS}
    return Model("tumour", network, weights, labels, 2.0, shown=AS_IT_IS, overlapping=True, **changes)


@pytest.fixture(scope="module")
def image() -> Image:
    return Image(brightness(), GRID, "MR", name="FLAIR")


@pytest.mark.parametrize("looks", [1, 2])
def test_each_class_is_found_whatever_else_a_voxel_is(image, looks):
    found = label(nested(), [image], looks=looks, volume_factors={"whole tumour": 2.0})
    for name, least in zip(NAMES, BRIGHTNESS):
        np.testing.assert_array_equal(found.segmentation.mask(name), image.array > least)
    assert found.segmentation.volume_ml("whole tumour") == pytest.approx((image.array > 0.25).sum() * 0.008)
    row = found.volumes.columns["segment"].index("whole tumour")
    assert found.volumes.columns["volume, low"][row] <= found.segmentation.volume_ml("whole tumour")
    assert len(found.segmentation.layers) == 3


def test_entropy_is_that_of_each_class_being_there_or_not():
    """By numpy: -(p log p + q log q) summed over the classes, as a share of 3 log 2."""
    scores = np.random.default_rng(0).normal(0, 3, (4, 5, 6, 3)).astype(np.float32)
    p = 1 / (1 + np.exp(-scores.astype(float) / 1.7))
    sigmoid(scores, 1.7)
    np.testing.assert_allclose(scores, p, atol=1e-6)
    masks, entropy = Probabilities(scores, Grid.isotropic((4, 5, 6)), True).masks_onto(Grid.isotropic((4, 5, 6)))
    np.testing.assert_array_equal(masks, np.moveaxis(p > 0.5, -1, 0))
    expected = -(p * np.log(p) + (1 - p) * np.log(1 - p)).sum(-1) / (3 * np.log(2))
    np.testing.assert_allclose(entropy, expected, atol=1e-5)
    undecided = Probabilities(np.full((4, 5, 6, 3), 0.5, np.float32), Grid.isotropic((4, 5, 6)), True)
    np.testing.assert_allclose(undecided.masks_onto(Grid.isotropic((4, 5, 6)))[1], 1.0, atol=1e-6)
    outside = Grid.isotropic((2, 2, 2), 1.0, (100, 100, 100))
    assert not any(part.any() for part in undecided.masks_onto(outside))


def test_what_no_window_looked_at_is_of_no_class():
    """A network that finds everything everywhere, and a body in one corner: far from it nothing is found."""
    grid = Grid.isotropic((96, 32, 32), 2.0)
    array = np.zeros(grid.shape, np.float32)
    array[:8, :8, :8] = 1.0
    model = nested(window=32)
    everywhere = Model(**{**model.__dict__, "weights": {**model.weights, "scores.bias": -BIAS}})
    p = everywhere.probabilities([Image(array, grid, "MR", name="corner")]).array
    assert (p[:8, :8, :8] > 0.99).all()
    assert (p[-32:] < 1e-6).all()


def brats(config, metadata):
    """The shape of MONAI's brats_mri_segmentation, on small windows that are no cubes."""
    config["network_def"] = {
        "_target_": "SegResNet", "blocks_down": [1, 1, 2], "blocks_up": [1, 1], "init_filters": 8, "in_channels": 4,
        "out_channels": 3, "dropout_prob": 0.2,
    }  # fmt: skip
    shown = {"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True, "channel_wise": True}
    config["preprocessing"]["transforms"] = [{"_target_": "LoadImaged", "keys": "image"}, shown]
    config["inferer"] = {"_target_": "SlidingWindowInferer", "roi_size": [24, 24, 16], "overlap": 0.5}
    config["postprocessing"] = {
        "transforms": [
            {"_target_": "Activationsd", "keys": "pred", "sigmoid": True},
            {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5},
            {"_target_": "Lambdad", "keys": "pred", "func": "$lambda x: __import__('os').system('touch hacked')"},
        ]
    }
    data = metadata["network_data_format"]
    data["inputs"]["image"] = {"num_channels": 4, "modality": "MR"}
    data["outputs"]["pred"]["channel_def"] = {str(n): name for n, name in enumerate(NAMES)}


def test_a_bundle_with_a_sigmoid_gives_what_monai_gives(tmp_path):
    """Network, normalisation and sigmoid by MONAI and torch; one window of 24 x 24 x 16."""
    torch, nets = pytest.importorskip("torch"), pytest.importorskip("monai.networks.nets")
    from monai.transforms import NormalizeIntensity

    torch.manual_seed(0)
    network = nets.SegResNet(
        blocks_down=[1, 1, 2], blocks_up=[1, 1], init_filters=8, in_channels=4, out_channels=3, dropout_prob=0.2
    )
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    model = read_bundle(bundle(tmp_path / "brats", brats, (tmp_path / "weights.pt").read_bytes()))
    assert (model.overlapping, model.window, model.network.multiple) == (True, (24, 24, 16), 4)
    assert [one.name for one in model.labels] == list(NAMES)
    rng, grid = np.random.default_rng(0), Grid((16, 24, 24), np.eye(4))
    arrays = rng.uniform(50, 400, (4, *grid.shape)).astype(np.float32)
    arrays[:, :, :3] = 0  # outside the skull-stripped brain
    along_ijk = torch.from_numpy(arrays.transpose(0, 3, 2, 1).copy())
    shown = NormalizeIntensity(nonzero=True, channel_wise=True)(along_ijk)
    with torch.inference_mode():
        expected = network.eval()(shown[None].as_tensor()).sigmoid()[0].permute(1, 2, 3, 0).numpy()
    images = [Image(array, grid, "MR", name=str(n)) for n, array in enumerate(arrays)]
    np.testing.assert_allclose(model.probabilities(images).array, expected, atol=2e-3)
    assert not (tmp_path / "hacked").exists()


def test_a_bundle_with_another_threshold_is_refused(tmp_path):
    pytest.importorskip("monai")

    def change(config, metadata):
        brats(config, metadata)
        config["postprocessing"]["transforms"][1]["threshold"] = 0.3

    with pytest.raises(InvalidInput, match="begin at a probability of 0.3"):
        read_bundle(bundle(tmp_path / "brats", change, b""))


def test_overlapping_segments_reach_the_scene_and_the_label_map(scene, image, tmp_path, monkeypatch):
    """A model of the user's own, of overlapping classes, through the step: the scene holds each whole."""
    pytest.importorskip("openvino")
    monkeypatch.setenv(catalogue_module.CACHE_VARIABLE, str(tmp_path))
    content = onnx.convolution(WEIGHT, BIAS)
    file = {"name": "model.onnx", "url": "https://example.org/model.onnx", "bytes": len(content)}
    row = meshnet_row()
    row |= {"name": "nested", "kind": "onnx", "overlapping": True, "labels": [{"name": name} for name in NAMES]}
    row |= {"files": [file | {"sha256": hashlib.sha256(content).hexdigest()}], "shown": {"": {"kind": "window"}}}
    row |= {"spacing_mm": 2.0, "axes": "RAS", "volume_factors": {"tumour core": 1.0}}
    row.pop("shape")
    (tmp_path / "catalogue.json").write_text(json.dumps([row]))
    (tmp_path / "nested").mkdir()
    (tmp_path / "nested/model.onnx").write_bytes(content)
    twin = Twin.create("Anna", scene)
    twin.add_image(image, reference=True)
    with twin.run("TwinFusion", {}) as run:
        run.add_image(image, "fused", name="FLAIR fused")
    outputs = execute(twin, SegmentStep(model="nested", model_images=["FLAIR"])).outputs
    segmentation = node_to_segmentation(twin.node("segmentation"))
    for name, least in zip(NAMES, BRIGHTNESS):
        np.testing.assert_array_equal(segmentation.mask(name), image.array > least)
    write_labels(outputs, tmp_path)
    labels = read_volume(tmp_path / "anatomy.nii.gz").array
    innermost = np.select([image.array > least for least in (0.75, 0.5, 0.25)], [3, 1, 2], 0)
    np.testing.assert_array_equal(labels, innermost)
