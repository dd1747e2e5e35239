"""A form made from the declarations of parameters: a new parameter appears in the panel without panel code."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import qt
from slicer.i18n import tr as _

from TwinCore import Parameter
from TwinCore.parameter import Choice
from TwinCore.units import in_words

from .wording import name_in_words


class ParameterForm:
    """One row a parameter: its name and symbol, a box with unit and bounds, and meaning and source as tooltip.

    A `Choice` has a list of its options instead.

    Parameters
    ----------
    changed : callable
        Called after the user has changed a value.
    """

    def __init__(self, changed: Callable[[], None]):
        self.widget = qt.QWidget()
        self._form = qt.QFormLayout(self.widget)
        self._form.setContentsMargins(0, 0, 0, 0)
        self._changed = changed
        self._declared: tuple[Parameter | Choice, ...] | None = None
        self.boxes: dict[str, Any] = {}

    def show(self, parameters: Iterable[Parameter | Choice], values: Mapping[str, Any] | None = None) -> None:
        """Make the rows anew where other parameters are declared; defaults stand where no possible value is given."""
        parameters, values = tuple(parameters), values or {}
        if parameters != self._declared:
            self._make(parameters)
        for parameter in parameters:
            self._put(parameter, values.get(parameter.name, parameter.default))

    def values(self) -> dict[str, Any]:
        """What the boxes hold, by the parameters' names."""
        return {
            p.name: self.boxes[p.name].currentText if isinstance(p, Choice) else float(self.boxes[p.name].value)
            for p in self._declared or ()
        }

    def _make(self, parameters: tuple[Parameter | Choice, ...]) -> None:
        while self._form.rowCount():
            self._form.removeRow(0)
        self._declared, self.boxes = parameters, {}
        for parameter in parameters:
            is_choice = isinstance(parameter, Choice)
            box = self._list(parameter) if is_choice else self._number(parameter)
            self.boxes[parameter.name] = box
            symbol = "" if is_choice or not parameter.symbol else f" ({parameter.symbol})"
            label = qt.QLabel(f"{name_in_words(parameter.name.removesuffix('_mm'))}{symbol}:")
            label.toolTip = box.toolTip
            self._form.addRow(label, box)

    def _put(self, parameter: Parameter | Choice, value: Any) -> None:
        """A value into its box without telling of it; the scene that it comes from may hold anything."""
        box = self.boxes[parameter.name]
        blocked = box.blockSignals(True)
        if isinstance(parameter, Choice):
            box.setCurrentIndex(max(0, box.findText(str(value))))
            box.toolTip = f"{parameter.meaning}\n{box.currentText}: {parameter.options[box.currentText]}"
        else:
            box.value = value if isinstance(value, (int, float)) else parameter.default
        box.blockSignals(blocked)

    def _list(self, parameter: Choice):
        box = qt.QComboBox()
        for option, words in parameter.options.items():
            box.addItem(option)
            box.setItemData(box.count - 1, words, qt.Qt.ToolTipRole)
        box.connect("activated(int)", lambda _index: self._changed())
        return box

    def _number(self, parameter: Parameter):
        box = qt.QDoubleSpinBox()
        box.decimals = decimals_of(parameter)
        box.setRange(parameter.low, parameter.high)
        box.singleStep = 10.0 ** math.floor(math.log10(parameter.default or 1.0)) / (10 if box.decimals else 1)
        unit = in_words(parameter.unit)
        box.suffix = f" {unit}" if unit else ""
        box.toolTip = _("{meaning}\nFrom {low} to {high} {unit}; {default} unless changed\nSource: {source}").format(
            meaning=parameter.meaning,
            low=f"{parameter.low:g}",
            high=f"{parameter.high:g}",
            default=f"{parameter.default:g}",
            unit=unit,
            source=parameter.source,
        )
        box.connect("valueChanged(double)", lambda _value: self._changed())
        return box


def decimals_of(parameter: Parameter) -> int:
    """Decimals that show the lower bound and the default as they are; whole numbers up to 100 and more need none."""
    numbers = [n for n in (parameter.low, parameter.high, parameter.default) if n]
    if all(float(n).is_integer() for n in numbers) and parameter.high >= 100:
        return 0
    return next((n for n in range(1, 8) if all(round(x, n) == x for x in (parameter.low, parameter.default))), 8)
