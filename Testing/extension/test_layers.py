"""The layer table of docs/developer/index.md, enforced by reading every import in the tree, lazy ones included."""

import textwrap

import pytest
from source_tree import MODULES, PACKAGES, ROOT, imports_of, package_of

ARRAYS = {"numpy", "scipy", "SimpleITK"}
MRML = {"slicer", "vtk", "vtkmodules"}
DESKTOP = {"qt", "ctk", "slicer", "vtk"}
METHODS = ARRAYS | {"numba", "pydicom", "highdicom", "torch", "monai", "openvino", "safetensors", "TwinCore"}
LIBS = {f"{name}Lib" for name in MODULES}

# Folder or file -> what it may import besides the standard library and itself; the longest match counts.
LAYERS = {
    "TwinCore": ARRAYS,
    "TwinCore/dicom": ARRAYS | {"pydicom"},
    "TwinCore/scene": ARRAYS | MRML,
    **{f"{name}/{name}Lib": METHODS for name in MODULES},
    "TwinPanel": DESKTOP | {"numpy", "TwinCore", "PyTorchUtils", "SampleData"},
    **{f"{name}/{name}.py": DESKTOP | ARRAYS | {"TwinCore", "TwinPanel", f"{name}Lib"} for name in MODULES},
    "TwinApp": METHODS
    | MRML
    | LIBS
    | {
        "matplotlib",
        "typer",
        "rich",
        "jinja2",
        "markupsafe",
        "pydantic",
        "tomllib",
        "tomli",
        "nilearn",
        "trame",
        "trame_slicer",
        "PIL",
    },
}


def layer_of(path: str) -> str:
    return max((layer for layer in LAYERS if path == layer or path.startswith(layer + "/")), key=len)


def violations(path: str, source: str) -> list[str]:
    """The imports of one file that its layer does not allow; `path` is relative to the root of the tree."""
    package = package_of(ROOT / path)
    allowed = LAYERS[layer_of(path)] | {package.partition(".")[0]}
    return sorted(
        {
            f"{path}:{found.line} imports {found.top}"
            for found in imports_of(source, package)
            if not found.is_standard_library and found.top not in allowed
        }
    )


def python_files() -> list[str]:
    folders = [*PACKAGES.values(), *(ROOT / name for name in MODULES)]
    files = {file.relative_to(ROOT) for folder in folders for file in folder.rglob("*.py")}
    return sorted(file.as_posix() for file in files if "Testing" not in file.parts)


def test_every_file_keeps_to_its_layer():
    files = python_files()
    assert "TwinCore/grid.py" in files
    found = [line for path in files for line in violations(path, (ROOT / path).read_text(encoding="utf-8"))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("path", "source", "culprit"),
    [
        ("TwinCore/new.py", "import slicer", "slicer"),
        ("TwinCore/new.py", "from TwinFusionLib import step", "TwinFusionLib"),
        ("TwinCore/new.py", "import numba", "numba"),
        ("TwinCore/scene/new.py", "import qt", "qt"),
        ("TwinFusion/TwinFusionLib/new.py", "import vtk", "vtk"),
        ("TwinFusion/TwinFusionLib/new.py", "from TwinSegmentLib.threshold import mask", "TwinSegmentLib"),
        ("TwinSegment/TwinSegmentLib/part/new.py", "def late():\n    import slicer", "slicer"),
        ("TwinSimulate/TwinSimulateLib/new.py", "import importlib\nimportlib.import_module('TwinApp.cli')", "TwinApp"),
        ("TwinSimulate/TwinSimulate.py", "from TwinFusionLib import step", "TwinFusionLib"),
        ("TwinPanel/new.py", "import TwinSimulateLib.step", "TwinSimulateLib"),
        ("TwinApp/new.py", "class Late:\n    def go(self):\n        from qt import QTimer", "qt"),
        ("TwinApp/new.py", "from TwinPanel import job_bar", "TwinPanel"),
        ("TwinApp/new.py", "import TwinFusion", "TwinFusion"),
    ],
)
def test_a_violation_is_found(path, source, culprit):
    assert [line.split()[-1] for line in violations(path, source)] == [culprit]


def test_what_the_table_allows_is_allowed():
    lib = """
        from __future__ import annotations
        import json
        import numba
        from TwinCore import Image
        from . import register
        from .register import rigid
    """
    assert violations("TwinFusion/TwinFusionLib/new.py", textwrap.dedent(lib)) == []
    assert violations("TwinCore/scene/new.py", "import slicer, vtk\nfrom ..grid import Grid") == []
    assert violations("TwinFusion/TwinFusion.py", "import qt, TwinPanel\nfrom TwinFusionLib.step import Fuse") == []
