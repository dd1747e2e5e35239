"""Networks as data: engines agree, windows stitch to the whole, weights and descriptions from outside are checked."""

from __future__ import annotations

import json

import numpy as np
import pytest
from network_weights import random_weights

from TwinCore import Grid, Image, InvalidInput
from TwinSegmentLib.networks.engine import Engine
from TwinSegmentLib.networks.graph import Network, Step, meshnet, unet
from TwinSegmentLib.networks.meshnet import read_meshnet
from TwinSegmentLib.networks.model import Label, Model, Shown
from TwinSegmentLib.networks.module_network import ModuleNetwork
from TwinSegmentLib.networks.probabilities import Probabilities, softmax
from TwinSegmentLib.networks.weights import load_weights, save_weights
from TwinSegmentLib.networks.windows import CERTAIN, fitted_windows, window_starts, windowed

NETWORKS = {
    "U": unet(3, (8, 8, 16)),
    "mesh, ELU": meshnet(4, 5, (1, 2, 4, 1), "elu"),
    "mesh, normalised, GELU": Network(
        1,
        (
            Step("a", "conv", ("image",), 4, dilation=2),
            Step("b", "norm", ("a",), 4, activation="gelu"),
            Step("c", "conv", ("b",), 2, kernel=1),
        ),
    ),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_engines_agree(kind):
    pytest.importorskip("torch")
    network = NETWORKS[kind]
    weights, image = random_weights(network), np.random.default_rng(1).random((1, 16, 24, 8), np.float32)
    in_openvino, in_torch = (Engine(network, weights, name)(image).copy() for name in ("OpenVINO", "torch"))
    assert in_torch.shape == (network.classes, 16, 24, 8)
    np.testing.assert_allclose(in_openvino, in_torch, atol=1e-4)
    assert in_torch.std() > 0.05


@pytest.mark.parametrize("name", ["OpenVINO", "torch"])
def test_many_images_side_by_side_give_what_each_gives_alone(name):
    """In their order, the same bits each time; a run that is left half-way harms no later one."""
    pytest.importorskip(name.lower())
    network = NETWORKS["U"]
    engine = Engine(network, random_weights(network), name)
    images = list(np.random.default_rng(9).random((7, 1, 16, 24, 8), np.float32))
    alone = [engine(image).copy() for image in images]
    first = [found.copy() for found in engine.each(images, at_once=2)]
    np.testing.assert_allclose(first, alone, atol=1e-4)
    next(engine.each(images, at_once=2))
    for found, again in zip(first, engine.each(images, at_once=2), strict=True):
        np.testing.assert_array_equal(found, again)


def test_the_sizes_that_a_module_takes_are_tried():
    nn = pytest.importorskip("torch").nn
    from TwinSegmentLib.networks.torch_module import least_multiple

    down_and_up = nn.Sequential(nn.MaxPool3d(2), nn.MaxPool3d(2), nn.Upsample(scale_factor=4))
    assert least_multiple(down_and_up, 1, 32) == 4
    assert least_multiple(nn.Conv3d(2, 3, 3, padding=1), 2, 32) == 1
    assert least_multiple(nn.MaxPool3d(64), 1, 32) == 32


def test_group_normalisation_is_torchs():
    """Of a signal far from zero, which sums of squares alone would lose."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("openvino")
    torch.manual_seed(0)
    norm = torch.nn.GroupNorm(4, 12, eps=1e-3)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    image = np.random.default_rng(10).normal(50, 0.5, (12, 12, 16, 8)).astype(np.float32)
    with torch.inference_mode():
        expected = norm(torch.from_numpy(image)[None])[0].numpy()
    found = Engine(ModuleNetwork(norm, 12, 12, 1), {}, "OpenVINO")(image)
    np.testing.assert_allclose(found, expected, atol=2e-4)
    assert expected.std() > 0.5


def test_convolution_is_the_one_of_the_textbook():
    """One 3 x 3 x 3 kernel with a dilation of 2, against scipy's correlation with zeros outside."""
    from scipy.ndimage import correlate

    network = Network(1, (Step("only", "conv", ("image",), 1, dilation=2),))
    weights, image = random_weights(network), np.random.default_rng(2).random((1, 9, 8, 7), np.float32)
    spread = np.zeros((5, 5, 5), np.float32)
    spread[::2, ::2, ::2] = weights["only.weight"][0, 0]
    expected = correlate(image[0], spread, mode="constant") + weights["only.bias"]
    np.testing.assert_allclose(Engine(network, weights)(image)[0], expected, atol=1e-5)


def test_a_network_that_refers_to_nothing_or_does_the_unknown_is_refused():
    with pytest.raises(InvalidInput, match="needs b, which no step made"):
        Network(1, (Step("a", "conv", ("b",), 2),))
    with pytest.raises(InvalidInput, match="eval with none is not known"):
        Network(1, (Step("a", "eval", ("image",), 2),))


def test_the_engine_says_which_sizes_it_takes():
    network = NETWORKS["U"]
    with pytest.raises(InvalidInput, match="multiple of 4"):
        Engine(network, random_weights(network))(np.zeros((1, 16, 16, 14), np.float32))
    with pytest.raises(InvalidInput, match="Engine 'abacus'"):
        Engine(network, random_weights(network), "abacus")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("scores.bias"), "do not belong to the network: scores.bias"),
        (lambda w: w.update(extra=np.zeros(1)), "do not belong to the network: extra"),
        (lambda w: w.update({"scores.bias": np.zeros(3)}), r"'scores.bias' has shape \(3,\)"),
        (lambda w: w["scores.bias"].fill(np.nan), "not finite"),
    ],
)
def test_weights_that_do_not_fit_are_refused(change, message):
    network = NETWORKS["mesh, ELU"]
    weights = random_weights(network)
    change(weights)
    with pytest.raises(InvalidInput, match=message):
        Engine(network, weights)


def test_windows_cover_the_volume():
    starts = window_starts((50, 32, 40), (32, 32, 32), 0.25)
    covered = np.zeros((50, 32, 40), bool)
    for k, j, i in starts:
        covered[k : k + 32, j : j + 32, i : i + 32] = True
        assert k + 32 <= 50
    assert covered.all()


@pytest.mark.parametrize("freedom", [0.0, 0.25, 1.0])
def test_windows_fitted_to_a_body_cover_it_and_are_of_a_size_that_the_network_takes(freedom):
    """A head of 136 x 176 x 132 in 192 x 224 x 192 voxels: fewer voxels than over the whole, the fewer the freer."""
    inside = np.zeros((192, 224, 192), bool)
    inside[28:164, 24:200, 30:162] = True
    size, starts = fitted_windows(inside, (96, 96, 96), 0.25, freedom, 16)
    covered = np.zeros(inside.shape, bool)
    for k, j, i in starts:
        covered[k : k + size[0], j : j + size[1], i : i + size[2]] = True
        assert min(k, j, i) >= 0
        assert (np.array([k, j, i]) + size <= inside.shape).all()
    assert covered[inside].all()
    assert all(abs(n - 96) <= freedom * 96 and n % 16 == 0 for n in size)
    one_thick, _ = fitted_windows(inside, (96, 96, 96), 0.25, freedom)
    assert min(one_thick) >= 72
    expected = {0.0: (12, (96, 96, 96)), 0.25: (8, (96, 112, 80)), 1.0: (1, (144, 192, 144))}
    assert (len(starts), size) == expected[freedom]
    assert len(starts) * np.prod(size) < 0.5 * 27 * 96**3


def test_windows_without_any_of_the_body_are_left_out():
    inside = np.zeros((64, 64, 64), bool)
    inside[4:20, 4:20, 4:20] = inside[44:60, 44:60, 44:60] = True
    _, starts = fitted_windows(inside, (32, 32, 32), 0.0)
    assert starts == [(0, 0, 0), (32, 32, 32)]
    assert fitted_windows(np.zeros((64, 64, 64), bool), (32, 32, 32), 0.25) == ((32, 32, 32), [])


def test_a_window_may_differ_as_far_as_the_network_does_not_notice():
    nn = pytest.importorskip("torch").nn
    plain, normalised = nn.Conv3d(1, 2, 3), nn.Sequential(nn.Conv3d(1, 8, 3), nn.GroupNorm(2, 8), nn.ReLU())
    attentive = nn.Sequential(nn.Conv3d(1, 8, 3), nn.MultiheadAttention(8, 2))
    freedoms = [ModuleNetwork(module, 1, 2).window_freedom for module in (plain, normalised, attentive)]
    assert freedoms == [NETWORKS["mesh, ELU"].window_freedom, NETWORKS["U"].window_freedom, 0.0] == [1.0, 0.25, 0.0]


def test_windows_of_a_local_network_stitch_to_the_whole():
    """Each voxel of a network that sees 4 voxels far gets the same score from a window that reaches further."""
    network = meshnet(3, 4, (1, 2, 1))
    engine = Engine(network, random_weights(network))
    image = np.random.default_rng(4).random((1, 40, 24, 24), np.float32)
    whole = engine(image).transpose(1, 2, 3, 0).copy()
    size = (32, 24, 24)
    stitched = windowed(engine.each, image, 3, size, window_starts(image.shape[1:], size, 0.75))
    np.testing.assert_allclose(stitched[:4], whole[:4], atol=2e-3)
    assert np.abs(stitched - whole).max() < np.abs(whole).max() * 0.5
    assert (stitched.argmax(-1) == whole.argmax(-1)).mean() > 0.98


def test_what_no_window_reached_is_background():
    def run(windows, job):
        return (np.stack([w[0], w[0] + 1]) for w in windows)

    scores = windowed(run, np.ones((1, 16, 8, 8), np.float32), 2, (8, 8, 8), [(0, 0, 0)])
    np.testing.assert_allclose(scores[:8].reshape(-1, 2), [[1, 2]] * 512)
    np.testing.assert_allclose(scores[8:].reshape(-1, 2), [[CERTAIN, 0]] * 512)


def test_probabilities_decide_labels_volumes_and_doubt_on_another_grid():
    grid = Grid.isotropic((10, 10, 10), 2.0)
    scores = np.zeros((10, 10, 10, 2), np.float32)
    scores[..., 1] = np.where(np.arange(10) < 5, 4.0, -4.0)
    softmax(scores, 1.0)
    probabilities = Probabilities(scores, grid)
    labels, entropy = probabilities.onto(Grid.isotropic((19, 19, 19), 1.0))
    assert labels[9, 9, 8] == 1
    assert labels[9, 9, 10] == 0
    assert entropy[9, 9, 9] == pytest.approx(1.0, abs=1e-3)
    p = 1 / (1 + np.exp(-4.0))
    assert entropy[9, 9, 2] == pytest.approx(-(p * np.log(p) + (1 - p) * np.log(1 - p)) / np.log(2), abs=1e-4)
    assert probabilities.doubtful_ml[1] == pytest.approx(4.0 * p * (1 - p), rel=1e-4)  # the other half is below 5 %


def test_a_higher_temperature_is_less_sure_and_decides_the_same():
    scores = np.random.default_rng(5).normal(0, 3, (4, 4, 4, 5)).astype(np.float32)
    sharp, soft = scores.copy(), scores.copy()
    softmax(sharp, 1.0)
    softmax(soft, 2.0)
    np.testing.assert_allclose(sharp.sum(-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(sharp.argmax(-1), soft.argmax(-1))
    assert (soft.max(-1) < sharp.max(-1)).all()


def test_weights_survive_their_file_and_a_broken_file_is_refused(tmp_path):
    weights = random_weights(NETWORKS["U"])
    path = save_weights(weights, tmp_path / "w.safetensors")
    again = load_weights(path)
    assert set(again) == set(weights)
    for name, value in weights.items():
        np.testing.assert_allclose(again[name], value, atol=1e-3)
    data = path.read_bytes()
    for broken in (data[:-7], data[: len(data) // 2], b"", b"\xff" * 64, b"\x80\x04cos\nsystem\n(S'true'\ntR."):
        path.write_bytes(broken)
        with pytest.raises(InvalidInput, match="not a whole safetensors file"):
            load_weights(path)
    path.unlink()
    for unreadable in (path, tmp_path):
        with pytest.raises(InvalidInput, match="cannot be read"):
            load_weights(unreadable)


def model(window=None, shape=None) -> Model:
    network = NETWORKS["U"]
    labels = [Label(name, (0.5, 0.5, 0.5)) for name in ("background", "a", "b")]
    return Model("test", network, random_weights(network), labels, spacing_mm=2.0, window=window, shape=shape)


def test_a_model_sees_the_patient_however_the_image_lies():
    """An oblique image and the same one with its axes swapped give the same labels at the same places."""
    rng = np.random.default_rng(6)
    grid = Grid.isotropic((32, 32, 32), 2.0, (-31, -31, -31))
    image = Image(rng.random(grid.shape, np.float32), grid, "MR", name="MR")
    swap = np.eye(4)[[2, 1, 0, 3]]
    swapped = Image(image.array.transpose(2, 1, 0).copy(), Grid((32, 32, 32), grid.ijk_to_ras @ swap), "MR", name="MR")
    labels, _ = model().probabilities([image]).onto(image.grid)
    others, _ = model().probabilities([swapped]).onto(swapped.grid)
    np.testing.assert_array_equal(labels, others.transpose(2, 1, 0))
    assert len(np.unique(labels)) > 1


def test_a_model_refuses_what_it_was_not_made_for():
    grid = Grid.isotropic((16, 16, 16), 2.0)
    ramp = np.arange(4096, dtype=np.float32).reshape(16, 16, 16)
    with pytest.raises(InvalidInput, match="takes MR or CT, and image 'liver' is US"):
        model().probabilities([Image(ramp, grid, "US", name="liver")])
    with pytest.raises(InvalidInput, match="takes 1 images"):
        model().probabilities([Image(ramp, grid, "MR")] * 2)
    with pytest.raises(InvalidInput, match="'flat' shows nothing"):
        model().probabilities([Image(np.ones((16, 16, 16)), grid, "MR", name="flat")])
    with pytest.raises(InvalidInput, match="2 labels for 3 classes"):
        Model("x", NETWORKS["U"], random_weights(NETWORKS["U"]), [Label("a", (0, 0, 0))] * 2)


def test_brightness_is_shown_as_declared():
    values = np.linspace(-100, 300, 401, dtype=np.float32)
    np.testing.assert_allclose(Shown("window", 0, 100, (0, 1))(values, ""), np.clip(values / 100, 0, 1), atol=1e-6)
    np.testing.assert_allclose(Shown("percentiles", 25, 75, None)(values, "")[[100, 300]], [0, 1], atol=1e-6)
    assert Shown("z-score")(values, "").std() < 1.0  # clipped below
    assert Shown("z-score", clip=None)(values, "").std() == pytest.approx(1.0, rel=1e-5)


def tfjs(folder, change=None):
    """A MeshNet of two layers as its files hold it."""
    layers = [
        {
            "class_name": "InputLayer",
            "name": "input",
            "config": {"batch_input_shape": [None, 8, 8, 8, 1]},
            "inbound_nodes": [],
        },
        _conv("c0", "input", 2, 3, 2),
        {
            "class_name": "Activation",
            "name": "a0",
            "config": {"activation": "relu"},
            "inbound_nodes": [[["c0", 0, 0, {}]]],
        },
        _conv("output", "a0", 3, 1, 1),
    ]
    entries = [
        ("c0/kernel", [3, 3, 3, 1, 2]),
        ("c0/bias", [2]),
        ("output/kernel", [1, 1, 1, 2, 3]),
        ("output/bias", [3]),
    ]
    model = {
        "modelTopology": {"model_config": {"config": {"layers": layers}}},
        "weightsManifest": [
            {"paths": ["w.bin"], "weights": [{"name": n, "shape": s, "dtype": "float32"} for n, s in entries]}
        ],
    }
    numbers = np.arange(sum(int(np.prod(s)) for _, s in entries), dtype="<f4")
    if change:
        numbers = change(model, numbers)
        numbers = np.zeros(0, "<f4") if numbers is None else numbers
    numbers.tofile(folder / "w.bin")
    (folder / "model.json").write_text(json.dumps(model))
    return folder / "model.json"


def _conv(name, source, filters, kernel, dilation):
    config = {"filters": filters, "kernel_size": [kernel] * 3, "dilation_rate": [dilation] * 3, "strides": [1] * 3}
    config |= {"padding": "same", "activation": "linear"}
    return {"class_name": "Conv3D", "name": name, "config": config, "inbound_nodes": [[[source, 0, 0, {}]]]}


def test_a_meshnet_is_read_from_its_files(tmp_path):
    network, weights = read_meshnet(tfjs(tmp_path))
    assert [(s.channels, s.kernel, s.dilation, s.activation) for s in network.steps] == [
        (2, 3, 2, "relu"),
        (3, 1, 1, "none"),
    ]
    kernel = np.arange(54, dtype=np.float32).reshape(3, 3, 3, 1, 2)
    assert weights["c0.weight"][1, 0, 2, 0, 1] == kernel[2, 0, 1, 0, 1]
    np.testing.assert_array_equal(weights["output.bias"], [62, 63, 64])


HOSTILE = {
    "a lambda": lambda m, n: m["modelTopology"]["model_config"]["config"]["layers"][1].update(class_name="Lambda") or n,
    "numbers missing": lambda m, n: n[:-3],
    "numbers left over": lambda m, n: np.append(n, n[:2]),
    "numbers outside the folder": lambda m, n: m["weightsManifest"][0].update(paths=["../w.bin"]) or n,
    "not finite": lambda m, n: np.where(n == 5, np.nan, n).astype("<f4"),
    "a branch": lambda m, n: (
        m["modelTopology"]["model_config"]["config"]["layers"][3].update(inbound_nodes=[[["input", 0, 0, {}]]]) or n
    ),
    "integers": lambda m, n: m["weightsManifest"][0]["weights"][0].update(dtype="int32") or n,
    "negative size": lambda m, n: m["weightsManifest"][0]["weights"][0].update(shape=[3, 3, 3, -1, 2]) or n,
    "strides": lambda m, n: (
        m["modelTopology"]["model_config"]["config"]["layers"][1]["config"].update(strides=[2, 2, 2]) or n
    ),
    "no topology": lambda m, n: m.pop("modelTopology") and n,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_description_that_is_no_meshnet_is_refused(tmp_path, what):
    with pytest.raises(InvalidInput):
        read_meshnet(tfjs(tmp_path, HOSTILE[what]))


def test_pretrained_meshnet_gives_the_published_voxel_counts(data):
    """model5_gw_ae on brain_t1: white matter 518541 and grey matter 735147 voxels, to a thousandth."""
    from TwinCore.volume_file import read_volume

    network, weights = read_meshnet(data("weights_brainchop") / "model5_gw_ae/model.json")
    labels = [Label(name, (0, 0, 0)) for name in ("background", "white matter", "grey matter")]
    shown = {"": Shown("percentiles", 0, 100, None)}
    mesh = Model("model5", network, weights, labels, axes="AIL", shape=(256,) * 3, shown=shown)
    t1 = read_volume(data("brain_t1") / "t1_crop.nii.gz", "MR")
    found, _ = mesh.probabilities([t1]).onto(t1.grid)
    assert (found == 1).sum() == pytest.approx(518541, rel=1e-3)
    assert (found == 2).sum() == pytest.approx(735147, rel=1e-3)
