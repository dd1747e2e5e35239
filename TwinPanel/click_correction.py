"""Correcting a segment by clicks: where it was missed, where it does not belong, how far a click reaches."""

from __future__ import annotations

from collections.abc import Callable

from slicer.i18n import tr as _

from .boxes import chosen_of, fill_box
from .nodes import points_of
from .points import new_points, place_points, watch_points

MISSED, SURPLUS = "missedClicks", "surplusClicks"
COLOURS = {MISSED: (0.0, 0.62, 0.45), SURPLUS: (0.84, 0.37, 0.0)}
"""Okabe and Ito's green and vermilion."""


class ClickCorrection:
    """The part of a panel that corrects segments, on the widgets of its .ui file.

    These are `segmentBox`, `edgesBox`, `clicksLabel`, and the buttons `missedButton`, `surplusButton`, `clearButton`
    and `correctButton`. The parameter node has `correctedSegment`, `edges`, and a markups node each for `missedClicks`
    and `surplusClicks`.

    Parameters
    ----------
    panel : TwinWidget
    correct : callable
        Called when the user wants the correction.
    """

    def __init__(self, panel, correct: Callable[[], None]):
        self._panel = panel
        ui = panel.ui
        ui.segmentBox.connect("activated(int)", lambda _index: self._set("correctedSegment", chosen_of(ui.segmentBox)))
        ui.edgesBox.connect("activated(int)", lambda _index: self._set("edges", chosen_of(ui.edgesBox)))
        ui.missedButton.connect("clicked()", lambda *_args: self._place(MISSED, _("missed")))
        ui.surplusButton.connect("clicked()", lambda *_args: self._place(SURPLUS, _("does not belong")))
        ui.clearButton.connect("clicked()", lambda *_args: self._clear())
        ui.correctButton.connect("clicked()", lambda *_args: correct())

    def show(self, segments: list[str], images: list[str]) -> None:
        """Offer segments and images, and say what is missing for a correction."""
        ui, chosen = self._panel.ui, self._panel.parameters
        fill_box(ui.segmentBox, {name: name for name in segments}, chosen.correctedSegment)
        fill_box(ui.edgesBox, {name: name for name in images}, chosen.edges)
        counts = [len(points_of(node)) for node in (chosen.missedClicks, chosen.surplusClicks)]
        watch_points(self._panel, chosen.missedClicks, chosen.surplusClicks)
        if not segments:
            text = _("There is no segment to correct yet.")
        elif not sum(counts):
            text = _("Click in the slices on what was missed, or on what does not belong to the segment.")
        else:
            text = _("Missed: {missed} clicks. Does not belong: {surplus} clicks.").format(
                missed=counts[0], surplus=counts[1]
            )
        ui.clicksLabel.text = text
        free = not self._panel.job_bar.running
        ui.correctButton.enabled = free and bool(segments) and sum(counts) > 0
        ui.clearButton.enabled = free and sum(counts) > 0
        for button in (ui.missedButton, ui.surplusButton):
            button.enabled = free and bool(segments)

    def clicked(self) -> tuple:
        """Segment, lists of what was missed and what does not belong, image whose edges count, and reach in mm."""
        ui, chosen = self._panel.ui, self._panel.parameters
        points = (chosen.missedClicks, chosen.surplusClicks)
        return (chosen_of(ui.segmentBox), *points, chosen_of(ui.edgesBox), chosen.reachMm)

    def _set(self, name: str, value: str) -> None:
        setattr(self._panel.parameters, name, value)

    def _place(self, role: str, name: str) -> None:
        """Let the next clicks in the views be points of this list, until the user is done."""
        node = getattr(self._panel.parameters, role)
        if node is None:
            node = new_points(name, COLOURS[role])
            setattr(self._panel.parameters, role, node)
        place_points(node)

    def _clear(self) -> None:
        for node in (self._panel.parameters.missedClicks, self._panel.parameters.surplusClicks):
            if node is not None:
                node.RemoveAllControlPoints()
