"""MONAI bundles are read as data: what they say is done, and what would be executed is refused."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile

import jsonschema
import numpy as np
import pytest
from bundle_files import bundle, network

from TwinCore import Grid, Image, InvalidInput, MissingInput
from TwinSegmentLib.models import catalogue as catalogue_module
from TwinSegmentLib.models.anatomy import label
from TwinSegmentLib.models.catalogue import read_catalogue
from TwinSegmentLib.models.fetch import fetch, verify
from TwinSegmentLib.models.load import load_model
from TwinSegmentLib.models.monai_bundle import read_bundle
from TwinSegmentLib.networks.engine import Engine

torch = pytest.importorskip("torch")
pytest.importorskip("monai.networks.nets")


def zipped(folder, path, prefix="spleen/"):
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.rglob("*"):
            if file.is_file():
                archive.write(file, prefix + file.relative_to(folder).as_posix())
    return path


@pytest.mark.parametrize("as_zip", [False, True])
def test_a_bundle_says_how_images_are_shown(tmp_path, as_zip):
    path = bundle(tmp_path / "spleen")
    path = zipped(path, tmp_path / "spleen.zip") if as_zip else path
    model = read_bundle(path)
    assert (model.name, model.window, model.overlap) == ("spleen", (32, 32, 32), 0.5)
    assert [one.name for one in model.labels] == ["background", "spleen", "liver"]
    np.testing.assert_allclose(model.shown[""](np.array([-57.0, 164.0, 500.0]), ""), [0, 1, 1], atol=1e-6)
    assert model.modalities == ("CT",)


def test_a_bundle_gives_what_monai_gives(tmp_path):
    """Turned, resampled, shown and scored by MONAI's own transforms and network; one window."""
    from monai.data import MetaTensor
    from monai.transforms import Orientation, ScaleIntensityRange, Spacing

    model = read_bundle(bundle(tmp_path / "spleen"))
    grid = Grid((32, 32, 32), np.diag([1.5, 1.5, 2.0, 1.0]))
    hounsfield = np.random.default_rng(0).uniform(-100, 200, grid.shape).astype(np.float32)
    ct = Image(hounsfield, grid, "CT", "[hnsf'U]", name="CT")
    along_ijk = torch.from_numpy(hounsfield.transpose(2, 1, 0).copy())[None]
    shown = MetaTensor(along_ijk, affine=torch.from_numpy(grid.ijk_to_ras.copy()))
    for transform in (Orientation("LAS"), Spacing((1.5, 1.5, 2.0)), ScaleIntensityRange(-57, 164, 0, 1, clip=True)):
        shown = transform(shown)
    with torch.inference_mode():
        expected = network().eval()(shown.as_tensor()[None]).softmax(1)[0].permute(1, 2, 3, 0).numpy()
    found = model.probabilities([ct])
    np.testing.assert_allclose(found.array, expected, atol=2e-3)
    assert np.abs(found.array - expected.transpose(2, 1, 0, 3)).max() > 0.01  # the order of the axes matters
    assert label(model, [ct]).segmentation.grid.same_as(grid)


def _set(where, value):
    def change(config, metadata):
        place = config
        for key in where[:-1]:
            place = place[key]
        place[where[-1]] = value

    return change


HOSTILE = {
    "an expression as an argument": (_set(["network_def", "channels"], "$__import__('os').system('id')"), "executed"),
    "an expression behind a reference": (_set(["spacing"], "$[1, 2, 3]"), "executed"),
    "another class as the network": (_set(["network_def", "_target_"], "os.system"), "'os.system' is not one of UNet"),
    "a network of the same name elsewhere": (_set(["network_def", "_target_"], "evil.nets.UNet"), "is not one of UNet"),
    "a class inside an argument": (
        _set(["network_def", "norm"], {"_target_": "subprocess.Popen", "args": "id"}),
        "'subprocess.Popen' would be called",
    ),
    "another inferer": (_set(["inferer", "_target_"], "builtins.exec"), "the inferer 'builtins.exec'"),
    "an unknown transform": (
        _set(["preprocessing", "transforms", 1], {"_target_": "Lambdad", "func": "$lambda x: x"}),
        "the transform 'Lambdad' is not known",
    ),
    "references in a circle": (_set(["spacing"], "@spacing"), "circle"),
    "a reference to nothing": (_set(["spacing"], "@nothing"), "nothing"),
    "windows of no size": (_set(["inferer", "roi_size"], [64, 64, 0]), "windows have a size"),
    "no network": (lambda c, m: c.pop("network_def"), "network_def"),
    "overlapping classes": (
        lambda c, m: m["network_data_format"]["outputs"]["pred"].update(channel_def={"0": "tumour", "1": "oedema"}),
        "overlap",
    ),
    "an argument that there is not": (_set(["network_def", "shell"], True), "cannot be made"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_would_be_executed_or_is_not_understood_is_refused(tmp_path, what, monkeypatch):
    monkeypatch.chdir(tmp_path)
    change, message = HOSTILE[what]
    with pytest.raises(InvalidInput, match=message):
        read_bundle(bundle(tmp_path / "bundle", change))
    assert not (tmp_path / "hacked").exists()


def test_weights_that_run_code_or_do_not_fit_are_refused(tmp_path, monkeypatch):
    import pickle

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "hacked"), "w"))

    monkeypatch.chdir(tmp_path)
    for weights in (pickle.dumps(Evil()), b"", b"garbage" * 100):
        with pytest.raises(InvalidInput, match="its weights cannot be loaded"):
            read_bundle(bundle(tmp_path / "bundle", weights=weights))
    assert not (tmp_path / "hacked").exists()
    with pytest.raises(InvalidInput, match="its weights cannot be loaded"):
        read_bundle(bundle(tmp_path / "other", _set(["network_def", "channels"], [4, 16])))


def test_a_zip_that_is_damaged_or_leads_out_is_refused(tmp_path):
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(InvalidInput, match="neither a folder nor a zip"):
        read_bundle(tmp_path / "broken.zip")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("../configs/inference.json", "{}")
    with pytest.raises(InvalidInput):
        read_bundle(tmp_path / "empty.zip")
    with pytest.raises(InvalidInput, match="no bundle 'nothing'"):
        read_bundle(tmp_path / "nothing")
    outside = bundle(tmp_path / "linked")
    (outside / "models/model.pt").unlink()
    (tmp_path / "secret.pt").write_bytes(b"secret")
    (outside / "models/model.pt").symlink_to(tmp_path / "secret.pt")
    with pytest.raises(InvalidInput, match="lies outside"):
        read_bundle(outside)


def whole_body(config, metadata):
    """Shown as MONAI's wholeBody_ct_segmentation is: z-scores of what is not 0, then from -1 to 1."""
    config["spacing"] = "$[1.5, 1.5, 1.5] if @highres else [3.0, 3.0, 3.0]"
    config["inferer"]["device"] = "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')"
    config["preprocessing"]["transforms"][4:5] = [
        {"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True},
        {"_target_": "ScaleIntensityd", "keys": "image", "minv": -1.0, "maxv": 1.0},
    ]


def test_a_value_may_be_given_in_place_of_an_expression(tmp_path):
    path = bundle(tmp_path / "body", whole_body)
    with pytest.raises(InvalidInput, match="if @highres .*would have to be executed; give its value"):
        read_bundle(path)
    assert read_bundle(path, {"spacing": [1.5, 1.5, 2.5]}).spacing_mm == (2.5, 1.5, 1.5)


def test_brightness_goes_through_one_transform_after_another_as_in_monai(tmp_path):
    from monai.transforms import NormalizeIntensity, ScaleIntensity

    model = read_bundle(bundle(tmp_path / "body", whole_body), {"spacing": [1.5, 1.5, 1.5]})
    hounsfield = np.random.default_rng(0).integers(-1000, 1500, (8, 9, 10)).astype(np.float32)
    hounsfield[2:5] = 0
    shown = ScaleIntensity(-1.0, 1.0)(NormalizeIntensity(nonzero=True)(torch.from_numpy(hounsfield)[None]))
    np.testing.assert_allclose(model.shown[""](hounsfield, "CT"), shown[0].numpy(), atol=1e-5)


def test_brightness_of_several_channels_together_is_refused(tmp_path):
    def change(config, metadata):
        whole_body(config, metadata)
        metadata["network_data_format"]["inputs"]["image"]["num_channels"] = 2

    with pytest.raises(InvalidInput, match="'NormalizeIntensityd' takes its 2 channels together"):
        read_bundle(bundle(tmp_path / "body", change), {"spacing": [1.5, 1.5, 1.5]})


def test_a_transformer_that_older_versions_of_monai_wrote_is_made(tmp_path):
    """With the argument img_size, which MONAI 1.5 no longer takes; run, and equal to MONAI's own."""
    from monai.networks.nets import SwinUNETR

    torch.manual_seed(0)
    sizes = {"in_channels": 1, "out_channels": 3, "feature_size": 12, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1]}
    module = SwinUNETR(**sizes).eval()
    torch.save(module.state_dict(), tmp_path / "model.pt")

    def change(config, metadata):
        config["network_def"] = {"_target_": "SwinUNETR", "img_size": 96, "use_checkpoint": False, **sizes}

    model = read_bundle(bundle(tmp_path / "swin", change, (tmp_path / "model.pt").read_bytes()))
    image = np.random.default_rng(0).normal(size=(1, 64, 32, 32)).astype(np.float32)
    with torch.inference_mode():
        expected = module(torch.from_numpy(image)[None])[0].numpy()
    np.testing.assert_allclose(Engine(model.network, {})(image), expected, atol=1e-3)


def an_entry(tmp_path, monkeypatch, **changes):
    """An entry of one's own for a zipped bundle, checked by the SHA-1 that its publisher gives."""
    content = zipped(bundle(tmp_path / "spleen"), tmp_path / "spleen.zip").read_bytes()
    monkeypatch.setenv(catalogue_module.CACHE_VARIABLE, str(tmp_path / "cache"))
    file = {"name": "spleen.zip", "url": "https://example.org/spleen.zip", "sha1": hashlib.sha1(content).hexdigest()}
    names = ("background", "the spleen", "the liver")
    row = {"name": "mine", "title": "Two organs", "system": "abdomen", "kind": "monai", "modalities": ["CT"]}
    row |= {"labels": [{"name": name} for name in names], "licence": "none", "source": "here", "files": [file]}
    row |= {"seconds": None, "memory_gb": None, "limits": "a test", "axes": "SPL", "spacing_mm": 1.0} | changes
    folder = catalogue_module.resources.files(catalogue_module.__package__)
    jsonschema.validate([row], json.loads((folder / "catalogue_schema.json").read_text()))
    (tmp_path / "catalogue.json").write_text(json.dumps([row]))
    return read_catalogue(tmp_path / "catalogue.json")["mine"], content


def test_a_bundle_is_an_entry_like_any_other(tmp_path, monkeypatch):
    entry, content = an_entry(tmp_path, monkeypatch)
    fetch(entry, open_url=lambda url: io.BytesIO(content))
    model = load_model(entry)
    assert (model.name, model.axes, model.spacing_mm) == ("mine", "SPL", 1.0)
    assert [one.name for one in model.labels] == ["background", "the spleen", "the liver"]
    (entry.folder / "spleen.zip").write_bytes(content[:-1] + b"\1")
    with pytest.raises(InvalidInput, match="not the file of the catalogue"):
        load_model(entry)


def test_a_bundle_of_unknown_size_that_arrives_damaged_is_not_kept(tmp_path, monkeypatch):
    entry, content = an_entry(tmp_path, monkeypatch)
    with pytest.raises(MissingInput, match=r"spleen.zip \(of unknown size\)"):
        verify(entry)
    for damaged in (content[:-5], content + b"\0", b""):
        with pytest.raises(InvalidInput, match="not the file of the catalogue"):
            fetch(entry, open_url=lambda url, damaged=damaged: io.BytesIO(damaged))
        assert not any(entry.folder.iterdir())


def test_a_bundle_of_other_classes_than_the_catalogue_says_is_refused(tmp_path, monkeypatch):
    entry, content = an_entry(tmp_path, monkeypatch, labels=[{"name": "background"}, {"name": "spleen"}])
    fetch(entry, open_url=lambda url: io.BytesIO(content))
    with pytest.raises(InvalidInput, match="has 3 classes and 1 images, and 2 and 1 are expected"):
        load_model(entry)


def test_the_projects_bundles_are_those_of_the_model_zoo():
    """Channels, classes and order as the metadata of the published bundles has them."""
    entries = {name: entry for name, entry in read_catalogue().items() if entry.kind == "monai"}
    sizes = {name: (len(entry.modalities), len(entry.labels)) for name, entry in entries.items()}
    assert sizes == {
        "monai-whole-body-ct": (1, 105),
        "monai-brats-mri": (4, 3),
        "monai-spleen-ct": (1, 2),
        "monai-swin-unetr-btcv": (1, 14),
    }
    whole = [one.name for one in entries["monai-whole-body-ct"].labels]
    places = {1: "spleen", 7: "aorta", 18: "vertebra L5", 57: "colon", 70: "right rib 1", 104: "urinary bladder"}
    assert {number: whole[number] for number in places} == places
    assert [one.name for one in entries["monai-brats-mri"].labels] == [
        "tumour core",
        "whole tumour",
        "enhancing tumour",
    ]
    for entry in entries.values():
        (file,) = entry.files
        assert (file.algorithm, file.size) == ("sha1", None)
        assert file.url.endswith(f"/files/{file.name}")
