"""A stand-in for what the desktop gives a scripted module: PythonQt's `qt` and `ctk`, and Slicer's module classes.

It stands on PySide6 without a screen and on the real MRML scene of slicer-core. It rejects what PythonQt rejects: an
unknown attribute, an unknown signal. It shows that panel, .ui file and parameter node agree; it is not Slicer.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import sys
import tempfile
import types
import typing
import unittest
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from xml.etree import ElementTree

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("MPLBACKEND", "Agg")  # or matplotlib would take the windowing that it finds

import slicer
from desktop_widgets import ctkCollapsibleButton, qMRMLNodeComboBox, qMRMLSegmentEditorWidget, qMRMLWidget
from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets
from slicer import util

ROOT = Path(__file__).resolve().parents[2]
QT = {name: getattr(part, name) for part in (QtCore, QtGui, QtWidgets) for name in dir(part) if name.startswith("Q")}
APPLICATION = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])
APPLICATION.setOrganizationName("DigitalTwin")
OPEN: dict = {}
"""Panels by module, as Slicer's module manager knows them; of two of one module the newer."""

MODULES = ("TwinFusion", "TwinSegment", "TwinSimulate")
# Qt looks for overrides of these, so they must stay methods.
VIRTUAL = {(QtWidgets.QWidget, "sizeHint"), (QtWidgets.QWidget, "minimumSizeHint"), (QtWidgets.QProgressBar, "text")}


@cache
def _flavour() -> None:
    """Give PySide's classes PythonQt's manners, once: properties as attributes, `connect` by signature, strictness."""
    for kind in QT.values():
        if isinstance(kind, type) and issubclass(kind, QtCore.QObject):
            meta = kind.staticMetaObject
            for number in range(meta.propertyOffset(), meta.propertyCount()):
                name = meta.property(number).name()
                if (kind, name) not in VIRTUAL:
                    setattr(kind, name, _attribute(name))
            kind.__setattr__ = _strict_setattr
    QtCore.QObject.name = _attribute("objectName")
    QtCore.QObject.__getattribute__ = _getattribute  # PySide's own `connect` cannot be replaced otherwise


def _attribute(name: str) -> property:
    def write(widget, value) -> None:
        if not widget.setProperty(name, value):
            raise ValueError(f"{type(widget).__name__}.{name} cannot be {value!r}")

    return property(lambda widget: QtCore.QObject.property(widget, name), write)


def _getattribute(widget, name: str):
    if name == "connect":
        return partial(_connect, widget)
    value = object.__getattribute__(widget, name)
    return QtCore.QObject.property(widget, name) if isinstance(value, QtCore.Property) else value


def _connect(sender, signature: str, slot) -> None:
    meta = sender.metaObject()
    if meta.indexOfSignal(QtCore.QMetaObject.normalizedSignature(signature).data().decode()) < 0:
        raise ValueError(f"{meta.className()} has no signal {signature}")
    getattr(sender, signature.partition("(")[0]).connect(slot)


def _strict_setattr(widget, name: str, value) -> None:
    known = inspect.getattr_static(type(widget), name, _strict_setattr)
    if isinstance(known, QtCore.Property):
        widget.setProperty(name, value)
    elif hasattr(known, "__set__"):
        known.__set__(widget, value)
    elif known is not _strict_setattr or name.startswith("__") or isinstance(value, QtCore.QObject):
        vars(widget)[name] = value  # PySide itself sets the children of a panel and names of its own
    else:
        raise AttributeError(f"{type(widget).__name__} has no attribute {name!r}")


class Application(QtCore.QObject):
    """`slicer.app`, as far as a module's file asks for it."""

    startupCompleted = QtCore.Signal()
    temporaryPath = QtCore.Property(str, lambda self: tempfile.gettempdir())


class QUiLoader:
    """Knows Slicer's widgets, and makes the connections that a .ui file declares between them."""

    def load(self, file):
        tree = ElementTree.fromstring(bytes(file.readAll()))
        declared = [[c.findtext(k) for k in ("sender", "signal", "receiver")] for c in tree.iter("connection")]
        tree.remove(tree.find("connections"))  # the loader knows none of a custom widget's signals
        loader = QtUiTools.QUiLoader()
        for kind in (ctkCollapsibleButton, qMRMLWidget, qMRMLNodeComboBox):
            loader.registerCustomWidget(kind)
        text = QtCore.QBuffer()
        text.setData(ElementTree.tostring(tree))
        panel = loader.load(text)
        for sender, signal, receiver in declared:
            if (sender, signal) != (panel.name, "mrmlSceneChanged(vtkMRMLScene*)"):
                raise ValueError(f"unexpected connection from {sender}: {signal}")
            panel.mrmlSceneChanged.connect(panel.findChild(QtWidgets.QWidget, receiver).setMRMLScene)
        return panel


class ScriptedLoadableModule:
    def __init__(self, parent):
        self.parent, self.moduleName = parent, type(self).__name__


class ScriptedLoadableModuleWidget:
    def __init__(self, parent=None):
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.parent, self.layout = parent, parent.layout()

    def resourcePath(self, name: str) -> str:
        return str(ROOT / self.moduleName / "Resources" / name)

    def setup(self) -> None:
        pass


class ScriptedLoadableModuleLogic:
    def __init__(self):
        self.moduleName = type(self).__name__.removesuffix("Logic")

    def getParameterNode(self):
        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.vtkMRMLScriptedModuleNode()
            node.SetSingletonTag(self.moduleName)
            node.SetModuleName(self.moduleName)
            node.SetName(self.moduleName)
            node = slicer.mrmlScene.AddNode(node)
        return node


@dataclass(frozen=True)
class Choice:
    choices: list


@dataclass(frozen=True)
class WithinRange:
    minimum: float
    maximum: float


# Value property and change signal of each widget that Slicer binds to a field of a type.
BINDINGS = {
    (str, QtWidgets.QLineEdit): ("text", "textChanged"),
    (str, QtWidgets.QComboBox): ("currentText", "currentIndexChanged"),
    (int, QtWidgets.QSpinBox): ("value", "valueChanged"),
    (float, QtWidgets.QDoubleSpinBox): ("value", "valueChanged"),
    (bool, QtWidgets.QCheckBox): ("checked", "toggled"),
}


def parameterNodeWrapper(kind: type) -> type:
    """Fields of a class as parameters and references of a node, and bound to widgets."""
    hints = typing.get_type_hints(kind, include_extras=True)
    defaults = {name: getattr(kind, name, None) for name in hints}

    def field(name: str, base: type) -> property:
        def read(self):
            if issubclass(base, slicer.vtkMRMLNode):
                return self.parameterNode.GetNodeReference(name)
            text = self.parameterNode.GetParameter(name)
            return json.loads(text) if text else defaults[name]

        def write(self, value) -> None:
            if issubclass(base, slicer.vtkMRMLNode):
                self.parameterNode.SetNodeReferenceID(name, value.GetID() if value is not None else None)
                return
            for rule in getattr(hints[name], "__metadata__", ()):
                if isinstance(rule, Choice) and value not in rule.choices:
                    raise ValueError(f"{name}: {value!r} is not one of {rule.choices}")
            if type(value) is not base:
                raise TypeError(f"{name} is a {base.__name__}, not {value!r}")
            self.parameterNode.SetParameter(name, json.dumps(value))

        return property(read, write)

    for name, hint in hints.items():
        setattr(kind, name, field(name, typing.get_args(hint)[0] if typing.get_args(hint) else hint))
    kind.__init__ = lambda self, node: setattr(self, "parameterNode", node)
    kind.connectParametersToGui = lambda self, mapping: _bind_all(self, hints, mapping)
    kind.disconnectGui = lambda self, tag: [undo() for undo in tag]
    return kind


def _bind_all(parameters, hints, mapping) -> list:
    bindings = [_bind(parameters, name, hints[name], widget) for name, widget in mapping.items()]
    tag = parameters.parameterNode.AddObserver("ModifiedEvent", lambda *_: [write() for write, _undo in bindings])
    return [*(undo for _write, undo in bindings), lambda: parameters.parameterNode.RemoveObserver(tag)]


def _bind(parameters, name: str, hint, widget):
    """Two-way binding of one field, as Slicer makes it; TypeError where it would make none."""
    base, *rules = typing.get_args(hint) or (hint,)
    for rule in rules:
        if isinstance(rule, WithinRange):
            widget.setRange(rule.minimum, rule.maximum)
        else:
            widget.clear()
            widget.addItems(rule.choices)
    if isinstance(widget, qMRMLNodeComboBox) and issubclass(base, slicer.vtkMRMLNode):
        read, put, signal = widget.currentNode, widget.setCurrentNode, widget.currentNodeChanged
    elif (base, type(widget)) in BINDINGS and (type(widget) is not QtWidgets.QComboBox or rules):
        value, change = BINDINGS[base, type(widget)]
        read, signal = (lambda: getattr(widget, value)), getattr(widget, change)

        def put(new):
            setattr(widget, value, new)
    else:
        raise TypeError(f"{name}: Slicer binds no {base.__name__} to a {type(widget).__name__}")

    def write() -> None:
        if read() != getattr(parameters, name):
            put(getattr(parameters, name))

    def changed(*_args) -> None:
        setattr(parameters, name, read())

    write()
    signal.connect(changed)
    return write, lambda: signal.disconnect(changed)


def _module(name: str, **contents) -> types.ModuleType:
    module = types.ModuleType(name)
    vars(module).update(contents)
    return module


@contextmanager
def desktop():
    """The stand-ins in place of the desktop's modules while the context lasts."""
    _flavour()
    scripted = (ScriptedLoadableModule, ScriptedLoadableModuleWidget, ScriptedLoadableModuleLogic)
    modules = {
        "qt": _module("qt", **{**QT, "QUiLoader": QUiLoader}),
        "ctk": _module("ctk", ctkCollapsibleButton=ctkCollapsibleButton),
        "slicer.i18n": _module("slicer.i18n", tr=str),
        "slicer.ScriptedLoadableModule": _module(
            "slicer.ScriptedLoadableModule",
            ScriptedLoadableModuleTest=unittest.TestCase,
            **{kind.__name__: kind for kind in scripted},
        ),
        "slicer.parameterNodeWrapper": _module(
            "slicer.parameterNodeWrapper",
            parameterNodeWrapper=parameterNodeWrapper,
            Choice=Choice,
            WithinRange=WithinRange,
        ),
    }
    before, own = set(sys.modules), (util.selectModule, util.getModuleWidget)
    sys.modules.update(modules)
    util.selectModule, util.getModuleWidget = _select_module, OPEN.get
    slicer.qMRMLSegmentEditorWidget, slicer.app = qMRMLSegmentEditorWidget, Application()
    QtCore.QSettings.setDefaultFormat(QtCore.QSettings.IniFormat)
    try:
        with tempfile.TemporaryDirectory() as settings:
            QtCore.QSettings.setPath(QtCore.QSettings.IniFormat, QtCore.QSettings.UserScope, settings)
            yield
    finally:
        util.selectModule, util.getModuleWidget = own
        del slicer.qMRMLSegmentEditorWidget, slicer.app
        for name in set(sys.modules) - before:
            if name.partition(".")[0] == "TwinPanel" or name in {*modules, *MODULES}:
                del sys.modules[name]


def load_module(name: str) -> types.ModuleType:
    """A module's file, loaded as Slicer loads it: by its path, under its own name."""
    spec = importlib.util.spec_from_file_location(name, ROOT / name / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _select_module(name: str) -> None:
    """The module's panel comes to the front; it is opened if it is not."""
    if name in OPEN:
        OPEN[name].enter()
    else:
        open_panel(load_module(name))


def let_events_happen() -> None:
    """One turn of the event loop, with the deletions that wait for its end."""
    APPLICATION.processEvents()
    APPLICATION.sendPostedEvents(None, QtCore.QEvent.DeferredDelete)


def open_panel(module: types.ModuleType):
    """The module's widget in a parent, set up as when the user opens it."""
    parent = qMRMLWidget()
    parent.setLayout(QtWidgets.QVBoxLayout())
    widget = getattr(module, f"{module.__name__}Widget")(parent)
    widget.setup()
    OPEN[module.__name__] = widget
    return widget


def close_panel(widget) -> None:
    """The end of a panel: nothing of it goes on watching the scene."""
    widget.cleanup()
    OPEN.pop(widget.moduleName, None)
    for box in widget.parent.findChildren(qMRMLNodeComboBox):
        box.let_go()
    widget.parent.deleteLater()
    let_events_happen()
