"""TwinSimulate in Slicer: what may happen to a twin's tumour under each treatment."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Annotated

import slicer
from slicer import vtkMRMLScriptedModuleNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import Choice, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
)

if importlib.util.find_spec("TwinCore") is None:  # a source checkout: the shared packages lie one folder up
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from TwinCore import InvalidInput, Parameter, Segmentation
from TwinCore.scene import Twin, execute
from TwinPanel import ParameterForm, TwinWidget, ensure_packages, phantom_twin, segment_names
from TwinPanel.phantom import phantom_images
from TwinSimulateLib.tumour_presets import PRESETS


class TwinSimulate(ScriptedLoadableModule):
    """What Slicer lists."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("TwinSimulate")
        self.parent.categories = ["Digital Twin"]
        self.parent.dependencies = []
        self.parent.contributors = ["DigitalTwin contributors"]
        self.parent.helpText = _(
            "Predicts how a tumour may grow, with and without radiotherapy, on the voxels of a twin's anatomy and with "
            "50 % and 90 % intervals. Before: TwinSegment. For research only, not for clinical use."
        )
        self.parent.acknowledgementText = _("Part of the DigitalTwin extension.")


@parameterNodeWrapper
class TwinSimulateParameterNode:
    """What the user has chosen.

    Parameters
    ----------
    twin : the twin's node
    preset : which tumour in which tissues
    target : name of the tumour's segment
    treatments : fractions x Gy of each scenario, separated by commas; no treatment is always the first
    numbers : as JSON, the values of `run_parameters` by name
    """

    twin: vtkMRMLScriptedModuleNode
    preset: Annotated[str, Choice(list(PRESETS))] = "soft-tissue sarcoma"
    target: str = "tumour"
    treatments: str = "25 x 2, 5 x 6"
    numbers: str = "{}"


class TwinSimulateWidget(TwinWidget):
    """The panel."""

    def make_logic(self):
        return TwinSimulateLogic()

    def setup(self):
        self._preset = None
        self.run_form = ParameterForm(self._on_numbers)
        self.model_form = ParameterForm()
        TwinWidget.setup(self)
        self.ui.runButton.layout().addWidget(self.run_form.widget)
        self.ui.modelButton.layout().addWidget(self.model_form.widget)

    def lacking(self, twin):
        chosen = self.parameters
        if not twin.nodes("segmentation"):
            return _("The twin has no segmentation yet: run TwinSegment first.")
        needed = [chosen.target.strip(), *PRESETS[chosen.preset].tissues]
        there = segment_names(twin)
        absent = ", ".join(name for name in needed if name not in there)
        if absent:
            words = _("The twin lacks these segments: {names}. It has: {there}.")
            return words.format(names=absent, there=", ".join(there))
        try:
            treatments_of(chosen.treatments)
        except InvalidInput as error:
            return str(error)
        return ""

    def step(self):
        c = self.parameters
        horizon, members = (round(self.run_form.values()[name]) for name in ("horizon", "members"))
        return self.logic.step(c.preset, c.target.strip(), horizon, treatments_of(c.treatments), members)

    def show_twin(self, twin):
        if not self.run_form.boxes:
            self.run_form.show(run_parameters(), json.loads(self.parameters.numbers))
        if self._preset != self.parameters.preset:
            self._preset = self.parameters.preset
            self.model_form.show(PRESETS[self._preset].parameters)

    def _on_numbers(self):
        self.parameters.numbers = json.dumps(self.run_form.values())


def run_parameters():
    """The numbers of a run, as the panel offers them."""
    chosen = _("a choice")
    return (
        Parameter("horizon", "", "d", 120, 1, 3650, _("How far ahead to look, from the reference scan."), chosen),
        Parameter("members", "", "1", 48, 2, 10000, _("Runs in the ensemble; more make smoother intervals."), chosen),
    )


def treatments_of(text):
    """(fractions, Gy) of each treatment in a text such as "25 x 2, 5 x 6"; `InvalidInput` says how to write them."""
    treatments = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        fractions, _cross, dose = part.partition("x")
        try:
            treatments.append((int(fractions), float(dose)))
        except ValueError:
            words = _("Treatment {text!r} must be fractions x Gy, such as 25 x 2.")
            raise InvalidInput(words.format(text=part)) from None
    return treatments


class TwinSimulateLogic(ScriptedLoadableModuleLogic):
    """The module from the Python console.

    >>> run = TwinSimulateLogic().predict(twinNode, preset="soft-tissue sarcoma", treatments=[(25, 2.0)])
    >>> run.results["predicted_volume_ml, 25 x 2 Gy"].interval_90
    """

    def getParameterNode(self):
        return TwinSimulateParameterNode(super().getParameterNode())

    def step(self, preset, target="tumour", horizonDays=120, treatments=((25, 2.0), (5, 6.0)), members=48, seed=0):
        """The work, ready to be run on a twin; see `predict` for what it takes."""
        ensure_packages(Path(__file__).parent / "Resources/TwinSimulate-requirements.txt", "TwinSimulate")
        from TwinSimulateLib.radiotherapy import NO_TREATMENT, Schedule
        from TwinSimulateLib.step import SimulationStep

        scenarios = (NO_TREATMENT, *(Schedule.of(fractions, dose) for fractions, dose in treatments))
        chosen = {"horizon_days": horizonDays, "scenarios": scenarios, "members": members, "seed": seed}
        return SimulationStep(preset, {"tumour": target}, **chosen)

    def predict(self, twinNode, preset, target="tumour", horizonDays=120, job=None, **others):
        """Predict the tumour's growth without treatment and under each treatment; returns when it is done.

        Parameters
        ----------
        twinNode : vtkMRMLScriptedModuleNode
            The `mrml_node` of a `TwinCore.scene.Twin` that has been segmented.
        preset : str
            A name of `TwinSimulateLib.tumour_presets.PRESETS`.
        target : str
            Name of the tumour's segment.
        horizonDays : int
            How far ahead to look, from the reference scan.
        job : TwinCore.Job, optional
            To watch and to cancel it.
        **others
            treatments : sequence of (int, float), fractions and dose of a fraction in Gy.
            members, seed : int, size and seed of the ensemble.

        Returns
        -------
        TwinCore.scene.Run
            With `results`, `warnings` and `provenance`; fields, tables, charts and the sequence are nodes of the twin.
        """
        return execute(Twin(twinNode), self.step(preset, target, horizonDays, **others), job)


class TwinSimulateTest(ScriptedLoadableModuleTest):
    """Self-test on a made-up patient."""

    def runTest(self):
        slicer.mrmlScene.Clear()
        self.test_predict()

    def test_predict(self):
        """Without treatment the tumour grows; with it, it shrinks at first."""
        twin = phantom_twin(slicer.mrmlScene)
        ct, _pet, tumour = phantom_images()
        masks = {"tumour": tumour, "soft tissue": (ct.array > -300) & ~tumour}
        with twin.run("TwinSegment", {}) as run:
            run.add_segmentation(Segmentation.from_masks(ct.grid, masks), "Anatomy")
        others = {"treatments": [(5, 6.0)], "members": 2}
        run = TwinSimulateLogic().predict(twin.mrml_node, "soft-tissue sarcoma", horizonDays=14, **others)
        before = run.results["volume_ml"].value
        assert run.results["predicted_volume_ml, none"].value > before
        assert run.results["predicted_volume_ml, 5 x 6 Gy"].value < before
        assert len(twin.nodes("sequence")) == 1
