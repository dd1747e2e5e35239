"""Ready sets of schedules about a standard one: other doses, other fractionations, later starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from TwinCore import InvalidInput

from .fractionation import LATE_ALPHA_BETA_GY, same_effect_dose_gy
from .radiotherapy import MOST_FRACTIONS, NO_TREATMENT, Schedule

STEP = 0.2
DELAYS_DAYS = (14, 28, 42)


def doses(standard: Schedule) -> list[Schedule]:
    """The standard schedule, then with a fifth more and a fifth fewer fractions: escalated and de-escalated."""
    _check(standard)
    counts = [round(standard.fractions * (1 + change)) for change in (0.0, STEP, -STEP)]
    counts = [min(max(count, 1), MOST_FRACTIONS) for count in counts]
    return [Schedule.of(n, standard.dose_gy, standard.start_day, standard.a_week) for n in dict.fromkeys(counts)]


def fractionations(standard: Schedule) -> list[Schedule]:
    """The standard schedule, then others with the same biologically effective dose to late reacting tissue.

    That is at alpha/beta 3 Gy and the full dose: half and a fifth as many fractions; twice as many, two a weekday
    (hyperfractionation); and the same fractions six a week (accelerated).
    """
    _check(standard)
    n, found = standard.fractions, [standard]
    for count, a_week in ((n // 2, 5), (n // 5, 5), (2 * n, 10), (n, 6)):
        if 1 <= count <= MOST_FRACTIONS and standard.a_week == 5:
            dose = same_effect_dose_gy(standard, count, LATE_ALPHA_BETA_GY)
            found.append(Schedule.of(count, round(dose, 2), standard.start_day, a_week))
    return list({schedule.name: schedule for schedule in found}.values())


def start_delays(standard: Schedule) -> list[Schedule]:
    """The standard schedule, then the same two, four and six weeks later."""
    _check(standard)
    return [
        Schedule.of(standard.fractions, standard.dose_gy, standard.start_day + days, standard.a_week)
        for days in (0, *DELAYS_DAYS)
    ]


def _check(standard: Schedule) -> None:
    if standard == NO_TREATMENT or not standard.fractions:
        raise InvalidInput("A set of scenarios is about a standard schedule, such as 'doses of 30 x 2 Gy'.")


SETS: dict[str, Callable[[Schedule], Sequence[Schedule]]] = {
    "doses": doses,
    "fractionations": fractionations,
    "start delays": start_delays,
}
