"""The desktop's double and the made-up patient for the tests of the panels."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from TwinCore import MissingPackage
from TwinCore.scene import new_scene


@pytest.fixture(scope="module")
def desktop():
    """The stand-ins for the desktop, while the tests of one file last."""
    try:
        from PySide6 import QtWidgets  # noqa: F401  it may be installed and still lack a library of the system

        new_scene()
    except ImportError as error:
        pytest.skip(f"PySide6 cannot be used: {error}. To install it: pip install -e '.[app,test]'")
    except MissingPackage as error:
        pytest.skip(str(error))
    sys.path.append(str(Path(__file__).parent))
    import desktop_double

    with desktop_double.desktop():
        yield desktop_double
    sys.path.remove(str(Path(__file__).parent))


@pytest.fixture
def open_panel(desktop, tmp_path):
    """`open_panel("TwinFusion")` is that module's panel on an empty scene; a picture of it is kept at the end."""
    scene, panels = new_scene(), []

    def open_it(name: str):
        panel = desktop.open_panel(desktop.load_module(name))
        panel.parent.show()
        panels.append(panel)
        return panel

    open_it.scene = scene
    yield open_it
    for panel in panels:
        desktop.let_events_happen()
        panel.parent.resize(460, panel.parent.sizeHint().height())
        panel.parent.grab().save(str(tmp_path / f"{panel.moduleName}.png"))
        desktop.close_panel(panel)


@pytest.fixture
def phantom(desktop):
    """The made-up patient of TwinPanel."""
    from TwinPanel import phantom

    return phantom


@pytest.fixture
def until(desktop):
    """`until(condition)` lets the panel's timers run until the condition holds."""

    def wait(condition, seconds: float = 300.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it never came"
            desktop.let_events_happen()
            time.sleep(0.005)
        desktop.let_events_happen()

    return wait
