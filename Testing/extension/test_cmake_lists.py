"""The extension's CMake files against the tree, and a configure run with stand-ins for Slicer's macros."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cmake_lists import FOLDERS, RESOURCES, ROOT, SCRIPTS, files_in_cmake, files_in_tree, with_lists

INSTALLED = "lib/qt-scripted-modules"


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("kind", [SCRIPTS, RESOURCES])
def test_lists_are_what_the_tree_holds(folder, kind):
    listed = files_in_cmake((ROOT / folder / "CMakeLists.txt").read_text(encoding="utf-8"))[kind]
    there = files_in_tree(ROOT / folder)[kind]
    missing, stale = sorted(set(there) - set(listed)), sorted(set(listed) - set(there))
    assert listed == there, f"{folder}: not listed {missing}, listed but not there {stale}. Run: make cmake-lists"


def test_writing_the_lists_adds_and_removes(tmp_path):
    (tmp_path / "Lib/__pycache__").mkdir(parents=True)
    (tmp_path / "Testing").mkdir()
    for name in ("Lib/__init__.py", "Lib/presets.json", "Lib/__pycache__/x.pyc", "Testing/test_x.py", "CMakeLists.txt"):
        (tmp_path / name).touch()
    text = f"set({SCRIPTS}\n  Gone.py\n  )\nset({RESOURCES}\n  )\nbuild()\n"
    new = with_lists(text, files_in_tree(tmp_path))
    assert files_in_cmake(new) == {SCRIPTS: ["Lib/__init__.py"], RESOURCES: ["Lib/presets.json"]}
    assert new.endswith(")\nbuild()\n")


@pytest.fixture(scope="module")
def configured(tmp_path_factory) -> Path:
    """The tree configured by CMake with stand-ins for Slicer's macros, which copy files to where Slicer would."""
    if not shutil.which("cmake"):
        pytest.skip("cmake is not on the PATH")
    if not (shutil.which("c++") and shutil.which("cc")):
        pytest.skip("cmake finds no C and C++ compiler, which project() asks for")
    build = tmp_path_factory.mktemp("build")
    stub = Path(__file__).parent / "slicer_stub"
    command = ["cmake", "-S", ROOT, "-B", build, f"-DSlicer_DIR={stub}", "-DBUILD_TESTING=ON"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return build


def test_configure_installs_the_whole_tree(configured):
    installed = configured / INSTALLED
    got = {path.relative_to(installed).as_posix() for path in installed.rglob("*") if path.is_file()}
    want = set()
    for folder in FOLDERS:
        prefix = f"{folder}/" if folder in ("TwinCore", "TwinPanel") else ""
        want |= {prefix + name for names in files_in_tree(ROOT / folder).values() for name in names}
    assert got == want


def test_installed_packages_import_each_other(configured):
    libs = [path.name for path in (configured / INSTALLED).glob("Twin*Lib") if (path / "__init__.py").is_file()]
    code = "; ".join(f"import {name}; print({name}.__file__)" for name in ["TwinCore", *libs])
    environment = {**os.environ, "PYTHONPATH": str(configured / INSTALLED), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=configured)
    assert done.returncode == 0, done.stderr
    assert all(line.startswith(str(configured / INSTALLED)) for line in done.stdout.split())


def test_each_module_is_built_with_its_tests(configured):
    calls = (configured / "calls.txt").read_text(encoding="utf-8").split()
    for name in ("TwinFusion", "TwinSegment", "TwinSimulate"):
        assert f"module:{name}:generic-tests" in calls
        assert f"unittest:{name}.py" in calls
    assert calls[-2:] == ["generate-config", "cpack"]
