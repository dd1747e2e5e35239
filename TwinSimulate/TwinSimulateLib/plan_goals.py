"""Goals of a treatment plan: read-outs of dose-volume histograms by their usual names, and whether they are met."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from TwinCore import InvalidInput, MissingInput, Quantity, Table
from TwinCore.units import GRAY, MILLILITRE

from .dose_volume import DoseVolume

PERCENT = "%"
_UNITS = {"Gy": GRAY, "%": PERCENT, "cc": MILLILITRE}
_NUMBER = r"(\d+(?:\.\d+)?)"
_METRIC = re.compile(rf"(?:(mean|min|max)|(D){_NUMBER}(%|cc)|(V){_NUMBER}(Gy|%))(?:\[(Gy|%|cc)\])?", re.IGNORECASE)


@dataclass(frozen=True)
class Metric:
    """A read-out of a histogram by its name, as AAPM's TG-263 writes them.

    >>> Metric.parse("V20Gy").unit, Metric.parse("D0.03cc[Gy]").unit, Metric.parse("V45Gy[cc]").unit
    ('%', 'Gy', 'mL')

    "mean", "min", "max" and D (D95%: the least dose in the hottest 95 % of the volume; D2cc: in the hottest 2 mL)
    are doses, in Gy or with [%] in % of the prescription. V (V20Gy, or V95% of the prescription: the volume with that
    dose or more) is a share of the volume in %, or with [cc] in mL.
    """

    name: str
    kind: str
    at: float
    at_unit: str
    unit: str

    @classmethod
    def parse(cls, name: str) -> Metric:
        """The metric that a name means; `InvalidInput` where it means none."""
        match = _METRIC.fullmatch(name.replace(" ", ""))
        simple, d, d_at, d_unit, v, v_at, v_unit, asked = match.groups() if match else (None,) * 8
        kind = (simple or d or v or "").lower()
        unit = _UNITS[asked if asked in _UNITS else "%" if kind == "v" else "Gy"] if kind else ""
        if not kind or unit == (GRAY if kind == "v" else MILLILITRE):
            raise InvalidInput(
                f"The metric {name!r} is not understood. There are: mean, min, max, D95%, D0.03cc, V20Gy, V95%, with "
                "[%], [Gy] or [cc] after it where another unit than the usual one is wanted."
            )
        return cls(name, kind, float(d_at or v_at or 0.0), (d_unit or v_unit or "").replace("gy", "Gy"), unit)

    @property
    def needs_prescription(self) -> bool:
        return (self.kind == "v" and self.at_unit == "%") or (self.kind != "v" and self.unit == PERCENT)

    def of(self, histogram: DoseVolume, prescribed_gy: float | None = None) -> Quantity:
        """The read-out; `MissingInput` where it is relative to a prescription that is not known."""
        if self.needs_prescription and not prescribed_gy:
            raise MissingInput(f"The metric {self.name!r} is relative to the prescribed dose: say how much that is.")
        if self.kind == "v":
            dose = self.at / 100.0 * (prescribed_gy or 0.0) if self.at_unit == "%" else self.at
            share = self.unit == PERCENT
            return Quantity(histogram.percent_above(dose) if share else histogram.ml_above(dose), self.unit)
        if self.kind == "d":
            dose = histogram.dose_to_percent(self.at) if self.at_unit == "%" else histogram.dose_to_ml(self.at)
        else:
            dose = {"mean": histogram.mean_gy, "min": histogram.min_gy, "max": histogram.max_gy}[self.kind]
        return Quantity(100.0 * dose / (prescribed_gy or 1.0) if self.unit == PERCENT else dose, self.unit)


@dataclass(frozen=True)
class Goal:
    """What a plan should reach for one structure.

    Parameters
    ----------
    structure : str
    metric : Metric
    limit : float
        In the metric's unit.
    at_least : bool
        Whether more is better, as for a target; otherwise less is.
    acceptable : float, optional
        A limit that is still tolerated where the goal is missed.
    """

    structure: str
    metric: Metric
    limit: float
    at_least: bool
    acceptable: float | None = None

    def __post_init__(self):
        if self.acceptable is not None and self._better(self.acceptable, self.limit) and self.acceptable != self.limit:
            raise InvalidInput(
                f"Goal {self.structure!r} {self.metric.name}: the acceptable limit {self.acceptable:g} is stricter "
                f"than the goal {self.limit:g}."
            )

    def _better(self, value: float, limit: float) -> bool:
        return value >= limit if self.at_least else value <= limit

    def verdict(self, value: float) -> str:
        """ "pass", "acceptable" or "fail"."""
        if self._better(value, self.limit):
            return "pass"
        return "acceptable" if self.acceptable is not None and self._better(value, self.acceptable) else "fail"

    def in_words(self) -> str:
        """The goal as a table prints it: ">= 57 Gy (>= 54 Gy)"."""
        sign = ">=" if self.at_least else "<="
        tolerated = "" if self.acceptable is None else f" ({sign} {self.acceptable:g} {self.metric.unit})"
        return f"{sign} {self.limit:g} {self.metric.unit}{tolerated}"


def evaluate(
    goals: Sequence[Goal], histograms: Mapping[str, DoseVolume], prescribed_gy: float | None = None
) -> tuple[list[Quantity], Table]:
    """Each goal's read-out, and a table of them with what was asked and the verdict.

    Raises
    ------
    MissingInput
        If a structure has no histogram, or a metric needs a prescription that is not given.
    """
    values = []
    for goal in goals:
        if goal.structure not in histograms:
            raise MissingInput(
                f"The goals name the structure {goal.structure!r}, which is not there; there are: "
                f"{', '.join(histograms) or 'none'}."
            )
        values.append(goal.metric.of(histograms[goal.structure], prescribed_gy))
    columns = {
        "structure": [g.structure for g in goals],
        "metric": [g.metric.name for g in goals],
        "found": [f"{v.value:.4g} {v.unit}" for v in values],
        "goal": [g.in_words() for g in goals],
        "verdict": [g.verdict(v.value) for g, v in zip(goals, values)],
    }
    return values, Table("Goals", columns)
