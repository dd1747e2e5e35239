"""TwinFusion in Slicer: all images of a patient in one frame, on one grid."""

import importlib.util
import json
import sys
from pathlib import Path

import slicer
from slicer import vtkMRMLMarkupsFiducialNode, vtkMRMLMarkupsROINode, vtkMRMLScriptedModuleNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
)

if importlib.util.find_spec("TwinCore") is None:  # a source checkout: the shared packages lie one folder up
    sys.path.append(str(Path(__file__).resolve().parents[1]))

import TwinPanel
from TwinCore import InvalidInput
from TwinCore.scene import Twin, execute, meaning, node_to_table
from TwinCore.units import in_words
from TwinFusionLib.expected import expected
from TwinFusionLib.presets import fusion_parameters


class TwinFusion(ScriptedLoadableModule):
    """What Slicer lists."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("TwinFusion")
        self.parent.categories = ["Digital Twin"]
        self.parent.dependencies = []
        self.parent.contributors = ["DigitalTwin contributors"]
        self.parent.helpText = _(
            "Brings a patient's CT, MR, PET and ultrasound images into the frame of one of them, with a verdict on how "
            "far each registration can be trusted. Next: TwinSegment. For research only, not for clinical use."
        )
        self.parent.acknowledgementText = _("Part of the DigitalTwin extension.")
        icons = Path(__file__).parent / "Resources/Icons"
        slicer.app.connect("startupCompleted()", lambda: TwinPanel.register_sample_data(icons))


@parameterNodeWrapper
class TwinFusionParameterNode:
    """What the user has chosen.

    Parameters
    ----------
    twin : the twin's node
    region : where fused images are wanted; the whole reference if none
    frames : as JSON, the frame of reference by image name; images without one have a frame of their own
    choices : as JSON, the values of `fusion_parameters` by name
    landmarksImage, fixedPoints, movingPoints : points of an image, and of the reference, that belong together
    """

    twin: vtkMRMLScriptedModuleNode
    region: vtkMRMLMarkupsROINode
    frames: str = "{}"
    choices: str = "{}"
    landmarksImage: str = ""
    fixedPoints: vtkMRMLMarkupsFiducialNode
    movingPoints: vtkMRMLMarkupsFiducialNode


class TwinFusionWidget(TwinPanel.TwinWidget):
    """The panel."""

    next_module = "TwinSegment"

    def make_logic(self):
        return TwinFusionLogic()

    def setup(self):
        self.form = TwinPanel.ParameterForm(self._on_choices)
        self.compare = self.frames = None
        TwinPanel.TwinWidget.setup(self)
        ui = self.ui
        self.compare = TwinPanel.Compare(ui)
        self.frames = TwinPanel.FramesTable(ui.framesTable, self._on_frames)
        ui.choicesPlace.layout().addWidget(self.form.widget)
        ui.landmarksBox.connect("activated(int)", lambda _index: self._on_landmarks_image())
        ui.fixedPointsButton.connect("clicked()", lambda *_args: self._place("fixedPoints"))
        ui.movingPointsButton.connect("clicked()", lambda *_args: self._place("movingPoints"))
        self.refresh()

    def put_away(self):
        self.compare.stop()

    def lacking(self, twin):
        if not twin.nodes("reference"):
            return _("The twin has no reference: add a volume to it as reference.")
        if len([*twin.nodes("image"), *TwinPanel.inputs_over_time(twin)]) < 2:
            return _("The twin has one image only: add another to fuse it with.")
        points = [len(TwinPanel.points_of(n)) for n in (self.parameters.fixedPoints, self.parameters.movingPoints)]
        if points[0] != points[1] or points[0] in (1, 2):
            words = _(
                "Landmarks: {fixed} on the reference and {moving} on the image; give three pairs or more, or none."
            )
            return words.format(fixed=points[0], moving=points[1])
        return ""

    def plan(self, twin):
        reference, frames = twin.node("reference"), TwinPanel.from_text(self.parameters.frames, {})
        images = [reference, *(node for node in twin.nodes("image") if node is not reference)]
        own = frames.get(reference.GetName(), reference.GetName())
        moved = {frames.get(node.GetName(), node.GetName()) for node in images} - {own}
        modalities = [meaning(node)["modality"] for node in images]
        takes = expected(TwinPanel.voxels_of(reference), modalities, len(moved), self.form.values())
        words = _("Apply will bring {n} images onto the grid of {reference}, with {moved} of their frames registered.")
        return words.format(n=len(images), reference=reference.GetName(), moved=len(moved)), takes

    def step(self):
        c = self.parameters
        points = [TwinPanel.points_of(node) for node in (c.fixedPoints, c.movingPoints)]
        landmarks = {TwinPanel.chosen_of(self.ui.landmarksBox): points} if points[0] else None
        frames = TwinPanel.from_text(c.frames, {})
        return self.logic.step(frames, c.region, landmarks, **self.form.values())

    def show_twin(self, twin):
        c = self.parameters
        self.form.show(fusion_parameters(), TwinPanel.from_text(c.choices, {}))
        frames = TwinPanel.from_text(c.frames, {})
        names = [] if twin is None else [node.GetName() for node in twin.nodes("image")]
        reference = next((n.GetName() for n in twin.nodes("reference")), "") if twin is not None else ""
        others = [name for name in names if name != reference]
        TwinPanel.fill_box(self.ui.landmarksBox, {name: name for name in others}, c.landmarksImage)
        TwinPanel.watch_points(self, c.fixedPoints, c.movingPoints)
        if self.compare is not None:
            self.frames.show(rows_of(twin, frames, reference))
            self.compare.show(TwinPanel.newest_fused(twin))

    def show_results(self, twin):
        TwinPanel.set_layout("SlicerLayoutFourUpView")
        self.compare.show_over()

    def _on_frames(self):
        self.parameters.frames = json.dumps(self.frames.frames())

    def _on_choices(self):
        self.parameters.choices = json.dumps(self.form.values())

    def _on_landmarks_image(self):
        self.parameters.landmarksImage = TwinPanel.chosen_of(self.ui.landmarksBox)

    def _place(self, role):
        """Show the image that points are wanted on, and let clicks be such points."""
        twin, fixed = self.selector.twin, role == "fixedPoints"
        if twin is None or not twin.nodes("reference"):
            return
        name = twin.node("reference").GetName() if fixed else TwinPanel.chosen_of(self.ui.landmarksBox)
        node = getattr(self.parameters, role)
        if node is None:
            node = TwinPanel.new_points(_("landmarks on {name}").format(name=name), (0.34, 0.71, 0.91))
            setattr(self.parameters, role, node)
        shown = next((image for image in twin.nodes("image") if image.GetName() == name), None)
        slicer.util.setSliceViewerLayers(background=shown, foreground=None)
        TwinPanel.place_points(node)


def rows_of(twin, frames, reference):
    """What the list of images says of each, by its name."""
    verdicts, rows = verdicts_of(twin, frames, reference), {}
    for node in [] if twin is None else twin.nodes("image"):
        name, said = node.GetName(), meaning(node)
        unit = in_words(said["unit"]) or _("no unit")
        rows[name] = TwinPanel.ImageRow(said["modality"], unit, str(frames.get(name, "")), verdicts.get(name, ""))
    return rows


def verdicts_of(twin, frames, reference):
    """The newest run's verdict on each image, by its name."""
    tables = [] if twin is None else TwinPanel.made_by(twin, "table", "TwinFusion")
    tables = [node_to_table(node) for node in tables if node.GetTable().GetColumnByName("verdict") is not None]
    grades = dict(zip(tables[0].columns["frame"], tables[0].columns["verdict"])) if tables else {}
    fused = [] if twin is None else TwinPanel.newest_fused(twin)
    still = frames.get(reference, reference)
    judged = {name: grades.get(frames.get(name, name), "") for name in fused}
    unmoved = {name: _("not moved") for name in fused if frames.get(name, name) == still}
    return {**judged, **unmoved, reference: _("reference")} if fused else {}


class TwinFusionLogic(ScriptedLoadableModuleLogic):
    """The module from the Python console.

    >>> transformNode = TwinFusionLogic().register(ctNode, mrNode, preset="CT-MR")
    >>> fusedNodes = TwinFusionLogic().fuse(twinNode, frames={"T1": "MR", "T2": "MR"})
    """

    def getParameterNode(self):
        return TwinFusionParameterNode(super().getParameterNode())

    def step(self, frames=None, region=None, landmarks=None, **choices):
        """The work, ready to be run on a twin; see `fuse` for what it takes."""
        TwinPanel.ensure_packages(Path(__file__).parent / "Resources/TwinFusion-requirements.txt", "TwinFusion")
        from TwinFusionLib.step import FrameChoice, FusionStep

        frames, landmarks = frames or {}, landmarks or {}
        points = {image: [TwinPanel.points_of(side) for side in pair] for image, pair in landmarks.items()}
        own = {frames.get(image, image): FrameChoice(landmarks=tuple(pair)) for image, pair in points.items()}
        return FusionStep(frames=frames, region_ras_mm=TwinPanel.box_of(region), choices=own, **choices)

    def fuse(self, twinNode, frames=None, region=None, landmarks=None, job=None, **choices):
        """Bring all images of a twin into the frame of its reference; returns when it is done.

        Parameters
        ----------
        twinNode : vtkMRMLScriptedModuleNode
            The `mrml_node` of a `TwinCore.scene.Twin`.
        frames : dict, optional
            Frame of reference by image name: images of one frame are moved together, those of the reference's not.
        region : vtkMRMLMarkupsROINode, optional
            Where fused images are wanted.
        landmarks : dict, optional
            By image name, points on the reference and on the image: two markups nodes, or two lists of RAS mm.
        job : TwinCore.Job, optional
            To watch and to cancel it.
        **choices
            preset, motion, start, stiffness, finest_mm, spacing_mm and seed, as `fusion_parameters` declares them.

        Returns
        -------
        list of vtkMRMLScalarVolumeNode
            The fused images; the verdict is in `Twin(twinNode).provenance()[0]["results"]`.
        """
        twin = Twin(twinNode)
        run = execute(twin, self.step(frames, region, landmarks, **choices), job)
        return [node for node in twin.nodes("fused") if node.GetAttribute("DigitalTwin.Run") == run.id]

    def register(self, fixed, moving, preset="by modality", job=None, **choices):
        """Bring one volume into the frame of another; returns when it is done.

        Parameters
        ----------
        fixed, moving : vtkMRMLScalarVolumeNode
            Whose modality and unit are said: by a twin, or by `TwinCore.scene.set_meaning(node, "CT", "[hnsf'U]")`. A
            twin is made of the two where they are in none; other images of their twin are registered too.
        preset : str
            A name of `TwinFusionLib.presets.presets`.
        job, **choices
            As `fuse` takes them.

        Returns
        -------
        vtkMRMLTransformNode
            From `moving` to `fixed`, which know nothing of it: it is not applied.
        """
        twin = self._twin_of(fixed, moving)
        self.fuse(twin.mrml_node, job=job, preset=preset, **choices)
        role = slicer.vtkMRMLTransformNode.GetMovingNodeReferenceRole()
        return next(node for node in twin.nodes("transform") if node.GetNodeReference(role) is moving)

    def _twin_of(self, fixed, moving):
        for twin in Twin.all(slicer.mrmlScene):
            if twin.nodes("reference") == [fixed] and moving in twin.nodes("image"):
                return twin
            if any(node in twin.nodes("image") for node in (fixed, moving)):
                words = _("{name} is in the twin of {patient}, whose reference is another: fuse that twin.")
                raise InvalidInput(words.format(name=moving.GetName(), patient=twin.patient))
        for node in (fixed, moving):
            if not meaning(node)["modality"]:
                words = _("{name} does not say its modality: TwinCore.scene.set_meaning says it.")
                raise InvalidInput(words.format(name=node.GetName()))
        twin = Twin.create(fixed.GetName(), slicer.mrmlScene)
        for node in (fixed, moving):
            said = meaning(node)
            twin.adopt(node, said["modality"], said["unit"], said["time"], reference=node is fixed)
        return twin


class TwinFusionTest(ScriptedLoadableModuleTest):
    """Self-test on the virtual patient of Sample Data."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.test_fuse_and_revert()

    def test_fuse_and_revert(self):
        """CT and PET of one scanner are fused without being moved, and the run is undone."""
        twin = TwinPanel.load_virtual_patient()
        fused = TwinFusionLogic().fuse(twin.mrml_node, frames={"CT": "PET/CT", "PET": "PET/CT"})
        assert [node.GetName() for node in fused] == ["CT fused", "PET fused"]
        assert twin.provenance()[0]["results"]["verdict"] == "good"
        twin.revert_last_run()
        assert twin.nodes("fused") == []
        assert len(twin.nodes("image")) == 2
