"""A form made from the declarations of parameters: a new parameter appears in the panel without panel code."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import qt
from slicer.i18n import tr as _

from TwinCore import Parameter
from TwinCore.units import in_words


class ParameterForm:
    """One row a parameter: its name and symbol, a box with unit and bounds, and meaning and source as tooltip.

    Parameters
    ----------
    changed : callable, optional
        Called after the user has changed a value; without it the form only shows the values.
    """

    def __init__(self, changed: Callable[[], None] | None = None):
        self.widget = qt.QWidget()
        self._form = qt.QFormLayout(self.widget)
        self._form.setContentsMargins(0, 0, 0, 0)
        self._changed = changed
        self.boxes: dict[str, qt.QDoubleSpinBox] = {}

    def show(self, parameters: Iterable[Parameter], values: Mapping[str, float] | None = None) -> None:
        """Make the rows anew, with the defaults where no value is given."""
        while self._form.rowCount():
            self._form.removeRow(0)
        self.boxes = {}
        for parameter in parameters:
            self.boxes[parameter.name] = self._add(parameter, (values or {}).get(parameter.name, parameter.default))

    def values(self) -> dict[str, float]:
        """What the boxes hold, by the parameters' names."""
        return {name: float(box.value) for name, box in self.boxes.items()}

    def _add(self, parameter: Parameter, value: float):
        box = qt.QDoubleSpinBox()
        box.decimals = decimals_of(parameter)
        box.setRange(parameter.low, parameter.high)
        box.singleStep = 10.0 ** math.floor(math.log10(parameter.default or 1.0)) / (10 if box.decimals else 1)
        box.value = value
        unit = in_words(parameter.unit)
        box.suffix = f" {unit}" if unit else ""
        box.toolTip = _("{meaning}\nFrom {low} to {high} {unit}\nSource: {source}").format(
            meaning=parameter.meaning,
            low=f"{parameter.low:g}",
            high=f"{parameter.high:g}",
            unit=unit,
            source=parameter.source,
        )
        if self._changed is None:
            box.readOnly = True
            box.setButtonSymbols(qt.QAbstractSpinBox.NoButtons)
        else:
            box.connect("valueChanged(double)", lambda _value: self._changed())
        symbol = f" ({parameter.symbol})" if parameter.symbol else ""
        label = qt.QLabel(f"{parameter.name.replace('_', ' ').capitalize()}{symbol}:")
        label.toolTip = box.toolTip
        self._form.addRow(label, box)
        return box


def decimals_of(parameter: Parameter) -> int:
    """Decimals that show the lower bound and the default as they are; whole numbers up to 100 and more need none."""
    numbers = [n for n in (parameter.low, parameter.high, parameter.default) if n]
    if all(float(n).is_integer() for n in numbers) and parameter.high >= 100:
        return 0
    return next((n for n in range(1, 8) if all(round(x, n) == x for x in (parameter.low, parameter.default))), 8)
