"""Comparing the fused images by eye: one laid over the reference, in squares beside it, or both in turn."""

from __future__ import annotations

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from TwinCore import Image, InvalidInput
from TwinCore.guard import check_memory
from TwinCore.scene.volumes import seen

from .boxes import chosen_of, fill_box
from .display import overlay
from .temporary import TemporaryVolume

FLICKER_MS = 500


class Compare:
    """The part of a panel that compares images, on the widgets of its .ui file.

    These are the group `compareButton`, and in it `overBox`, `blendSlider`, `squaresBox`, `squaresSpinBox`,
    `flickerBox` and `compareLabel`.
    """

    def __init__(self, ui):
        self._ui, self._fused = ui, {}
        self._squares = TemporaryVolume("Checkerboard")
        self._shown: object = None
        self._timer = qt.QTimer()
        self._timer.setInterval(FLICKER_MS)
        self._timer.connect("timeout()", self._flick)
        self._over = True
        ui.overBox.connect("activated(int)", lambda _index: self.show_over())
        ui.blendSlider.connect("valueChanged(int)", lambda _value: self.show_over())
        ui.squaresBox.connect("toggled(bool)", self._on_squares)
        ui.squaresSpinBox.connect("valueChanged(double)", lambda _value: self.show_over())
        ui.flickerBox.connect("toggled(bool)", self._on_flicker)
        self._say("")

    def show(self, fused: dict) -> None:
        """Offer the fused images, by their names; the first is the reference."""
        if fused != self._fused:
            self.stop()
        self._fused = fused
        self._ui.compareButton.visible = len(fused) > 1
        fill_box(self._ui.overBox, {name: name for name in list(fused)[1:]}, chosen_of(self._ui.overBox))

    def show_over(self) -> None:
        """Lay the chosen image over the reference: in squares, or as far as the slider says."""
        node, ui = self._fused.get(chosen_of(self._ui.overBox)), self._ui
        if node is None:
            return
        reference = next(iter(self._fused.values()))
        if not ui.squaresBox.checked:
            self._squares.remove()
            overlay(node, reference, ui.blendSlider.value / 100.0)
            return
        try:
            overlay(self._in_squares(node), reference, 1.0)
        except InvalidInput as error:
            ui.squaresBox.checked = False
            self._say(str(error))
        else:
            words = _("{reference} and {name} square by square: edges that break between them are not aligned.")
            self._say(words.format(reference=next(iter(self._fused)), name=chosen_of(ui.overBox)))

    def stop(self) -> None:
        """End flicker and checkerboard; what they needed is taken out of the scene."""
        self._ui.flickerBox.checked = False
        self._ui.squaresBox.checked = False
        self._timer.stop()
        self._squares.remove()

    def _in_squares(self, node):
        """A volume with the image in every second square and nothing elsewhere, shown as the image is."""
        image = seen(node)
        check_memory(2.0 * image.array.nbytes, _("A checkerboard of {name}").format(name=image.name))
        squares, low, high = checkerboard(image, self._ui.squaresSpinBox.value)
        volume = self._squares.show(squares)
        display, own = node.GetDisplayNode(), volume.GetDisplayNode()
        own.SetAndObserveColorNodeID(display.GetColorNodeID())
        own.SetInterpolate(False)  # or the rims of squares would be mixed with what is not there
        own.SetAutoWindowLevel(False)
        own.SetWindowLevel(display.GetWindow(), display.GetLevel())
        own.SetThreshold(low, high)
        own.SetApplyThreshold(True)
        return volume

    def _on_squares(self, wanted: bool) -> None:
        if wanted:
            self._ui.flickerBox.checked = False
        self._ui.blendSlider.enabled = not wanted
        self._say("")
        self.show_over()

    def _on_flicker(self, wanted: bool) -> None:
        self._over = True
        if wanted:
            self._ui.squaresBox.checked = False
            self._timer.start()
        else:
            self._timer.stop()
            self.show_over()

    def _flick(self) -> None:
        self._over = not self._over
        slicer.util.setSliceViewerLayers(foregroundOpacity=1.0 if self._over else 0.0)

    def _say(self, words: str) -> None:
        self._ui.compareLabel.text = words
        self._ui.compareLabel.visible = bool(words)


def checkerboard(image: Image, side_mm: float) -> tuple[Image, float, float]:
    """The image in every second cube of a checkerboard, with its lowest and highest value; elsewhere a lower one."""
    array, spacing = image.array, image.grid.spacing[::-1]
    tiles = [(np.arange(n) * step // side_mm).astype(int) for n, step in zip(array.shape, spacing)]
    odd = (tiles[0][:, None, None] + tiles[1][:, None] + tiles[2]) % 2 == 1
    low, high = array.min(), array.max()
    kind = array.dtype
    if kind.kind in "iu" and low == np.iinfo(kind).min:  # there is room below it in a wider type only
        kind = np.promote_types(kind, {1: np.int16, 2: np.int32}.get(kind.itemsize, np.float64))
    below = float(low) - max(1.0, 1e-3 * abs(float(low)))
    squares = np.where(odd, array.astype(kind, copy=False), np.asarray(below).astype(kind))
    return image.with_array(squares, name=image.name), float(low), float(high)
