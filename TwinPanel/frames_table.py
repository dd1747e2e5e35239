"""The images of a twin with the frame of reference that the user gives each, and how its registration was judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import qt
from slicer.i18n import tr as _

from .twin_selector import fit_height
from .verdict_light import VerdictLight

IMAGE, FRAME, VERDICT = range(3)


class FramesTable:
    """A table of three columns, of which the second can be written into.

    Parameters
    ----------
    table : QTableWidget
    changed : callable
        Called after the user has given an image a frame.
    """

    def __init__(self, table, changed: Callable[[], None]):
        self._table, self._changed, self._filling = table, changed, False
        table.setHorizontalHeaderLabels([_("Image"), _("Frame"), _("Verdict")])
        table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.Stretch)
        table.connect("cellChanged(int,int)", self._on_cell)

    def show(self, frames: Mapping[str, str], verdicts: Mapping[str, str]) -> None:
        """One row an image: its name, its frame, and its verdict as a coloured word."""
        table, self._filling = self._table, True
        table.setRowCount(len(frames))
        for row, (name, frame) in enumerate(frames.items()):
            for column, word in enumerate((name, frame, verdicts.get(name, ""))):
                item = table.item(row, column)
                if item is None or item.text() != word:
                    item = qt.QTableWidgetItem(word)
                    table.setItem(row, column, item)
                if column != FRAME:
                    item.setFlags(qt.Qt.ItemIsEnabled)
            colour = VerdictLight.COLOURS.get(verdicts.get(name, ""))
            if colour is not None:
                table.item(row, VERDICT).setForeground(qt.QBrush(qt.QColor(colour)))
        self._filling = False
        fit_height(table)

    def frames(self) -> dict[str, str]:
        """The frame of each image that was given one."""
        table = self._table
        rows = [[table.item(row, column).text().strip() for column in (IMAGE, FRAME)] for row in range(table.rowCount)]
        return {name: frame for name, frame in rows if frame}

    def _on_cell(self, _row: int, _column: int) -> None:
        if not self._filling:
            self._changed()
