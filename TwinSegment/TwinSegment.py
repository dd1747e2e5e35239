"""TwinSegment in Slicer: the labelled anatomy of a twin, with its measures."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Annotated

import slicer
from slicer import (
    vtkMRMLMarkupsFiducialNode,
    vtkMRMLMarkupsROINode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLScriptedModuleNode,
    vtkMRMLSegmentationNode,
)
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
)

if importlib.util.find_spec("TwinCore") is None:  # a source checkout: the shared packages lie one folder up
    sys.path.append(str(Path(__file__).resolve().parents[1]))

import TwinPanel
from TwinCore.scene import Twin, execute, meaning, node_to_segmentation
from TwinPanel.phantom import phantom_outlines
from TwinSegmentLib.expected import expected
from TwinSegmentLib.export import KINDS, export_segments
from TwinSegmentLib.models.catalogue import find_model
from TwinSegmentLib.models.fetch import fetch
from TwinSegmentLib.models.installed import packages_missing
from TwinSegmentLib.models.offers import offers
from TwinSegmentLib.pet_threshold import RULES

NO_RULE = "none"


class TwinSegment(ScriptedLoadableModule):
    """What Slicer lists."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("TwinSegment")
        self.parent.categories = ["Digital Twin"]
        self.parent.dependencies = []
        self.parent.contributors = ["DigitalTwin contributors"]
        self.parent.helpText = _(
            "Labels the anatomy of a twin on the grid of its fused images: by models, outlines drawn elsewhere, PET "
            "thresholds, body and brain tissues, and clicks that correct. Before: TwinFusion. Next: TwinSimulate. For "
            "research only, not for clinical use."
        )
        self.parent.acknowledgementText = _("Part of the DigitalTwin extension.")


@parameterNodeWrapper
class TwinSegmentParameterNode:
    """What the user has chosen; images are the twin's input images, of which the fused ones are taken.

    Parameters
    ----------
    twin : the twin's node
    model, modelImages, looks : a model of the catalogue, as JSON the images for its channels, how often it looks
    closeMm, keepLargest, fillHoles : how segments that are found are tidied
    target : name of the tumour's segment
    outlines, outlinesImage : outlines, and the image that they were drawn on
    petRule, searchBox : threshold rule for the tumour in the PET, and where to look for it
    body, brain : images from which the body's outline, and the brain's tissues, are taken
    showUncertainty : whether the model's uncertainty is laid over the images
    correctedSegment, edges, reachMm : what is corrected by clicks, along which image's edges, how far from a click
    missedClicks, surplusClicks : places that were missed, and that do not belong
    """

    twin: vtkMRMLScriptedModuleNode
    model: str = ""
    modelImages: str = "[]"
    looks: Annotated[int, WithinRange(1, 5)] = 1
    closeMm: Annotated[float, WithinRange(0.0, 50.0)] = 0.0
    keepLargest: bool = False
    fillHoles: bool = False
    target: str = "tumour"
    outlines: vtkMRMLSegmentationNode
    outlinesImage: vtkMRMLScalarVolumeNode
    petRule: Annotated[str, Choice([NO_RULE, *RULES])] = NO_RULE
    searchBox: vtkMRMLMarkupsROINode
    body: vtkMRMLScalarVolumeNode
    brain: vtkMRMLScalarVolumeNode
    showUncertainty: bool = False
    correctedSegment: str = ""
    edges: str = ""
    reachMm: Annotated[float, WithinRange(1.0, 100.0)] = 15.0
    missedClicks: vtkMRMLMarkupsFiducialNode
    surplusClicks: vtkMRMLMarkupsFiducialNode


class TwinSegmentWidget(TwinPanel.TwinWidget):
    """The panel."""

    next_module = "TwinSimulate"

    def make_logic(self):
        return TwinSegmentLogic()

    def setup(self):
        self.chooser = TwinPanel.ModelChooser(self._on_model, self._on_fetch)
        self.results = self.clicks = None
        TwinPanel.TwinWidget.setup(self)
        self.ui.modelPlace.layout().addWidget(self.chooser.widget)
        self.results = TwinPanel.SegmentResults(self.ui, KINDS, self.logic.export)
        self.clicks = TwinPanel.ClickCorrection(self, self._on_correct)
        self.refresh()

    def put_away(self):
        self.clicks.rest()

    def lacking(self, twin):
        chosen, offer = self.parameters, self.chooser.offer
        if not twin.nodes("fused"):
            return _("The twin has no fused images yet: run TwinFusion first.")
        if offer is not None and offer.lacks:
            return offer.lacks
        if chosen.outlines is not None and chosen.outlinesImage is None:
            return _("Choose the image that the outlines were drawn on.")
        if not self._wants_tumour():
            words = _("Choose a model, outlines that hold the tumour, or a PET rule to find it.")
            return "" if any([offer, chosen.body, chosen.brain]) else words
        if not chosen.target.strip():
            return _("Name the segment that is the tumour.")
        if chosen.outlines is None and chosen.searchBox is None:
            return _("Choose a box in which to look for the tumour in the PET.")
        return ""

    def plan(self, twin):
        offer, c, fused = self.chooser.offer, self.parameters, twin.nodes("fused")
        on = ", ".join(self.chooser.images())
        parts = [_("{model} on {images}").format(model=offer.title, images=on)] if offer else []
        parts += [_("the segment {name!r}").format(name=c.target.strip())] if self._wants_tumour() else []
        parts += [words for node, words in ((c.body, _("the body")), (c.brain, _("the brain's tissues"))) if node]
        entry = find_model(offer.name) if offer is not None else None
        takes = expected(TwinPanel.voxels_of(fused[0]), len(fused), entry, c.looks)
        return _("Apply will label: {parts}.").format(parts="; ".join(parts)), takes

    def step(self):
        c, offer = self.parameters, self.chooser.offer
        outlines = {c.outlinesImage.GetName(): c.outlines} if c.outlines is not None else {}
        names = [None if node is None else node.GetName() for node in (c.body, c.brain)]
        target = c.target.strip() if self._wants_tumour() else None
        model = {"model": offer.name, "modelImages": self.chooser.images(), "looks": c.looks} if offer else {}
        tidy = {"closeMm": c.closeMm, "keepLargest": c.keepLargest, "fillHoles": c.fillHoles}
        return self.logic.step(target, outlines, c.petRule, c.searchBox, *names, **model, **tidy)

    def show_twin(self, twin):
        c, fused = self.parameters, TwinPanel.newest_fused(twin)
        modalities = {name: meaning(node)["modality"] for name, node in fused.items()}
        found, trouble = offers(modalities)
        self.chooser.show(found, list(fused), c.model, TwinPanel.from_text(c.modelImages, []), trouble)
        if self.clicks is not None:
            self.results.show(twin, self.moduleName, c.showUncertainty)
            self.clicks.show([] if twin is None else TwinPanel.segment_names(twin), fused)

    def show_results(self, twin):
        TwinPanel.show_anatomy(twin, self.parameters.target.strip())

    def _wants_tumour(self):
        return self.parameters.outlines is not None or self.parameters.petRule != NO_RULE

    def _on_model(self):
        self.parameters.model = self.chooser.offer.name if self.chooser.offer is not None else ""
        self.parameters.modelImages = json.dumps([box.currentText for box in self.chooser.channelBoxes])

    def _on_fetch(self, offer):
        done = _("The model is here now.")
        self.job_bar.aside(lambda job: fetch(find_model(offer.name), job), lambda _answer: self.job_bar.say(done))

    def _on_correct(self):
        self.job_bar.run(lambda: self.logic.correction_step(*self.clicks.marked()))


class TwinSegmentLogic(ScriptedLoadableModuleLogic):
    """The module from the Python console.

    >>> anatomyNode = TwinSegmentLogic().segment(twinNode, target="tumour", outlines={"CT": outlinesNode})
    >>> anatomyNode = TwinSegmentLogic().correct(twinNode, "tumour", missed=[(-80.0, 20.0, 110.0)])
    """

    def getParameterNode(self):
        return TwinSegmentParameterNode(super().getParameterNode())

    def _ensure(self, what):
        TwinPanel.ensure_packages(Path(__file__).parent / f"Resources/TwinSegment-{what}.txt", "TwinSegment")

    def step(
        self, target=None, outlines=None, petRule=NO_RULE, searchBox=None, body=None, brain=None,
        model=None, modelImages=(), looks=1, closeMm=0.0, keepLargest=False, fillHoles=False,
    ):  # fmt: skip
        """The work, ready to be run on a twin; see `segment` for what it takes."""
        self._ensure("requirements")
        if model is not None and "torch" in packages_missing(find_model(model)):
            TwinPanel.ensure_torch("TwinSegment")
        if model is not None and packages_missing(find_model(model)):
            self._ensure("models")
        from TwinSegmentLib.step import SegmentStep
        from TwinSegmentLib.tidy import Tidy

        drawn = {image: node_to_segmentation(node) for image, node in (outlines or {}).items()}
        rule, box = None if petRule == NO_RULE else petRule, TwinPanel.box_of(searchBox)
        found = {"model": model, "model_images": tuple(modelImages), "looks": looks}
        return SegmentStep(target, drawn, rule, box, body, brain, **found, tidy=Tidy(closeMm, keepLargest, fillHoles))

    def segment(self, twinNode, target=None, job=None, **choices):
        """Label the anatomy of a twin that has been fused; returns when it is done.

        Parameters
        ----------
        twinNode : vtkMRMLScriptedModuleNode
            The `mrml_node` of a `TwinCore.scene.Twin`.
        target : str, optional
            Name of the segment that is the tumour; none where a model's anatomy is all that is wanted.
        job : TwinCore.Job, optional
            To watch and to cancel it.
        **choices
            outlines : dict of str to vtkMRMLSegmentationNode, by the name of the image that they were drawn on.
            petRule : str, a name of `TwinSegmentLib.pet_threshold.RULES`, or "none"; searchBox : vtkMRMLMarkupsROINode,
            where to look for the tumour in the PET, around the target if none.
            body, brain : str, images from which the body's outline, and the brain's tissues, are taken.
            model : str, a name of the catalogue; modelImages : sequence of str, for its channels; looks : int.
            closeMm : float, keepLargest, fillHoles : bool, how segments that are found are tidied.

        Returns
        -------
        vtkMRMLSegmentationNode
            The anatomy; the table of measures is `Twin(twinNode).node("table")`.
        """
        execute(Twin(twinNode), self.step(target, **choices), job)
        return Twin(twinNode).node("segmentation")

    def correction_step(self, segment, missed=None, surplus=None, image=None, reachMm=15.0):
        """The correction, ready to be run on a twin; see `correct` for what it takes."""
        from TwinSegmentLib.correction_step import CorrectionStep

        points = [TwinPanel.points_of(clicks) for clicks in (missed, surplus)]
        return CorrectionStep(segment, *points, image=image or None, reach_mm=reachMm)

    def correct(self, twinNode, segment, missed=None, surplus=None, image=None, reachMm=15.0, job=None):
        """Correct a segment of a twin's newest anatomy near clicks; returns when it is done.

        Parameters
        ----------
        twinNode : vtkMRMLScriptedModuleNode
        segment : str
        missed, surplus : vtkMRMLMarkupsNode or sequence of (R, A, S) in mm, optional
            Places that belong to the segment and were missed, and places that do not belong to it.
        image : str, optional
            The image whose edges the segment follows; the reference if none.
        reachMm : float
            How far from a click anything may change.
        job : TwinCore.Job, optional

        Returns
        -------
        vtkMRMLSegmentationNode
            The corrected anatomy, a node of its own: reverting the run brings the one before back.
        """
        execute(Twin(twinNode), self.correction_step(segment, missed, surplus, image, reachMm), job)
        return Twin(twinNode).node("segmentation")

    def export(self, twinNode, folder, kind="seg", job=None):
        """Write the twin's newest anatomy as "seg", "rtstruct", "stl", "obj" or "vtk"; returns the paths."""
        if kind == "seg":
            self._ensure("export")
        twin = Twin(twinNode)
        return export_segments(node_to_segmentation(twin.node("segmentation")), folder, kind, twin.patient, job)


class TwinSegmentTest(ScriptedLoadableModuleTest):
    """Self-test on the virtual patient of Sample Data."""

    def runTest(self):
        slicer.mrmlScene.Clear()
        self.test_segment_and_correct()

    def test_segment_and_correct(self):
        """The outlined tumour has its volume, the PET threshold finds it too, and a click takes a part of it away."""
        twin = TwinPanel.load_virtual_patient()
        with twin.run("TwinFusion", {}) as run:
            for node, image in twin.images():
                run.add_image(image, "fused", name=f"{node.GetName()} fused")
        outlines = {"CT": slicer.mrmlScene.GetFirstNodeByName("Outlines")}
        logic = TwinSegmentLogic()
        found = logic.segment(twin.mrml_node, "tumour", outlines=outlines, petRule="41 % of maximum", body="CT")
        anatomy = node_to_segmentation(found)
        assert anatomy.names == ["tumour", "tumour (PET 41 % of maximum)", "soft tissue"]
        assert anatomy.volume_ml("tumour") == phantom_outlines().volume_ml("tumour")
        assert twin.provenance()[0]["results"]["pet_dice"]["value"] > 0.95
        corrected = logic.correct(twin.mrml_node, "tumour", surplus=[(58, 72, 72)], image="CT", reachMm=8)
        assert node_to_segmentation(corrected).volume_ml("tumour") < anatomy.volume_ml("tumour")
