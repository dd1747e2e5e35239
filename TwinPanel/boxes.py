"""Lists and tables of words that are filled anew as the scene changes, without telling of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import qt

from .twin_selector import HEADER_HEIGHT, ROW_HEIGHT

MOST_ROWS, MOST_COLUMNS = 20, 4
"""That are shown without scrolling."""
SCROLL_BAR = 16
"""Pixels."""


def fill_box(box, entries: Mapping[str, str], chosen: str) -> None:
    """Let a combo box offer these values with their words, and stand at the chosen one, or else at the first."""
    blocked = box.blockSignals(True)
    if [(box.itemData(n), box.itemText(n)) for n in range(box.count)] != list(entries.items()):
        box.clear()
        for value, words in entries.items():
            box.addItem(words, value)
    box.setCurrentIndex(max(0, box.findData(chosen)))
    box.blockSignals(blocked)


def chosen_of(box) -> str:
    """The value that a combo box stands at; "" for an empty one."""
    return box.itemData(box.currentIndex) or ""


def fill_table(table, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Let a table show words that can be read and copied, not changed; a cell may have several lines."""
    table.setColumnCount(len(header))
    table.setHorizontalHeaderLabels(list(header))
    table.verticalHeader().hide()
    table.setTabKeyNavigation(False)  # Tab goes on to the next widget
    table.setRowCount(len(rows))
    for row, words in enumerate(rows):
        for column, word in enumerate(words):
            item = qt.QTableWidgetItem(word)
            item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
            item.setToolTip(word)
            if column:
                item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
            table.setItem(row, column, item)
    table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)  # a wide table scrolls, uncut
    table.resizeRowsToContents()
    tall = sum(table.rowHeight(row) for row in range(min(MOST_ROWS, len(rows))))
    table.setFixedHeight(max(tall, ROW_HEIGHT) + HEADER_HEIGHT + (SCROLL_BAR if len(header) > MOST_COLUMNS else 0))
