"""Linear-quadratic survival, BED and EQD2 against published and hand-computed numbers."""

import math

import pytest

from TwinCore import InvalidInput
from TwinSimulateLib.radiotherapy import SCENARIOS, Schedule, survival


def test_survival_of_a_whole_course():
    assert math.log(Schedule.of(30, 2.0).survival({"alpha": 0.3, "alpha_beta": 10.0})) == pytest.approx(
        -21.6, rel=1e-12
    )
    assert survival(0.0, 0.3, 10.0) == 1.0


@pytest.mark.parametrize(
    ("fractions", "total", "alpha_beta", "eqd2"),
    [(30, 60.0, 10, 60.0), (15, 40.05, 10, 42.29), (3, 54.0, 10, 126.0), (5, 25.0, 4, 37.5)],
)
def test_equivalent_dose(fractions, total, alpha_beta, eqd2):
    assert Schedule.of(fractions, total / fractions).eqd2_gy(alpha_beta) == pytest.approx(eqd2, abs=0.005)


def test_biologically_effective_dose():
    assert Schedule.of(3, 18.0).bed_gy(10.0) == pytest.approx(151.2)
    assert [s.bed_gy(4.0) for s in SCENARIOS] == pytest.approx([0.0, 75.0, 75.0])


def test_fractions_are_given_on_weekdays():
    assert Schedule.of(25, 2.0).days[-1] == 32
    later = Schedule.of(6, 2.0, start_day=7)
    assert (later.days, later.name) == ((7, 8, 9, 10, 11, 14), "6 x 2 Gy from day 7")
    assert [s.name for s in SCENARIOS] == ["none", "25 x 2 Gy", "5 x 6 Gy"]


@pytest.mark.parametrize(
    ("fractions", "dose", "start"), [(-1, 2, 0), (25, 0, 0), (25, math.nan, 0), (25, 200, 0), (25, 2, -3), (2.5, 2, 0)]
)
def test_impossible_schedules_are_refused(fractions, dose, start):
    with pytest.raises(InvalidInput, match="Schedule"):
        Schedule("odd", fractions, dose, start)
