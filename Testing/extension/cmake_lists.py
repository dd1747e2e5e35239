"""The file lists of the modules' CMakeLists.txt, written from the tree: `make cmake-lists`.

Slicer's build stops at a listed file that is missing, but silently leaves out a file that is not listed.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("TwinCore", "TwinPanel", "TwinFusion", "TwinSegment", "TwinSimulate")
SCRIPTS, RESOURCES = "MODULE_PYTHON_SCRIPTS", "MODULE_PYTHON_RESOURCES"


def files_in_tree(folder: Path) -> dict[str, list[str]]:
    """What Slicer must install from a folder, as paths relative to it: every script, and every other file."""
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    shipped = sorted(
        path.as_posix()
        for path in paths
        if not any(part in ("Testing", "__pycache__") or part.startswith(".") for part in path.parts)
        and path.name != "CMakeLists.txt"
    )
    return {
        SCRIPTS: [name for name in shipped if name.endswith(".py")],
        RESOURCES: [name for name in shipped if not name.endswith(".py")],
    }


def files_in_cmake(text: str) -> dict[str, list[str]]:
    """What a CMakeLists.txt lists."""
    return {name: re.search(rf"set\({name}\b(.*?)\)", text, re.DOTALL)[1].split() for name in (SCRIPTS, RESOURCES)}


def with_lists(text: str, files: dict[str, list[str]]) -> str:
    """The CMakeLists.txt with its two lists replaced."""
    for name, entries in files.items():
        block = "".join(f"  {entry}\n" for entry in entries)
        text = re.sub(rf"set\({name}\b.*?\)", f"set({name}\n{block}  )", text, flags=re.DOTALL)
    return text


def main() -> None:
    for folder in FOLDERS:
        path = ROOT / folder / "CMakeLists.txt"
        text = path.read_text(encoding="utf-8")
        new = with_lists(text, files_in_tree(path.parent))
        if new != text:
            path.write_text(new, encoding="utf-8")
            sys.stdout.write(f"{folder}/CMakeLists.txt written\n")


if __name__ == "__main__":
    main()
