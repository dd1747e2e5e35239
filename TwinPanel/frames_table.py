"""The images of a twin: what each is, the frame of reference that the user gives it, and how it was registered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import qt
from slicer.i18n import tr as _

from .twin_selector import fit_height
from .verdict_light import VerdictLight

IMAGE, MODALITY, UNIT, FRAME, VERDICT = range(5)


@dataclass(frozen=True)
class Row:
    """What is known of an image: modality and unit in words, frame, and the newest verdict on it."""

    modality: str
    unit: str
    frame: str
    verdict: str


class FramesTable:
    """A table of five columns, of which the frame can be written into.

    Parameters
    ----------
    table : QTableWidget
    changed : callable
        Called after the user has given an image a frame.
    """

    def __init__(self, table, changed: Callable[[], None]):
        self._table, self._changed, self._filling = table, changed, False
        table.setHorizontalHeaderLabels([_("Image"), _("Modality"), _("Unit"), _("Frame"), _("Verdict")])
        table.setTabKeyNavigation(False)  # Tab goes on to the next widget, arrows go through the cells
        for column in range(table.columnCount):
            fixed = column in (MODALITY, UNIT, VERDICT)
            mode = qt.QHeaderView.ResizeToContents if fixed else qt.QHeaderView.Stretch
            table.horizontalHeader().setSectionResizeMode(column, mode)
        table.connect("cellChanged(int,int)", self._on_cell)

    def show(self, images: Mapping[str, Row]) -> None:
        """One row an image, its verdict as a light with its word."""
        table, self._filling = self._table, True
        table.setRowCount(len(images))
        for number, (name, row) in enumerate(images.items()):
            for column, word in enumerate((name, row.modality, row.unit, row.frame, row.verdict)):
                item = table.item(number, column)
                if item is None or item.text() != word:
                    item = qt.QTableWidgetItem(word)
                    item.setToolTip(word)
                    table.setItem(number, column, item)
                if column != FRAME:
                    item.setFlags(qt.Qt.ItemIsEnabled)
            table.item(number, VERDICT).setIcon(VerdictLight.icon(row.verdict))
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
