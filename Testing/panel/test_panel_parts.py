"""The parts that the panels share, and the manners of the double that they are tested on."""

from __future__ import annotations

import typing
from dataclasses import replace

import pytest

from TwinCore import LogNormal, MissingPackage, Parameter, Progress
from TwinCore.parameter import Choice

SPREAD = Parameter("diffusivity", "D", "mm2/d", 0.05, 1e-4, 5.0, "Spread of tumour cells.", "A table.")
COUNT = Parameter("members", "", "1", 48, 2, 10000, "Runs.", "Chosen.")


def test_a_form_is_made_from_the_declarations(desktop):
    from TwinPanel import ParameterForm

    changes = []
    form = ParameterForm(lambda: changes.append(form.values()))
    form.show([SPREAD, COUNT], {"members": 12})
    box = form.boxes["diffusivity"]
    assert (box.minimum, box.maximum, box.value, box.suffix) == (1e-4, 5.0, 0.05, " mm²/day")
    assert "Spread of tumour cells." in box.toolTip
    assert "A table." in box.toolTip
    assert (box.decimals, form.boxes["members"].decimals) == (4, 0)
    box.value = 99.0
    assert changes == [{"diffusivity": 5.0, "members": 12.0}]


def test_a_slider_goes_through_what_is_believed_and_the_box_beyond(desktop):
    from TwinPanel.parameter_form import NOTCHES, ParameterForm, notch_of, reach, value_at

    believed = replace(SPREAD, prior=LogNormal(0.05, 3.0))
    assert reach(believed) == pytest.approx((0.05 / 9, 0.05 * 9))
    assert value_at(believed, NOTCHES // 2) == pytest.approx(0.05)
    assert all(notch_of(believed, value_at(believed, notch)) == notch for notch in range(0, NOTCHES + 1, 20))
    assert reach(COUNT) == (2, 10000)
    changes, moves = [], []
    form = ParameterForm(lambda: changes.append(form.values()), lambda: moves.append(form.values()))
    form.show([believed])
    box, slider = form.boxes["diffusivity"], form.sliders["diffusivity"]
    assert slider.value == NOTCHES // 2
    slider.sliderDown = True
    slider.value = NOTCHES
    form.show([believed], {"diffusivity": 0.05})  # what is kept is older than what is dragged
    assert (len(moves), changes, box.value) == (1, [], pytest.approx(0.45))
    slider.sliderDown = False
    assert changes == [{"diffusivity": pytest.approx(0.45)}]
    box.value = 4.0
    assert slider.value == NOTCHES
    assert changes[-1] == {"diffusivity": 4.0}
    slider.value = 0  # by a key
    assert changes[-1]["diffusivity"] == pytest.approx(0.0056, abs=1e-4)


def test_a_choice_is_a_list_with_what_each_option_means(desktop):
    from TwinPanel import ParameterForm

    changes = []
    form = ParameterForm(lambda: changes.append(form.values()))
    form.show([Choice("motion", "rigid", {"rigid": "Turned.", "affine": "Stretched."}, "How.")], {"motion": "gone"})
    box = form.boxes["motion"]
    assert box.currentText == "rigid"
    assert "Turned." in box.toolTip
    box.setCurrentIndex(1)
    box.activated.emit(1)
    assert changes == [{"motion": "affine"}]


def test_rows_are_added_duplicated_and_removed(desktop):
    from TwinPanel import RowTable

    changes = []
    table = RowTable([SPREAD, COUNT], lambda: changes.append(table.rows()), "A row each run.")
    table.show([[0.1]])
    assert table.rows() == [[0.1, 48.0]]
    table.show([[0.1, 3], [99.0, 3], "hostile", [], [0.2, 4]])
    assert table.rows() == [[0.1, 3.0], [0.2, 4.0]]
    assert not table.removeButton.enabled
    table.addButton.click()
    table.choose(0)
    table.duplicateButton.click()
    assert changes[-1] == [[0.1, 3.0], [0.1, 3.0], [0.2, 4.0], [0.05, 48.0]]
    table.choose(2)
    table.removeButton.click()
    assert changes[-1] == [[0.1, 3.0], [0.1, 3.0], [0.05, 48.0]]


def test_more_numbers_than_fit_are_laid_on_their_side(desktop):
    from TwinPanel import RowTable

    many = [replace(COUNT, name=f"number {n}") for n in range(6)]
    changes = []
    table = RowTable(many, lambda: changes.append(table.rows()), "A column each treatment.")
    table.show([[3, 4], [5]])
    assert (table.table.rowCount, table.table.columnCount) == (6, 2)
    assert table.table.verticalHeaderItem(1).text() == "Number 1"
    assert table.rows() == [[3, 4, 48, 48, 48, 48], [5, 48, 48, 48, 48, 48]]
    table.box(1, 2).value = 7
    assert changes[-1][1] == [5, 48, 7, 48, 48, 48]
    table.choose(1)
    table.duplicateButton.click()
    assert table.count == 3
    table.choose(0)
    table.removeButton.click()
    assert [row[0] for row in changes[-1]] == [5, 5]


def test_what_a_run_takes_is_said_in_words(desktop):
    from TwinCore.expectation import Expectation
    from TwinPanel.expected import expected_in_words

    assert expected_in_words(Expectation(95.0, 2e6)).startswith("Takes about 2 min and up to 2 MB of memory; ")
    assert expected_in_words(Expectation()) == "Takes an unknown time; how much memory is not known."
    assert "Only " in expected_in_words(Expectation(3.0, 1e18))
    assert "1000000000.0 GB" in expected_in_words(Expectation(3.0, 1e18))


@pytest.mark.parametrize("text", ["", "[1", "null", "3", '"words"', "[1]"])
def test_a_parameter_node_from_anywhere_does_no_harm(desktop, text):
    from TwinPanel import from_text

    assert from_text(text, {"a": 1}) == {"a": 1}


def test_progress_says_where_it_is_and_how_long_it_takes(desktop):
    from TwinPanel.job_bar import progress_text

    assert progress_text(Progress(0.5, ("registration", "MR"), "", 30.0)) == "Registration: MR (%p %), 30 s left"
    assert progress_text(Progress(0.1, ("registration",), "", 60.0)) == "Registration (%p %), 9 min left"
    assert progress_text(Progress(0.0, (), "", 0.0)) == "Working (%p %)"


def test_packages_that_are_there_are_not_asked_for(desktop, tmp_path):
    from TwinPanel import ensure_packages

    (tmp_path / "requirements.txt").write_text("# arrays\nnumpy>=1\n")
    ensure_packages(tmp_path / "requirements.txt", "TwinFusion")


@pytest.mark.parametrize("agreed", [True, False])
def test_a_missing_package_is_installed_only_if_the_user_agrees(desktop, tmp_path, monkeypatch, agreed):
    import slicer

    from TwinPanel import ensure_packages

    asked, installed = [], []
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text: asked.append(text) or agreed)
    monkeypatch.setattr(slicer.util, "pip_install", installed.append)
    (tmp_path / "requirements.txt").write_text("numpy>=1\nno-such-package>=2\n")
    if agreed:
        ensure_packages(tmp_path / "requirements.txt", "TwinFusion")
        assert installed == ['"no-such-package>=2"']
    else:
        with pytest.raises(MissingPackage, match="no-such-package"):
            ensure_packages(tmp_path / "requirements.txt", "TwinFusion")
        assert installed == []
    assert "no-such-package>=2" in asked[0]


def test_slicer_s_own_installer_is_used_where_there_is_one(desktop, tmp_path, monkeypatch):
    import sys
    import types

    from TwinPanel import ensure_packages

    calls = []
    packaging = types.ModuleType("slicer.packaging")
    packaging.load_requirements = lambda path: path
    packaging.pip_ensure = lambda requirements, requester: calls.append((requirements, requester))
    monkeypatch.setitem(sys.modules, "slicer.packaging", packaging)
    (tmp_path / "requirements.txt").write_text("no-such-package>=2\n")
    ensure_packages(tmp_path / "requirements.txt", "TwinFusion")
    assert calls == [(str(tmp_path / "requirements.txt"), "TwinFusion")]


@pytest.mark.parametrize(
    ("installs", "works", "advice"),
    [(True, True, ""), (False, False, "use the PyTorch Util module"), (True, False, "repair it")],
)
def test_torch_comes_through_slicer_s_extension(desktop, monkeypatch, installs, works, advice):
    import sys
    import types

    from TwinPanel import ensure_torch

    class PyTorchUtilsLogic:
        asked: typing.ClassVar[list] = []

        def torchInstalled(self):
            return bool(self.asked) and works

        def installTorch(self, askConfirmation):
            self.asked.append(askConfirmation)
            return object() if installs else None

    module = types.ModuleType("PyTorchUtils")
    module.PyTorchUtilsLogic = PyTorchUtilsLogic
    monkeypatch.setitem(sys.modules, "PyTorchUtils", module)
    if advice:
        with pytest.raises(MissingPackage, match=advice):
            ensure_torch("TwinSegment")
    else:
        ensure_torch("TwinSegment")
    assert PyTorchUtilsLogic.asked == [True]


def test_a_box_is_its_two_corners(desktop):
    import slicer

    from TwinPanel import box_of

    roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    roi.SetCenter(10, 20, 30)
    roi.SetSize(2, 4, 6)
    assert box_of(roi) == [[9, 18, 27], [11, 22, 33]]
    assert box_of(None) is None


def test_the_double_rejects_what_pythonqt_rejects(desktop):
    import qt

    button = qt.QPushButton("Apply")
    assert button.text == "Apply"
    with pytest.raises(AttributeError):
        button.caption = "Apply"
    with pytest.raises(AttributeError):
        button.caption  # noqa: B018
    with pytest.raises(ValueError, match="no signal"):
        button.connect("pressedDown()", print)
    with pytest.raises(TypeError):
        button.text()


def test_the_double_s_own_widgets_have_their_properties(desktop):
    import ctk

    group = ctk.ctkCollapsibleButton()
    assert not group.collapsed
    group.collapsed = True
    assert group.collapsed
    with pytest.raises(AttributeError):
        group.folded = True


def test_a_summary_has_units_intervals_and_warnings(desktop):
    from TwinPanel.job_bar import summary

    estimate = {"value": 36.24, "unit": "mL", "interval_90": [20.0, "inf"]}
    record = {
        "seconds": 5.6,
        "results": {"verdict": "good", "predicted_volume_ml, 5 x 6 Gy": estimate, "suv_max": {"value": 8, "unit": "1"}},
        "warnings": ["The grid is coarse."],
    }
    assert summary(record).splitlines() == [
        "Done in 6 s.",
        "Predicted volume, 5 x 6 Gy: 36.2 mL (90 %: 20 to inf)",
        "SUV max: 8",
        "Note: The grid is coarse.",
    ]
