"""Goals files: what a plan should reach and what is asked about it, in a small TOML file (docs/dose.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from TwinCore import InvalidInput
from TwinSimulateLib.dose_response import find_endpoint
from TwinSimulateLib.plan_goals import Goal, Metric
from TwinSimulateLib.radiotherapy import MOST_FRACTIONS, Schedule
from TwinSimulateLib.tumour_presets import PRESETS

from .toml_file import Name, StrictTable, read_toml

MOST_GOALS = 200


class Prescription(StrictTable):
    """How the dose is given, and how much was prescribed."""

    fractions: Annotated[int, Field(ge=1, le=MOST_FRACTIONS)]
    dose_gy: Annotated[float, Field(gt=0, le=1000)] | None = None


class GoalEntry(StrictTable):
    """One goal: a structure, a metric and its limit."""

    structure: Name
    metric: Name
    at_least: Annotated[float, Field(ge=0)] | None = None
    at_most: Annotated[float, Field(ge=0)] | None = None
    acceptable: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _one_limit(self) -> GoalEntry:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("a goal has either at_least or at_most")
        return self

    def goal(self) -> Goal:
        at_least = self.at_least is not None
        limit = self.at_least if self.at_least is not None else self.at_most or 0.0
        return Goal(self.structure, Metric.parse(self.metric), limit, at_least, self.acceptable)


class Complication(StrictTable):
    """A structure that is an organ with a known complication."""

    structure: Name
    organ: Name


class Control(StrictTable):
    """A structure that is a tumour to be controlled."""

    structure: Name
    tumour: Name


class WhatIf(StrictTable):
    """Other places, margins and schedules of the plan."""

    structures: list[Name] = []
    shift_mm: Annotated[float, Field(gt=0, le=50)] | None = None
    margins_mm: list[Annotated[float, Field(ge=-50, le=50)]] = []
    schedules: list[Name] = []


class GoalsFile(StrictTable):
    """What is asked of a plan."""

    patient: Name = "unnamed"
    prescription: Prescription | None = None
    goal: Annotated[list[GoalEntry], Field(max_length=MOST_GOALS)] = []
    complication: Annotated[list[Complication], Field(max_length=MOST_GOALS)] = []
    control: Annotated[list[Control], Field(max_length=1)] = []
    what_if: WhatIf = WhatIf()

    def goals(self) -> list[Goal]:
        return [entry.goal() for entry in self.goal]

    def schedules(self) -> list[Schedule]:
        return [Schedule.parse(text) for text in self.what_if.schedules]

    def asks_for_effects(self) -> bool:
        """Whether anything is asked of what the dose does, beyond where it is."""
        return bool(self.complication or self.control or self.what_if.schedules)

    def structures(self) -> list[str]:
        """Every structure that is named, once."""
        entries = [*self.goal, *self.complication, *self.control]
        return list(dict.fromkeys([e.structure for e in entries] + self.what_if.structures))

    def check(self) -> None:
        """Refuse metrics, organs, tumours and schedules that mean nothing, before anything is read."""
        self.goals()
        self.schedules()
        for entry in self.complication:
            find_endpoint(entry.organ)
        for entry in self.control:
            if entry.tumour not in PRESETS:
                raise InvalidInput(f"There is no tumour {entry.tumour!r}; there are: {', '.join(PRESETS)}.")
        organs = [entry.organ for entry in self.complication]
        if len(set(organs)) != len(organs):
            raise InvalidInput("An organ has one structure: take the two kidneys, or lungs, as one structure.")


def read_goals(path: str | Path) -> GoalsFile:
    """A goals file, checked for form and meaning.

    Raises
    ------
    MissingInput
        If there is no such file.
    InvalidInput
        If it is not TOML, a key is unknown, missing or wrong, or a word in it means nothing; the message names it.
    """
    goals = read_toml(Path(path), GoalsFile, "goals file")
    goals.check()
    return goals
