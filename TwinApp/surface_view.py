"""The three-dimensional picture of the report: smoothed surfaces of the segments, rendered off-screen."""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy import ndimage

from TwinCore import Grid, Segmentation, bounding_box
from TwinCore.scene.surfaces import to_polydata
from TwinCore.surface import closed_surface

SIZE = (720, 720)
MOST_VOXELS = 3_000_000
SURROUNDINGS_OPACITY = 0.24
"""Of all the surroundings together, so that the target is seen through however many there are."""
PROBE_SECONDS = 60
PROBE = """
import vtkmodules.vtkRenderingOpenGL2
from vtkmodules.vtkRenderingCore import vtkRenderer, vtkRenderWindow
window = vtkRenderWindow()
window.SetOffScreenRendering(1)
window.SetSize(8, 8)
window.AddRenderer(vtkRenderer())
window.Render()
"""


@functools.cache
def can_render() -> bool:
    """Whether VTK can render off-screen here.

    Tried once, in a process of its own: without a GL library (OSMesa, EGL) rendering kills the process that tries.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", PROBE]
        try:
            tried = subprocess.run(command, capture_output=True, timeout=PROBE_SECONDS, cwd=Path(folder), check=False)
        except (OSError, subprocess.TimeoutExpired):
            return False
    return tried.returncode == 0


def render_surfaces(segmentation: Segmentation, target: str) -> bytes | None:
    """The target solid, its surroundings translucent, seen from the patient's front: PNG bytes.

    Parameters
    ----------
    segmentation : Segmentation
    target : str
        Other outlines of the target, named "<target> (...)", are left out.

    Returns
    -------
    bytes or None
        None where no GL library can render off-screen.
    """
    if not can_render():
        return None
    import vtkmodules.vtkRenderingOpenGL2  # noqa: F401  what draws: importing it registers it
    from vtkmodules.vtkRenderingCore import vtkRenderer, vtkRenderWindow

    renderer = vtkRenderer()
    renderer.SetBackground(0.047, 0.055, 0.071)
    shown = [s for s in segmentation.segments if s.name == target or not s.name.startswith(f"{target} (")]
    translucent = 1.0 - (1.0 - SURROUNDINGS_OPACITY) ** (1.0 / max(len(shown) - 1, 1))
    for segment in shown:
        surface = _surface(segmentation, segment.name)
        if surface is not None:
            opacity = 1.0 if segment.name == target else translucent
            renderer.AddActor(_actor(surface, segment.colour, opacity))
    _look_from_front(renderer)
    window = vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetSize(*SIZE)
    window.SetMultiSamples(0)
    window.SetAlphaBitPlanes(1)
    renderer.SetUseDepthPeeling(1)
    renderer.SetMaximumNumberOfPeels(8)
    renderer.SetUseFXAA(1)
    window.AddRenderer(renderer)
    window.Render()
    png = _png(window)
    window.Finalize()
    return png


def _surface(segmentation: Segmentation, name: str):
    """The segment's smooth surface in RAS mm, none if it is empty."""
    mask = segmentation.mask(name)
    if not mask.any():
        return None
    low, high = bounding_box(mask)
    grid = segmentation.grid.crop(low, high)
    mask = ndimage.binary_fill_holes(mask[tuple(slice(a, b) for a, b in zip(low, high))])  # inner walls would only hide
    stride = int(np.ceil((mask.size / MOST_VOXELS) ** (1 / 3)))
    coarse = mask[::stride, ::stride, ::stride]
    if not coarse.any():
        return None
    return to_polydata(closed_surface(coarse, Grid(coarse.shape, grid.ijk_to_ras @ np.diag([*3 * [stride], 1.0]))))


def _actor(surface, colour: tuple[float, float, float], opacity: float):
    from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper

    mapper = vtkPolyDataMapper()
    mapper.SetInputData(surface)
    mapper.ScalarVisibilityOff()
    actor = vtkActor()
    actor.SetMapper(mapper)
    look = actor.GetProperty()
    look.SetColor(*colour)
    look.SetOpacity(opacity)
    look.SetBackfaceCulling(opacity < 1)  # the near wall of a translucent segment is enough
    look.SetAmbient(0.15 if opacity == 1 else 0.35)
    look.SetSpecular(0.25)
    look.SetSpecularPower(25)
    look.SetInterpolationToPhong()
    return actor


def _look_from_front(renderer) -> None:
    """From the front, slightly from the patient's left and from above: patient right stays on the left."""
    camera = renderer.GetActiveCamera()
    camera.SetFocalPoint(0, 0, 0)
    camera.SetPosition(0, 1, 0)
    camera.SetViewUp(0, 0, 1)
    camera.ParallelProjectionOn()
    camera.Azimuth(25)
    camera.Elevation(15)
    renderer.ResetCamera()
    camera.Zoom(1.25)
    renderer.ResetCameraClippingRange()


def _png(window) -> bytes:
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkIOImage import vtkPNGWriter
    from vtkmodules.vtkRenderingCore import vtkWindowToImageFilter

    grab = vtkWindowToImageFilter()
    grab.SetInput(window)
    grab.ReadFrontBufferOff()
    writer = vtkPNGWriter()
    writer.SetInputConnection(grab.GetOutputPort())
    writer.WriteToMemoryOn()
    writer.Write()
    return vtk_to_numpy(writer.GetResult()).tobytes()
