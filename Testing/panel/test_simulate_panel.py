"""TwinSimulate's panel beyond Apply: models, segments, treatments, follow-up, a plan's dose, days and curves."""

from __future__ import annotations

import json

import numpy as np
import pytest
from panel_steps import ready

from TwinCore import Image
from TwinCore.scene import image_to_node, load, node_to_table, save


def choose(box, value: str) -> None:
    box.setCurrentIndex(box.findData(value))
    box.activated.emit(box.currentIndex)


@pytest.fixture
def panel(open_panel, phantom, until):
    panel = open_panel("TwinSimulate")
    panel.patient = ready(panel, phantom, until, open_panel.scene)
    panel.run_form.boxes["members"].value = 2
    panel.run_form.boxes["horizon"].value = 7
    return panel


def test_missing_segments_and_equal_treatments_are_named(panel):
    bar = panel.job_bar
    assert bar.applyButton.enabled
    assert bar.planLabel.text.startswith(
        "Apply will compare 3 treatments, with none as one, over 7 days, each in 2 runs."
    )
    panel.scenarios.addButton.click()
    assert bar.reasonLabel.text == "Two of the treatments are the same: change or remove one."
    panel.scenarios.box(2, 2).value = 14
    assert bar.applyButton.enabled
    panel.ui.receivedEdit.text = "25 times 2"
    assert "'25 times 2' is not understood" in bar.reasonLabel.text
    panel.ui.receivedEdit.text = "none"
    choose(panel.ui.presetBox, "glioma")
    assert "lacks these segments: white matter, grey matter" in bar.reasonLabel.text
    assert not bar.applyButton.enabled
    choose(panel.question.segments.boxes["white matter"], "soft tissue")
    assert "lacks these segments: grey matter" in bar.reasonLabel.text


def test_every_model_of_the_registry_is_offered_with_its_parameters(panel):
    from TwinSimulateLib import registry

    box = panel.ui.modelBox
    assert [box.itemData(n) for n in range(box.count)] == list(registry.MODELS)
    for name in registry.MODELS:
        choose(box, name)
        for preset in registry.presets_of(name):
            choose(panel.ui.presetBox, preset)
            declared = registry.declared(name, preset).parameters
            assert panel.question.values.values() == {p.name: p.default for p in declared if p.asked}


def test_a_changed_parameter_is_used_and_another_preset_has_its_own(panel, until):
    panel.question.values.boxes["proliferation_rate"].value = 0.04
    assert json.loads(panel.parameters.values) == {"proliferation_rate": 0.04}
    panel.job_bar.applyButton.click()
    until(lambda: not panel.job_bar.running)
    record = panel.patient.provenance()[0]
    assert record["parameters"]["values"] == {"proliferation_rate": 0.04}
    assert record["results"]["proliferation_rate"]["value"] == pytest.approx(0.04)
    choose(panel.ui.presetBox, "glioma")
    assert panel.question.values.values()["proliferation_rate"] == 0.05


def test_days_fields_and_curves_of_a_prediction(panel, until, open_panel, tmp_path):
    view = open_panel.scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    charts = open_panel.scene.AddNewNodeByClass("vtkMRMLPlotViewNode")
    panel.job_bar.applyButton.click()
    until(lambda: not panel.job_bar.running)
    ui, twin = panel.ui, panel.patient
    assert ui.scenariosTable.columnCount == 4
    assert ui.scenariosTable.item(3, 0).text() == "Volume (mL)"
    assert "\n" in ui.scenariosTable.item(3, 1).text()
    assert charts.GetPlotChartNodeID() == twin.node("plot").GetID()
    choose(ui.fieldBox, twin.node("field").GetID())
    assert view.GetForegroundVolumeID() == twin.node("field").GetID()
    legend = twin.node("field").GetNthDisplayNode(1)
    assert legend.GetTitleText() == twin.node("field").GetName()
    assert legend.GetVisibility()
    ui.timeSlider.value = 6
    assert ui.timeLabel.text == "Day 7"
    assert open_panel.scene.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode").GetSelectedItemNumber() == 6
    save(twin, tmp_path / "twin.mrb")
    open_panel.scene.Clear(False)
    (again,) = load(tmp_path / "twin.mrb", open_panel.scene)
    assert again.node("field").GetNthDisplayNode(1).GetTitleText() == "probability of tumour, none"


def test_follow_up_calibrates_alone_and_shows_the_fit(panel, until):
    assert not panel.ui.calibrateButton.enabled
    panel.observations.addButton.click()
    panel.observations.box(0, 0).value = 10
    panel.observations.box(0, 1).value = 20
    assert panel.ui.calibrateButton.enabled
    panel.ui.calibrateButton.click()
    until(lambda: not panel.job_bar.running)
    twin = panel.patient
    assert [node_to_table(node).name for node in twin.nodes("table")] == ["Fit"]
    rate = twin.provenance()[0]["results"]["proliferation_rate"]
    assert rate["interval_90"][0] < rate["value"] < rate["interval_90"][1]
    shown = [panel.ui.scenariosTable.item(0, column).text() for column in range(5)]
    assert shown == ["10", "volume", "0.5", "mL", "20"]
    assert twin.nodes("field") == []


def test_a_plan_s_dose_gives_control_and_complications(panel, phantom, until, open_panel):
    choose(panel.ui.modelBox, "radiotherapy")
    assert panel.job_bar.reasonLabel.text == "Choose the dose: total dose of the plan, in Gy."
    ct, _pet, _tumour = phantom.phantom_images()
    dose = image_to_node(
        Image(np.full(ct.grid.shape, 50.0, np.float32), ct.grid, unit="Gy", name="Dose"), open_panel.scene
    )
    until(lambda: panel.question.images.boxes["dose"].findData(dose.GetID()) > 0)
    choose(panel.question.images.boxes["dose"], dose.GetID())
    assert panel.job_bar.planLabel.text.startswith("Apply will compare 2 treatments, each in 2 runs.")
    panel.job_bar.applyButton.click()
    until(lambda: not panel.job_bar.running)
    results = panel.patient.provenance()[0]["results"]
    assert results["eqd2_mean_tumour, 25 x 2 Gy"]["value"] == pytest.approx(50.0, rel=1e-3)
    assert 0 <= results["tcp, 25 x 2 Gy"]["value"] <= 1
    assert [node.GetName() for node in panel.patient.nodes("field")] == ["EQD2, 5 x 6 Gy", "EQD2, 25 x 2 Gy"][::-1]
    panel.job_bar.revertButton.click()
    assert panel.patient.nodes("field") == []


def test_an_image_that_a_model_can_do_without_is_taken_by_its_name_or_left_out(panel, until, phantom, open_panel):
    ct, _pet, _tumour = phantom.phantom_images()
    cells = np.full(ct.grid.shape, 0.5, np.float32)
    node = image_to_node(Image(cells, ct.grid, unit="1", name="cellularity"), open_panel.scene)
    box = panel.question.images.boxes["cellularity"]
    until(lambda: box.currentData == node.GetID())
    choose(box, "")
    assert box.currentText == "not used"
    panel.job_bar.applyButton.click()
    until(lambda: not panel.job_bar.running)
    assert panel.patient.provenance()[0]["parameters"]["images"]["cellularity"] is None
    choose(box, node.GetID())
    panel.job_bar.applyButton.click()
    until(lambda: not panel.job_bar.running)
    assert panel.patient.provenance()[0]["parameters"]["images"]["cellularity"]["name"] == "cellularity"
