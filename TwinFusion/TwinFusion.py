"""TwinFusion in Slicer: all images of a patient in one frame, on one grid."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Annotated

import qt
import slicer
from slicer import vtkMRMLMarkupsROINode, vtkMRMLScriptedModuleNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
)

if importlib.util.find_spec("TwinCore") is None:  # a source checkout: the shared packages lie one folder up
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from TwinCore.scene import Twin, execute
from TwinPanel import TwinWidget, box_of, ensure_packages, fit_height, phantom_twin


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


@parameterNodeWrapper
class TwinFusionParameterNode:
    """What the user has chosen.

    Parameters
    ----------
    twin : the twin's node
    region : where fused images are wanted; the whole reference if none
    frames : as JSON, the frame of reference by image name; images without one have a frame of their own
    seed : of the registration's random samples
    """

    twin: vtkMRMLScriptedModuleNode
    region: vtkMRMLMarkupsROINode
    frames: str = "{}"
    seed: Annotated[int, WithinRange(0, 999999)] = 0


class TwinFusionWidget(TwinWidget):
    """The panel."""

    def make_logic(self):
        return TwinFusionLogic()

    def setup(self):
        self._filling = False
        TwinWidget.setup(self)
        table = self.ui.framesTable
        table.setHorizontalHeaderLabels([_("Image"), _("Frame")])
        table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.Stretch)
        table.connect("cellChanged(int,int)", self._on_frame)

    def lacking(self, twin):
        if not twin.nodes("reference"):
            return _("The twin has no reference: add a volume to it as reference.")
        if len(twin.nodes("image")) < 2:
            return _("The twin has one image only: add another to fuse it with.")
        return ""

    def step(self):
        chosen = self.parameters
        return self.logic.step(json.loads(chosen.frames), chosen.region, chosen.seed)

    def show_twin(self, twin):
        """One row an image: its name, and the frame that the user has given it."""
        frames = json.loads(self.parameters.frames)
        names = [] if twin is None else [node.GetName() for node in twin.nodes("image")]
        rows = [(name, frames.get(name, "")) for name in names]
        if rows and rows == self._rows():
            return
        self._filling = True
        self.ui.framesTable.setRowCount(len(rows))
        for row, (name, frame) in enumerate(rows):
            item = qt.QTableWidgetItem(name)
            item.setFlags(qt.Qt.ItemIsEnabled)
            self.ui.framesTable.setItem(row, 0, item)
            self.ui.framesTable.setItem(row, 1, qt.QTableWidgetItem(frame))
        self._filling = False
        fit_height(self.ui.framesTable)

    def _rows(self):
        """Image and frame of each row of the table."""
        table = self.ui.framesTable
        return [(table.item(row, 0).text(), table.item(row, 1).text().strip()) for row in range(table.rowCount)]

    def _on_frame(self, _row, _column):
        if not self._filling:
            self.parameters.frames = json.dumps({name: frame for name, frame in self._rows() if frame})


class TwinFusionLogic(ScriptedLoadableModuleLogic):
    """The module from the Python console.

    >>> run = TwinFusionLogic().fuse(twinNode)
    >>> run.results["verdict"]
    'good'
    """

    def getParameterNode(self):
        return TwinFusionParameterNode(super().getParameterNode())

    def step(self, frames=None, region=None, seed=0, **choices):
        """The work, ready to be run on a twin; see `fuse` for what it takes."""
        ensure_packages(Path(__file__).parent / "Resources/TwinFusion-requirements.txt", "TwinFusion")
        from TwinFusionLib.step import FusionStep

        return FusionStep(frames=frames or {}, region_ras_mm=box_of(region), seed=seed, **choices)

    def fuse(self, twinNode, frames=None, region=None, seed=0, job=None, **choices):
        """Bring all images of a twin into the frame of its reference; returns when it is done.

        Parameters
        ----------
        twinNode : vtkMRMLScriptedModuleNode
            The `mrml_node` of a `TwinCore.scene.Twin`.
        frames : dict, optional
            Frame of reference by image name: images of one frame are moved together, those of the reference's not.
        region : vtkMRMLMarkupsROINode, optional
            Where fused images are wanted.
        seed : int
        job : TwinCore.Job, optional
            To watch and to cancel it.
        **choices
            Preset, motion, spacing and the rest, as `TwinFusionLib.step.FusionStep` takes them.

        Returns
        -------
        TwinCore.scene.Run
            With `results`, `warnings` and `provenance`; the nodes made are `Twin(twinNode).nodes("fused")` and
            `Twin(twinNode).nodes("transform")`.
        """
        return execute(Twin(twinNode), self.step(frames, region, seed, **choices), job)


class TwinFusionTest(ScriptedLoadableModuleTest):
    """Self-test on a made-up patient."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.test_fuse_and_revert()

    def test_fuse_and_revert(self):
        """CT and PET of one scanner are fused without being moved, and the run is undone."""
        twin = phantom_twin(slicer.mrmlScene)
        run = TwinFusionLogic().fuse(twin.mrml_node, frames={"CT": "PET/CT", "PET": "PET/CT"})
        assert run.results["verdict"] == "good"
        assert [node.GetName() for node in twin.nodes("fused")] == ["CT fused", "PET fused"]
        twin.revert_last_run()
        assert twin.nodes("fused") == []
        assert len(twin.nodes("image")) == 2
