"""Draws docs/pictures/panel_*.png: the three panels in their main states, on the stand-in for Slicer's desktop.

    python docs/make_panel_pictures.py [FOLDER] [NAME ...]

Needs PySide6, slicer-core, Pillow and nilearn, whose wheel holds the head. It shows the panels' own widgets in Qt's
plain style, not Slicer's theme and views; what lies over the images is drawn by Slicer's own compositor of slices.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (".", "TwinFusion", "TwinSegment", "TwinSimulate", "Testing/panel")
sys.path[:0] = [str(ROOT / folder) for folder in FOLDERS]

import desktop_double  # noqa: E402  (found through the line above)
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

from TwinCore import Grid, Segmentation  # noqa: E402
from TwinCore import Image as Volume  # noqa: E402
from TwinCore.scene import Twin, new_scene, segmentation_to_node  # noqa: E402

WIDTH = 460
COLOURS = 256
"""Enough for widgets and verdicts, and half the size."""
PATIENCE_S = 600.0
SLICE = 300
"""Pixels of a slice, each way."""
THUMBNAIL = (260, 280)


def until(condition: Callable[[], bool]) -> None:
    """Let the panel's timers run until the condition holds."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            sys.exit("A panel did not get where it should.")
        desktop_double.let_events_happen()
        time.sleep(0.005)
    desktop_double.let_events_happen()


def picture(panel, path: Path) -> None:
    desktop_double.let_events_happen()
    panel.parent.resize(WIDTH, panel.parent.sizeHint().height())
    desktop_double.let_events_happen()
    panel.parent.resize(WIDTH, panel.parent.sizeHint().height())
    panel.parent.grab().save(str(path))
    with Image.open(path) as image:
        image.convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


def choose(box, value: str) -> None:
    """As if the user had chosen an entry of a combo box."""
    box.setCurrentIndex(box.findData(value))
    box.activated.emit(box.currentIndex)


def patient(scene, until_fused: bool = False, until_segmented: bool = False) -> Twin:
    """The made-up patient, as far as the panel before has brought it."""
    from TwinPanel import phantom

    twin = phantom.phantom_twin(scene)
    ct, pet, tumour = phantom.phantom_images()
    if until_fused:
        with twin.run("TwinFusion", {}) as run:
            run.add_image(ct, "fused", name="CT fused")
            run.add_image(pet, "fused", name="PET fused")
    if until_segmented:
        masks = {"tumour": tumour, "soft tissue": (ct.array > -300) & ~tumour}
        with twin.run("TwinSegment", {}) as run:
            run.add_segmentation(Segmentation.from_masks(ct.grid, masks), "Anatomy")
    return twin


def head(scene) -> Twin:
    """A twin of the average head, ICBM 2009a, as nilearn's wheel has it."""
    from nilearn.datasets import load_mni152_template

    template = load_mni152_template(resolution=2)
    values = np.ascontiguousarray(template.get_fdata(dtype=np.float32).T)
    image = Volume(values, Grid(values.shape, template.affine), "MR", "1", 0.0, "T1")
    twin = Twin.create("Average head", scene)
    twin.add_image(image, reference=True)
    with twin.run("TwinFusion", {}) as made:
        made.add_image(image, "fused", name="T1 fused")
    return twin


class Slice:
    """An axial slice as Slicer's own compositor draws it: background, foreground and opacity, without outlines."""

    def __init__(self, scene, below=None):
        import slicer

        self._scene, self._logic = scene, slicer.vtkMRMLSliceLogic()
        self._logic.SetMRMLScene(scene)
        self._logic.AddSliceNode("Red")
        slicer.util.setSliceViewerLayers(background=below)

    def draw(self, ras_mm: float) -> Image.Image:
        from vtkmodules.util.numpy_support import vtk_to_numpy

        self._logic.ResizeSliceNode(SLICE, SLICE)
        self._logic.FitSliceToAll()
        self._logic.SetSliceOffset(ras_mm)
        self._logic.UpdatePipeline()
        self._logic.GetBlend().Update()
        drawn = self._logic.GetBlend().GetOutput()
        colours = vtk_to_numpy(drawn.GetPointData().GetScalars()).reshape(*drawn.GetDimensions()[1::-1], -1)
        return Image.fromarray(np.ascontiguousarray(colours[::-1, :, :3]))

    def let_go(self) -> None:
        """Its nodes are singletons, which outlive the scene's clearing: the next view would be drawn by two logics."""
        self._logic.SetMRMLScene(None)
        for name in ("Slice", "SliceComposite", "SliceDisplay"):
            for node in list(self._scene.GetNodesByClass(f"vtkMRML{name}Node")):
                self._scene.RemoveNode(node)


def beside(pictures: list[Image.Image], path: Path) -> None:
    """Slices side by side in one file."""
    whole = Image.new("RGB", (len(pictures) * (SLICE + 4) - 4, SLICE), "white")
    for number, one in enumerate(pictures):
        whole.paste(one, (number * (SLICE + 4), 0))
    whole.quantize(COLOURS, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


def fusion(panel, scene, folder: Path) -> None:
    picture(panel, folder / "panel_fusion_empty.png")
    patient(scene)
    until(lambda: panel.selector.twin is not None)
    picture(panel, folder / "panel_fusion_ready.png")
    view, slices = Slice(scene), []
    run(panel, folder / "panel_fusion_running.png")
    slices.append(view.draw(66.0))
    panel.ui.squaresBox.click()
    slices.append(view.draw(66.0))
    beside(slices, folder / "view_fusion_compare.png")
    picture(panel, folder / "panel_fusion_done.png")
    view.let_go()


def segment(panel, scene, folder: Path) -> None:
    from TwinPanel import phantom

    patient(scene)
    until(lambda: panel.selector.twin is not None)
    picture(panel, folder / "panel_segment_lacking.png")
    scene.Clear(False)
    head(scene)
    until(lambda: panel.selector.twin is not None)
    choose(panel.chooser.modelBox, "brain-anatomy")
    run(panel)
    picture(panel, folder / "panel_segment_brain.png")
    scene.Clear(False)
    twin = patient(scene, until_fused=True)
    panel.parameters.outlines = segmentation_to_node(phantom.phantom_outlines(), scene, "Outlines")
    panel.parameters.outlinesImage = panel.parameters.body = twin.node("reference")
    until(lambda: panel.selector.twin is not None)
    choose(panel.chooser.modelBox, "monai-spleen-ct")
    picture(panel, folder / "panel_segment_model.png")
    choose(panel.chooser.modelBox, "")
    run(panel)
    panel.ui.surplusButton.click()
    panel.parameters.surplusClicks.AddControlPointWorld(58.0, 72.0, 72.0)
    picture(panel, folder / "panel_segment_done.png")


def simulate(panel, scene, folder: Path) -> None:
    twin = patient(scene, True, True)
    until(lambda: panel.selector.twin is not None)
    panel.run_form.boxes["members"].value = 8
    panel.run_form.boxes["horizon"].value = 60
    picture(panel, folder / "panel_simulate_ready.png")
    panel.ui.parametersButton.collapsed = False
    view, slices, said = Slice(scene, twin.nodes("fused")[0]), [], panel.ui.liveLabel
    panel.ui.liveBox.click()
    for day in (0, 60):
        panel.ui.daySlider.value = day
        until(lambda day=day: said.text.startswith(f"Day {day},") and "by one run" in said.text)
        slices.append(view.draw(66.0))
    beside(slices, folder / "view_simulate_live.png")
    view.let_go()
    picture(panel, folder / "panel_simulate_live.png")
    panel.ui.liveBox.click()
    panel.ui.parametersButton.collapsed = True
    run(panel, folder / "panel_simulate_running.png")
    picture(panel, folder / "panel_simulate_done.png")
    choose(panel.ui.modelBox, "radiotherapy")
    picture(panel, folder / "panel_simulate_dose.png")


def thumbnail(path: Path) -> None:
    """The virtual patient as Sample Data shows it: the middle slice of its CT, with its PET in red."""
    from TwinPanel import phantom

    ct, pet, _ = phantom.phantom_images()
    middle = ct.grid.shape[0] // 2 + 1
    grey = np.clip((ct.array[middle] + 200) / 600, 0, 1)
    warm = np.clip(pet.array[middle] / 9 - 0.2, 0, 1)
    colours = np.stack([np.maximum(grey, warm), grey * (1 - warm), grey * (1 - warm)], -1)
    image = Image.fromarray((255 * colours[::-1]).astype(np.uint8)).resize(THUMBNAIL, Image.Resampling.BICUBIC)
    image.quantize(64).save(path, optimize=True)


def run(panel, while_running: Path | None = None) -> None:
    """Press Apply, and wait for the end; a picture on the way where one is wanted."""
    bar = panel.job_bar
    bar.applyButton.click()
    if while_running is not None:
        until(lambda: bar.progressBar.value > 100 or not bar.running)
        if bar.running:
            picture(panel, while_running)
    until(lambda: not bar.running)


PANELS = {"TwinFusion": fusion, "TwinSegment": segment, "TwinSimulate": simulate}


def main(folder: Path, names: list[str]) -> None:
    with desktop_double.desktop(), tempfile.TemporaryDirectory() as models:
        os.environ["DIGITALTWIN_MODELS"] = models  # none but those of the project is there
        thumbnail(ROOT / "TwinFusion/Resources/Icons/VirtualPatient.png")
        for name in names or PANELS:
            scene = new_scene()
            panel = desktop_double.open_panel(desktop_double.load_module(name))
            panel.parent.show()
            PANELS[name](panel, scene, folder)
            desktop_double.close_panel(panel)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs/pictures", sys.argv[2:])
