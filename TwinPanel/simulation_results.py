"""What a simulation has found: the treatments side by side, fields over the images, days to go through, curves."""

from __future__ import annotations

import math

import slicer
from slicer.i18n import tr as _

from TwinCore import Table
from TwinCore.scene import Twin, node_to_table
from TwinCore.units import in_words

from .boxes import chosen_of, fill_box, fill_table
from .display import show_chart
from .field_display import show_field
from .nodes import made_by
from .time_slider import TimeSlider
from .wording import digits, name_in_words

LOW, HIGH = "_low_90", "_high_90"


class SimulationResults:
    """The part of a panel that shows predictions, on the widgets of its .ui file.

    These are the group `resultsButton`, and in it `scenariosTable`, `fieldBox`, `timeRow` with `timeSlider` and
    `timeLabel`, and `chartButton`.
    """

    def __init__(self, ui):
        self._ui, self._filled, self._chart = ui, None, None
        self.time = TimeSlider(ui)
        ui.fieldBox.connect("activated(int)", lambda _index: self.show_field())
        ui.chartButton.connect("clicked()", lambda *_args: show_chart(self._chart))

    def show(self, twin: Twin | None, module: str) -> None:
        """Show what the module's newest run on a twin has left."""
        roles = ("table", "field", "sequence", "plot")
        made = {role: [] if twin is None else made_by(twin, role, module) for role in roles}
        ui = self._ui
        tables = [node for node in made["table"] if node.GetTable().GetColumnByName("scenario") is not None]
        fits = [node for node in made["table"] if node.GetTable().GetColumnByName("fitted") is not None]
        shown = next(iter([*tables, *fits]), None)
        ui.resultsButton.visible = shown is not None
        identifier = shown.GetID() if shown is not None else None
        if identifier != self._filled:
            self._filled = identifier
            table = None if shown is None else node_to_table(shown)
            fill_table(ui.scenariosTable, *(([], []) if table is None else rows_of(table)))
        fill_box(
            ui.fieldBox, {"": _("none"), **{n.GetID(): n.GetName() for n in made["field"]}}, chosen_of(ui.fieldBox)
        )
        ui.fieldBox.enabled = bool(made["field"])
        self._chart = next(iter(made["plot"]), None)
        ui.chartButton.visible = self._chart is not None
        ui.timeRow.enabled = bool(made["sequence"])
        self.time.show(next(iter(made["sequence"]), None))

    def show_field(self) -> None:
        """Lay the chosen field over the images; "none" takes it away."""
        identifier = chosen_of(self._ui.fieldBox)
        show_field(slicer.mrmlScene.GetNodeByID(identifier) if identifier else None)


def rows_of(table: Table) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table of scenarios, a column each, with 90 % intervals; or of a fit as it is."""
    columns = table.columns
    if "scenario" not in columns:
        header = [_labelled(name, table) for name in columns]
        return header, [[v if isinstance(v, str) else _number(v) for v in row] for row in zip(*columns.values())]
    names = [n for n in columns if n != "scenario" and not n.endswith((LOW, HIGH)) and not n.startswith("difference")]
    rows = []
    for name in names:
        row = [_labelled(name, table)]
        for at, value in enumerate(columns[name]):
            ends = [float(columns[name + end][at]) for end in (LOW, HIGH) if name + end in columns]
            low_high = _("\n{low} to {high}").format(low=_end(ends[0]), high=_end(ends[1])) if ends else ""
            row.append(_number(value) + low_high)
        rows.append(row)
    return ["", *map(str, columns["scenario"])], rows


def _labelled(name: str, table: Table) -> str:
    unit = "" if name.startswith("days_") else in_words(table.units.get(name, ""))
    return f"{name_in_words(name)} ({unit})" if unit else name_in_words(name)


def _number(value: float) -> str:
    return _("never") if math.isinf(float(value)) else digits(float(value))


def _end(value: float) -> str:
    """An end of an interval, in which nothing of note is none."""
    return "0" if abs(value) < 1e-3 else _number(value)
