"""The text of a treatment: the one place where it is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from TwinCore import InvalidInput

from .chemotherapy import REGIMENS, Chemotherapy
from .radiotherapy import NO_TREATMENT, Schedule
from .radiotherapy import TEXT as SCHEDULE
from .scenario_sets import SETS
from .surgery import Surgery
from .treatment import Combination, Treatment

EXAMPLES = (
    "none",
    "25 x 2 Gy",
    "5 x 6 Gy from day 14",
    "surgery day 0 margin 5 mm + 30 x 2 Gy from day 28 + temozolomide",
    "temozolomide 150 mg/m2 5/28 days x 6 from day 98",
)
SETS_OF = re.compile(rf"({'|'.join(SETS)}) of (.+)")
REGIMEN = re.compile(rf"({'|'.join(REGIMENS)})(?: x (\d+))?(?: from day (\d+))?")


def parse(text: str) -> Treatment:
    """The treatment that a text names: courses joined by " + ", or "none".

    A course is radiotherapy ("25 x 2 Gy", "68 x 1.2 Gy 10 a week", "5 x 6 Gy from day 14"), surgery ("surgery day 3",
    with "margin 5 mm" or "extent 90 %"), or chemotherapy ("temozolomide 75 mg/m2 42 days from day 28", "temozolomide
    150 mg/m2 5/28 days x 6"). "temozolomide" alone is its usual regimen, about the radiotherapy beside it if there is
    some; "temozolomide x 4" has as many cycles.

    >>> [course.name for course in parse("30 x 2 Gy + temozolomide").courses]  # doctest: +NORMALIZE_WHITESPACE
    ['30 x 2 Gy', 'temozolomide 75 mg/m2 40 days', 'temozolomide 150 mg/m2 5 days from day 68',
     'temozolomide 200 mg/m2 5/28 days x 5 from day 96']

    Raises
    ------
    InvalidInput
        If a part is not understood, or not possible.
    """
    parts = [part.strip() for part in text.split("+")]
    read = [_course(part, text) for part in parts]
    if text.strip() == NO_TREATMENT.name:
        return NO_TREATMENT
    fractions = tuple(day for part in read if isinstance(part, Schedule) for day in part.days)
    courses: list[Treatment] = []
    for part in read:
        courses += [part] if isinstance(part, Treatment) else part(fractions)
    return courses[0] if len(courses) == 1 else Combination(text, tuple(courses))


def parse_scenarios(texts: Iterable[str]) -> list[Treatment]:
    """The treatments that texts name; a set such as "fractionations of 30 x 2 Gy" stands for each of its treatments.

    Raises
    ------
    InvalidInput
        If a text is not understood.
    """
    found: dict[str, Treatment] = {}
    for text in texts:
        match = SETS_OF.fullmatch(text)
        asked: Sequence[Treatment] = [parse(text)] if match is None else SETS[match[1]](Schedule.parse(match[2]))
        for treatment in asked:
            if match is None and treatment.name in found:
                raise InvalidInput(f"Scenarios need distinct names: {treatment.name!r} is there twice.")
            found.setdefault(treatment.name, treatment)
    return list(found.values())


def _course(part: str, text: str) -> Treatment | Callable[[tuple[float, ...]], Sequence[Treatment]]:
    """The course that part of a text names; of a regimen, what makes its courses from the days of radiotherapy."""
    regimen = REGIMEN.fullmatch(part)
    if regimen is not None:
        cycles, start_day = int(regimen[2] or 6), int(regimen[3] or 0)
        return lambda fractions: REGIMENS[regimen[1]](fractions, start_day, cycles)
    if part == NO_TREATMENT.name and part == text.strip():
        return NO_TREATMENT
    if SCHEDULE.fullmatch(part):
        return Schedule.parse(part)
    course = Surgery.parse(part) or Chemotherapy.parse(part)
    if course is None:
        among = "" if part == text.strip() else f" in {text!r}"
        raise InvalidInput(
            f"Scenario {part!r}{among} is not understood: write "
            + ", ".join(map(repr, EXAMPLES[:-1]))
            + f" or {EXAMPLES[-1]!r}."
        )
    return course
