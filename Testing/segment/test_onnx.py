"""ONNX files: run as they are, whatever their size, and refused by name where they are not what they should be."""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import onnx_files as onnx
import pytest
from catalogue_rows import meshnet_row
from scipy import ndimage

from TwinCore import Grid, Image, InvalidInput
from TwinSegmentLib.models import catalogue as catalogue_module
from TwinSegmentLib.models.anatomy import label
from TwinSegmentLib.models.catalogue import find_model
from TwinSegmentLib.models.load import load_model
from TwinSegmentLib.networks.engine import Engine
from TwinSegmentLib.networks.model import Model
from TwinSegmentLib.networks.onnx_network import OnnxNetwork

pytest.importorskip("openvino")

RNG = np.random.default_rng(0)
WEIGHT, BIAS = RNG.normal(0, 0.3, (3, 2, 3, 3, 3)).astype(np.float32), RNG.normal(0, 0.3, 3).astype(np.float32)
IMAGE = RNG.normal(0, 1, (2, 8, 10, 12)).astype(np.float32)


def expected(image):
    """The convolution by scipy."""
    each = [[ndimage.correlate(one, kernel, mode="constant") for one, kernel in zip(image, row)] for row in WEIGHT]
    return np.sum(each, 1) + BIAS[:, None, None, None]


def written(path, content: bytes):
    path.write_bytes(content)
    return path


def test_a_convolution_of_free_size_gives_what_it_should_at_every_size(tmp_path):
    network = OnnxNetwork.read(written(tmp_path / "model.onnx", onnx.convolution(WEIGHT, BIAS)))
    assert (network.channels, network.classes, network.size) == (2, 3, None)
    engine = Engine(network, {})
    for image in (IMAGE, IMAGE[:, :6, 2:]):
        np.testing.assert_allclose(engine(image), expected(image), atol=1e-4)


def test_a_network_of_one_size_is_led_over_the_volume_in_windows_of_it(tmp_path):
    """A threshold of one kernel: windows of 8 x 6 x 10 give what the whole volume would."""
    weight = np.array([0, 40], np.float32).reshape(2, 1, 1, 1, 1)
    file = onnx.convolution(weight, np.array([0, -20], np.float32), (8, 6, 10))
    network = OnnxNetwork.read(written(tmp_path / "model.onnx", file))
    assert (network.size, network.multiple) == ((8, 6, 10), 1)
    grid = Grid.isotropic((13, 6, 21), 2.0)
    array = (np.random.default_rng(1).random(grid.shape) > 0.5).astype(np.float32)
    labels = [catalogue_module.Label("background", (0, 0, 0)), catalogue_module.Label("bright", (1, 1, 0))]
    model = Model("threshold", network, {}, labels, 2.0, window=network.size)
    found = label(model, [Image(array, grid, "MR", name="noise")])
    np.testing.assert_array_equal(found.segmentation.mask("bright"), array > 0)


@pytest.mark.parametrize("final", ["Softmax", "Sigmoid"])
def test_probabilities_that_a_file_ends_with_become_scores_again(tmp_path, final):
    network = OnnxNetwork.read(written(tmp_path / "model.onnx", onnx.convolution(WEIGHT, BIAS, final=final)))
    scores, truth = Engine(network, {})(IMAGE), expected(IMAGE)
    if final == "Softmax":
        truth = truth - np.log(np.exp(truth).sum(0))
    np.testing.assert_allclose(scores, truth, atol=1e-3)


def test_weights_may_lie_in_a_file_beside_it(tmp_path):
    outside = {"location": "weights.data", "offset": "64", "length": str(WEIGHT.nbytes)}
    path = written(tmp_path / "model.onnx", onnx.convolution(WEIGHT, BIAS, outside=outside))
    (tmp_path / "weights.data").write_bytes(b"\0" * 64 + WEIGHT.tobytes())
    np.testing.assert_allclose(Engine(OnnxNetwork.read(path), {})(IMAGE), expected(IMAGE), atol=1e-4)


def loop() -> bytes:
    body = onnx.fields((1, "body"), (6, onnx.fields((2, "inner"))), (20, 5))
    return onnx.node("Identity", ["image"], ["labels"], [body])


GOOD = onnx.convolution(WEIGHT, BIAS)
HUGE = [onnx.port("image", (1, 2, "k", 10**12, "i"))]
HOSTILE = {
    "nothing": (b"", "no network"),
    "a truncated file": (GOOD[:-200], "ends too early"),
    "a file cut at a field": (GOOD[:2], "no network"),
    "a web page": (b"<!doctype html><html>", "not part of a protocol buffer|ends too early|no network"),
    "a Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\n", "protocol buffer|too early|no network"),
    "a damaged archive": (b"PK\x03\x04" + b"\0" * 100, "not part of a protocol buffer|no network"),
    "zeros": (b"\0" * 1000, "no network"),
    "a number without end": (b"\xff" * 100, "does not end"),
    "an operator of another domain": (
        onnx.convolution(WEIGHT, BIAS, nodes=[onnx.node("Evil", ["image"], ["labels"], domain="com.evil")]),
        "operator 'Evil' of 'com.evil' is not one of the standard's",
    ),
    "an operator that is not allowed": (
        onnx.convolution(WEIGHT, BIAS, nodes=[onnx.node("Loop", ["image"], ["labels"])]),
        "operator 'Loop' is not one",
    ),
    "a network within an operator": (onnx.convolution(WEIGHT, BIAS, nodes=[loop()]), "network or sparse numbers"),
    "functions": (onnx.convolution(WEIGHT, BIAS, more=[(25, onnx.fields((1, "f")))]), "functions of its own"),
    "weights above the folder": (
        onnx.convolution(WEIGHT, BIAS, outside={"location": "../../etc/passwd"}),
        "'../../etc/passwd', which does not lie beside",
    ),
    "weights at an absolute path": (
        onnx.convolution(WEIGHT, BIAS, outside={"location": "/etc/passwd"}),
        "'/etc/passwd', which does not lie beside",
    ),
    "weights that are nowhere": (
        onnx.convolution(WEIGHT, BIAS, outside={"location": "gone.data"}),
        "'gone.data', which is not there",
    ),
    "weights beyond their file": (
        onnx.convolution(WEIGHT, BIAS, outside={"location": "model.onnx", "offset": "9999999"}),
        "ends beyond the end of 'model.onnx'",
    ),
    "weights of absurd size": (
        onnx.convolution(
            WEIGHT, BIAS, weights=[onnx.tensor("weight", WEIGHT, dims=(2**40, 2**40)), onnx.tensor("bias", BIAS)]
        ),
        f"announces {2**80} numbers and has {WEIGHT.nbytes} bytes",
    ),
    "an input of absurd size": (onnx.convolution(WEIGHT, BIAS, inputs=HUGE), "1 x 2 x . x 1000000000000 x"),
    "a flat input": (onnx.convolution(WEIGHT, BIAS, inputs=[onnx.port("image", (1, 2, 64, 64))]), "1 x 2 x 64 x 64"),
    "an input of integers": (
        onnx.convolution(WEIGHT, BIAS, inputs=[onnx.port("image", (1, 2, 8, 8, 8), onnx.INT64)]),
        "of type 7",
    ),
    "two inputs": (
        onnx.convolution(WEIGHT, BIAS, inputs=[onnx.port(n, (1, 2, 8, 8, 8)) for n in ("image", "other")]),
        "has 2 inputs",
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_files_are_refused_by_name(tmp_path, what):
    content, message = HOSTILE[what]
    with pytest.raises(InvalidInput, match=message) as refused:
        OnnxNetwork.read(written(tmp_path / "model.onnx", content))
    assert "model.onnx" in str(refused.value)


def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "secret").write_bytes(WEIGHT.tobytes())
    (tmp_path / "model").mkdir()
    path = written(tmp_path / "model/model.onnx", onnx.convolution(WEIGHT, BIAS, outside={"location": "w.data"}))
    (tmp_path / "model/w.data").symlink_to(tmp_path / "secret")
    with pytest.raises(InvalidInput, match="does not lie beside"):
        OnnxNetwork.read(path)


def test_every_cut_of_a_file_is_refused_or_lacks_nothing_that_matters(tmp_path):
    """Wherever a file ends too early, it is refused when read or when made; never run with what is left."""
    for end in range(0, len(GOOD) - 8, 7):
        with pytest.raises(InvalidInput):
            OnnxNetwork.read(written(tmp_path / "model.onnx", GOOD[:end])).compiled((8, 8, 8))


MADE_TOO_LARGE = [
    onnx.node("Expand", ["image", "size"], ["large"]),
    onnx.node("ReduceMean", ["large"], ["mean"], [onnx.ints("axes", [0])]),
    onnx.node("Conv", ["image", "weight", "bias"], ["near"], [onnx.ints("pads", [1] * 6)]),
    onnx.node("ReduceMean", ["mean"], ["one"], [onnx.ints("axes", [0, 1, 2, 3, 4])]),
    onnx.node("Add", ["near", "one"], ["labels"]),
]


@pytest.mark.parametrize("what", ["more memory than there is", "another size", "channels that do not fit"])
def test_a_network_that_cannot_be_made_is_refused(tmp_path, what):
    weights = [onnx.tensor("weight", WEIGHT), onnx.tensor("bias", BIAS)]
    file = {
        "more memory than there is": onnx.convolution(
            WEIGHT,
            BIAS,
            nodes=MADE_TOO_LARGE,
            weights=[*weights, onnx.tensor("size", np.array([2**40, 2, 8, 8, 8], np.int64))],
        ),
        "another size": onnx.convolution(WEIGHT, BIAS, nodes=[onnx.node("Conv", ["image", "weight"], ["labels"])]),
        "channels that do not fit": onnx.convolution(WEIGHT, BIAS, inputs=[onnx.port("image", (1, 5, "k", "j", "i"))]),
    }[what]
    message = "GB of memory" if what.startswith("more") else r"cannot be run on \(8, 8, 8\)"
    with pytest.raises(InvalidInput, match=message):
        OnnxNetwork.read(written(tmp_path / "model.onnx", file)).compiled((8, 8, 8))


def test_an_entry_of_ones_own_is_found_checked_and_used(tmp_path, monkeypatch):
    monkeypatch.setenv(catalogue_module.CACHE_VARIABLE, str(tmp_path))
    weight = np.array([0, 40], np.float32).reshape(2, 1, 1, 1, 1)
    content = onnx.convolution(weight, np.array([0, -20], np.float32))
    file = {"name": "model.onnx", "url": "https://example.org/model.onnx", "bytes": len(content)}
    row = meshnet_row()
    row |= {"name": "mine", "kind": "onnx", "labels": [{"name": "background"}, {"name": "bright"}]}
    row |= {"files": [file | {"sha256": hashlib.sha256(content).hexdigest()}], "multiple": 4, "window": 8}
    row.pop("shape")
    (tmp_path / "catalogue.json").write_text(json.dumps([row]))
    entry = find_model("mine")
    entry.folder.mkdir()
    written(entry.folder / "model.onnx", content)
    grid = Grid.isotropic((12, 12, 12), 1.0)
    array = np.zeros(grid.shape, np.float32)
    array[3:7, 4:9, 5:8] = 1
    found = label(load_model(entry), [Image(array, grid, "MR", name="box")])
    np.testing.assert_array_equal(found.segmentation.mask("bright"), array > 0)
    written(entry.folder / "model.onnx", content[:-1] + b"\x10")
    with pytest.raises(InvalidInput, match="not the file of the catalogue"):
        load_model(entry)
    shutil.copy(tmp_path / "catalogue.json", tmp_path / "twice.json")
    (tmp_path / "catalogue.json").write_text(json.dumps([row | {"name": "meshnet-mindgrab"}]))
    with pytest.raises(InvalidInput, match="'meshnet-mindgrab' is the name of a model of the project"):
        find_model("mine")
