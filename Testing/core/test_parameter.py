"""Declared parameters, priors, quantities, tables, units and errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from TwinCore import InvalidInput, LogNormal, MissingPackage, NotResolved, Parameter, Quantity, Table
from TwinCore.parameter import Choice, complete
from TwinCore.units import in_words

GROWTH = Parameter("proliferation", "rho", "/d", 0.02, 0.0, 1.0, "Rate of growth.", "test", LogNormal(0.02, 3.0))


def test_log_normal_prior_has_the_declared_median_and_percentile():
    draws = GROWTH.prior.sample(np.random.default_rng(1).normal(size=200_000))
    assert np.median(draws) == pytest.approx(0.02, rel=0.01)
    assert np.quantile(draws, 0.95) == pytest.approx(0.06, rel=0.02)
    assert GROWTH.prior.log_mean == pytest.approx(math.log(0.02))


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf, "0.5", None, True])
def test_values_outside_the_declaration(value):
    with pytest.raises(InvalidInput, match="'proliferation'.*from 0 to 1 /d"):
        GROWTH.check(value)


def test_values_within_it():
    assert [GROWTH.check(v) for v in (0, 1, np.float32(0.5))] == [0.0, 1.0, 0.5]
    assert complete([GROWTH], {}) == {"proliferation": 0.02}
    assert complete([GROWTH], {"proliferation": 0.5}) == {"proliferation": 0.5}
    with pytest.raises(InvalidInput, match="Unknown parameter 'rho'; there are: proliferation"):
        complete([GROWTH], {"rho": 1})


def test_a_choice_is_one_of_its_options():
    motion = Choice("motion", "rigid", {"rigid": "turned and shifted", "affine": "scaled as well"}, "How it may move.")
    assert complete([GROWTH, motion], {"motion": "affine"}) == {"proliferation": 0.02, "motion": "affine"}
    with pytest.raises(InvalidInput, match="Motion 'elastic' is not known; there are: rigid, affine"):
        motion.check("elastic")


def test_tables_and_quantities():
    assert Quantity(3.0, "mL").as_dict() == {"value": 3.0, "unit": "mL"}
    assert Table("empty", {}).rows == 0
    with pytest.raises(InvalidInput, match="'ragged' have different lengths"):
        Table("ragged", {"a": [1], "b": [1, 2]})


def test_words_of_units_and_errors():
    assert in_words("[hnsf'U]") == "HU"
    assert in_words("Gy") == "Gy"
    assert "pip install torch" in str(MissingPackage("torch", "Segmentation", "pip install torch"))
    assert "0.5 mm or finer" in str(NotResolved("The front is too thin.", 0.5))
