"""The running MRML scene: that of Slicer's desktop, or one of our own on slicer-core."""

from __future__ import annotations

import atexit
import logging
import shutil
import sys
import tempfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from ..errors import MissingPackage

if TYPE_CHECKING:
    from slicer import vtkMRMLScene

log = logging.getLogger(__name__)

# slicer.modules.<name>: the logic that Slicer gives the module of that name, and the folder of its resources.
_LOGICS = {
    "annotations": "vtkSlicerAnnotationModuleLogic",
    "cameras": "vtkSlicerCamerasModuleLogic",
    "colors": "vtkMRMLColorLogic",
    "cropvolume": "vtkSlicerCropVolumeLogic",
    "data": "vtkSlicerDataModuleLogic",
    "markups": "vtkSlicerMarkupsLogic",
    "models": "vtkSlicerModelsLogic",
    "plots": "vtkSlicerPlotsLogic",
    "reformat": "vtkSlicerReformatLogic",
    "sceneviews": "vtkSlicerSceneViewsModuleLogic",
    "segmentations": "vtkSlicerSegmentationsModuleLogic",
    "sequences": "vtkSlicerSequencesLogic",
    "subjecthierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "tables": "vtkSlicerTablesLogic",
    "terminologies": "vtkSlicerTerminologiesModuleLogic",
    "texts": "vtkSlicerTextsLogic",
    "transforms": "vtkSlicerTransformLogic",
    "units": "vtkSlicerUnitsLogic",
    "viewcontrollers": "vtkSlicerViewControllersLogic",
    "volumerendering": "vtkSlicerVolumeRenderingLogic",
    "volumes": "vtkSlicerVolumesLogic",
}

# What must stay alive as long as the scene: logics and input/output managers are owned by nobody else.
_alive: list[object] = []


def mrml() -> ModuleType:
    """The `slicer` package, imported on first use; `MissingPackage` says how to install it."""
    try:
        import slicer
    except ImportError as error:
        raise MissingPackage(
            "slicer-core", "The MRML scene", "pip install 'digitaltwin[app]', or run inside 3D Slicer"
        ) from error
    return slicer


def boot() -> vtkMRMLScene:
    """The running scene: Slicer's own in its desktop, otherwise one made once per process from slicer-core.

    A scene that somebody else has set as ``slicer.mrmlScene`` is taken as it is.

    Raises
    ------
    MissingPackage
        If slicer-core is not installed.
    """
    slicer = mrml()
    if getattr(slicer, "mrmlScene", None) is None:
        _boot_headless(slicer)
    return slicer.mrmlScene


def new_scene() -> vtkMRMLScene:
    """The running scene, emptied of everything but its singletons (colours, selection): for scripts and tests."""
    scene = boot()
    scene.Clear(False)
    return scene


def _boot_headless(slicer: Any) -> None:
    from vtkmodules.vtkCommonCore import vtkCollection

    _quieten_vtk()
    folder = tempfile.mkdtemp(prefix="DigitalTwin-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    scene = slicer.vtkMRMLScene()
    scene.RegisterNodeClass(slicer.vtkMRMLColorLegendDisplayNode())  # as the desktop's Colors module does
    application = slicer.vtkSlicerApplicationLogic()
    application.SetTemporaryPath(folder)
    application.SetMRMLScene(scene)
    application.GetColorLogic().SetMRMLScene(scene)
    application.GetColorLogic().AddDefaultColorNodes()
    application.SetSliceLogics(vtkCollection())
    application.SetViewLogics(vtkCollection())
    _alive.extend([scene, application])

    slicer.modules = SimpleNamespace()
    for name, class_name in _LOGICS.items():
        logic = application.GetColorLogic() if name == "colors" else getattr(slicer, class_name)()
        if name != "colors":
            if hasattr(logic, "SetModuleShareDirectory"):
                logic.SetModuleShareDirectory(_resources(name))
            logic.SetMRMLScene(scene)
            if hasattr(logic, "SetMRMLApplicationLogic"):
                logic.SetMRMLApplicationLogic(application)
            application.SetModuleLogic(name.capitalize(), logic)
        setattr(slicer.modules, name, SimpleNamespace(logic=lambda logic=logic: logic))
    _connect_files(slicer, scene, application, folder)
    slicer.mrmlScene = scene


def _connect_files(slicer: ModuleType, scene, application, folder: str) -> None:
    """The managers without which a scene cannot read its nodes' files."""
    remote = slicer.vtkMRMLRemoteIOLogic()
    remote.SetMRMLScene(scene)
    remote.SetMRMLApplicationLogic(application)
    remote.GetCacheManager().SetRemoteCacheDirectory(folder)
    files = slicer.vtkDataIOManagerLogic()
    files.SetMRMLScene(scene)
    files.SetMRMLApplicationLogic(application)
    files.SetAndObserveDataIOManager(remote.GetDataIOManager())
    remote.AddDataIOToScene()
    _alive.extend([remote, files])


def _resources(name: str) -> str:
    """Folder of a module's resources: trame-slicer brings the terminologies, the others need none."""
    package = sys.modules["slicer"].__spec__
    site = Path(package.origin).parent.parent if package is not None and package.origin else Path()
    folder = site / "trame_slicer" / "resources" / ("terminologies" if name == "terminologies" else "")
    return folder.as_posix() if folder.is_dir() else ""


def _quieten_vtk() -> None:
    """Send VTK's messages to Python's logging, where they neither flood the terminal nor open a window."""
    from vtkmodules.util.vtkConstants import VTK_STRING
    from vtkmodules.vtkCommonCore import vtkLogger, vtkOutputWindow

    def logger(level: int):
        def write(_caller, _event, text: str) -> None:
            log.log(level, "%s", text.strip())

        write.CallDataType = VTK_STRING  # type: ignore[attr-defined]
        return write

    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_OFF)
    window = vtkOutputWindow()
    window.SetDisplayModeToNever()
    window.AddObserver("ErrorEvent", logger(logging.ERROR))
    window.AddObserver("WarningEvent", logger(logging.DEBUG))
    vtkOutputWindow.SetInstance(window)
