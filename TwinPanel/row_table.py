"""A table of numbers that the user fills row by row: scenarios, observations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import qt
from slicer.i18n import tr as _

from TwinCore import Parameter
from TwinCore.units import in_words

from .parameter_form import decimals_of
from .twin_selector import fit_height
from .wording import name_in_words


class RowTable:
    """Rows of numbers, each column declared as a `Parameter`, with buttons to add, duplicate and remove rows.

    Parameters
    ----------
    columns : sequence of Parameter
    changed : callable
        Called after the user has changed a number, or added or removed a row.
    meaning : str
        What a row is, for the tooltip.
    """

    def __init__(self, columns: Sequence[Parameter], changed: Callable[[], None], meaning: str):
        self._columns, self._changed = tuple(columns), changed
        self.widget = qt.QWidget()
        column = qt.QVBoxLayout(self.widget)
        column.setContentsMargins(0, 0, 0, 0)
        self.table = qt.QTableWidget()
        self.table.setColumnCount(len(columns))
        self.table.setHorizontalHeaderLabels([_header(parameter) for parameter in columns])
        self.table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.Stretch)
        self.table.verticalHeader().hide()
        self.table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
        self.table.setSelectionMode(qt.QAbstractItemView.SingleSelection)
        self.table.toolTip = meaning
        self.table.setTabKeyNavigation(False)  # Tab goes on to the next widget
        column.addWidget(self.table)
        row = qt.QHBoxLayout()
        column.addLayout(row)
        self.addButton, self.duplicateButton, self.removeButton = (
            qt.QPushButton(word) for word in (_("Add"), _("Duplicate"), _("Remove"))
        )
        self.addButton.toolTip = _("Add a row with usual numbers.")
        self.duplicateButton.toolTip = _("Add a row like the one that is chosen, to be changed.")
        self.removeButton.toolTip = _("Take the chosen row away.")
        for button, act in (
            (self.addButton, self._on_add),
            (self.duplicateButton, self._on_duplicate),
            (self.removeButton, self._on_remove),
        ):
            row.addWidget(button)
            button.connect("clicked()", lambda *_args, act=act: act())
        self.table.connect("itemSelectionChanged()", self._enable)
        self.show([])

    def show(self, rows: Sequence[Sequence[float]]) -> None:
        """Show these rows, short ones with the other columns' defaults; what is not a possible row is left out."""
        usual = [p.default for p in self._columns]
        rows = [[*row, *usual[len(row) :]] for row in rows if self._possible(row)]
        if self.table.rowCount != len(rows) or rows != self.rows():
            self.table.setRowCount(0)
            self.table.setRowCount(len(rows))
            for number, values in enumerate(rows):
                for column, value in enumerate(values):
                    self.table.setCellWidget(number, column, self._box(self._columns[column], value))
        fit_height(self.table)
        self._enable()

    def rows(self) -> list[list[float]]:
        """The numbers as they stand."""
        table = self.table
        return [
            [float(table.cellWidget(row, column).value) for column in range(table.columnCount)]
            for row in range(table.rowCount)
        ]

    def _possible(self, row: object) -> bool:
        return (
            isinstance(row, (list, tuple))
            and 0 < len(row) <= len(self._columns)
            and all(isinstance(v, (int, float)) and p.low <= v <= p.high for p, v in zip(self._columns, row))
        )

    def _box(self, parameter: Parameter, value: float):
        box = qt.QDoubleSpinBox()
        box.decimals = decimals_of(parameter)
        box.setRange(parameter.low, parameter.high)
        box.value = value
        box.toolTip = f"{parameter.meaning}\n{parameter.source}"
        box.setFrame(False)
        box.connect("valueChanged(double)", lambda _value: self._changed())
        return box

    def _on_add(self) -> None:
        self._set([*self.rows(), [p.default for p in self._columns]])

    def _on_duplicate(self) -> None:
        at, rows = self.table.currentRow(), self.rows()
        self._set([*rows[: at + 1], rows[at], *rows[at + 1 :]])

    def _on_remove(self) -> None:
        at = self.table.currentRow()
        self._set([row for number, row in enumerate(self.rows()) if number != at])

    def _set(self, rows: list[list[float]]) -> None:
        self.show(rows)
        self._changed()

    def _enable(self) -> None:
        self.duplicateButton.enabled = self.removeButton.enabled = self.table.currentRow() >= 0


def _header(parameter: Parameter) -> str:
    unit = in_words(parameter.unit)
    return f"{name_in_words(parameter.name)} ({unit})" if unit else name_in_words(parameter.name)
