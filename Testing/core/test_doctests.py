"""The short uses in the docstrings of TwinCore's modules are true."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest

import TwinCore

MODULES = sorted(path.stem for path in Path(TwinCore.__file__).parent.glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(f"TwinCore.{name}")
    assert doctest.testmod(module, extraglobs={"np": np}).failed == 0
