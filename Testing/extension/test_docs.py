"""What holds for every file of the tree: size, marks of unfinished work, paths, and links that lead somewhere."""

import re
import subprocess

import pytest
from source_tree import ROOT

# Written in pieces, so that this file does not find itself.
MARKS = ["TO" + "DO", "FIX" + "ME", "X" * 3, "NotImplemented" + "Error", r"pytest\.mark\." + "(skip|xfail)"]
HOME_PATHS = r"(?<![\w.])/(?:home|Users|root|work)/\w"
FIGURES = (".png", ".jpg", ".gif")


def tracked(*endings: str) -> list:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.split("\0") if name.endswith(endings) and (path := ROOT / name).is_file()]


def lines_with(pattern: str, paths: list) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in paths
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(pattern, line)
    ]


def broken_links(text: str, folder) -> list[str]:
    links = re.findall(r"\]\(([^)\s]+)\)|<img[^>]+src=\"([^\"]+)\"", text)
    targets = [(a or b).partition("#")[0] for a, b in links]
    return [target for target in targets if target and "://" not in target and not (folder / target).exists()]


def test_no_python_file_is_over_400_lines():
    long = {path.name: n for path in tracked(".py") if (n := len(path.read_text(encoding="utf-8").splitlines())) > 400}
    assert long == {}


def test_nothing_is_left_unfinished():
    pattern = rf"\b({'|'.join(MARKS)})\b"
    assert lines_with(pattern, tracked(".py")) == []
    assert re.search(pattern, "# " + "TO" + "DO: later")


def test_no_path_of_a_machine():
    paths = tracked(".py", ".md", ".toml", ".txt", ".json", ".cmake", ".cff", "Makefile", ".ui", ".html")
    assert lines_with(HOME_PATHS, paths) == []
    assert re.search(HOME_PATHS, "open('/ho" + "me/someone/file')")


def test_links_between_pages_lead_somewhere(tmp_path):
    broken = {path.name: found for path in tracked(".md") if (found := broken_links(path.read_text(), path.parent))}
    assert broken == {}
    assert broken_links("[a](gone.md) [b](https://example.org/x)", tmp_path) == ["gone.md"]


def test_readme_shows_a_picture():
    assert re.search(rf"!\[[^\]]+\]\(\S+({'|'.join(map(re.escape, FIGURES))})\)", (ROOT / "README.md").read_text())
