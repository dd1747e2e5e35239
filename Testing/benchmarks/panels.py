"""How soon the panels answer, on the stand-in for Slicer's desktop: `make bench`.

    python panels.py

Time of the processor to load each module's file, as Slicer does when it starts, and to open its panel for the first
time, in a fresh process in which Qt and the MRML scene are; time from Cancel to the
end of a run that is really computing; time of one answer of the live preview; time and memory that choosing a CT of 512
voxels each way takes. The real run under way is chosen so that it takes tens of seconds.
"""

from __future__ import annotations

import subprocess
import sys
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in (".", "TwinFusion", "TwinSegment", "TwinSimulate")]
sys.path[:0] = [str(ROOT / folder) for folder in ("Testing/panel", "Testing/support")]

import desktop_double  # noqa: E402
from registration_tools import print_table  # noqa: E402

from TwinCore import Grid, Image, Segmentation  # noqa: E402
from TwinCore.scene import Twin, new_scene, set_meaning  # noqa: E402

MODULES = ("TwinFusion", "TwinSegment", "TwinSimulate")
OPENINGS, CANCELS, ANSWERS, SIDE = 5, 2, 40, 512
SPACING_MM = 2.0
BUSY_S = 0.3
"""After which a run is cancelled."""
OPEN = """
import sys, time
sys.path[:0] = {path!r}
import desktop_double
from TwinCore.scene import boot
boot()
with desktop_double.desktop():
    begin = time.process_time()
    module = desktop_double.load_module({name!r})
    loaded = time.process_time()
    panel = desktop_double.open_panel(module)
    panel.parent.show()
    desktop_double.let_events_happen()
    print(loaded - begin, time.process_time() - loaded)
"""


def main() -> None:
    rows = []
    for name in MODULES:
        loading, opening = zip(*(_opening(name) for _ in range(OPENINGS)))
        rows += [[f"{name} is loaded, as Slicer starts", *_summed(loading)], [f"{name} opens", *_summed(opening)]]
    with desktop_double.desktop():
        rows += [[f"{name} cancels", *_summed([_cancelling(name) for _ in range(CANCELS)])] for name in MODULES]
        rows.append(["one answer of the preview, tumour of 60 mm", *_summed(_answers())])
        seconds, held = _choosing()
        rows.append([f"a CT of {SIDE}^3 is chosen, {held / 1e6:.0f} MB held at most", f"{seconds:.3f}", ""])
    print_table(["What", "median s", "longest s"], rows)


def _summed(seconds: Sequence[float]) -> tuple[str, str]:
    return f"{median(seconds):.3f}", f"{max(seconds):.3f}"


def _opening(name: str) -> tuple[float, float]:
    script = OPEN.format(path=sys.path[:6], name=name)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return tuple(map(float, done.stdout.split()[-2:]))


def large_twin(scene, side: int = 120) -> Twin:
    """A ball in a body, so large that all modules have to do for a while."""
    grid = Grid.isotropic((side,) * 3, SPACING_MM)
    far = np.sqrt(((np.indices(grid.shape) - side / 2) ** 2).sum(0)) * SPACING_MM
    noise = np.random.default_rng(0).normal(0, 8, grid.shape)
    ct = Image((np.where(far < 100, 40.0, -1000.0) + np.where(far < 30, 25.0, 0) + noise).astype(np.float32), grid)
    ct = Image(ct.array, grid, "CT", "[hnsf'U]", 0.0, "CT")
    pet = Image((np.where(far < 30, 8.0, 1.0) + np.abs(noise) / 80).astype(np.float32), grid, "PT", "g/mL", 0.0, "PET")
    twin = Twin.create("Ball", scene)
    twin.add_image(ct, reference=True)
    twin.add_image(pet)
    with twin.run("TwinFusion", {}) as run:
        run.add_image(ct, "fused", name="CT fused")
        run.add_image(pet, "fused", name="PET fused")
    masks = {"tumour": far < 30, "soft tissue": (far >= 30) & (far < 100)}
    with twin.run("TwinSegment", {}) as run:
        run.add_segmentation(Segmentation.from_masks(grid, masks), "Anatomy")
    return twin


def _cancelling(name: str) -> float:
    """Seconds from Cancel to the end of a real run, once it has computed for a while."""
    scene = new_scene()
    panel = desktop_double.open_panel(desktop_double.load_module(name))
    twin = large_twin(scene)
    _until(lambda: panel.selector.twin is not None)
    if name == "TwinSegment":
        panel.parameters.body = twin.node("reference")
    bar = panel.job_bar
    bar.applyButton.click()
    end = time.perf_counter() + BUSY_S
    _until(lambda: time.perf_counter() > end or not bar.running)
    begin = time.perf_counter()
    if bar.running:
        bar.applyButton.click()
    _until(lambda: not bar.running)
    seconds = time.perf_counter() - begin
    said = bar.summaryLabel.text
    desktop_double.close_panel(panel)
    if not said.startswith("Cancelled"):
        print(f"{name} ended before it was cancelled: {said.splitlines()[0]}")
    return seconds


def _answers() -> list[float]:
    from TwinSimulateLib.preview import Preview
    from TwinSimulateLib.radiotherapy import Schedule
    from TwinSimulateLib.tumour_presets import growth
    from TwinSimulateLib.twin_anatomy import anatomy_of

    preset, twin = "soft-tissue sarcoma", large_twin(new_scene())
    preview = Preview(preset, anatomy_of(twin, growth(preset).requires, {}))
    course, seconds = Schedule.of(25, 2.0), []
    preview.at({}, 120.0, course)
    for number in range(ANSWERS):
        begin = time.perf_counter()
        preview.at({"diffusivity": 0.05 + 0.0005 * number}, 120.0, course)
        seconds.append(time.perf_counter() - begin)
    return seconds


def _choosing() -> tuple[float, int]:
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData

    scene = new_scene()
    panel = desktop_double.open_panel(desktop_double.load_module("TwinFusion"))
    values, voxels = np.zeros(SIDE**3, np.int16), vtkImageData()
    values[0] = 1
    voxels.SetDimensions(SIDE, SIDE, SIDE)
    voxels.GetPointData().SetScalars(numpy_to_vtk(values))
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    node.SetAndObserveImageData(voxels)
    set_meaning(node, "CT", "[hnsf'U]")
    _until(lambda: panel.selector.table.rowCount == 1)
    tracemalloc.start()
    begin = time.perf_counter()
    panel.selector.table.cellWidget(0, 1).setCurrentIndex(2)
    panel.selector.patientEdit.text = "Large"
    panel.selector.newButton.click()
    desktop_double.let_events_happen()
    seconds, held = time.perf_counter() - begin, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    desktop_double.close_panel(panel)
    return seconds, held


def _until(condition) -> None:
    while not condition():
        desktop_double.let_events_happen()
        time.sleep(0.002)


if __name__ == "__main__":
    main()
