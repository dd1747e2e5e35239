"""A form in which each thing that a model takes gets a list of what could be it: segments for tissues, images."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import qt
from slicer.i18n import tr as _

from .boxes import chosen_of, fill_box
from .wording import name_in_words, sentence


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

    def show(
        self,
        needs: Mapping[str, str],
        there: Mapping[str, str],
        chosen: Mapping[str, str],
        optional: Collection[str] = (),
    ) -> None:
        """Offer what is there for each need.

        Parameters
        ----------
        needs : mapping of str to str
            Meaning of each need, by its name.
        there : mapping of str to str
            Words of each thing that could be it, by its value.
        chosen : mapping of str to str
            Value for each need; of a need that is not named here, the value of its own name.
        optional : collection of str
            Needs that may be left open.
        """
        if list(self.boxes) != list(needs):
            while self._form.rowCount():
                self._form.removeRow(0)
            self.boxes = {name: self._add(name, meaning) for name, meaning in needs.items()}
        for name, box in self.boxes.items():
            none = _("not used") if name in optional else _("choose")
            fill_box(box, {"": none, **there}, chosen.get(name, name))

    def chosen(self) -> dict[str, str]:
        """What is chosen for each need; "" where nothing is."""
        return {name: chosen_of(box) for name, box in self.boxes.items()}

    def _add(self, name: str, meaning: str):
        box = qt.QComboBox()
        box.toolTip = f"{sentence(meaning)}."
        box.connect("activated(int)", lambda _index: self._changed())
        self._form.addRow(f"{name_in_words(name)}:", box)
        return box
