"""What all tests share: the folder of real patients' images, which is kept outside the project."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data() -> Callable[[str], Path]:
    """`data("sts_001_raw")` is that data set's folder; the test is skipped, saying so, where it is absent."""
    folder = Path(os.environ.get("DIGITALTWIN_DATA", ROOT / "../shared/data")).resolve()

    def find(name: str) -> Path:
        if not (folder / name).is_dir():
            pytest.skip(f"no {name} in {folder}: set DIGITALTWIN_DATA to the folder that holds it")
        return folder / name

    return find


@pytest.fixture
def scene():
    """The running MRML scene, empty."""
    from TwinCore.scene import new_scene

    return new_scene()
