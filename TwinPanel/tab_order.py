"""Tab goes through a panel as it is read, wherever its parts were made."""

from __future__ import annotations

import qt


def focusable(widget) -> list:
    """What Tab stops at in a widget, in the order of its layouts; a composite widget is one stop."""
    if int(widget.focusPolicy) & int(qt.Qt.TabFocus):
        children = [] if widget.layout() is None else _in_layout(widget.layout())
        return [widget, *children] if isinstance(widget, qt.QAbstractButton) else [widget]
    return [] if widget.layout() is None else _in_layout(widget.layout())


def in_reading_order(widgets: list) -> None:
    """Let Tab go through widgets in this order."""
    for before, after in zip(widgets, widgets[1:]):
        qt.QWidget.setTabOrder(before, after)


def _in_layout(layout) -> list:
    found: list = []
    for number in range(layout.count()):
        item = layout.itemAt(number)
        if item.widget() is not None:
            found += focusable(item.widget())
        elif item.layout() is not None:
            found += _in_layout(item.layout())
    return found
