"""What a user is asked for besides a model's own parameters, and the step that follows from the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from TwinCore import Image, InvalidInput, Parameter
from TwinCore.units import DAY, GRAY, MILLILITRE, NO_UNIT

from . import registry
from .radiotherapy import NO_TREATMENT, Schedule

CHOSEN = "a choice"
SCENARIO = (
    Parameter("fractions", "", NO_UNIT, 25, 1, 100, "How many equal fractions, one a weekday.", CHOSEN),
    Parameter("dose", "", GRAY, 2, 0.1, 40, "Dose of one fraction.", CHOSEN),
    Parameter("first_day", "", NO_UNIT, 0, 0, 3650, "Days from the reference scan to the first fraction.", CHOSEN),
)
"""What a treatment is."""

OBSERVATION = (
    Parameter("day", "", NO_UNIT, 30, 0, 3650, "Days from the reference scan to the visit.", "measured"),
    Parameter("volume", "", MILLILITRE, 10, 0.001, 10000, "Volume of the tumour at the visit.", "measured"),
    Parameter("error", "", "%", 10, 1, 100, "Standard deviation of such a measurement.", "measured, or a choice"),
)
"""What is measured at a visit."""

HORIZON = Parameter("horizon", "", DAY, 120, 1, 3650, "How far ahead to look, from the reference scan.", CHOSEN)
MEMBERS = Parameter("members", "", NO_UNIT, 48, 2, 10000, "Runs; more make smoother intervals.", CHOSEN)
SEED = Parameter("seed", "", NO_UNIT, 0, 0, 999999, "Of the random draws: the same gives the same answer.", CHOSEN)


def run_parameters(model: str) -> tuple[Parameter, ...]:
    """The numbers of a run of a model."""
    return (HORIZON, MEMBERS, SEED) if registry.MODELS[model].over_time else (MEMBERS, SEED)


def schedule_of(fractions: float, dose_gy: float, first_day: float = 0) -> Schedule:
    """A treatment by its numbers, with the name that clinicians use.

    >>> schedule_of(5, 6.0, 14).name
    '5 x 6 Gy from day 14'
    """
    return Schedule.parse(f"{int(fractions)} x {dose_gy:g} Gy" + (f" from day {int(first_day)}" if first_day else ""))


def scenarios_of(model: str, rows: Sequence[Sequence[float]]) -> list[Schedule]:
    """The treatments that rows of numbers stand for; of a model over time no treatment is the first."""
    given = [schedule_of(*row) for row in rows]
    return [NO_TREATMENT, *given] if registry.MODELS[model].over_time else given


def step_for(
    preset: str,
    model: str = "tumour_growth",
    calibrate: bool = False,
    treatments: Sequence[Sequence[float]] | None = None,
    observations: Sequence[Sequence[float]] | None = None,
    received: str | None = None,
    images: Mapping[str, Image | None] | None = None,
    **choices: Any,
) -> Any:
    """The step of a model, or of its calibration, from answers in plain numbers and words.

    Parameters
    ----------
    preset, model : str
    calibrate : bool
    treatments : sequence of (fractions, Gy, first day), optional
        No treatment is added as the first to those of a model over time.
    observations : sequence of (day, mL, error in %), optional
    received : str, optional
        Treatment during the follow-up, as `Schedule.parse` reads it.
    images : mapping of str to Image or None, optional
        Those that the model takes, by the names that it declares; None for one that is not to be used.
    **choices
        Other fields of the step.

    Raises
    ------
    InvalidInput
        If an answer is not possible, or the model does not take it.
    """
    from .calibration_step import CalibrationStep
    from .model import Observation

    kind = CalibrationStep if calibrate else registry.step_of(model)
    if treatments is not None:
        choices["scenarios"] = scenarios_of(model, treatments)
    if observations is not None:
        choices["observations"] = [Observation("volume", day, ml, error / 100) for day, ml, error in observations]
    if received is not None:
        choices["received"] = Schedule.parse(received)
    if images:
        choices |= {"images": images} if "images" in kind.__dataclass_fields__ else images
    unknown = sorted(set(choices) - set(kind.__dataclass_fields__))
    if unknown:
        raise InvalidInput(f"The model {model!r} takes no {', '.join(unknown)}.")
    return kind(preset, model=model, **choices)
