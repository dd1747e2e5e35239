"""A form in which each thing that is needed gets a list of what could be it: segments for a model's tissues."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import qt
from slicer.i18n import tr as _

from .boxes import chosen_of, fill_box
from .wording import sentence


class ChoiceForm:
    """One row a need: its name, a list to choose from, and what it means as tooltip.

    Parameters
    ----------
    changed : callable
        Called after the user has chosen.
    """

    def __init__(self, changed: Callable[[], None]):
        self.widget = qt.QWidget()
        self._form = qt.QFormLayout(self.widget)
        self._form.setContentsMargins(0, 0, 0, 0)
        self._changed = changed
        self.boxes: dict = {}

    def show(self, needs: Mapping[str, str], there: Sequence[str], chosen: Mapping[str, str]) -> None:
        """Offer what is there for each need, with its meaning; one of the need's own name is chosen by itself."""
        if list(self.boxes) != list(needs):
            while self._form.rowCount():
                self._form.removeRow(0)
            self.boxes = {name: self._add(name, meaning) for name, meaning in needs.items()}
        for name, box in self.boxes.items():
            fill_box(box, {"": _("choose"), **{other: other for other in there}}, chosen.get(name) or name)

    def chosen(self) -> dict[str, str]:
        """What is chosen for each need; "" where nothing is."""
        return {name: chosen_of(box) for name, box in self.boxes.items()}

    def _add(self, name: str, meaning: str):
        box = qt.QComboBox()
        box.toolTip = f"{sentence(meaning)}."
        box.connect("activated(int)", lambda _index: self._changed())
        self._form.addRow(f"{sentence(name)}:", box)
        return box
