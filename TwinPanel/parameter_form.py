"""A form made from the declarations of parameters: a new parameter appears in the panel without panel code."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import qt
from slicer.i18n import tr as _

from TwinCore import Parameter
from TwinCore.parameter import Choice
from TwinCore.units import NO_UNIT, in_words

from .wording import name_in_words

NOTCHES = 200
"""Of a slider."""


@dataclass
class _Page:
    """The rows of one set of parameters."""

    declared: tuple[Parameter | Choice, ...]
    rows: Any
    boxes: dict[str, Any] = field(default_factory=dict)
    sliders: dict[str, Any] = field(default_factory=dict)


class ParameterForm:
    """One row a parameter: its name and symbol, a box with unit and bounds, and meaning and source as tooltip.

    A `Choice` has a list of its options instead.

    Parameters
    ----------
    changed : callable
        Called after the user has changed a value.
    moving : callable, optional
        Called while the user drags a value, before `changed`; numbers have a slider beside their box then.
    """

    def __init__(self, changed: Callable[[], None], moving: Callable[[], None] | None = None):
        self._moving = moving
        self.widget = qt.QWidget()
        self._place = qt.QVBoxLayout(self.widget)
        self._place.setContentsMargins(0, 0, 0, 0)
        self._changed = changed
        self._pages: list[_Page] = []
        self._page = self._make(())

    def show(self, parameters: Iterable[Parameter | Choice], values: Mapping[str, Any] | None = None) -> None:
        """Show the rows of the declared parameters; defaults stand where no possible value is given."""
        parameters, values = tuple(parameters), values or {}
        if parameters != self._page.declared:
            self._page.rows.visible = False
            made = (page for page in self._pages if page.declared == parameters)
            self._page = next(made, None) or self._make(parameters)
            self._page.rows.visible = True
        for parameter in parameters:
            self._put(parameter, values.get(parameter.name, parameter.default))

    def values(self) -> dict[str, Any]:
        """What the boxes hold, by the parameters' names."""
        return {
            p.name: self.boxes[p.name].currentText if isinstance(p, Choice) else float(self.boxes[p.name].value)
            for p in self._page.declared
        }

    @property
    def boxes(self) -> dict[str, Any]:
        """What holds each value that is shown."""
        return self._page.boxes

    @property
    def sliders(self) -> dict[str, Any]:
        return self._page.sliders

    def _make(self, parameters: tuple[Parameter | Choice, ...]) -> _Page:
        """Rows are never deleted: one of them may be telling of the change that shows others."""
        page = _Page(parameters, qt.QWidget())
        self._pages.append(page)
        self._place.addWidget(page.rows)
        form = qt.QFormLayout(page.rows)
        form.setContentsMargins(0, 0, 0, 0)
        for parameter in parameters:
            is_choice = isinstance(parameter, Choice)
            box = self._list(parameter) if is_choice else self._number(parameter)
            page.boxes[parameter.name] = box
            symbol = "" if is_choice or not parameter.symbol else f" ({parameter.symbol})"
            label = qt.QLabel(f"{name_in_words(parameter.name.removesuffix('_mm'))}{symbol}:")
            label.toolTip = box.toolTip
            if self._moving is None or is_choice:
                form.addRow(label, box)
            else:
                page.sliders[parameter.name] = slider = self._slider(parameter)
                row = qt.QHBoxLayout()
                row.addWidget(slider, 1)
                row.addWidget(box)
                form.addRow(label, row)
        return page

    def _put(self, parameter: Parameter | Choice, value: Any) -> None:
        """A value into its box without telling of it; the scene that it comes from may hold anything."""
        box, slider = self.boxes[parameter.name], self.sliders.get(parameter.name)
        if slider is not None and slider.sliderDown:
            return  # the user is at it, and what is kept is older
        blocked = box.blockSignals(True)
        if isinstance(parameter, Choice):
            box.setCurrentIndex(max(0, box.findText(str(value))))
            box.toolTip = f"{parameter.meaning}\n{box.currentText}: {parameter.options[box.currentText]}"
        else:
            box.value = value if isinstance(value, (int, float)) else parameter.default
            self._move(parameter)
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
        box.specialValueText = parameter.lowest_means
        box.toolTip = _("{meaning}\nFrom {low} to {high} {unit}; {default} unless changed\nSource: {source}").format(
            meaning=parameter.meaning,
            low=f"{parameter.low:g}",
            high=f"{parameter.high:g}",
            default=f"{parameter.default:g}",
            unit=unit,
            source=parameter.source,
        )
        box.connect("valueChanged(double)", lambda _value: self._on_number(parameter))
        return box

    def _slider(self, parameter: Parameter):
        slider = qt.QSlider()
        slider.orientation = qt.Qt.Horizontal
        slider.maximum = NOTCHES
        low, high = (f"{end:g}" for end in reach(parameter))
        slider.toolTip = _("{meaning}\nFrom {low} to {high}; what lies beyond goes into the box").format(
            meaning=parameter.meaning, low=low, high=high
        )
        slider.connect("valueChanged(int)", lambda notch: self._on_slider(parameter, notch))
        slider.connect("sliderReleased()", lambda: self._changed())
        return slider

    def _on_number(self, parameter: Parameter) -> None:
        self._move(parameter)
        self._changed()

    def _on_slider(self, parameter: Parameter, notch: int) -> None:
        box, slider = self.boxes[parameter.name], self.sliders[parameter.name]
        blocked = box.blockSignals(True)
        box.value = value_at(parameter, notch)
        box.blockSignals(blocked)
        if slider.sliderDown:
            self._moving()
        else:
            self._changed()

    def _move(self, parameter: Parameter) -> None:
        """Let the slider stand where its box does."""
        slider = self.sliders.get(parameter.name)
        if slider is not None:
            blocked = slider.blockSignals(True)
            slider.value = notch_of(parameter, self.boxes[parameter.name].value)
            slider.blockSignals(blocked)


def reach(parameter: Parameter) -> tuple[float, float]:
    """From where to where a slider goes: twice as far, in ratio, as what is believed to 90 %, within the bounds."""
    if parameter.prior is None:
        return parameter.low, parameter.high
    wide = max(parameter.prior.factor_95, 1.01) ** 2
    return max(parameter.low, parameter.default / wide), min(parameter.high, parameter.default * wide)


def value_at(parameter: Parameter, notch: int) -> float:
    """The value of a slider's notch: equal ratios a notch where a factor about the default is believed, else steps."""
    low, high = reach(parameter)
    share = notch / NOTCHES
    return low * (high / low) ** share if parameter.prior is not None else low + share * (high - low)


def notch_of(parameter: Parameter, value: float) -> int:
    """The notch nearest to a value."""
    low, high = reach(parameter)
    inside = min(max(value, low), high)
    linear = parameter.prior is None
    share = (inside - low) / (high - low) if linear else math.log(inside / low) / math.log(high / low)
    return round(NOTCHES * share)


def decimals_of(parameter: Parameter) -> int:
    """Decimals that show the lower bound and the default as they are; counts, and large whole numbers, need none."""
    numbers = [n for n in (parameter.low, parameter.high, parameter.default) if n]
    if all(float(n).is_integer() for n in numbers) and (parameter.high >= 100 or parameter.unit == NO_UNIT):
        return 0
    return next((n for n in range(1, 8) if all(round(x, n) == x for x in (parameter.low, parameter.default))), 8)
