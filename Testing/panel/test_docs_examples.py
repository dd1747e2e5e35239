"""The examples of docs/slicer.md run as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

PAGE = Path(__file__).resolve().parents[2] / "docs/slicer.md"
MODULES = ("TwinFusion", "TwinSegment", "TwinSimulate")


def test_examples_of_the_page_run(desktop, tmp_path, monkeypatch, capsys):
    import slicer

    from TwinCore.scene import Twin, new_scene

    scene = new_scene()
    for name in MODULES:
        desktop.load_module(name)
    monkeypatch.setattr(slicer, "app", SimpleNamespace(temporaryPath=str(tmp_path)), raising=False)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert len(blocks) == 5
    assert capsys.readouterr().out.startswith("good\n")
    assert [twin.patient for twin in Twin.all(scene)] == ["Phantom", "Planning CT"]
    assert names["transformNode"].IsA("vtkMRMLTransformNode")
    assert {path.name for path in names["paths"]} == {"tumour.stl", "soft_tissue.stl"}
    assert [record["module"] for record in names["twin"].provenance()] == [
        "TwinSimulate",
        "TwinSegment",
        "TwinSegment",
        "TwinFusion",
    ]
