"""Comparing the fused images by eye: one laid over the reference, more or less of it, or both in turn."""

from __future__ import annotations

import qt
import slicer

from .boxes import chosen_of, fill_box
from .display import overlay

FLICKER_MS = 500


class Compare:
    """The part of a panel that compares images, on the widgets of its .ui file.

    These are the group `compareButton`, and in it `overBox`, `blendSlider` and `flickerBox`.
    """

    def __init__(self, ui):
        self._ui, self._fused = ui, {}
        self._timer = qt.QTimer()
        self._timer.setInterval(FLICKER_MS)
        self._timer.connect("timeout()", self._flick)
        self._over = True
        ui.overBox.connect("activated(int)", lambda _index: self.show_over())
        ui.blendSlider.connect("valueChanged(int)", lambda _value: self.show_over())
        ui.flickerBox.connect("toggled(bool)", self._on_flicker)

    def show(self, fused: dict) -> None:
        """Offer the fused images, by their names; the first is the reference."""
        self._fused = fused
        self._ui.compareButton.visible = len(fused) > 1
        fill_box(self._ui.overBox, {name: name for name in list(fused)[1:]}, chosen_of(self._ui.overBox))
        if len(fused) < 2:
            self.stop()

    def show_over(self) -> None:
        """Lay the chosen image over the reference, as far as the slider says."""
        node = self._fused.get(chosen_of(self._ui.overBox))
        if node is not None:
            overlay(node, next(iter(self._fused.values())), self._ui.blendSlider.value / 100.0)

    def stop(self) -> None:
        """End the flicker."""
        self._timer.stop()
        self._ui.flickerBox.checked = False

    def _on_flicker(self, wanted: bool) -> None:
        self._over = True
        if wanted:
            self._timer.start()
        else:
            self._timer.stop()
            self.show_over()

    def _flick(self) -> None:
        self._over = not self._over
        slicer.util.setSliceViewerLayers(foregroundOpacity=1.0 if self._over else 0.0)
