"""The catalogue of models, fetching them safely, what they find, and how far they can be trusted."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import threading
from dataclasses import replace

import jsonschema
import numpy as np
import pytest
from catalogue_rows import meshnet_row
from network_weights import random_weights
from threshold_model import bright_and_dark

from TwinCore import Grid, Image, InvalidInput, Job, JobCancelled, MissingInput
from TwinSegmentLib.generator import Sample
from TwinSegmentLib.models import catalogue as catalogue_module
from TwinSegmentLib.models.anatomy import label
from TwinSegmentLib.models.calibration import calibrate, calibration_error, conformal_quantile, fitted_temperature
from TwinSegmentLib.models.catalogue import find_model, read_catalogue
from TwinSegmentLib.models.fetch import fetch, verify
from TwinSegmentLib.models.load import load_model
from TwinSegmentLib.networks.engine import Engine
from TwinSegmentLib.networks.graph import meshnet, unet
from TwinSegmentLib.networks.model import Model, Shown
from TwinSegmentLib.networks.weights import save_weights


def entry_of(files: dict[str, bytes], tmp_path, monkeypatch, **changes):
    """A MeshNet entry whose files have these contents, with the cache in tmp_path."""
    monkeypatch.setenv(catalogue_module.CACHE_VARIABLE, str(tmp_path / "cache"))
    row = meshnet_row()
    row["files"] = [
        {"name": n, "url": f"https://example.org/{n}", "bytes": len(c), "sha256": hashlib.sha256(c).hexdigest()}
        for n, c in files.items()
    ]
    path = tmp_path / "catalogue.json"
    path.write_text(json.dumps([row | changes]))
    return read_catalogue(path)[row["name"]]


def test_the_catalogue_keeps_to_its_schema_and_anatomy_is_coded():
    """Parts of a tumour have no code of their own: a mass is not the same as its core."""
    folder = catalogue_module.resources.files(catalogue_module.__package__)
    rows = json.loads((folder / "catalogue.json").read_text())
    jsonschema.validate(rows, json.loads((folder / "catalogue_schema.json").read_text()))
    for entry in read_catalogue().values():
        overlapping = entry.settings.get("overlapping", False)
        assert (entry.labels[0].name == "background") != overlapping
        anatomy = [one for one in entry.labels if one.name != "background" and "tumour" not in one.name]
        assert all(one.code and one.code[0] in ("SCT", "DCM") for one in anatomy)
        assert len({one.name for one in entry.labels}) == len(entry.labels)


def test_a_network_of_ones_own_is_an_entry_like_any_other(tmp_path, monkeypatch):
    network = unet(3, (8, 8))
    path = save_weights(random_weights(network), tmp_path / "weights.safetensors")
    entry = entry_of(
        {path.name: path.read_bytes()},
        tmp_path,
        monkeypatch,
        kind="own",
        network={"kind": "unet", "widths": [8, 8]},
        temperature=1.3,
        window=None,
        shape=None,
    )
    entry.folder.mkdir(parents=True)
    shutil.copy(path, entry.folder)
    model = load_model(entry)
    assert (model.network.classes, model.temperature) == (3, 1.3)
    assert set(model.weights) == set(random_weights(network))


def test_an_unknown_model_is_refused_with_those_that_there_are():
    with pytest.raises(InvalidInput, match="no model 'heart'; there are: brain-anatomy, meshnet"):
        find_model("heart")


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../../etc"},
        {"kind": "pickle"},
        {"files": [{"name": "../x", "url": "https://a/x", "bytes": 1, "sha256": "0" * 64}]},
        {"files": [{"name": "x", "url": "file:///etc/passwd", "bytes": 1, "sha256": "0" * 64}]},
        {"files": [{"name": "x", "url": "https://a/x", "bytes": 1, "sha256": "none"}]},
        {"labels": 7},
    ],
)
def test_a_hostile_catalogue_is_refused(tmp_path, change):
    folder = catalogue_module.resources.files(catalogue_module.__package__)
    row = json.loads((folder / "catalogue.json").read_text())[0]
    (tmp_path / "c.json").write_text(json.dumps([row | change]))
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_catalogue(tmp_path / "c.json")


def test_files_are_fetched_once_and_verified(tmp_path, monkeypatch):
    entry = entry_of({"model.json": b"{}", "w.bin": b"\0" * 1000}, tmp_path, monkeypatch)
    with pytest.raises(MissingInput, match="has not been fetched: model.json, w.bin"):
        verify(entry)
    asked = []

    def open_url(url):
        asked.append(url)
        return io.BytesIO(b"{}" if url.endswith("json") else b"\0" * 1000)

    fetch(entry, open_url=open_url)
    fetch(entry, open_url=open_url)
    assert asked == ["https://example.org/model.json", "https://example.org/w.bin"]
    verify(entry)
    (entry.folder / "w.bin").write_bytes(b"\1" * 1000)
    with pytest.raises(InvalidInput, match="w.bin .*not the file of the catalogue"):
        verify(entry)


@pytest.mark.parametrize("content", [b"x" * 999, b"x" * 5000, b""])
def test_what_arrives_damaged_is_not_kept(tmp_path, monkeypatch, content):
    entry = entry_of({"w.bin": b"\0" * 1000}, tmp_path, monkeypatch)
    with pytest.raises(InvalidInput, match="not the file of the catalogue"):
        fetch(entry, open_url=lambda url: io.BytesIO(content))
    assert not any(entry.folder.iterdir())


def test_without_a_network_the_user_is_told_where_to_put_the_file(tmp_path, monkeypatch):
    entry = entry_of({"w.bin": b"\0" * 1000}, tmp_path, monkeypatch)

    def open_url(url):
        raise OSError("no route to host")

    with pytest.raises(MissingInput, match="no route to host.*put by hand into .*cache"):
        fetch(entry, open_url=open_url)


def test_a_cancelled_fetch_leaves_nothing(tmp_path, monkeypatch):
    entry = entry_of({"w.bin": b"\0" * 1000}, tmp_path, monkeypatch)
    job = Job()
    job.cancel()
    with pytest.raises(JobCancelled):
        fetch(entry, job, open_url=lambda url: io.BytesIO(b"\0" * 1000))
    assert not any(entry.folder.iterdir())


def test_a_meshnet_put_into_the_cache_by_hand_is_used(tmp_path, monkeypatch, data):
    monkeypatch.setenv(catalogue_module.CACHE_VARIABLE, str(tmp_path))
    entry = find_model("meshnet-model5_gw_ae")
    shutil.copytree(data("weights_brainchop") / "model5_gw_ae", entry.folder)
    model = load_model(entry)
    assert (model.network.classes, model.axes, model.shape) == (3, "AIL", (256, 256, 256))


@pytest.fixture(scope="module")
def ball() -> Image:
    grid = Grid.isotropic((24, 26, 28), 2.0)
    centre = np.array([12, 13, 14])[:, None, None, None]
    array = (np.sqrt(((np.indices(grid.shape) - centre) ** 2).sum(0)) < 6).astype(np.float32)
    return Image(array, grid, "MR", name="ball")


@pytest.mark.parametrize("looks", [1, 2])
def test_what_a_model_finds_comes_back_on_the_images_grid(ball, looks):
    found = label(bright_and_dark(), [ball], looks=looks, volume_factors={"bright": 2.0})
    np.testing.assert_array_equal(found.segmentation.mask("bright"), ball.array > 0.5)
    assert found.segmentation.segments[0].code == ("SCT", "1", "Bright")
    assert found.uncertainty.grid.same_as(ball.grid)
    low, high = (found.volumes.columns[f"volume, {end}"][0] for end in ("low", "high"))
    assert low <= found.segmentation.volume_ml("bright") <= high


def test_on_a_finer_grid_the_edge_is_uncertain(ball):
    found = label(bright_and_dark(), [ball], ball.grid.with_spacing(1.0))
    assert found.segmentation.volume_ml("bright") == pytest.approx((ball.array > 0.5).sum() * 0.008, rel=0.05)
    mask, doubt = found.segmentation.mask("bright"), found.uncertainty.array
    assert doubt[24, 26, 28] < 0.01
    assert doubt[mask].max() > 0.5
    assert np.isnan(found.volumes.columns["volume, low"][0])


def test_a_field_of_view_is_centred_on_what_it_is_for(ball):
    """The ball, twice off the middle by more than the field of view reaches at first."""
    grid = Grid.isotropic((80, 40, 40), 2.0)
    array = np.zeros(grid.shape, np.float32)
    array[8:32, 10:36, 8:36] = ball.array
    base = bright_and_dark()
    model = Model("threshold", base.network, base.weights, base.labels, 2.0, shape=(48, 32, 32), centred_on="bright")
    image = Image(array, grid, "MR", name="ball")
    view = model.field_of_view([image])
    middle = grid.to_ras(np.argwhere(array).mean(0)[::-1])
    assert np.linalg.norm(grid.centre - middle) > 30
    assert np.linalg.norm(view.centre - middle) < 8
    assert view.shape == (48, 32, 32)
    np.testing.assert_array_equal(label(model, [image]).segmentation.mask("bright"), array > 0.5)
    with pytest.raises(InvalidInput, match="cannot be centred on 'liver'"):
        replace(model, centred_on="liver")


def test_a_model_that_finds_nothing_says_so(ball):
    model = bright_and_dark()
    weights = dict(model.weights)
    weights["scores.bias"] = np.array([0.0, -100.0], np.float32)
    nothing = Model("threshold", model.network, weights, model.labels, spacing_mm=2.0)
    with pytest.raises(InvalidInput, match="'threshold' finds nothing"):
        label(nothing, [ball])
    with pytest.raises(InvalidInput, match="1 to 5 times"):
        label(model, [ball], looks=9)


def test_windows_without_any_body_are_certainly_background():
    """A dark body, shown as nothing, is looked at all the same; air far from it is not, and is not in doubt."""
    grid = Grid.isotropic((64, 32, 32), 2.0)
    array = np.full(grid.shape, -1000.0, np.float32)
    array[:20] = -850.0  # lung
    array[:20, :4] = 40.0
    base = bright_and_dark()
    weights = {**base.weights, "scores.bias": -base.weights["scores.bias"]}  # bright whatever is shown
    shown = {"CT": Shown("window", -57.0, 164.0, (0.0, 1.0))}
    model = Model("bright", base.network, weights, base.labels, 2.0, shown=shown, modalities=("CT",), window=32)
    probabilities = model.probabilities([Image(array, grid, "CT", "[hnsf'U]", name="CT")])
    assert (probabilities.array[:20, ..., 1] > 0.99).all()
    assert (probabilities.array[-4:, ..., 0] > 0.999).all()


def test_where_memory_is_short_windows_are_smaller_and_it_is_said(monkeypatch):
    from TwinSegmentLib.networks import model as model_module

    grid = Grid.isotropic((64, 64, 64), 2.0)
    image = Image(np.random.default_rng(0).random(grid.shape, np.float32), grid, "MR", name="noise")
    model, job = bright_and_dark(), Job()
    whole = model.probabilities([image]).array
    enough = model.memory_gb(image, 32) * 1.01e9
    assert enough < model.memory_gb(image) * 1e9
    monkeypatch.setattr(model_module, "available_memory", lambda: enough)
    np.testing.assert_allclose(model.probabilities([image], job=job).array, whole, atol=1e-5)
    assert "Memory is short: model 'threshold' looked at windows of 32 x 32 x 32 voxels" in job.warnings[0]
    monkeypatch.setattr(model_module, "available_memory", lambda: 1e3)
    monkeypatch.setattr("TwinCore.guard.available_memory", lambda: 1e3)
    with pytest.raises(InvalidInput, match="Model 'threshold' on 'noise' needs .* GB of memory"):
        model.probabilities([image])


def test_a_cancelled_model_stops(ball):
    job = Job()
    job.cancel()
    with pytest.raises(JobCancelled):
        label(bright_and_dark(), [ball], job=job)


def test_a_network_that_is_at_work_stops_when_its_job_is_cancelled():
    """Runs over a whole volume, cancelled from another thread; the engine is good for the same run at once."""
    pytest.importorskip("openvino")
    network = meshnet(3, 24, (1, 2, 4, 8, 4, 2, 1))
    engine, job = Engine(network, random_weights(network)), Job()
    large = np.random.default_rng(0).random((1, 96, 96, 96), np.float32)
    expected = engine(large).copy()

    def run_on():
        while True:
            engine(large, job)

    threading.Timer(0.1, job.cancel).start()
    with pytest.raises(JobCancelled):
        run_on()
    np.testing.assert_array_equal(engine(large), expected)


def simulated(rng, count: int, temperature: float):
    """Scores (n, 3) and the true classes of voxels whose probabilities are those of the scores over a temperature."""
    scores = rng.normal(0, 3, (count, 3)).astype(np.float32)
    shares = np.exp(scores / temperature)
    shares /= shares.sum(1, keepdims=True)
    truth = (rng.random((count, 1)) > shares.cumsum(1)).sum(1)
    return scores, np.minimum(truth, 2)


@pytest.mark.parametrize("temperature", [0.6, 1.0, 2.5])
def test_the_temperature_is_recovered_and_mends_the_calibration(temperature):
    scores, truth = simulated(np.random.default_rng(0), 40_000, temperature)
    assert fitted_temperature(scores, truth) == pytest.approx(temperature, rel=0.05)
    plain = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    mended = np.exp(scores / temperature) / np.exp(scores / temperature).sum(1, keepdims=True)
    assert calibration_error(mended, truth) < 0.012
    if temperature != 1.0:
        assert calibration_error(plain, truth) > 3 * calibration_error(mended, truth)


def test_a_temperature_that_does_not_help_is_not_used():
    """Few sure errors pull the likeliest temperature up, while confidence is what comes true without one."""
    rng = np.random.default_rng(2)

    def scores(image):
        return np.stack([np.zeros_like(image), image], -1)

    def sample(wrong: float) -> Sample:
        image = np.where(rng.random((16, 16, 16)) < 0.5, 1, -1) * rng.uniform(1.0, 3.0, (16, 16, 16))
        truth = rng.random(image.shape) < 1 / (1 + np.exp(-image))
        sure = rng.random(image.shape) < wrong
        return Sample(np.where(sure, 30.0, image).astype(np.float32), (truth & ~sure).astype(np.uint8), "", (1, 1, 1))

    some = [sample(0.004) for _ in range(20)]
    found = np.concatenate([scores(one.image).reshape(-1, 2) for one in some])
    assert fitted_temperature(found, np.concatenate([one.classes.ravel() for one in some]).astype(int)) > 1.2
    assert calibrate(scores, some, ("background", "ball"), 0.001).temperature == 1.0


def test_conformal_intervals_hold_as_often_as_they_say():
    """9 of 10 new values lie below the quantile of 200 earlier ones; of very few it is the largest."""
    rng = np.random.default_rng(1)
    held = [rng.exponential() <= conformal_quantile(rng.exponential(size=200), 0.9) for _ in range(3000)]
    assert 0.885 < np.mean(held) < 0.925
    assert conformal_quantile([3.0, 1.0, 2.0], 0.9) == 3.0


def test_volume_intervals_of_a_calibrated_model_cover_new_truths():
    """A model that is sure but for the voxels on edges: intervals from 60 images cover 90 % of 200 others."""
    from TwinSegmentLib.models.calibration import volume_errors

    def sample(seed):
        rng = np.random.default_rng((7, seed))
        radius = rng.uniform(4, 7)
        distance = np.sqrt(((np.indices((16, 16, 16)) - 7.5) ** 2).sum(0))
        image = (radius - distance + rng.normal(0, 0.6)).astype(np.float32)
        return Sample(image, (distance < radius).astype(np.uint8), "", (1, 1, 1))

    def scores(image):
        return np.stack([np.zeros_like(image), 2 * image], -1)

    found = calibrate(scores, map(sample, range(60)), ("background", "ball"), 0.001)
    covered = []
    for seed in range(1000, 1200):
        new = sample(seed)
        ((_, error, doubt),) = volume_errors(
            scores(new.image), new.classes, ("background", "ball"), found.temperature, 0.001
        )
        covered.append(abs(error) <= found.volume_factors["ball"] * doubt)
    assert 0.82 < np.mean(covered) < 0.98
