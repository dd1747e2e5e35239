"""TwinSegment in Slicer: the labelled anatomy of a twin, with its measures."""

import importlib.util
import sys
from pathlib import Path
from typing import Annotated

import slicer
from slicer import (
    vtkMRMLMarkupsROINode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLScriptedModuleNode,
    vtkMRMLSegmentationNode,
)
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import Choice, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
)

if importlib.util.find_spec("TwinCore") is None:  # a source checkout: the shared packages lie one folder up
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from TwinCore import MissingInput
from TwinCore.scene import Twin, execute, node_to_segmentation, segmentation_to_node
from TwinPanel import TwinWidget, box_of, phantom_twin
from TwinPanel.phantom import phantom_outlines
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
            "Labels the anatomy of a twin on the grid of its fused images: outlines drawn elsewhere, PET thresholds, "
            "body and brain tissues. Before: TwinFusion. Next: TwinSimulate. For research only, not for clinical use."
        )
        self.parent.acknowledgementText = _("Part of the DigitalTwin extension.")


@parameterNodeWrapper
class TwinSegmentParameterNode:
    """What the user has chosen; images are the twin's input images, of which the fused ones are taken.

    Parameters
    ----------
    twin : the twin's node
    target : name of the tumour's segment
    outlines, outlinesImage : outlines, and the image that they were drawn on
    petRule, searchBox : threshold rule for the tumour in the PET, and where to look for it
    body, brain : images from which the body's outline, and the brain's tissues, are taken
    """

    twin: vtkMRMLScriptedModuleNode
    target: str = "tumour"
    outlines: vtkMRMLSegmentationNode
    outlinesImage: vtkMRMLScalarVolumeNode
    petRule: Annotated[str, Choice([NO_RULE, *RULES])] = NO_RULE
    searchBox: vtkMRMLMarkupsROINode
    body: vtkMRMLScalarVolumeNode
    brain: vtkMRMLScalarVolumeNode


class TwinSegmentWidget(TwinWidget):
    """The panel."""

    def make_logic(self):
        return TwinSegmentLogic()

    def lacking(self, twin):
        chosen = self.parameters
        if not twin.nodes("fused"):
            return _("The twin has no fused images yet: run TwinFusion first.")
        if not chosen.target.strip():
            return _("Name the segment that is the tumour.")
        if chosen.outlines is None and chosen.petRule == NO_RULE:
            return _("Choose outlines that hold the tumour, or a PET rule to find it.")
        if chosen.outlines is not None and chosen.outlinesImage is None:
            return _("Choose the image that the outlines were drawn on.")
        if chosen.outlines is None and chosen.searchBox is None:
            return _("Choose a box in which to look for the tumour in the PET.")
        return ""

    def step(self):
        c = self.parameters
        outlines = {c.outlinesImage.GetName(): c.outlines} if c.outlines is not None else {}
        names = [None if node is None else node.GetName() for node in (c.body, c.brain)]
        return self.logic.step(c.target.strip(), outlines, c.petRule, c.searchBox, *names)


class TwinSegmentLogic(ScriptedLoadableModuleLogic):
    """The module from the Python console.

    >>> TwinSegmentLogic().segment(twinNode, target="tumour", outlines={"CT": outlinesNode}).GetName()
    'Anatomy'
    """

    def getParameterNode(self):
        return TwinSegmentParameterNode(super().getParameterNode())

    def step(self, target, outlines=None, petRule=NO_RULE, searchBox=None, body=None, brain=None):
        """The work, ready to be run on a twin; see `segment` for what it takes."""
        from TwinSegmentLib.step import SegmentStep

        drawn = {image: node_to_segmentation(node) for image, node in (outlines or {}).items()}
        rule = None if petRule in (None, NO_RULE) else petRule
        return SegmentStep(target, drawn, rule, box_of(searchBox), body, brain)

    def segment(
        self, twinNode, target, outlines=None, petRule=NO_RULE, searchBox=None, body=None, brain=None, job=None
    ):
        """Label the anatomy of a twin that has been fused; returns when it is done.

        Parameters
        ----------
        twinNode : vtkMRMLScriptedModuleNode
            The `mrml_node` of a `TwinCore.scene.Twin`.
        target : str
            Name of the segment that is the tumour.
        outlines : dict of str to vtkMRMLSegmentationNode, optional
            Outlines by the name of the image that they were drawn on.
        petRule : str
            A name of `TwinSegmentLib.pet_threshold.RULES`, or "none".
        searchBox : vtkMRMLMarkupsROINode, optional
            Where to look for the tumour in the PET; around the target if none.
        body, brain : str, optional
            Names of the images from which the body's outline, and the brain's tissues, are taken.
        job : TwinCore.Job, optional
            To watch and to cancel it.

        Returns
        -------
        vtkMRMLSegmentationNode
            The anatomy; the table of measures is `Twin(twinNode).node("table")`.
        """
        twin = Twin(twinNode)
        execute(twin, self.step(target, outlines, petRule, searchBox, body, brain), job)
        return twin.node("segmentation")


class TwinSegmentTest(ScriptedLoadableModuleTest):
    """Self-test on a made-up patient."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.test_segment()
        self.setUp()
        self.test_what_is_missing_is_named()

    def test_segment(self):
        """The outlined tumour has its volume, and the PET threshold finds it too."""
        twin = phantom_twin(slicer.mrmlScene)
        with twin.run("TwinFusion", {}) as run:
            for node, image in twin.images():
                run.add_image(image, "fused", name=f"{node.GetName()} fused")
        outlines = segmentation_to_node(phantom_outlines(), slicer.mrmlScene, "Outlines")
        node = TwinSegmentLogic().segment(twin.mrml_node, "tumour", {"CT": outlines}, "41 % of maximum", body="CT")
        anatomy = node_to_segmentation(node)
        assert anatomy.names == ["tumour", "tumour (PET 41 % of maximum)", "soft tissue"]
        assert anatomy.volume_ml("tumour") == phantom_outlines().volume_ml("tumour")
        assert twin.provenance()[0]["results"]["pet_dice"]["value"] > 0.95

    def test_what_is_missing_is_named(self):
        """A twin that was not fused cannot be segmented."""
        twin = phantom_twin(slicer.mrmlScene)
        message = ""
        try:
            TwinSegmentLogic().segment(twin.mrml_node, "tumour")
        except MissingInput as error:
            message = str(error)
        assert "run TwinFusion first" in message
