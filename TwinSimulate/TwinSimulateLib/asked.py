"""What a user is asked for besides a model's own parameters, and the step that follows from the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from TwinCore import Image, InvalidInput, Parameter
from TwinCore.units import DAY, GRAY, MILLILITRE, MILLIMETRE, NO_UNIT

from . import registry
from .radiotherapy import NO_TREATMENT, Schedule
from .surgery import Surgery
from .treatment import Treatment
from .treatment_text import parse

CHOSEN = "a choice"
SCENARIO = (
    Parameter("fractions", "", NO_UNIT, 25, 0, 100, "How many equal fractions; 0 for no radiotherapy.", CHOSEN),
    Parameter("dose", "", GRAY, 2, 0.1, 40, "Dose of one fraction.", CHOSEN),
    Parameter("first_day", "", NO_UNIT, 0, 0, 3650, "Days from the reference scan to the first fraction.", CHOSEN),
    Parameter("a_week", "", NO_UNIT, 5, 1, 10, "Fractions a week; ten are two a weekday.", CHOSEN),
    Parameter("resected", "", "%", 0, 0, 100, "Share of the tumour cut out on day 0; 0 for no surgery.", CHOSEN),
    Parameter("margin", "", MILLIMETRE, 0, 0, 50, "What surgery cuts out round the whole tumour, too.", CHOSEN),
    Parameter(
        "temozolomide_cycles",
        "",
        NO_UNIT,
        0,
        0,
        12,
        "Cycles of temozolomide, which is also given daily through radiotherapy; 0 for none.",
        CHOSEN,
    ),
)
"""What a treatment is. A row may be shorter: what it lacks has the default."""

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


def treatment_of(
    fractions: float,
    dose_gy: float = 2.0,
    first_day: float = 0,
    a_week: float = 5,
    resected: float = 0,
    margin_mm: float = 0,
    temozolomide_cycles: float = 0,
) -> Treatment:
    """A treatment by the numbers of `SCENARIO`, with the name that clinicians use.

    >>> treatment_of(5, 6.0, 14).name
    '5 x 6 Gy from day 14'
    >>> treatment_of(30, 2.0, 28, resected=100, margin_mm=5).name
    'surgery day 0 margin 5 mm + 30 x 2 Gy from day 28'

    Raises
    ------
    InvalidInput
        If nothing is done, or a number is not possible.
    """
    parts = []
    if resected:
        margin = margin_mm if margin_mm or resected == 100 else None
        parts.append(Surgery.of(0, margin, resected / 100).name)
    if fractions:
        parts.append(Schedule.of(int(fractions), dose_gy, int(first_day), int(a_week)).name)
    if temozolomide_cycles:
        start = f" from day {int(first_day)}" if first_day and not fractions else ""
        parts.append(f"temozolomide x {int(temozolomide_cycles)}{start}")
    if not parts:
        raise InvalidInput("A treatment needs fractions, surgery or a drug: no treatment is compared in any case.")
    return parse(" + ".join(parts))


def scenarios_of(model: str, rows: Sequence[Sequence[float]]) -> list[Treatment]:
    """The treatments that rows of numbers stand for; of a model over time no treatment is the first."""
    given: list[Treatment] = [treatment_of(*row) for row in rows]
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
    treatments : sequence of rows as `SCENARIO` has them, optional
        No treatment is added as the first to those of a model over time.
    observations : sequence of (day, mL, error in %), optional
    received : str, optional
        Treatment during the follow-up, as `treatment_text.parse` reads it.
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
        choices["received"] = parse(received)
    if images:
        choices |= {"images": images} if "images" in kind.__dataclass_fields__ else images
    unknown = sorted(set(choices) - set(kind.__dataclass_fields__))
    if unknown:
        raise InvalidInput(f"The model {model!r} takes no {', '.join(unknown)}.")
    return kind(preset, model=model, **choices)
