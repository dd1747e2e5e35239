"""A verdict at a glance: a colour with its word, never the colour alone."""

from __future__ import annotations

import qt
from slicer.i18n import tr as _

SIDE = 14
"""Pixels."""


class VerdictLight:
    """Shows good, check or failed, with the reasons; `widget` goes into a layout."""

    COLOURS = {"good": "#009e73", "check": "#e69f00", "failed": "#d55e00"}  # Okabe and Ito: distinct for all eyes

    def __init__(self):
        self.widget = qt.QWidget()
        row = qt.QHBoxLayout(self.widget)
        row.setContentsMargins(0, 0, 0, 0)
        self._light, self.label = qt.QLabel(), qt.QLabel()
        self.label.wordWrap = True
        row.addWidget(self._light)
        row.addWidget(self.label, 1)
        self.show("")

    def show(self, grade: str, reasons: str = "") -> None:
        """Show a grade with its reasons; an empty grade hides the light."""
        self.widget.visible = bool(grade)
        if not grade:
            return
        self._light.setPixmap(self.dot(grade))
        words = {
            "good": _("Good: nothing speaks against it."),
            "check": _("Check it by eye:"),
            "failed": _("Failed:"),
        }
        self.label.text = f"{words[grade]} {reasons}".strip()

    @classmethod
    def icon(cls, grade: str):
        """The light alone, for a cell beside its word; empty for what is no grade."""
        return qt.QIcon(cls.dot(grade)) if grade in cls.COLOURS else qt.QIcon()

    @classmethod
    def dot(cls, grade: str):
        """A square of the grade's colour."""
        dot = qt.QPixmap(SIDE, SIDE)
        dot.fill(qt.QColor(cls.COLOURS[grade]))
        return dot
