"""The text of a treatment, the courses that it stands for, and ready sets of schedules."""

import math

import pytest

from TwinCore import InvalidInput
from TwinSimulateLib.asked import treatment_of
from TwinSimulateLib.chemotherapy import Chemotherapy
from TwinSimulateLib.fractionation import same_effect_dose_gy, tissue_bed_gy
from TwinSimulateLib.radiotherapy import NO_TREATMENT, SCENARIOS, Schedule
from TwinSimulateLib.surgery import Surgery
from TwinSimulateLib.treatment_text import parse, parse_scenarios


def test_one_course_is_itself():
    assert parse("none") == NO_TREATMENT
    assert [parse(s.name) for s in SCENARIOS] == list(SCENARIOS)
    assert parse("5 x 6 Gy from day 14") == Schedule("5 x 6 Gy from day 14", 5, 6.0, 14)
    assert parse("surgery day 3 margin 5 mm") == Surgery("surgery day 3 margin 5 mm", 3, 5.0)
    assert parse("surgery extent 90 %").extent == pytest.approx(0.9)
    course = parse("temozolomide 150 mg/m2 5/28 days x 6 from day 98")
    assert course == Chemotherapy.of("temozolomide", 150.0, 5, 28, 6, 98)
    assert course.days[4:7] == (102, 126, 127)


def test_names_are_read_back_as_what_they_name():
    courses = [
        Schedule.of(68, 1.2, 7, 10),
        Surgery.of(2, 7.5),
        Surgery.of(0, None, 0.85),
        Chemotherapy.of("paclitaxel", 175.0, 1, 21, 4, 3),
        Chemotherapy.of("temozolomide", 75.0, 42),
    ]
    assert [parse(course.name) for course in courses] == courses


def test_courses_are_joined_and_a_regimen_follows_the_radiotherapy():
    text = "surgery day 0 margin 5 mm + 30 x 2 Gy from day 28 + temozolomide"
    whole = parse(text)
    assert whole.name == text
    assert [c.name for c in whole.courses] == [
        "surgery day 0 margin 5 mm",
        "30 x 2 Gy from day 28",
        "temozolomide 75 mg/m2 40 days from day 28",
        "temozolomide 150 mg/m2 5 days from day 96",
        "temozolomide 200 mg/m2 5/28 days x 5 from day 124",
    ]
    assert whole.total_gy == 60.0
    assert whole.bed_gy(10.0) == pytest.approx(72.0)
    assert whole.eqd2_gy(10.0) == pytest.approx(60.0)
    # 40 + 5 x 2 + 25 x 8 / 3 standard doses
    member = {"alpha": 0.06, "alpha_beta": 8.0, "drug_efficacy": 0.05}
    kill = 30 * (0.06 * 2 + 0.06 / 8 * 4) + 0.05 * (40 + 10 + 25 * 200 / 75)
    assert math.log(whole.survival(member)) == pytest.approx(-kill, rel=1e-12)
    assert [c.start_day for c in parse("temozolomide x 2 from day 7").courses] == [7, 35]


def test_a_treatment_tells_of_what_it_has_begun_with():
    whole = parse("30 x 2 Gy from day 28 + temozolomide 150 mg/m2 5 days from day 100")
    assert whole.without_effect(28) == ["alpha", "alpha_beta", "drug_efficacy"]
    assert whole.without_effect(29) == ["drug_efficacy"]
    assert whole.without_effect(101) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not understood"),
        ("25x2Gy", "not understood"),
        ("none + 25 x 2 Gy", "'none' in 'none"),
        ("25 x 2 Gy + sugar", "'sugar' in '25 x 2 Gy"),
        ("25 x 2 Gy 8 a week", "fractions a week can be 1, 2"),
        ("surgery margin 70 mm", "from 0 to 50 mm"),
        ("surgery margin 5 mm extent 90 %", "leaves part of the tumour has no margin"),
        ("surgery extent 0 %", "extent of surgery"),
        ("aspirin 100 mg/m2 5 days", "there are: temozolomide"),
        ("temozolomide 150 mg/m2 29/28 days x 2", "no more than it has days"),
        ("temozolomide 150 mg/m2 5/28 days x 100", "at most 400 doses"),
        ("fractionations of none", "not understood|about a standard"),
    ],
)
def test_what_is_not_understood_or_not_possible_is_named(text, words):
    with pytest.raises(InvalidInput, match=words):
        parse_scenarios([text])


def test_fractions_of_other_weeks():
    assert Schedule.of(4, 2.0, a_week=2).days == (0, 3, 7, 10)
    assert Schedule.of(12, 1.2, a_week=10).days == (0, 0.25, 1, 1.25, 2, 2.25, 3, 3.25, 4, 4.25, 7, 7.25)
    assert Schedule.of(7, 2.0, a_week=6).days == (0, 1, 2, 3, 4, 5, 7)


def test_sets_are_about_the_standard():
    found = parse_scenarios(["none", "30 x 2 Gy", "doses of 30 x 2 Gy", "start delays of 30 x 2 Gy"][:1])
    assert found == [NO_TREATMENT]
    names = [t.name for t in parse_scenarios(["doses of 30 x 2 Gy", "start delays of 30 x 2 Gy"])]
    assert names[:3] == ["30 x 2 Gy", "36 x 2 Gy", "24 x 2 Gy"]
    assert names[3:] == ["30 x 2 Gy from day 14", "30 x 2 Gy from day 28", "30 x 2 Gy from day 42"]
    with pytest.raises(InvalidInput, match="distinct names: 'none' is there twice"):
        parse_scenarios(["none", "none"])


def test_other_fractionations_do_late_tissue_the_same():
    standard, *others = parse_scenarios(["fractionations of 30 x 2 Gy"])
    assert [(s.fractions, s.a_week) for s in others] == [(15, 5), (6, 5), (60, 10), (30, 6)]
    assert [s.bed_gy(3.0) for s in others] == pytest.approx([standard.bed_gy(3.0)] * 4, rel=0.01)
    # published: 15 x 2.67 Gy has less, 40.05 (1 + 2.67 / 3) = 75.7 of 100 Gy
    assert Schedule.of(15, 2.67).bed_gy(3.0) == pytest.approx(75.69, abs=0.01)


@pytest.mark.parametrize("sparing", [0.3, 1.0])
def test_the_dose_of_the_same_effect(sparing):
    standard = Schedule.of(30, 2.0)
    dose = same_effect_dose_gy(standard, 12, 3.0, sparing)
    found = tissue_bed_gy(Schedule("12", 12, dose), 3.0, sparing)
    assert found == pytest.approx(tissue_bed_gy(standard, 3.0, sparing), rel=1e-12)


def test_rows_of_numbers_are_treatments():
    assert treatment_of(25, 2.0).name == "25 x 2 Gy"
    row = treatment_of(30, 2.0, 28, 5, 100, 5, 6)
    assert row.name == "surgery day 0 margin 5 mm + 30 x 2 Gy from day 28 + temozolomide x 6"
    assert treatment_of(0, 2.0, 0, 5, 90).courses == (Surgery.of(0, None, 0.9),)
    with pytest.raises(InvalidInput, match="needs fractions, surgery or a drug"):
        treatment_of(0)
