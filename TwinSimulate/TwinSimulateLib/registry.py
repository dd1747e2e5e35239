"""Every model by name: a new one is one new file and one entry here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from TwinCore import InvalidInput, Parameter

from .declared import Declaration

if TYPE_CHECKING:
    from .model import Model


@dataclass(frozen=True)
class Entry:
    """A model before anything of it is imported, so that a panel can offer it.

    Parameters
    ----------
    system, title : str
        Organ system, and as readers call it.
    path : str
        "module:class" of the model.
    presets, declared : str
        "module:function" of its presets with their titles, and of its `Declaration` under one, neither of which imports
        what the model computes with.
    step : str
        "module:class" of the step that runs it on a twin.
    over_time : bool
        Whether it follows the tumour over time: it has a horizon, and no treatment is the scenario that the others are
        compared with.
    follow_up : bool
        Whether it can be calibrated on later visits.
    preview : str
        "module:class" of what answers at once on a coarse grid; "" for none.
    first_s : float
        Seconds on two cores that it takes before the first run.
    """

    system: str
    title: str
    path: str
    presets: str
    declared: str
    step: str
    over_time: bool
    follow_up: bool = False
    preview: str = ""
    first_s: float = 0.0


MODELS = {
    "tumour_growth": Entry(
        "tumour",
        "Tumour growth and treatment",
        "tumour_growth:TumourGrowth",
        "tumour_presets:titles",
        "tumour_presets:growth",
        "step:SimulationStep",
        over_time=True,
        follow_up=True,
        preview="preview:Preview",
    ),
    "tumour_onset": Entry(
        "tumour",
        "Glioma from its onset",
        "tumour_onset:TumourOnset",
        "tumour_presets:gliomas",
        "onset_unknowns:onset",
        "onset_step:OnsetStep",
        over_time=True,
        first_s=65.0,
    ),
    "radiotherapy": Entry(
        "tumour",
        "Radiotherapy: tumour control and complications",
        "radiotherapy_model:Radiotherapy",
        "tumour_presets:titles",
        "radiotherapy_model:radiotherapy",
        "dose_step:DoseStep",
        over_time=False,
    ),
}


def find(name: str, preset: str, values: dict[str, float] | None = None) -> Model:
    """The model of that name with the parameters of that preset, some of them at other values.

    Raises
    ------
    InvalidInput
        If there is no such model, preset or parameter, or a value is out of bounds; names those there are.
    """
    model: Model = _named(_entry(name).path)(preset)
    model.parameters = adjusted(model.parameters, values or {})
    return model


def presets_of(name: str) -> dict[str, str]:
    """The presets of a model, each with its title."""
    return _named(_entry(name).presets)()


def declared(name: str, preset: str) -> Declaration:
    """The parameters of a model and what it needs, without the model."""
    return _named(_entry(name).declared)(preset)


def step_of(name: str) -> Any:
    """The step that runs a model on a twin."""
    return _named(_entry(name).step)


def preview_of(name: str) -> Any:
    """What answers for a model while a value is being dragged: called with a preset and an anatomy."""
    return _named(_entry(name).preview)


def adjusted(parameters: Sequence[Parameter], values: dict[str, float]) -> tuple[Parameter, ...]:
    """Parameters with other defaults, and priors about these as wide as before; `InvalidInput` names an unknown one."""
    asked = [p.name for p in parameters if p.asked]
    unknown = sorted(set(values) - set(asked))
    if unknown:
        there = ", ".join(asked)
        raise InvalidInput(f"Unknown parameter {', '.join(map(repr, unknown))}; there are: {there}.")
    return tuple(p.at(values[p.name]) if p.name in values else p for p in parameters)


def _entry(name: str) -> Entry:
    if name not in MODELS:
        raise InvalidInput(f"There is no model {name!r}; there are: {', '.join(MODELS)}.")
    return MODELS[name]


def _named(path: str) -> Any:
    module, name = path.split(":")
    return getattr(import_module(f".{module}", __package__), name)
