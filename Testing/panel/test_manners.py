"""Manners of the panels: a tooltip everywhere, Tab in reading order, keys, estimates that learn, sample data."""

from __future__ import annotations

import inspect
import sys
import types

import pytest
from panel_steps import Holding, ready

from TwinCore.expectation import Expectation
from TwinCore.scene import Twin, image_to_node

MODULES = ("TwinFusion", "TwinSegment", "TwinSimulate")
ASKS = (
    "QAbstractButton",
    "QComboBox",
    "QAbstractSpinBox",
    "QLineEdit",
    "QAbstractSlider",
    "QTableWidget",
    "QProgressBar",
)


def asking(panel) -> list:
    """The widgets that a user can do something with, cells of tables among them; not what Qt makes them of."""
    import qt

    kinds = tuple(getattr(qt, name) for name in ASKS)
    composite = (qt.QAbstractItemView, qt.QAbstractSpinBox, qt.QComboBox, qt.QHeaderView)

    def is_part(widget) -> bool:
        above = widget.parentWidget()
        if above is not None and above.name == "qt_scrollarea_viewport":  # a cell
            return is_part(above.parentWidget())
        return above is not None and (isinstance(above, composite) or is_part(above))

    widgets = panel.parent.findChildren(qt.QWidget)
    return [w for w in widgets if isinstance(w, kinds) and not isinstance(w, qt.QScrollBar) and not is_part(w)]


def all_states(panel, phantom, until, scene) -> None:
    """Show all that the panel makes by itself."""
    ready(panel, phantom, until, scene)
    image_to_node(phantom.phantom_images()[0], scene, "Free")
    if panel.moduleName == "TwinSimulate":
        panel.observations.addButton.click()
        panel.run_form.boxes["members"].value = 2
        panel.run_form.boxes["horizon"].value = 7
    panel.job_bar.applyButton.click()
    until(lambda: not panel.job_bar.running)


@pytest.mark.parametrize("name", MODULES)
def test_every_widget_has_a_tooltip(open_panel, phantom, until, name):
    panel = open_panel(name)
    all_states(panel, phantom, until, open_panel.scene)
    widgets = asking(panel)
    assert len(widgets) > 20
    assert panel.selector.table.cellWidget(2, 1) in widgets
    assert [(w.metaObject().className(), w.name, getattr(w, "text", "")) for w in widgets if not w.toolTip] == []


@pytest.mark.parametrize("name", MODULES)
def test_tab_goes_through_the_panel_from_top_to_bottom(open_panel, phantom, until, desktop, name):
    from TwinPanel.tab_order import focusable

    panel = open_panel(name)
    ready(panel, phantom, until, open_panel.scene)
    panel.parent.resize(460, panel.parent.sizeHint().height())
    desktop.let_events_happen()
    order = focusable(panel.parent)
    places, at, seen = {id(widget): n for n, widget in enumerate(order)}, order[0], []
    while len(seen) < 2000:
        if id(at) in places:
            seen.append(places[id(at)])
        at = at.nextInFocusChain()
        if at is order[0]:
            break
    assert seen == list(range(len(order)))
    tops = [widget.mapTo(panel.parent, widget.rect.topLeft()).y() for widget in order if widget.isVisible()]
    assert len(tops) > 8
    assert all(after >= before - 30 for before, after in zip(tops, tops[1:]))


def test_keys_apply_cancel_and_revert(open_panel, phantom, until):
    import qt

    panel = open_panel("TwinFusion")
    ready(panel, phantom, until, open_panel.scene)
    keys = {k.key.toString(): k for k in panel.parent.findChildren(qt.QShortcut)}
    assert set(keys) == {"Ctrl+Return", "Esc", "Ctrl+Shift+Z"}
    step = Holding("TwinFusion")
    panel.logic.step = lambda *_, **__: step
    keys["Esc"].activated.emit()
    assert not panel.job_bar.running
    keys["Ctrl+Return"].activated.emit()
    assert panel.job_bar.running
    keys["Ctrl+Return"].activated.emit()  # a second press does not cancel
    until(step.computing.is_set)
    assert panel.job_bar.applyButton.text == "Cancel"
    keys["Esc"].activated.emit()
    until(lambda: not panel.job_bar.running)
    step.go_on.set()
    keys["Ctrl+Return"].activated.emit()
    until(lambda: not panel.job_bar.running)
    assert panel.job_bar.revertButton.text == "Revert last run (TwinFusion)"
    keys["Ctrl+Shift+Z"].activated.emit()
    assert panel.job_bar.summaryLabel.text.startswith("Reverted")


def test_estimates_go_half_way_to_what_runs_take_here(desktop):
    import qt

    from TwinPanel.expected import Pace

    pace = Pace("TwinTest")
    assert pace.factor == 1.0
    pace.learn(Expectation(10.0), 40.0)
    assert pace.applied(Expectation(10.0, 5.0)) == Expectation(20.0, 5.0)
    pace.learn(Expectation(0.1), 0.5)  # too short to tell
    pace.learn(Expectation(None), 90.0)
    assert Pace("TwinTest").factor == 2.0
    for hostile in ("words", "nan", "-3", "1e9"):
        qt.QSettings().setValue("DigitalTwin/TwinTest/pace", hostile)
        assert pace.factor == 1.0


def test_a_run_s_time_is_known_beforehand_and_learnt_from(open_panel, phantom, until, monkeypatch):
    from TwinPanel.expected import Pace

    learnt = []
    monkeypatch.setattr(Pace, "learn", lambda self, expectation, seconds: learnt.append((expectation.seconds, seconds)))
    panel = open_panel("TwinSimulate")
    ready(panel, phantom, until, open_panel.scene)
    assert "Takes a few seconds" in panel.job_bar.planLabel.text or "Takes about" in panel.job_bar.planLabel.text
    long = panel._expected.seconds
    panel.run_form.boxes["members"].value = 480
    assert panel._expected.seconds == pytest.approx(10 * long)
    step = Holding("TwinSimulate")
    step.go_on.set()
    panel.logic.step = lambda *_, **__: step
    panel.job_bar.applyButton.click()
    until(lambda: not panel.job_bar.running)
    ((expected, taken),) = learnt
    assert expected == pytest.approx(10 * long)
    assert taken > 0


def test_sample_data_is_registered_once_slicer_has_started(desktop, open_panel, monkeypatch):
    """The call has the names that Slicer's own has; the first sample is made without a download."""
    import slicer

    sources = []

    def register(
        category="Custom", sampleName=None, uris=None, fileNames=None, nodeNames=None, customDownloader=None,
        thumbnailFileName=None, loadFileTypes=None, loadFiles=None, loadFileProperties=None, checksums=None,
        loadFileType=None,
    ):  # fmt: skip
        values = inspect.currentframe().f_locals
        sources.append({name: value for name, value in values.items() if name != "sources"})

    module = types.ModuleType("SampleData")
    module.SampleDataLogic = types.SimpleNamespace(registerCustomSampleDataSource=register)
    monkeypatch.setitem(sys.modules, "SampleData", module)
    desktop.load_module("TwinFusion").TwinFusion(types.SimpleNamespace())
    assert sources == []
    slicer.app.startupCompleted.emit()
    virtual, head = sources
    assert {source["category"] for source in sources} == {"Digital Twin"}
    from PIL import Image

    with Image.open(virtual["thumbnailFileName"]) as picture:
        assert picture.size == (260, 280)
    virtual["customDownloader"](virtual)
    (twin,) = Twin.all(open_panel.scene)
    assert [node.GetName() for node in twin.nodes("image")] == ["CT", "PET"]
    lengths = {len(head[name]) for name in ("uris", "fileNames", "nodeNames", "checksums")}
    assert lengths == {3}
    for uri, checksum in zip(head["uris"], head["checksums"]):
        assert uri.startswith("https://github.com/Slicer/SlicerTestingData/releases/download/SHA256/")
        assert uri.endswith(checksum.removeprefix("SHA256:"))
