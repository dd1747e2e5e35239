"""Equivalent doses, equivalent uniform dose, control and complications against published and exact numbers."""

from __future__ import annotations

import numpy as np
import pytest
from dose_phantoms import gradient

from TwinCore import Image, InvalidInput
from TwinSimulateLib.dose_response import (
    bed,
    complication,
    endpoints,
    eqd2,
    eqd2_histogram,
    find_endpoint,
    geud_gy,
    lyman,
    ntcp,
    over_alpha_beta,
    tcp,
)
from TwinSimulateLib.dose_volume import DoseVolume, dose_volume
from TwinSimulateLib.radiotherapy import Schedule, bed_gy, eqd2_gy, survival


def uniform(dose_gy: float, volume_ml: float = 10.0) -> DoseVolume:
    return DoseVolume("uniform", np.array([dose_gy]), np.array([volume_ml]))


HALVES = DoseVolume("halves", np.array([20.0, 60.0]), np.array([5.0, 5.0]))


@pytest.mark.parametrize(
    ("total", "fractions", "ratio", "equivalent"), [(60.0, 30, 10, 60.0), (40.05, 15, 10, 42.29), (54.0, 3, 10, 126.0)]
)
def test_equivalent_doses_voxel_by_voxel(total, fractions, ratio, equivalent):
    """Half of the dose has half of the dose a fraction, not half of the equivalent dose."""
    dose = gradient(0)
    dose = dose.with_array(np.where(dose.array > 20, total, total / 2).astype(np.float32), name="plan")
    image = eqd2(dose, fractions, ratio)
    assert image.array.max() == pytest.approx(equivalent, abs=0.005)
    half = Schedule.of(fractions, total / 2 / fractions)
    assert image.array.min() == pytest.approx(half.eqd2_gy(ratio), rel=1e-6)
    assert bed(dose, fractions, ratio).array.min() == pytest.approx(half.bed_gy(ratio), rel=1e-6)
    assert (image.unit, image.name) == ("Gy", f"EQD2 of plan, alpha/beta {ratio} Gy")
    assert bed_gy(54.0, 3, 10.0) == pytest.approx(151.2)


def test_the_histogram_of_equivalent_doses_is_that_of_the_converted_image():
    dose = gradient(2)
    box = Image(np.ones(dose.grid.shape, bool), dose.grid, name="box")
    mapped = eqd2_histogram(dose_volume(dose, box), 15, 3.0)
    converted = dose_volume(eqd2(dose, 15, 3.0), box)
    assert mapped.mean_gy == pytest.approx(converted.mean_gy, rel=2e-3)  # interpolated before, and after
    assert mapped.dose_to_percent(5) == pytest.approx(converted.dose_to_percent(5), rel=2e-3)


def test_equivalent_uniform_dose():
    assert geud_gy(HALVES, 1.0) == pytest.approx(40.0)
    assert geud_gy(HALVES, 2.0) == pytest.approx(np.sqrt(2000.0))
    assert geud_gy(HALVES, -10.0) == pytest.approx((0.5 * 20.0**-10 + 0.5 * 60.0**-10) ** -0.1)
    assert geud_gy(HALVES, 500.0) == pytest.approx(60.0, rel=2e-3)
    assert geud_gy(uniform(30.0), 12.5) == pytest.approx(30.0)
    cold = DoseVolume("cold", np.array([0.0, 60.0]), np.array([1.0, 9.0]))
    assert geud_gy(cold, -10.0) == 0.0
    assert geud_gy(cold, 1.0) == pytest.approx(54.0)
    with pytest.raises(InvalidInput, match="exponent"):
        geud_gy(HALVES, 0.0)


def test_complications_of_lung_and_parotid_at_published_mean_doses():
    """Lung of QUANTEC (TD50 30.8, m 0.37) and parotid (39.9, 0.40) at mean doses; both have n = 1."""
    for mean, percent in zip((7, 13, 20, 24, 27), (1.8, 5.9, 17.2, 27.5, 36.9)):
        assert 100 * lyman(mean, 30.8, 0.37) == pytest.approx(percent, abs=0.05)
    assert 100 * lyman(25, 39.9, 0.40) == pytest.approx(17.5, abs=0.05)
    assert 100 * lyman(39, 39.9, 0.40) == pytest.approx(47.8, abs=0.05)  # z = -0.9 / 15.96
    assert ntcp(uniform(20.0), 10, find_endpoint("lung")) == pytest.approx(lyman(20.0, 30.8, 0.37))


def test_every_complication_is_half_at_its_tolerance_and_has_a_source():
    for organ, endpoint in endpoints().items():
        assert organ == endpoint.organ
        assert endpoint.source
        assert endpoint.endpoint
        fractions = round(endpoint.td50_gy / 2)
        uniform_gy = 2.0 * fractions
        found = ntcp(uniform(uniform_gy), fractions, endpoint)
        assert found == pytest.approx(lyman(uniform_gy, endpoint.td50_gy, endpoint.m), rel=1e-9)
        assert found == pytest.approx(0.5, abs=0.12)
    with pytest.raises(InvalidInput, match="brainstem"):
        find_endpoint("soul")


def test_tumour_control_of_a_uniform_dose():
    """exp(-N S): 1e7 cells a mL in 10 mL, alpha 0.3 and alpha/beta 10 under 30 x 2 Gy leave 1e8 exp(-21.6) cells."""
    cells = 1e8 * survival(2.0, 0.3, 10.0) ** 30
    assert cells == pytest.approx(0.0416, abs=1e-3)
    assert tcp(uniform(60.0), 30, 0.3, 10.0, 1e7) == pytest.approx(np.exp(-cells), rel=1e-9)
    assert tcp(uniform(0.0), 30, 0.3, 10.0, 1e7) == 0.0


def test_tumour_control_is_the_product_of_its_parts_and_a_spread_flattens_it():
    parts = [tcp(uniform(d, 5.0), 30, 0.3, 10.0, 1e7) for d in (58.0, 62.0)]
    both = DoseVolume("both", np.array([58.0, 62.0]), np.array([5.0, 5.0]))
    assert tcp(both, 30, 0.3, 10.0, 1e7) == pytest.approx(np.prod(parts), rel=1e-9)
    steep = [tcp(uniform(d), 30, 0.3, 10.0, 1e7) for d in (50.0, 60.0)]
    flat = [tcp(uniform(d), 30, 0.3, 10.0, 1e7, spread=0.3) for d in (50.0, 60.0)]
    assert steep[0] < flat[0] < flat[1] < steep[1]
    alphas = 0.3 * np.exp(0.3 * np.random.default_rng(0).normal(size=200_000))
    expected = np.mean(np.exp(-1e8 * np.exp(-alphas * 60.0 * 1.2)))
    assert flat[1] == pytest.approx(expected, abs=5e-3)
    with pytest.raises(InvalidInput, match="alpha and clonogens"):
        tcp(uniform(60.0), 30, -0.3, 10.0, 1e7)


def test_the_interval_is_that_of_alpha_beta():
    """EQD2 falls as alpha/beta rises for large fractions: the ends of its interval are at the ends of alpha/beta's."""
    ratio = find_endpoint("spinal cord").alpha_beta
    found = over_alpha_beta(lambda r: float(eqd2_gy(45.0, 15, r)), ratio, "Gy")
    assert found.value == pytest.approx(eqd2_gy(45.0, 15, 2.0), rel=1e-3)
    low, high = ratio.prior.median / ratio.prior.factor_95, ratio.prior.median * ratio.prior.factor_95
    assert found.interval_90 == pytest.approx((eqd2_gy(45.0, 15, high), eqd2_gy(45.0, 15, low)), rel=5e-3)
    known = over_alpha_beta(lambda r: float(eqd2_gy(60.0, 30, r)), ratio, "Gy")
    assert known.interval_90 == pytest.approx((60.0, 60.0))  # in 2 Gy fractions alpha/beta does not matter


def test_a_complication_has_its_read_outs_with_intervals():
    found = complication(HALVES, 15, find_endpoint("lung"))
    mean, uniform_equivalent, probability = found["eqd2_mean_gy"], found["eqd2_geud_gy"], found["ntcp"]
    assert mean.value == pytest.approx(uniform_equivalent.value, rel=1e-9)  # n = 1
    expected = np.mean([eqd2_gy(20.0, 15, 3.0), eqd2_gy(60.0, 15, 3.0)])
    assert mean.value == pytest.approx(expected, rel=1e-3)
    assert probability.value == pytest.approx(lyman(expected, 30.8, 0.37), rel=2e-3)
    assert probability.interval_90[0] < probability.interval_50[0] < probability.value < probability.interval_90[1]


@pytest.mark.parametrize(("fractions", "ratio"), [(0, 3.0), (2.5, 3.0), (1000, 3.0), (30, 0.0), (30, np.nan)])
def test_impossible_fractions_and_ratios_are_refused(fractions, ratio):
    with pytest.raises(InvalidInput, match="fractions must be|alpha/beta must be"):
        eqd2(gradient(0), fractions, ratio)
    with pytest.raises(InvalidInput, match="fractions must be|alpha/beta must be"):
        tcp(uniform(60.0), fractions, 0.3, ratio, 1e7)
