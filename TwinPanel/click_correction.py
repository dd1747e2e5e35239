"""Correcting a segment by clicks and brush: where it was missed, where it does not belong, how far that reaches."""

from __future__ import annotations

from collections.abc import Callable

from slicer.i18n import tr as _

from .boxes import chosen_of, fill_box
from .brush import Brush
from .nodes import points_of
from .points import new_points, place_points, watch_points

MISSED, SURPLUS = "missedClicks", "surplusClicks"
COLOURS = {MISSED: (0.0, 0.62, 0.45), SURPLUS: (0.84, 0.37, 0.0)}
"""Okabe and Ito's green and vermilion."""


class ClickCorrection:
    """The part of a panel that corrects segments, on the widgets of its .ui file.

    These are `segmentBox`, `edgesBox`, `clicksLabel`, `brushPlace`, the buttons `missedButton`, `surplusButton`,
    `clearButton` and `correctButton`, and `missedBrush` and `surplusBrush`, which stay down while one paints. The
    parameter node has `correctedSegment`, `edges`, and a markups node each for `missedClicks` and `surplusClicks`.

    Parameters
    ----------
    panel : TwinWidget
    correct : callable
        Called when the user wants the correction.
    """

    def __init__(self, panel, correct: Callable[[], None]):
        self._panel = panel
        self._volumes: dict = {}
        ui = panel.ui
        words = {MISSED: _("missed"), SURPLUS: _("does not belong")}
        sides = {side: (words[side], COLOURS[side]) for side in words}
        self.brush = Brush(ui.brushPlace, sides, panel.look_again)
        ui.segmentBox.connect("activated(int)", lambda _index: self._set("correctedSegment", chosen_of(ui.segmentBox)))
        ui.edgesBox.connect("activated(int)", lambda _index: self._set("edges", chosen_of(ui.edgesBox)))
        ui.missedButton.connect("clicked()", lambda *_args: self._place(MISSED, words[MISSED]))
        ui.surplusButton.connect("clicked()", lambda *_args: self._place(SURPLUS, words[SURPLUS]))
        self._brushes = {MISSED: ui.missedBrush, SURPLUS: ui.surplusBrush}
        for side, button in self._brushes.items():
            button.connect("toggled(bool)", lambda on, side=side: self._on_brush(side, on))
        ui.clearButton.connect("clicked()", lambda *_args: self._clear())
        ui.correctButton.connect("clicked()", lambda *_args: correct())

    def show(self, segments: list[str], images: dict) -> None:
        """Offer segments, and images by their names, and say what is missing for a correction."""
        ui, chosen = self._panel.ui, self._panel.parameters
        if images != self._volumes:
            self.leave()
        self._volumes = images
        fill_box(ui.segmentBox, {name: name for name in segments}, chosen.correctedSegment)
        fill_box(ui.edgesBox, {name: name for name in images}, chosen.edges)
        watch_points(self._panel, chosen.missedClicks, chosen.surplusClicks)
        clicks = [len(points_of(getattr(chosen, side))) for side in COLOURS]
        painted = [len(self.brush.points(side)) for side in COLOURS]
        marked = sum(clicks) + sum(painted) > 0
        words = _("Missed: {missed}. Does not belong: {surplus}.")
        text = words.format(missed=_marks(clicks[0], painted[0]), surplus=_marks(clicks[1], painted[1]))
        if not segments:
            text = _("There is no segment to correct yet.")
        elif not marked:
            text = _("Click or paint in the slices what was missed, or what does not belong to the segment.")
        ui.clicksLabel.text = text
        free = not self._panel.job_bar.running
        ui.correctButton.enabled = free and bool(segments) and marked
        ui.clearButton.enabled = free and marked
        for button in (ui.missedButton, ui.surplusButton, ui.missedBrush, ui.surplusBrush):
            button.enabled = free and bool(segments)

    def marked(self) -> tuple:
        """Segment, points that were missed and that do not belong, image whose edges count, and reach in mm."""
        ui, chosen = self._panel.ui, self._panel.parameters
        points = [[*points_of(getattr(chosen, side)), *self.brush.points(side)] for side in COLOURS]
        return (chosen_of(ui.segmentBox), *points, chosen_of(ui.edgesBox), chosen.reachMm)

    def rest(self) -> None:
        """Put the brush down; what was painted stays."""
        for button in self._brushes.values():
            button.checked = False

    def leave(self) -> None:
        """Put the brush down, and take what was painted out of the scene."""
        self.rest()
        self.brush.clear()

    def _set(self, name: str, value: str) -> None:
        setattr(self._panel.parameters, name, value)

    def _place(self, role: str, name: str) -> None:
        """Let the next clicks in the views be points of this list, until the user is done."""
        self.rest()
        node = getattr(self._panel.parameters, role)
        if node is None:
            node = new_points(name, COLOURS[role])
            setattr(self._panel.parameters, role, node)
        place_points(node)

    def _on_brush(self, side: str, on: bool) -> None:
        volume = self._volumes.get(chosen_of(self._panel.ui.edgesBox))
        if on and volume is not None:
            for other, button in self._brushes.items():
                if other != side:
                    button.checked = False
            self.brush.paint(side, volume)
        elif not any(button.checked for button in self._brushes.values()):
            self.brush.rest()

    def _clear(self) -> None:
        self.leave()
        for node in (self._panel.parameters.missedClicks, self._panel.parameters.surplusClicks):
            if node is not None:
                node.RemoveAllControlPoints()
        self._panel.look_again()


def _marks(clicks: int, painted: int) -> str:
    """How much was marked, in words."""
    if not painted:
        return _("{n} clicks").format(n=clicks)
    voxels = _("{n} voxels").format(n=painted)
    return voxels if not clicks else _("{n} clicks and {voxels}").format(n=clicks, voxels=voxels)
