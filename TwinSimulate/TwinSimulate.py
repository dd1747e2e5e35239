"""TwinSimulate in Slicer: what may happen to a twin under each treatment."""

import importlib.util
import json
import sys
from pathlib import Path

import slicer
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLScriptedModuleNode
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
from TwinCore import InvalidInput, Segmentation
from TwinCore.scene import Twin, execute, node_to_image
from TwinPanel.phantom import phantom_images, phantom_twin
from TwinSimulateLib import registry
from TwinSimulateLib.asked import OBSERVATION, SCENARIO, run_parameters, schedule_of, step_for
from TwinSimulateLib.expected import expected
from TwinSimulateLib.radiotherapy import Schedule


class TwinSimulate(ScriptedLoadableModule):
    """What Slicer lists."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("TwinSimulate")
        self.parent.categories = ["Digital Twin"]
        self.parent.dependencies = []
        self.parent.contributors = ["DigitalTwin contributors"]
        self.parent.helpText = _(
            "Predicts how a tumour may grow, with and without radiotherapy, and what a planned dose may do, on the "
            "voxels of a twin's anatomy, with intervals. Before: TwinSegment. For research only, not for clinical use."
        )
        self.parent.acknowledgementText = _("Part of the DigitalTwin extension.")


@parameterNodeWrapper
class TwinSimulateParameterNode:
    """What the user has chosen.

    Parameters
    ----------
    twin : the twin's node
    model, preset : a model of the registry, and which tumour in which tissues
    segments : as JSON, the twin's segment for each that the model needs
    dose : total dose of a plan, in Gy
    values : as JSON, parameters at other values than the preset's, by name
    scenarios : as JSON, fractions, Gy a fraction and first day of each treatment
    observations, received : as JSON, day, mL and error in % of each volume at follow-up; the treatment until then
    numbers : as JSON, the values of `run_parameters` by name
    """

    twin: vtkMRMLScriptedModuleNode
    model: str = "tumour_growth"
    preset: str = "soft-tissue sarcoma"
    segments: str = "{}"
    dose: vtkMRMLScalarVolumeNode
    values: str = "{}"
    scenarios: str = "[[25, 2, 0], [5, 6, 0]]"
    observations: str = "[]"
    received: str = "none"
    numbers: str = "{}"


class TwinSimulateWidget(TwinPanel.TwinWidget):
    """The panel."""

    def make_logic(self):
        return TwinSimulateLogic()

    def setup(self):
        self.segments_form = TwinPanel.ChoiceForm(lambda: self._keep("segments", self.segments_form.chosen()))
        self.values_form = TwinPanel.ParameterForm(self._on_values)
        self.run_form = TwinPanel.ParameterForm(lambda: self._keep("numbers", self.run_form.values()))
        self.scenarios = TwinPanel.RowTable(SCENARIO, lambda: self._keep("scenarios", self.scenarios.rows()))
        self.observations = TwinPanel.RowTable(
            OBSERVATION, lambda: self._keep("observations", self.observations.rows())
        )
        self.results = None
        TwinPanel.TwinWidget.setup(self)
        ui = self.ui
        for place, part in (
            (ui.segmentsPlace, self.segments_form),
            (ui.scenariosButton, self.scenarios),
            (ui.observationsPlace, self.observations),
            (ui.runButton, self.run_form),
            (ui.parametersButton, self.values_form),
        ):
            place.layout().addWidget(part.widget)
        self.results = TwinPanel.SimulationResults(ui)
        for box in (ui.systemBox, ui.modelBox, ui.presetBox):
            box.connect("activated(int)", lambda _index, box=box: self._on_model(box))
        ui.calibrateButton.connect("clicked()", lambda *_args: self.job_bar.run(lambda: self._step(calibrate=True)))
        self.refresh()

    def lacking(self, twin):
        if not twin.nodes("segmentation"):
            return _("The twin has no segmentation yet: run TwinSegment first.")
        absent = ", ".join(name for name, segment in self.segments_form.chosen().items() if not segment)
        if absent:
            words = _("The twin lacks these segments: {names}. It has: {there}. Choose which are meant.")
            return words.format(names=absent, there=", ".join(TwinPanel.segment_names(twin)))
        if self._needs_dose() and self.parameters.dose is None:
            return _("Choose the dose of the plan.")
        try:
            treatments = [schedule_of(*row).name for row in self.scenarios.rows()]
            Schedule.parse(self.parameters.received.strip())
        except InvalidInput as error:
            return str(error)
        if len(set(treatments)) < len(treatments):
            return _("Two of the treatments are the same: change or remove one.")
        if self._needs_dose() and not treatments:
            return _("Add the treatment that the dose was planned for; it comes first.")
        return ""

    def plan(self, twin):
        chosen, entry = self.run_form.values(), registry.MODELS[self.parameters.model]
        count = len(self.scenarios.rows()) + entry.over_time
        horizon, members = chosen.get("horizon", 1.0), round(chosen["members"])
        voxels = max(map(TwinPanel.voxels_of, twin.nodes("fused")), default=0)
        takes = expected(twin.provenance(), voxels, self.parameters.model, members, count, horizon)
        words = _("Apply will compare {n} treatments, each in {members} runs.")
        if entry.over_time:
            words = _("Apply will compare {n} treatments, with none as one, over {days} days, each in {members} runs.")
        return words.format(n=count, members=members, days=round(horizon)), takes

    def step(self):
        return self._step(calibrate=False)

    def show_twin(self, twin):
        c = self.parameters
        if c.model not in registry.MODELS or c.preset not in registry.presets_of(c.model):  # of another release
            c.model = next(iter(registry.MODELS))
            c.preset = next(iter(registry.presets_of(c.model)))
        entry, declared = registry.MODELS[c.model], registry.declared(c.model, c.preset)
        systems = {other.system: other.system for other in registry.MODELS.values()}
        models = {name: other.title for name, other in registry.MODELS.items() if other.system == entry.system}
        TwinPanel.fill_box(self.ui.systemBox, systems, entry.system)
        TwinPanel.fill_box(self.ui.modelBox, models, c.model)
        TwinPanel.fill_box(self.ui.presetBox, registry.presets_of(c.model), c.preset)
        needs = {r.name: r.meaning for r in declared.requires if r.kind == "segment" and not r.optional}
        there = [] if twin is None else TwinPanel.segment_names(twin)
        self.segments_form.show(needs, there, TwinPanel.from_text(c.segments, {}))
        self.values_form.show(declared.parameters, TwinPanel.from_text(c.values, {}))
        self.run_form.show(run_parameters(c.model), TwinPanel.from_text(c.numbers, {}))
        self.scenarios.show(TwinPanel.from_text(c.scenarios, []))
        self.observations.show(TwinPanel.from_text(c.observations, []))
        for widget in (self.ui.doseSelector, self.ui.questionDoseLabel):
            widget.visible = self._needs_dose()
        self.ui.observationsButton.visible = entry.over_time
        self.ui.calibrateButton.enabled = (
            bool(self.observations.rows()) and twin is not None and not self.job_bar.running and not self.lacking(twin)
        )
        if self.results is not None:
            self.results.show(twin, self.moduleName)

    def show_results(self, twin):
        TwinPanel.show_anatomy(twin, self.segments_form.chosen().get("tumour", ""))
        if twin.nodes("plot"):
            TwinPanel.show_chart(twin.node("plot"))

    def _needs_dose(self):
        declared = registry.declared(self.parameters.model, self.parameters.preset)
        return any(r.kind == "image" and not r.optional for r in declared.requires)

    def _keep(self, name, value):
        setattr(self.parameters, name, json.dumps(value))

    def _on_values(self):
        """Keep what differs from the preset alone, so that another preset has its own values."""
        declared = registry.declared(self.parameters.model, self.parameters.preset).parameters
        shown = self.values_form.values()
        self._keep("values", {p.name: shown[p.name] for p in declared if shown[p.name] != p.default})

    def _on_model(self, box):
        c, value = self.parameters, TwinPanel.chosen_of(box)
        if box is self.ui.systemBox:
            value = next(name for name, entry in registry.MODELS.items() if entry.system == value)
        if box is self.ui.presetBox:
            c.preset = value
        else:
            c.model = value
            c.preset = c.preset if c.preset in registry.presets_of(value) else next(iter(registry.presets_of(value)))
        c.values = c.segments = "{}"

    def _step(self, calibrate):
        c, numbers = self.parameters, self.run_form.values()
        entry = registry.MODELS[c.model]
        choices = {
            "calibrate": calibrate,
            "model": c.model,
            "segments": self.segments_form.chosen(),
            "treatments": self.scenarios.rows(),
            "members": round(numbers["members"]),
            "seed": round(numbers["seed"]),
            "values": TwinPanel.from_text(c.values, {}),
        }
        if entry.over_time:
            choices["horizonDays"] = round(numbers["horizon"])
            choices |= {"observations": self.observations.rows(), "received": c.received.strip()}
        if self._needs_dose():
            choices["dose"] = c.dose
        return self.logic.step(c.preset, **choices)


class TwinSimulateLogic(ScriptedLoadableModuleLogic):
    """The module from the Python console.

    >>> nodes = TwinSimulateLogic().predict(twinNode, "soft-tissue sarcoma", treatments=[(25, 2.0), (5, 6.0)])
    >>> nodes = TwinSimulateLogic().calibrate(twinNode, "glioma", observations=[(90, 31.0, 10)])
    """

    def getParameterNode(self):
        return TwinSimulateParameterNode(super().getParameterNode())

    def step(self, preset, model="tumour_growth", dose=None, horizonDays=None, **choices):
        """The work, ready to be run on a twin; see `predict` for what it takes."""
        TwinPanel.ensure_packages(Path(__file__).parent / "Resources/TwinSimulate-requirements.txt", "TwinSimulate")
        if dose is not None:
            choices["dose"] = node_to_image(dose)
        if horizonDays is not None:
            choices["horizon_days"] = horizonDays
        return step_for(preset, model, **choices)

    def predict(self, twinNode, preset, job=None, **choices):
        """Compare treatments on a twin that has been segmented; returns when it is done.

        Parameters
        ----------
        twinNode : vtkMRMLScriptedModuleNode
            The `mrml_node` of a `TwinCore.scene.Twin`.
        preset : str
            Which tumour: a name of `TwinSimulateLib.registry.presets_of(model)`.
        job : TwinCore.Job, optional
            To watch and to cancel it.
        **choices
            model : str, a name of `TwinSimulateLib.registry.MODELS`.
            segments : dict of str to str, the twin's segment for each that the model needs and that has another name.
            treatments : sequence of (fractions, Gy of one, first day or nothing).
            members, seed : int; values : dict of str to float, parameters at other values than the preset's.
            Of a model over time: horizonDays : int, observations : sequence of (day, mL, error in %), received : str
            such as "25 x 2 Gy". Of the radiotherapy model: dose : vtkMRMLScalarVolumeNode in Gy.

        Returns
        -------
        dict of str to list of nodes
            What was made, by role: "field", "table", "plot", "sequence".
        """
        return self._run(twinNode, self.step(preset, **choices), job)

    def calibrate(self, twinNode, preset, observations, job=None, **choices):
        """Find what volumes at follow-up say of a tumour's parameters; takes and returns what `predict` does."""
        step = self.step(preset, calibrate=True, observations=observations, **choices)
        return self._run(twinNode, step, job)

    def _run(self, twinNode, step, job):
        twin = Twin(twinNode)
        execute(twin, step, job)
        return {role: TwinPanel.made_by(twin, role, step.name) for role in ("field", "table", "plot", "sequence")}


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
        chosen = {"horizonDays": 14, "treatments": [(5, 6.0)], "members": 2}
        nodes = TwinSimulateLogic().predict(twin.mrml_node, "soft-tissue sarcoma", **chosen)
        results = twin.provenance()[0]["results"]
        before = results["volume_ml"]["value"]
        assert results["predicted_volume_ml, none"]["value"] > before
        assert results["predicted_volume_ml, 5 x 6 Gy"]["value"] < before
        assert {role: len(made) for role, made in nodes.items()} == {"field": 4, "table": 2, "plot": 1, "sequence": 2}
