"""TwinSimulate in Slicer: what may happen to a twin under each treatment."""

import importlib.util
import json
import sys
from pathlib import Path

import slicer
from slicer import vtkMRMLScriptedModuleNode
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
from TwinPanel.phantom import phantom_images
from TwinSimulateLib import registry
from TwinSimulateLib.asked import OBSERVATION, SCENARIO, run_parameters, scenarios_of, step_for
from TwinSimulateLib.expected import Work, expected
from TwinSimulateLib.treatment_text import parse


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
    """What the user has chosen; images that a model takes are references of the node, by their names.

    Parameters
    ----------
    twin : the twin's node
    model, preset : a model of the registry, and which tumour in which tissues
    segments : as JSON, the twin's segment for each that the model takes
    values : as JSON, parameters at other values than the preset's, by name
    scenarios : as JSON, the numbers of each treatment, as `asked.SCENARIO` declares them
    observations, received : as JSON, day, mL and error in % of each volume at follow-up; the treatment until then
    numbers : as JSON, the values of `run_parameters` by name
    """

    twin: vtkMRMLScriptedModuleNode
    model: str = "tumour_growth"
    preset: str = "soft-tissue sarcoma"
    segments: str = "{}"
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
        self.question = TwinPanel.ModelQuestion(self, registry, self._ask, lambda: self._ask(settled=False))
        self.run_form = TwinPanel.ParameterForm(lambda: self._keep("numbers", self.run_form.values()))
        self.scenarios = TwinPanel.RowTable(
            SCENARIO, lambda: self._keep("scenarios", self.scenarios.rows()), _("A row each treatment to compare.")
        )
        self.observations = TwinPanel.RowTable(
            OBSERVATION, lambda: self._keep("observations", self.observations.rows()), _("A row each visit.")
        )
        self.results = self.live = None
        TwinPanel.TwinWidget.setup(self)
        ui = self.ui
        self.question.place()
        for place, part in (
            (ui.scenariosButton, self.scenarios),
            (ui.observationsPlace, self.observations),
            (ui.runButton, self.run_form),
        ):
            place.layout().addWidget(part.widget)
        self.results = TwinPanel.SimulationResults(ui)
        self.live = TwinPanel.LivePreview(ui, self._subject, self.question.values.values)
        ui.calibrateButton.connect("clicked()", lambda *_args: self.job_bar.run(lambda: self._step(calibrate=True)))
        self.refresh()

    def put_away(self):
        self.live.stop()

    def lacking(self, twin):
        if not twin.nodes("segmentation"):
            return _("The twin has no segmentation yet: run TwinSegment first.")
        if self.question.lacking(twin):
            return self.question.lacking(twin)
        try:
            treatments = [treatment.name for treatment in self._treatments()]
            parse(self.parameters.received.strip())
        except InvalidInput as error:
            return str(error)
        if len(set(treatments)) < len(treatments):
            return _("Two of the treatments are the same: change or remove one.")
        return "" if treatments else _("Add the treatment that the dose was planned for; it comes first.")

    def plan(self, twin):
        chosen, entry, count = self.run_form.values(), self.question.entry, len(self._treatments())
        horizon, members = chosen.get("horizon", 1.0), round(chosen["members"])
        tumour_ml = TwinPanel.measured_ml(twin, self.question.segments.chosen().get("tumour", ""))
        work = Work(members, count, horizon if entry.over_time else 0.0, self.question.values.values(), entry.first_s)
        takes = expected(work, *TwinPanel.size_of(twin.nodes("fused")), tumour_ml)
        words = _("Apply will compare {n} treatments, each in {members} runs.")
        if entry.over_time:
            words = _("Apply will compare {n} treatments, with none as one, over {days} days, each in {members} runs.")
        return words.format(n=count, members=members, days=round(horizon)), takes

    def step(self):
        return self._step(calibrate=False)

    def show_twin(self, twin):
        c, question = self.parameters, self.question
        question.show(twin)
        self.run_form.show(run_parameters(c.model), TwinPanel.from_text(c.numbers, {}))
        self.scenarios.show(TwinPanel.from_text(c.scenarios, []))
        self.observations.show(TwinPanel.from_text(c.observations, []))
        self.ui.observationsButton.visible = question.entry.follow_up
        self.ui.liveButton.visible = bool(question.entry.preview)
        ready = twin is not None and not self.job_bar.running and not self.lacking(twin)
        self.ui.calibrateButton.enabled = ready and bool(self.observations.rows())
        if self.results is not None:
            treatments = {treatment.name: treatment for treatment in self._treatments()} if ready else {}
            horizon = round(self.run_form.values().get("horizon", 1.0))
            self.live.show(ready and bool(question.entry.preview), treatments, horizon)
            self.results.show(twin, self.moduleName)

    def show_results(self, twin):
        TwinPanel.show_anatomy(twin, self.question.segments.chosen().get("tumour", ""))
        if twin.nodes("plot"):
            TwinPanel.show_chart(twin.node("plot"))

    def _ask(self, settled=True):
        if self.live is not None:
            self.live.ask(settled)

    def _subject(self):
        """What the preview is of, and what reads it; the scene is left alone from there on."""
        chosen, preset, twin = self.question.answers(), self.parameters.preset, self.selector.twin
        model, nodes = chosen["model"], [*twin.nodes("segmentation"), *chosen["images"].values()]
        key = (model, preset, *chosen["segments"].items(), *(node and node.GetID() for node in nodes))

        def read():
            anatomy = self.logic.anatomy(twin.mrml_node, preset, model, chosen["segments"], chosen["images"])
            return lambda: registry.preview_of(model)(preset, anatomy)

        return key, read

    def _treatments(self):
        return scenarios_of(self.parameters.model, self.scenarios.rows())

    def _keep(self, name, value):
        setattr(self.parameters, name, json.dumps(value))

    def _step(self, calibrate):
        c, numbers, chosen = self.parameters, self.run_form.values(), self.question.answers()
        choices = {
            "calibrate": calibrate,
            "treatments": self.scenarios.rows(),
            "members": round(numbers["members"]),
            "seed": round(numbers["seed"]),
        }
        if self.question.entry.over_time:
            choices["horizonDays"] = round(numbers["horizon"])
        if self.question.entry.follow_up:
            choices |= {"observations": self.observations.rows(), "received": c.received.strip()}
        return self.logic.step(c.preset, **chosen, **choices)


def images_in_frame(nodes):
    """Images of volume nodes, by the model's names for them; a twin's own are moved into its reference's frame."""
    from TwinSimulateLib.twin_images import DIFFUSION_TENSOR, moved

    found = dict.fromkeys(nodes or {})
    for name, node in (nodes or {}).items():
        found[name] = node and node_to_image(node)
        twins = Twin.all(slicer.mrmlScene) if node else []
        twin = next((twin for twin in twins if node in (*twin.nodes("image"), *twin.nodes("field"))), None)
        if twin is not None:
            grid = twin.image(twin.node("reference")).grid
            found[name] = moved(found[name], twin.move_of(node), grid, name == DIFFUSION_TENSOR.name)
    return found


class TwinSimulateLogic(ScriptedLoadableModuleLogic):
    """The module from the Python console.

    >>> nodes = TwinSimulateLogic().predict(twinNode, "soft-tissue sarcoma", treatments=[(25, 2.0), (5, 6.0)])
    >>> nodes = TwinSimulateLogic().calibrate(twinNode, "glioma", observations=[(90, 31.0, 10)])
    """

    def getParameterNode(self):
        return TwinSimulateParameterNode(super().getParameterNode())

    def step(self, preset, model="tumour_growth", images=None, horizonDays=None, **choices):
        """The work, ready to be run on a twin; see `predict` for what it takes."""
        TwinPanel.ensure_packages(Path(__file__).parent / "Resources/TwinSimulate-requirements.txt", "TwinSimulate")
        choices["images"] = images_in_frame(images)
        if horizonDays is not None:
            choices["horizon_days"] = horizonDays
        return step_for(preset, model, **choices)

    def anatomy(self, twinNode, preset, model="tumour_growth", segments=None, images=None):
        """What a model takes of a twin, as arrays: a `TwinSimulateLib.model.Anatomy`."""
        from TwinSimulateLib.twin_anatomy import anatomy_of

        requires = registry.declared(model, preset).requires
        return anatomy_of(Twin(twinNode), requires, segments or {}, images=images_in_frame(images))

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
            segments : dict of str to str, the twin's segment for each that the model takes and that has another name.
            images : dict of str to vtkMRMLScalarVolumeNode, those that the model takes, such as "dose" in Gy.
            treatments : sequence of (fractions, Gy of one, first day or nothing).
            members, seed : int; values : dict of str to float, parameters at other values than the preset's.
            Of a model over time: horizonDays : int, observations : sequence of (day, mL, error in %), received : str
            such as "25 x 2 Gy".

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
    """Self-test on the virtual patient of Sample Data."""

    def runTest(self):
        slicer.mrmlScene.Clear()
        self.test_predict()

    def test_predict(self):
        """Without treatment the tumour grows; with it, it shrinks at first."""
        twin = TwinPanel.load_virtual_patient()
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
