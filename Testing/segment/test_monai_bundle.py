"""MONAI bundles are read as data: what they say is done, and what would be executed is refused."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
from bundle_files import bundle, network

from TwinCore import Grid, Image, InvalidInput
from TwinSegmentLib.models.anatomy import label
from TwinSegmentLib.models.monai_bundle import read_bundle

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
