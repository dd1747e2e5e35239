"""`Quantity` and `Table`: numbers that carry their unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import InvalidInput


@dataclass(frozen=True)
class Quantity:
    """A number and its unit (UCUM)."""

    value: float
    unit: str

    def as_dict(self) -> dict[str, Any]:
        return {"value": self.value, "unit": self.unit}


@dataclass(frozen=True, eq=False)
class Table:
    """Named columns of equal length, each numbers or words, with a unit for each column of numbers.

    >>> Table("Tumour", {"time": [0, 1], "volume": [8.0, 9.5]}, {"time": "d", "volume": "mL"}).rows
    2
    """

    name: str
    columns: Mapping[str, Sequence | np.ndarray]
    units: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self):
        if len({len(c) for c in self.columns.values()}) > 1:
            raise InvalidInput(f"The columns of table {self.name!r} have different lengths.")

    @property
    def rows(self) -> int:
        return len(next(iter(self.columns.values()), ()))
