"""What the panels of the three modules have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from TwinCore.expectation import Expectation
from TwinCore.scene import Twin
from TwinCore.step import Step

from .expected import Pace, expected_in_words
from .job_bar import JobBar
from .tab_order import focusable, in_reading_order
from .twin_selector import TwinSelector

APPLY_KEY, CANCEL_KEY, REVERT_KEY = "Ctrl+Return", "Esc", "Ctrl+Shift+Z"
"""While the keyboard is in the panel."""


class TwinWidget(ScriptedLoadableModuleWidget, VTKObservationMixin, ABC):
    """A panel: the twin above, the module's own inputs from its .ui file in the middle, the job bar below.

    A module says which logic it has (`make_logic`), what Apply lacks (`lacking`), what it will do (`plan`) and what
    does it (`step`). Its .ui file holds a `twinButton` for the selector and a `jobPlace` for the job bar, and binds its
    inputs to the parameter node by `SlicerParameterName`; the parameter node has a field `twin`.
    """

    next_module = ""
    """The module that takes up what this one makes."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)

    @abstractmethod
    def make_logic(self):
        """The module's logic."""

    @abstractmethod
    def lacking(self, twin: Twin) -> str:
        """What Apply still needs, in words; "" for nothing."""

    @abstractmethod
    def step(self) -> Step:
        """What Apply does, from the parameter node."""

    def plan(self, twin: Twin) -> tuple[str, Expectation]:
        """What Apply will do, in one sentence, and what it should take; asked for only if nothing is lacking."""
        return "", Expectation()

    def show_results(self, twin: Twin) -> None:
        """Arrange the views for what the newest run has made; called once after each run of the module."""

    def show_twin(self, twin: Twin | None) -> None:
        """Bring the module's own widgets up to date with the twin and the choices."""

    def put_away(self) -> None:
        """Take out of the scene what is in it only while the panel is looked at."""

    def setup(self) -> None:
        """Called by Slicer when the panel is opened for the first time."""
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath(f"UI/{self.moduleName}.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = self.make_logic()
        self.parameters = self._gui = None
        self.selector = TwinSelector(self._on_twin_chosen)
        self.ui.twinButton.layout().addWidget(self.selector.widget)
        self.job_bar = JobBar(self._start, self.refresh, self.next_module, open_module)
        self._pace = Pace(self.moduleName)
        self._expected, self._promised = Expectation(), None
        self._running, self._newest, self._order = False, None, []
        self.ui.jobPlace.layout().addWidget(self.job_bar.widget)
        self.layout.addStretch(1)
        self._later = qt.QTimer()  # the many events of one change make one refresh
        self._later.setSingleShot(True)
        self._later.setInterval(0)
        self._later.connect("timeout()", self.refresh)
        scene = slicer.mrmlScene
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndImportEvent):
            self.addObserver(scene, event, self.look_again)
        self.addObserver(scene, scene.StartCloseEvent, self._on_start_close)
        self.addObserver(scene, scene.EndCloseEvent, self._on_end_close)
        bar = self.job_bar
        self._on_key(APPLY_KEY, lambda: bar.running or bar.applyButton.click())
        self._on_key(CANCEL_KEY, lambda: bar.running and bar.applyButton.click())
        self._on_key(REVERT_KEY, lambda: bar.revertButton.click())
        self._connect()

    def cleanup(self) -> None:
        """Called by Slicer before the panel goes."""
        self._later.stop()
        self.put_away()
        self.job_bar.abandon()
        self._disconnect()
        self.removeObservers()

    def enter(self) -> None:
        """Called by Slicer each time the panel is opened."""
        if self.parameters is None:
            self._connect()
        else:
            self.refresh()

    def exit(self) -> None:
        """Called by Slicer each time another module is opened."""
        self.put_away()

    def refresh(self) -> None:
        """Show the scene as it is now."""
        if self.parameters is None:
            return
        self.selector.refresh(self.parameters.twin)
        self._on_twin_chosen()

    def choose(self, twin: Twin) -> None:
        """Turn to a twin, as another module does that hands it over."""
        self.parameters.twin = twin.mrml_node
        self.refresh()

    def _on_twin_chosen(self) -> None:
        twin = self.selector.twin
        node = None if twin is None else twin.mrml_node
        if self.parameters.twin is not node:
            self.parameters.twin = node
        self._show_state()

    def _show_state(self, *_args) -> None:
        """Whether Apply can be pressed, what it will do, and what the module's newest run has given."""
        if self.parameters is None:
            return
        twin = self.selector.twin
        self.show_twin(twin)
        lacking = _("Make a twin first: choose its volumes above.") if twin is None else self.lacking(twin)
        plan = ""
        if twin is not None and not lacking:
            words, self._expected = self.plan(twin)
            plan = f"{words} {expected_in_words(self._pace.applied(self._expected))}".strip()
        records = [] if twin is None else twin.provenance()
        record = next((r for r in records if r["module"] == self.moduleName), None)
        self.job_bar.show(twin, lacking, record, plan)
        newest = record["run"] if record is not None else None
        ended = self._running and not self.job_bar.running and newest not in (None, self._newest)
        self._running, self._newest = self.job_bar.running, newest
        if ended and self._promised is not None:
            self._pace.learn(self._promised, record["seconds"])
        if not self._running:
            self._promised = None
        if ended:
            self.show_results(twin)
        order = focusable(self.parent)
        if order != self._order:
            self._order = order
            in_reading_order(order)

    def _start(self) -> Step:
        step = self.step()
        self._promised = self._expected
        return step

    def _on_key(self, keys: str, act) -> None:
        """Let keys do something while the keyboard is in the panel."""
        shortcut = qt.QShortcut(qt.QKeySequence(keys), self.parent)
        shortcut.setContext(qt.Qt.WidgetWithChildrenShortcut)
        shortcut.connect("activated()", act)

    def _connect(self) -> None:
        self.parameters = self.logic.getParameterNode()
        named = ((widget.property("SlicerParameterName"), widget) for widget in vars(self.ui).values())
        self._gui = self.parameters.connectParametersToGui({name: widget for name, widget in named if name})
        self.addObserver(self.parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._show_state)
        self.refresh()

    def _disconnect(self) -> None:
        if self.parameters is not None:
            self.parameters.disconnectGui(self._gui)
            self.removeObserver(self.parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._show_state)
            self.parameters = None

    def look_again(self, *_args) -> None:
        """Refresh once the events that wait now have been dealt with."""
        self._later.start()

    def _on_start_close(self, *_args) -> None:
        self.put_away()
        self.job_bar.abandon()
        self._disconnect()

    def _on_end_close(self, *_args) -> None:
        self._connect()


def open_module(name: str, twin: Twin) -> None:
    """Show another module's panel, on this twin."""
    slicer.util.selectModule(name)
    slicer.util.getModuleWidget(name).choose(twin)
