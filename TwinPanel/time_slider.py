"""Going through a sequence over time: a slider with the day that is shown."""

from __future__ import annotations

import slicer
from slicer.i18n import tr as _


class TimeSlider:
    """Moves the browser of a sequence, on the widgets of a .ui file: `timeSlider` and `timeLabel`."""

    def __init__(self, ui):
        self._ui = ui
        self._sequence = None
        ui.timeSlider.connect("valueChanged(int)", lambda _value: self._on_value())

    def show(self, sequence) -> None:
        """Go through this sequence; None hides the slider."""
        self._sequence = sequence
        for widget in (self._ui.timeSlider, self._ui.timeLabel):
            widget.visible = sequence is not None
        if sequence is None:
            return
        browser = browser_of(sequence)
        blocked = self._ui.timeSlider.blockSignals(True)
        self._ui.timeSlider.maximum = max(0, sequence.GetNumberOfDataNodes() - 1)
        self._ui.timeSlider.value = max(0, browser.GetSelectedItemNumber()) if browser is not None else 0
        self._ui.timeSlider.blockSignals(blocked)
        self._say()

    def _on_value(self) -> None:
        browser = browser_of(self._sequence)
        if browser is not None:
            browser.SetSelectedItemNumber(self._ui.timeSlider.value)
        self._say()

    def _say(self) -> None:
        day = float(self._sequence.GetNthIndexValue(self._ui.timeSlider.value))
        self._ui.timeLabel.text = _("Day {day}").format(day=f"{day:.4g}")


def browser_of(sequence):
    """The browser that plays a sequence; None if there is none."""
    browsers = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode")
    return next((b for b in browsers if b.GetMasterSequenceNode() is sequence), None)
