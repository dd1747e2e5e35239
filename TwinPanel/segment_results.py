"""What a segmentation has found: volumes with their intervals, the uncertainty over the images, files to export."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import qt
import slicer
from slicer.i18n import tr as _

from TwinCore import TwinError
from TwinCore.scene import Twin, node_to_table

from .boxes import chosen_of, fill_box, fill_table
from .field_display import show_field
from .nodes import made_by
from .wording import digits

LOW, HIGH = "volume, low", "volume, high"


class SegmentResults:
    """The part of a panel that shows segments' measures, on the widgets of its .ui file.

    These are the groups `resultsButton`, `correctionButton` and `exportButton`, and in them `volumesTable`,
    `uncertaintyBox` (bound to the parameter node), `exportBox`, `writeButton` and `exportLabel`.

    Parameters
    ----------
    ui : namespace of widgets
    kinds : mapping of str to str
        What the segments can be exported as, each with its words.
    export : callable
        Called with the twin's node, a folder and a kind; returns the files that it has written.
    """

    def __init__(self, ui, kinds: Mapping[str, str], export: Callable):
        self._ui, self._export = ui, export
        self._twin: Twin | None = None
        self._overlaid: object = ()
        self._filled: object = ()
        fill_box(ui.exportBox, kinds, "")
        ui.writeButton.connect("clicked()", lambda *_args: self._write())

    def show(self, twin: Twin | None, module: str, uncertain: bool) -> None:
        """Show what the module's newest run on a twin has found, and its uncertainty over the images if wanted."""
        if twin != self._twin:
            self._ui.exportLabel.text = ""
        self._twin = twin
        there = twin is not None and bool(twin.nodes("segmentation"))
        for group in (self._ui.resultsButton, self._ui.correctionButton, self._ui.exportButton):
            group.visible = there
        tables = [] if twin is None else made_by(twin, "table", module)
        found = next((n.GetID() for n in tables if n.GetTable().GetColumnByName("segment") is not None), None)
        if self._filled != found:
            self._filled = found
            header, rows = rows_of(node_to_table(slicer.mrmlScene.GetNodeByID(found))) if found else ([], [])
            fill_table(self._ui.volumesTable, header, rows)
        self._ui.volumesTable.visible = found is not None
        maps = [] if twin is None else [n for n in twin.nodes("uncertainty") if n.GetName().endswith(" uncertainty")]
        maps = [node for node in maps if node.GetID() in {n.GetID() for n in _of_module(twin, module)}]
        self._ui.uncertaintyBox.enabled = bool(maps)
        wanted = maps[0] if uncertain and maps else None
        if (wanted, uncertain) != self._overlaid and (wanted is not None or self._overlaid not in ((), (None, False))):
            show_field(wanted)
        self._overlaid = (wanted, uncertain)
        self._ui.exportLabel.visible = bool(self._ui.exportLabel.text)

    def _write(self) -> None:
        folder = qt.QFileDialog.getExistingDirectory(None, _("Export segments into"))
        if not folder:
            return
        try:
            files = self._export(self._twin.mrml_node, folder, chosen_of(self._ui.exportBox))
        except TwinError as error:
            words = str(error)
        else:
            words = _("Written: {files}.").format(files=", ".join(path.name for path in files))
        self._ui.exportLabel.text = words
        self._ui.exportLabel.visible = True


def _of_module(twin: Twin, module: str) -> list:
    """Uncertainty maps of the newest run of the module that has made any: a correction makes none of its own."""
    from TwinCore.scene.attributes import RUN

    runs = [record["run"] for record in twin.provenance() if record["module"] == module]
    maps = {run: [n for n in twin.nodes("uncertainty") if n.GetAttribute(RUN) == run] for run in runs}
    return next((nodes for nodes in maps.values() if nodes), [])


def rows_of(table) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table of segments: volume in mL, with its 90 % interval where there is one, and surface."""
    columns = table.columns
    header = [_("Segment"), _("Volume (mL)"), _("90 % interval"), _("Area (cm²)")]
    rows = []
    for row, name in enumerate(columns["segment"]):
        low, high = (float(columns[c][row]) if c in columns else math.nan for c in (LOW, HIGH))
        interval = "" if math.isnan(low + high) else _("{low} to {high}").format(low=digits(low), high=digits(high))
        surface = float(columns["surface"][row])
        rows.append(
            [name, digits(float(columns["volume"][row])), interval, "" if math.isnan(surface) else digits(surface)]
        )
    if not any(row[2] for row in rows):
        return [*header[:2], header[3]], [[*row[:2], row[3]] for row in rows]
    return header, rows
