"""Metrics by their names, verdicts on goals, and structures that move through a dose that stays."""

from __future__ import annotations

import numpy as np
import pytest
from dose_phantoms import MIDDLE_GY, RADIUS, VOLUME_ML, gradient, outlines

from TwinCore import Grid, Image, InvalidInput, MissingInput
from TwinSegmentLib.structures import structure
from TwinSimulateLib.dose_volume import DoseVolume, dose_volume
from TwinSimulateLib.plan_goals import Goal, Metric, evaluate
from TwinSimulateLib.plan_what_ifs import after_shifts, moved, rescaled, with_margin

RAMP = DoseVolume("ramp", np.linspace(0, 100, 100_001), np.full(100_001, 50.0 / 100_001))


@pytest.mark.parametrize(
    ("name", "value", "unit"),
    [("mean", 50, "Gy"), ("Max[Gy]", 100, "Gy"), ("min", 0, "Gy"), ("mean[%]", 62.5, "%"), ("D95%", 5, "Gy"),
     ("D0.5cc", 99, "Gy"), ("D2%[%]", 122.5, "%"), ("V20Gy", 80, "%"), ("V20Gy[cc]", 40, "mL"), ("V95%", 24, "%"),
     ("v 95% [cc]", 12, "mL"), ("d50%", 50, "Gy")],
)  # fmt: skip
def test_metrics_of_a_dose_that_rises_evenly(name, value, unit):
    found = Metric.parse(name).of(RAMP, prescribed_gy=80.0)
    assert (found.value, found.unit) == (pytest.approx(value, abs=5e-3), unit)


@pytest.mark.parametrize("name", ["", "D", "D95", "V20", "V20cc", "V20Gy[Gy]", "D95%[cc]", "D-5%", "mode", "D95%; rm"])
def test_names_that_mean_nothing_are_refused(name):
    with pytest.raises(InvalidInput, match="not understood"):
        Metric.parse(name)


def test_a_metric_relative_to_an_unknown_prescription_is_refused():
    for name in ("V95%", "D2%[%]"):
        with pytest.raises(MissingInput, match="prescribed dose"):
            Metric.parse(name).of(RAMP)


def test_goals_are_passed_acceptable_or_failed():
    at_most = Goal("ramp", Metric.parse("V20Gy"), 30.0, False, 85.0)
    at_least = Goal("ramp", Metric.parse("D95%"), 4.0, True, 3.0)
    missed = Goal("ramp", Metric.parse("mean"), 26.0, False)
    values, table = evaluate([at_most, at_least, missed], {"ramp": RAMP})
    assert table.columns["verdict"] == ["acceptable", "pass", "fail"]
    assert table.columns["goal"] == ["<= 30 % (<= 85 %)", ">= 4 Gy (>= 3 Gy)", "<= 26 Gy"]
    assert [v.unit for v in values] == ["%", "Gy", "Gy"]
    assert at_least.verdict(3.5) == "acceptable"
    assert at_least.verdict(2.5) == "fail"
    with pytest.raises(InvalidInput, match="stricter"):
        Goal("ramp", Metric.parse("mean"), 26.0, False, 20.0)
    with pytest.raises(MissingInput, match="'lung', which is not there; there are: ramp"):
        evaluate([Goal("lung", Metric.parse("mean"), 20.0, False)], {"ramp": RAMP})


def test_a_prescription_scales_the_dose():
    assert rescaled(RAMP, 0.5).mean_gy == pytest.approx(25.0)
    with pytest.raises(InvalidInput, match="factor"):
        rescaled(RAMP, 0.0)


def test_a_margin_on_a_sphere_gives_a_larger_sphere():
    sphere = structure(outlines("sphere", 1.0, 0.5), "sphere", "slab")
    for margin in (3.0, -3.0):
        grown = with_margin(sphere, margin)
        expected = VOLUME_ML["sphere"] * ((RADIUS + margin) / RADIUS) ** 3
        assert grown.array.sum() * grown.grid.voxel_volume_ml == pytest.approx(expected, rel=0.02)
    assert dose_volume(gradient(2), with_margin(sphere, 3.0)).mean_gy == pytest.approx(MIDDLE_GY, abs=0.05)
    with pytest.raises(InvalidInput, match="leaves nothing"):
        with_margin(sphere, -20.0)
    with pytest.raises(InvalidInput, match="margin must be"):
        with_margin(sphere, 1e6)


def test_a_shift_in_a_gradient_changes_the_mean_by_the_gradient():
    grid = Grid.isotropic((20, 20, 20), 1.0, (-9.5, -9.5, -9.5))
    box = Image(np.ones(grid.shape, bool), grid, name="box")
    means = {name: h.mean_gy - MIDDLE_GY for name, h in after_shifts(gradient(0), box, 3.0).items()}
    expected = {"right": 3.0, "left": -3.0, "anterior": 0, "posterior": 0, "superior": 0, "inferior": 0}
    assert means == pytest.approx(expected, abs=0.01)
    assert dose_volume(gradient(0), moved(box, (0, 5, 0))).mean_gy == pytest.approx(MIDDLE_GY, abs=0.01)
    with pytest.raises(InvalidInput, match="shift must be"):
        after_shifts(gradient(0), box, 0.0)
