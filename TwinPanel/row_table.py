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

MOST_COLUMNS, MOST_ROWS = 4, 6


class RowTable:
    """Rows of numbers, each column declared as a `Parameter`, with buttons to add, duplicate and remove rows.

    More columns than fit beside each other in a panel are laid on their side: a line each number, a column each row.

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
        self.turned = len(columns) > MOST_COLUMNS
        labels = [_header(parameter) for parameter in columns]
        if self.turned:
            self.table.setRowCount(len(columns))
            self.table.setVerticalHeaderLabels(labels)
            self.table.setSelectionBehavior(qt.QAbstractItemView.SelectColumns)
        else:
            self.table.setColumnCount(len(columns))
            self.table.setHorizontalHeaderLabels(labels)
            self.table.verticalHeader().hide()
            self.table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
        self.table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.Stretch)
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
        if self.count != len(rows) or rows != self.rows():
            resize = self.table.setColumnCount if self.turned else self.table.setRowCount
            resize(0)
            resize(len(rows))
            for number, values in enumerate(rows):
                for column, value in enumerate(values):
                    self.table.setCellWidget(*self._at(number, column), self._box(self._columns[column], value))
        fit_height(self.table, len(self._columns) if self.turned else MOST_ROWS)
        self._enable()

    @property
    def count(self) -> int:
        """How many rows there are."""
        return self.table.columnCount if self.turned else self.table.rowCount

    @property
    def current(self) -> int:
        """The row that is chosen; -1 for none."""
        return self.table.currentColumn() if self.turned else self.table.currentRow()

    def box(self, row: int, column: int):
        """The box of a number."""
        return self.table.cellWidget(*self._at(row, column))

    def choose(self, row: int) -> None:
        """As if the user had chosen a row."""
        (self.table.selectColumn if self.turned else self.table.selectRow)(row)

    def rows(self) -> list[list[float]]:
        """The numbers as they stand."""
        columns = range(len(self._columns))
        return [[float(self.box(row, column).value) for column in columns] for row in range(self.count)]

    def _at(self, row: int, column: int) -> tuple[int, int]:
        return (column, row) if self.turned else (row, column)

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
        at, rows = self.current, self.rows()
        self._set([*rows[: at + 1], rows[at], *rows[at + 1 :]])

    def _on_remove(self) -> None:
        at = self.current
        self._set([row for number, row in enumerate(self.rows()) if number != at])

    def _set(self, rows: list[list[float]]) -> None:
        self.show(rows)
        self._changed()

    def _enable(self) -> None:
        self.duplicateButton.enabled = self.removeButton.enabled = 0 <= self.current < self.count


def _header(parameter: Parameter) -> str:
    unit = in_words(parameter.unit)
    return f"{name_in_words(parameter.name)} ({unit})" if unit else name_in_words(parameter.name)
