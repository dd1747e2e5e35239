"""Which twin a panel works on, and which of the loaded volumes belong to it."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer
from slicer.i18n import tr as _

from TwinCore import TwinError
from TwinCore.image import MODALITIES
from TwinCore.scene import Twin, check_volume, meaning
from TwinCore.scene.attributes import MODALITY, RUN, UNIT
from TwinCore.units import BECQUEREL_PER_ML, HOUNSFIELD, NO_UNIT, SUV_BODY_WEIGHT, in_words

UNITS = (HOUNSFIELD, SUV_BODY_WEIGHT, BECQUEREL_PER_ML, NO_UNIT)
ROW_HEIGHT, HEADER_HEIGHT = 26, 28
"""Pixels."""

VOLUME, PART, MODALITY_COLUMN, UNIT_COLUMN = range(4)
TOOLTIPS = {
    PART: _("The reference fixes the twin's frame and grid; every other volume is an image."),
    MODALITY_COLUMN: ", ".join(f"{code}: {word}" for code, word in MODALITIES.items()),
    UNIT_COLUMN: _("What the voxels' values are; it is never guessed, for it changes results."),
}


class TwinSelector:
    """A list of the scene's twins, and a table of the volumes with what each one is.

    Modality and unit are asked for where a volume does not say them itself, and never guessed: they change results.

    Parameters
    ----------
    changed : callable
        Called after the user has chosen or changed a twin.
    """

    def __init__(self, changed: Callable[[], None]):
        self._changed = changed
        self._twins: list[Twin] = []
        self._volumes: list = []
        self.widget = qt.QWidget()
        column = qt.QVBoxLayout(self.widget)
        column.setContentsMargins(0, 0, 0, 0)
        form = qt.QFormLayout()
        column.addLayout(form)
        self.twinBox = qt.QComboBox()
        self.twinBox.toolTip = _("The patient's twin that this panel reads and adds to.")
        form.addRow(_("Twin:"), self.twinBox)
        self.table = qt.QTableWidget()
        self.table.setColumnCount(4)
        self.table.setHorizontalHeaderLabels([_("Volume"), _("Part"), _("Modality"), _("Unit")])
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(ROW_HEIGHT)
        self.table.horizontalHeader().setSectionResizeMode(VOLUME, qt.QHeaderView.Stretch)
        self.table.setSelectionMode(qt.QAbstractItemView.NoSelection)
        self.table.setTabKeyNavigation(False)  # Tab goes on to the next widget
        self.table.toolTip = _("What each loaded volume is. The reference fixes the twin's frame and grid.")
        column.addWidget(self.table)
        self.patientEdit = qt.QLineEdit()
        self.patientEdit.placeholderText = _("Name of the new twin's patient")
        self.newButton = qt.QPushButton(_("New twin"))
        self.addButton = qt.QPushButton(_("Add to twin"))
        self.patientEdit.toolTip = _("As the twin and its folder are called; a pseudonym will do.")
        self.newButton.toolTip = _("Make a twin of the volumes to which a part was given above.")
        self.addButton.toolTip = _("Take the volumes to which a part was given above into the twin that is chosen.")
        self.takeRow = qt.QWidget()  # hidden where every volume is in a twin
        row = qt.QHBoxLayout(self.takeRow)
        row.setContentsMargins(0, 0, 0, 0)
        for part in (self.patientEdit, self.newButton, self.addButton):
            row.addWidget(part)
        column.addWidget(self.takeRow)
        self.reasonLabel = qt.QLabel()
        self.reasonLabel.wordWrap = True
        column.addWidget(self.reasonLabel)
        self.twinBox.connect("activated(int)", lambda _index: self._on_twin())
        self.patientEdit.connect("textChanged(QString)", lambda _text: self._explain())
        self.newButton.connect("clicked()", self._on_new)
        self.addButton.connect("clicked()", self._on_add)

    @property
    def twin(self) -> Twin | None:
        """The chosen twin; None where the scene has none."""
        index = self.twinBox.currentIndex
        return self._twins[index] if 0 <= index < len(self._twins) else None

    def refresh(self, node=None) -> None:
        """Look at the scene again, and choose the twin of this node, or else the one chosen before."""
        node = node or (self.twin.mrml_node if self.twin is not None else None)
        self._twins = Twin.all(slicer.mrmlScene)
        self.twinBox.clear()
        for twin in self._twins:
            self.twinBox.addItem(twin.patient)
        chosen = next((n for n, twin in enumerate(self._twins) if twin.mrml_node is node), len(self._twins) - 1)
        self.twinBox.setCurrentIndex(chosen)
        self.twinBox.enabled = bool(self._twins)
        self._fill()

    def _on_twin(self) -> None:
        self._fill()
        self._changed()

    def _fill(self) -> None:
        """The rows anew: the twin's images, then the volumes that are in no twin; what was chosen before stays."""
        before = {node.GetID(): self._chosen(row) for row, node in enumerate(self._volumes)}
        images = [] if self.twin is None else self.twin.nodes("image")
        taken = {node.GetID() for twin in self._twins for node in twin.nodes("image")}
        loaded = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        free = [node for node in loaded if node.GetID() not in taken and could_be_input(node)]
        self._volumes = [*images, *free]
        self.table.setRowCount(0)
        self.table.setRowCount(len(self._volumes))
        for row, node in enumerate(self._volumes):
            self._set_text(row, VOLUME, node.GetName())
            if row < len(images):
                said = meaning(node)
                part = _("reference") if node in self.twin.nodes("reference") else _("image")
                words = (part, said["modality"], in_words(said["unit"]) or _("no unit"))
                for column, word in zip((PART, MODALITY_COLUMN, UNIT_COLUMN), words):
                    self._set_text(row, column, word)
            else:
                said = (
                    (node.GetAttribute(MODALITY), node.GetAttribute(UNIT)) if node.GetAttribute(MODALITY) else ("", "")
                )
                self._offer(row, before.get(node.GetID()) or ("", *said))
        self.takeRow.visible = bool(free)
        self.table.resizeColumnsToContents()
        self.table.horizontalHeader().setSectionResizeMode(VOLUME, qt.QHeaderView.Stretch)
        fit_height(self.table)
        self._explain()

    def _set_text(self, row: int, column: int, text: str) -> None:
        item = qt.QTableWidgetItem(text)
        item.setFlags(qt.Qt.ItemIsEnabled)
        item.setToolTip(text)
        self.table.setItem(row, column, item)

    def _offer(self, row: int, chosen: tuple) -> None:
        """Boxes in which the user says what a volume is."""
        offers = (
            (PART, _("not used"), [("image", _("image")), ("reference", _("reference"))]),
            (MODALITY_COLUMN, _("choose"), [(code, code) for code in MODALITIES]),
            (UNIT_COLUMN, _("choose"), [(unit, in_words(unit) or _("no unit")) for unit in UNITS]),
        )
        for (column, none, entries), value in zip(offers, chosen):
            box = qt.QComboBox()
            box.addItem(none, "")
            for code, word in entries:
                box.addItem(word, code)
            box.setCurrentIndex(max(0, box.findData(value or "")))
            box.toolTip = TOOLTIPS[column]
            box.connect("currentIndexChanged(int)", lambda _index: self._explain())
            self.table.setCellWidget(row, column, box)

    def _chosen(self, row: int) -> tuple[str, str, str] | None:
        """Part, modality and unit that the user has chosen for a volume; None for one that is in the twin."""
        boxes = [self.table.cellWidget(row, column) for column in (PART, MODALITY_COLUMN, UNIT_COLUMN)]
        return None if None in boxes else tuple(box.itemData(box.currentIndex) or "" for box in boxes)

    def _selected(self) -> list[tuple]:
        """Volume, part, modality and unit of each volume to be taken."""
        rows = ((node, self._chosen(row)) for row, node in enumerate(self._volumes))
        return [(node, *chosen) for node, chosen in rows if chosen and chosen[0]]

    def _explain(self) -> None:
        """Say what is missing before the buttons do anything."""
        selected = self._selected()
        references = [node for node, part, *_ in selected if part == "reference"]
        unsaid = [node.GetName() for node, _part, modality, unit in selected if not (modality and unit)]
        if not self._volumes:
            text = _("Load the patient's images first.")
        elif unsaid:
            text = _("Say the modality and unit of: {names}.").format(names=", ".join(unsaid))
        elif len(references) > 1:
            text = _("Only one volume can be the reference.")
        elif not selected:
            free = any(self._chosen(row) for row in range(len(self._volumes)))
            text = _("To take a volume into a twin, choose its part, modality and unit.") if free else ""
        elif references and not self.patientEdit.text.strip():
            text = _("For a new twin, give the patient's name.")
        else:
            text = "" if references or self.twin is not None else _("For a new twin, choose its reference.")
        complete = bool(selected) and not unsaid and len(references) <= 1
        self.newButton.enabled = complete and len(references) == 1 and bool(self.patientEdit.text.strip())
        self.addButton.enabled = complete and self.twin is not None
        self.reasonLabel.text = text
        self.reasonLabel.visible = bool(text)

    def _on_new(self, *_args) -> None:
        self._adopt(None)

    def _on_add(self, *_args) -> None:
        self._adopt(self.twin)

    def _adopt(self, twin: Twin | None) -> None:
        """Take the selected volumes into a twin, a new one if none is named; none of them if one cannot be taken."""
        selected = self._selected()
        try:
            for node, _part, modality, unit in selected:
                check_volume(node, modality, unit)
        except TwinError as error:
            self.reasonLabel.text = str(error)
            self.reasonLabel.visible = True
            return
        if twin is None:
            twin = Twin.create(self.patientEdit.text.strip(), slicer.mrmlScene)
            self.patientEdit.text = ""
        for node, part, modality, unit in selected:
            twin.adopt(node, modality, unit, reference=part == "reference")
        self.refresh(twin.mrml_node)
        self._changed()


def could_be_input(volume) -> bool:
    """Whether a volume is neither a result, nor a map of labels, nor there to be looked at for a while only."""
    made = volume.GetAttribute(RUN) or volume.GetHideFromEditors()
    return not made and not volume.IsA("vtkMRMLLabelMapVolumeNode")


def fit_height(table, most: int = 6) -> None:
    """A table as high as its rows, one at least and so many at most."""
    table.verticalHeader().setDefaultSectionSize(ROW_HEIGHT)
    table.setFixedHeight(min(most, max(1, table.rowCount)) * ROW_HEIGHT + HEADER_HEIGHT)
