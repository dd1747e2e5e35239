"""What the Extensions Index asks of an extension and of the files of its modules."""

import ast
import json
import re
import subprocess

import pytest
from PIL import Image
from source_tree import MODULES, ROOT, needed_to_import

CMAKE = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
ENTRY = json.loads((ROOT / "DigitalTwin.json").read_text(encoding="utf-8"))
SHIPPED_WITH_SLICER = {"slicer", "vtk", "vtkmodules", "qt", "ctk", "numpy", "scipy", "SimpleITK"}
RAW = "https://raw.githubusercontent.com/"


def one_line_set(name: str) -> str:
    found = re.findall(rf'^set\({name} "([^"\n]+)"\)$', CMAKE, re.MULTILINE)
    assert len(found) == 1, f"{name} must be set once, in one line"
    return found[0]


def repository() -> str:
    return ENTRY["scm_url"].removesuffix(".git").removeprefix("https://github.com/")


def test_project_is_named_as_the_entry():
    assert re.findall(r"^project\((\w+)\)$", CMAKE, re.MULTILINE) == ["DigitalTwin"]


def test_entry_has_the_fields_of_its_schema():
    kinds = {
        "$schema": str,
        "build_dependencies": list,
        "build_subdirectory": str,
        "category": str,
        "scm_revision": str,
        "scm_url": str,
        "tier": int,
    }
    assert {name: type(value) for name, value in ENTRY.items()} == kinds
    assert ENTRY["category"] == one_line_set("EXTENSION_CATEGORY")
    assert 1 <= ENTRY["tier"] <= 5


def test_repository_is_the_same_everywhere_and_named_for_slicer():
    assert "slicer" in repository().rpartition("/")[2].lower()
    for path in ("CMakeLists.txt", "CITATION.cff", "pyproject.toml"):
        text = (ROOT / path).read_text(encoding="utf-8")
        hosted = re.findall(r"(?:github\.com|raw\.githubusercontent\.com)/([\w.-]+/[\w.-]+)", text)
        assert set(hosted) == {repository()}, path


def test_dependencies_agree():
    assert one_line_set("EXTENSION_DEPENDS").split() == ENTRY["build_dependencies"]


@pytest.mark.parametrize("name", ["HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION"])
def test_meta_information_is_in_one_line(name):
    assert one_line_set(f"EXTENSION_{name}")


@pytest.mark.parametrize("name", ["ICONURL", "SCREENSHOTURLS"])
def test_pictures_are_in_the_tree(name):
    for url in one_line_set(f"EXTENSION_{name}").split():
        prefix = f"{RAW}{repository()}/{ENTRY['scm_revision']}/"
        assert url.startswith(prefix)
        assert (ROOT / url.removeprefix(prefix)).is_file(), url


@pytest.mark.parametrize("path", ["DigitalTwin.png", *(f"{name}/Resources/Icons/{name}.png" for name in MODULES)])
def test_icons_are_128_pixels_square(path):
    with Image.open(ROOT / path) as icon:
        assert (icon.format, icon.size, icon.mode) == ("PNG", (128, 128), "RGBA")


def test_licence_is_in_the_root():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text


def test_clone_is_small():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    counts = subprocess.run(["git", "count-objects", "-v"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    size = dict(line.split(": ") for line in counts.splitlines())
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tree = sum((ROOT / name).stat().st_size for name in files.split("\0") if name and (ROOT / name).is_file())
    assert (int(size["size"]) + int(size["size-pack"])) / 1024 + tree / 2**20 < 50


def module_files() -> list:
    return [path for name in MODULES if (path := ROOT / name / f"{name}.py").is_file()]


def foreign(path) -> dict:
    return {name: file.name for name, file in needed_to_import(path).items() if name not in SHIPPED_WITH_SLICER}


def executed(source: str) -> list[str]:
    """Statements at file scope that do more than import, define, name a constant or guard the path."""
    return [ast.unparse(node) for node in ast.parse(source).body if not _declares(node)]


def _declares(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign | ast.AnnAssign):
        return not any(isinstance(part, ast.Call) for part in ast.walk(node))
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.If):  # from a source checkout only the module's own folder is on the path
        return all(ast.unparse(line).startswith("sys.path.") or _declares(line) for line in node.body + node.orelse)
    return isinstance(node, ast.Import | ast.ImportFrom | ast.ClassDef | ast.FunctionDef)


def test_modules_import_at_file_scope_only_what_slicer_ships():
    assert {path.name: foreign(path) for path in module_files() if foreign(path)} == {}


def test_modules_execute_nothing_at_file_scope():
    assert {path.name: found for path in module_files() if (found := executed(path.read_text(encoding="utf-8")))} == {}


def test_each_library_imports_without_its_heavy_packages():
    """Slicer imports a library when it starts, before anything was installed for it."""
    libraries = [init for name in MODULES if (init := ROOT / name / f"{name}Lib/__init__.py").is_file()]
    assert {init.parent.name: foreign(init) for init in libraries if foreign(init)} == {}


def test_foreign_import_and_executed_code_are_found(tmp_path):
    lazy = "import slicer\ndef go():\n    import torch\n"
    (tmp_path / "Lazy.py").write_text(lazy)
    (tmp_path / "Eager.py").write_text(f"{lazy}import torch\n")
    assert foreign(tmp_path / "Lazy.py") == {}
    assert foreign(tmp_path / "Eager.py") == {"torch": "Eager.py"}
    guard = "if str(ROOT) not in sys.path:\n    sys.path.append(str(ROOT))\n"
    assert executed(f'"""Words."""\nimport slicer\nLIMIT = 3\n{guard}class A:\n    pass\n') == []
    assert executed("slicer.util.pip_install('x')\nLIMIT = load()") == [
        "slicer.util.pip_install('x')",
        "LIMIT = load()",
    ]
