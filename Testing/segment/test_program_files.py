"""TorchScript and torch.export files are programs: none is loaded, from wherever it comes, and each is named."""

from __future__ import annotations

import io
import json
import pickle
import zipfile

import pytest
from bundle_files import bundle

from TwinCore import InvalidInput
from TwinSegmentLib.models import catalogue as catalogue_module
from TwinSegmentLib.models.catalogue import read_catalogue
from TwinSegmentLib.models.monai_bundle import read_bundle
from TwinSegmentLib.networks.onnx_network import OnnxNetwork
from TwinSegmentLib.networks.program_file import program_in

torch = pytest.importorskip("torch")


def torchscript() -> bytes:
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Conv3d(1, 2, 1)), file)
    return file.getvalue()


def exported() -> bytes:
    file = io.BytesIO()
    torch.export.save(torch.export.export(torch.nn.Conv3d(1, 2, 1), (torch.zeros(1, 1, 4, 4, 4),)), file)
    return file.getvalue()


PROGRAMS = {"TorchScript": torchscript, "torch.export": exported}


@pytest.mark.parametrize("what", PROGRAMS)
def test_a_program_is_refused_by_name_wherever_a_model_is_read(tmp_path, what):
    content = PROGRAMS[what]()
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert program_in(path) == what
    with pytest.raises(InvalidInput, match=f"{what} is a program.*torch.onnx.export"):
        OnnxNetwork.read(path)
    pytest.importorskip("monai")
    with pytest.raises(InvalidInput, match=f"its model.pt, {what}, is a program"):
        read_bundle(bundle(tmp_path / "bundle", weights=content))


def test_weights_alone_are_no_program(tmp_path):
    torch.save(torch.nn.Conv3d(1, 2, 1).state_dict(), tmp_path / "model.pt")
    assert program_in(tmp_path / "model.pt") is None
    (tmp_path / "other").write_bytes(b"something else")
    assert program_in(tmp_path / "other") is None


def test_a_hostile_program_is_not_executed_to_be_recognised(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "hacked"), "w"))

    for part in ("constants.pkl", "archive_format"):
        with zipfile.ZipFile(tmp_path / "model.onnx", "w") as archive:
            for name in ("data.pkl", part):
                archive.writestr(f"archive/{name}", pickle.dumps(Evil()))
        with pytest.raises(InvalidInput, match="is a program"):
            OnnxNetwork.read(tmp_path / "model.onnx")
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize("kind", ["torchscript", "torch.export"])
def test_no_catalogue_can_ask_for_one(tmp_path, kind):
    folder = catalogue_module.resources.files(catalogue_module.__package__)
    row = json.loads((folder / "catalogue.json").read_text())[0] | {"kind": kind, "trusted": True}
    (tmp_path / "catalogue.json").write_text(json.dumps([row]))
    with pytest.raises(InvalidInput, match="is a program, which could do anything on loading"):
        read_catalogue(tmp_path / "catalogue.json")
