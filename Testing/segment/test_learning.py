"""A model learns from a correction: its last layers only, and the result is a model of the user's own."""

from __future__ import annotations

import json

import numpy as np
import pytest

from TwinCore import Grid, Image, InvalidInput, Job, JobCancelled, Segmentation

pytest.importorskip("torch")

from TwinSegmentLib.measure import dice
from TwinSegmentLib.models.anatomy import label
from TwinSegmentLib.models.catalogue import CACHE_VARIABLE, find_model
from TwinSegmentLib.models.learning import keep, learn, split
from TwinSegmentLib.models.load import WEIGHTS, load_model
from TwinSegmentLib.networks.engine import Engine
from TwinSegmentLib.networks.graph import unet
from TwinSegmentLib.networks.torch_engine import TrainableNetwork
from TwinSegmentLib.networks.weights import save_weights

ROW = {
    "name": "balls",
    "title": "Balls",
    "system": "none",
    "kind": "own",
    "modalities": ["MR"],
    "labels": [{"name": "background"}, {"name": "bright"}, {"name": "dark"}],
    "licence": "Apache-2.0",
    "source": "made",
    "limits": "",
    "files": [],
    "seconds": 1,
    "memory_gb": 1,
    "spacing_mm": 2.0,
    "axes": "RAS",
    "shown": {"": {"kind": "percentiles", "low": 0.5, "high": 99.5}},
    "network": {"kind": "unet", "widths": [8, 8]},
}


@pytest.fixture
def entry(tmp_path, monkeypatch):
    """A network with random weights in the user's own catalogue."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    (tmp_path / "catalogue.json").write_text(json.dumps([ROW]))
    (tmp_path / "balls").mkdir()
    save_weights(TrainableNetwork(unet(3, (8, 8)), seed=1).weights(), tmp_path / "balls" / WEIGHTS)
    return find_model("balls")


@pytest.fixture(scope="module")
def scene() -> tuple[Image, Segmentation]:
    """A bright ball and a dark one on grey, in noise."""
    grid = Grid.isotropic((32, 32, 48), 2.0)
    places = np.moveaxis(np.indices(grid.shape), 0, -1)
    bright, dark = (np.linalg.norm(places - [16, 16, i], axis=-1) < 8 for i in (14, 34))
    noise = np.random.default_rng(0).normal(0, 0.03, grid.shape)
    image = Image((0.5 + 0.4 * bright - 0.4 * dark + noise).astype(np.float32), grid, "MR", name="balls")
    return image, Segmentation.from_masks(grid, {"bright": bright, "dark": dark})


def test_what_was_corrected_is_found_afterwards_and_the_features_stay(entry, scene):
    image, truth = scene
    model = load_model(entry)
    weights = learn(model, [image], truth, steps=80)
    changed = {name for name in weights if not np.array_equal(weights[name], model.weights[name])}
    assert changed == {"up0.1.weight", "up0.1.shift.bias", "scores.weight", "scores.bias"}
    keep(entry, "balls-2", weights)
    after = label(load_model(find_model("balls-2")), [image]).segmentation
    assert min(dice(after.mask(name), truth.mask(name)) for name in truth.names) > 0.9
    assert "learnt from corrections" in find_model("balls-2").title
    assert find_model("balls").title == "Balls"


def test_of_what_the_truth_does_not_say_nothing_is_unlearnt(entry, scene):
    image, truth = scene
    keep(entry, "balls-2", learn(load_model(entry), [image], truth, steps=80))
    knows = load_model(find_model("balls-2"))
    half = Segmentation.from_masks(truth.grid, {"bright": truth.mask("bright")})
    keep(entry, "balls-3", learn(knows, [image], half, steps=20))
    found = label(load_model(find_model("balls-3")), [image]).segmentation
    assert dice(found.mask("dark"), truth.mask("dark")) > 0.9


def test_the_parts_of_a_network_are_the_whole():
    network = unet(3, (8, 8, 16))
    weights = TrainableNetwork(network, seed=2).weights()
    front, last = split(network, 2)
    image = np.random.default_rng(1).random((1, 8, 12, 8), np.float32)

    def of(part):
        names = {step.name for step in part.steps}
        return {name: value for name, value in weights.items() if name.rpartition(".")[0] in names}

    through = Engine(last, of(last))(Engine(front, of(front))(image))
    np.testing.assert_allclose(through, Engine(network, weights)(image), atol=1e-4)
    with pytest.raises(InvalidInput, match="cannot learn alone"):
        split(network, 4)


def test_what_cannot_be_learnt_from_is_refused(entry, scene):
    image, truth = scene
    other = Segmentation.from_masks(truth.grid, {"liver": truth.mask("dark")})
    with pytest.raises(InvalidInput, match="No segment has the name .* bright, dark"):
        learn(load_model(entry), [image], other)
    weights = load_model(entry).weights
    with pytest.raises(InvalidInput, match="name of a model of the project"):
        keep(entry, "meshnet-model18cls", weights)
    with pytest.raises(InvalidInput, match="small letters"):
        keep(entry, "../balls", weights)
    with pytest.raises(InvalidInput, match="cannot learn"):
        keep(find_model("meshnet-model18cls"), "mine", weights)
    job = Job()
    job.cancel()
    with pytest.raises(JobCancelled):
        learn(load_model(entry), [image], truth, job=job)
