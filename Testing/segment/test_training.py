"""Training: it learns, it can be stopped and taken up, and what it writes is what is used."""

from __future__ import annotations

import json

import numpy as np
import pytest

from TwinCore import Grid, Image, InvalidInput, Job, JobCancelled
from TwinSegmentLib.generator import Sample, read_recipe
from TwinSegmentLib.networks.engine import Engine
from TwinSegmentLib.networks.graph import unet
from TwinSegmentLib.networks.weights import load_weights

pytest.importorskip("torch")

from TwinSegmentLib.label_map_training import Plan, Stage, train_on_label_maps
from TwinSegmentLib.networks.torch_engine import TrainableNetwork
from TwinSegmentLib.training import Schedule, loss_of, train, validated
from TwinSegmentLib.training_comparison import compare_sources

CLASSES = ("background", "bright")
NETWORK = unet(2, (8, 8))
QUICK = Schedule(steps=200, rate=3e-2, warm_up=5, memory=0.5, every=100)


def blob(seed) -> Sample:
    """A bright ball somewhere in noise."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(5, 11, 3)[:, None, None, None]
    ball = ((np.indices((16, 16, 16)) - centre) ** 2).sum(0) < 30
    image = 0.3 + 0.5 * ball + rng.normal(0, 0.05, ball.shape)
    return Sample(image.astype(np.float32), ball.astype(np.uint8), "", (1.0, 1.0, 1.0))


HELD_OUT = [blob((9, n)) for n in range(4)]


def test_it_learns(tmp_path):
    weights = train(NETWORK, CLASSES, blob, HELD_OUT, tmp_path, QUICK)
    points = [json.loads(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()]
    assert [p["step"] for p in points] == [100, 200]
    assert points[-1]["loss"] < 0.75 * points[0]["loss"]
    assert validated(NETWORK, weights, CLASSES, HELD_OUT)["bright"] > 0.9


def test_the_same_seed_gives_the_same_weights_also_in_two_pieces(tmp_path):
    whole = train(NETWORK, CLASSES, blob, HELD_OUT, tmp_path / "whole", QUICK)
    train(NETWORK, CLASSES, blob, HELD_OUT, tmp_path / "pieces", QUICK, until=100)
    pieces = train(NETWORK, CLASSES, blob, HELD_OUT, tmp_path / "pieces", QUICK)
    for name in whole:
        np.testing.assert_allclose(pieces[name], whole[name], rtol=1e-4, atol=1e-6)


def test_a_cancelled_training_is_taken_up(tmp_path):
    job = Job(lambda report: report.fraction > 0.6 and job.cancel())
    with pytest.raises(JobCancelled):
        train(NETWORK, CLASSES, blob, HELD_OUT, tmp_path, QUICK, job=job)
    train(NETWORK, CLASSES, blob, HELD_OUT, tmp_path, QUICK)
    assert [json.loads(line)["step"] for line in (tmp_path / "curve.jsonl").read_text().splitlines()] == [100, 200]


def test_the_state_of_another_training_is_refused(tmp_path):
    train(NETWORK, CLASSES, blob, HELD_OUT, tmp_path, QUICK, until=100)
    with pytest.raises(InvalidInput, match="another schedule"):
        train(NETWORK, CLASSES, blob, HELD_OUT, tmp_path, Schedule(steps=50))
    with pytest.raises(InvalidInput, match="another network"):
        train(unet(2, (8, 16)), CLASSES, blob, HELD_OUT, tmp_path, QUICK)


def test_plain_weights_are_what_the_trained_network_computes():
    """A network in training, its plain weights in an engine, and a network that begins with them: the same scores."""
    import torch

    trained = TrainableNetwork(NETWORK, seed=3)
    image = np.random.default_rng(0).random((1, 16, 16, 16), np.float32)
    with torch.no_grad():
        expected = trained(torch.from_numpy(image)[None])[0].numpy()
    np.testing.assert_allclose(Engine(NETWORK, trained.weights())(image), expected, atol=1e-4)
    other = TrainableNetwork(NETWORK, seed=4)
    other.adopt(trained.weights())
    with torch.no_grad():
        np.testing.assert_allclose(other(torch.from_numpy(image)[None])[0].numpy(), expected, atol=1e-5)


def test_the_loss_is_cross_entropy_and_dice():
    import torch
    from torch.nn import functional

    truth = torch.from_numpy(np.random.default_rng(1).integers(0, 3, (4, 6, 8)))
    scores = torch.randn(1, 3, 4, 6, 8, generator=torch.Generator().manual_seed(0))
    share = scores.softmax(1)
    one_hot = functional.one_hot(truth[None], 3).permute(0, 4, 1, 2, 3)
    both, sums = (share * one_hot).sum((0, 2, 3, 4)), (share + one_hot).sum((0, 2, 3, 4))
    expected = functional.cross_entropy(scores, truth[None]) + 1 - ((2 * both + 1) / (sums + 1)).mean()
    assert float(loss_of(scores, truth)) == pytest.approx(float(expected), rel=1e-5)


def ball(name: str, size: float = 1.0) -> Image:
    """White matter in cortex in soft tissue."""
    grid = Grid.isotropic((48, 48, 48))
    distance = np.sqrt(((np.indices(grid.shape) - 23.5) ** 2).sum(0))
    labels = np.select([distance < radius * size for radius in (10, 15, 20)], [2, 3, 507], 0)
    return Image(labels.astype(np.float32), grid, name=name)


def scan_of(head: Image) -> tuple[Image, Image]:
    """A scan whose white matter is dark and whose cortex is bright, and its labels."""
    return head.with_array(np.select([head.array == 2, head.array == 3], [1.0, 5.0], 3.0), modality="MR"), head


def test_sources_are_compared_on_scans_that_none_has_seen(tmp_path):
    """Scans are bright where a rendering would never be: only who has seen scans can tell their tissues apart."""
    head = ball("head")
    learnt, judged = scan_of(head), scan_of(ball("another head", 1.1))
    stages = (Stage((32, 32, 32), 1.5, 120),)
    plan = Plan(stages, widths=(8, 8), schedule=Schedule(steps=120, rate=3e-2, warm_up=5, memory=0.5, every=60))
    table = compare_sources([head], [learnt], [judged], tmp_path, plan)
    assert table.columns["class"] == ["cerebral white matter", "cerebral cortex", "soft tissue", "mean"]
    assert table.columns["real"][-1] > 0.5
    assert table.columns["real"][-1] > table.columns["synthetic"][-1]
    assert (tmp_path / "real_and_synthetic" / "weights.safetensors").is_file()
    again = compare_sources([head], [learnt], [judged], tmp_path, plan)
    assert again.columns == table.columns
    with pytest.raises(InvalidInput, match="other scans to be judged on"):
        compare_sources([head], [learnt], [], tmp_path, plan)


def test_a_comparison_may_begin_with_weights_and_says_how_good_they_are(tmp_path):
    """One step at a rate of nearly nothing leaves everybody where the weights are."""
    head = ball("head")
    learnt, judged = scan_of(head), scan_of(ball("another head", 1.1))
    still = Plan((Stage((32, 32, 32), 1.5, 1),), widths=(8, 8), schedule=Schedule(steps=1, rate=1e-9, every=1))
    start = TrainableNetwork(still.network(read_recipe("brain")), seed=5).weights()
    table = compare_sources([head], [learnt], [judged], tmp_path, still, start)
    assert list(table.columns) == ["class", "start", "synthetic", "real", "real and synthetic"]
    assert table.columns["start"][-1] > 0
    for source in ("synthetic", "real", "real and synthetic"):
        assert table.columns[source] == pytest.approx(table.columns["start"], abs=0.01)


def test_refining_starts_from_what_was_learnt(tmp_path):
    plan = Plan.refining(40, seed=3)
    assert [stage.spacing_mm for stage in plan.stages] == [2.0]
    assert plan.schedule.rate < Schedule().rate
    learnt = train(NETWORK, CLASSES, blob, HELD_OUT, tmp_path / "first", QUICK)
    short = Schedule(steps=1, rate=1e-5, warm_up=1, every=1)
    refined = train(NETWORK, CLASSES, blob, HELD_OUT, tmp_path / "second", short, start=learnt)
    assert validated(NETWORK, refined, CLASSES, HELD_OUT)["bright"] > 0.9


def test_label_maps_become_weights(tmp_path):
    maps = [ball(f"map {n}") for n in range(2)]
    stages = (Stage((16, 16, 16), 2.0, 1), Stage((32, 32, 32), 1.0, 2))
    plan = Plan(stages, widths=(8, 8), schedule=Schedule(steps=2, every=2))
    path = train_on_label_maps(maps[:1], maps[1:], tmp_path, plan)
    from TwinSegmentLib.generator import read_recipe

    plan.network(read_recipe("brain")).check(load_weights(path))
    odd = Plan((Stage((30, 32, 31), 1.0, 2),), widths=(8, 8))
    with pytest.raises(InvalidInput, match="multiples of 2"):
        train_on_label_maps(maps[:1], maps[1:], tmp_path / "odd", odd)
