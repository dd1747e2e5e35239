"""The search for a schedule against the linear-quadratic optimum, and margins of equal volume against the wave."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from TwinCore import Grid, Image, InvalidInput, Job, JobCancelled, MissingInput
from TwinSimulateLib import registry
from TwinSimulateLib.fractionation import effective_sparing
from TwinSimulateLib.model import Anatomy, Posterior
from TwinSimulateLib.numerics.travelling_wave import front_length_mm, front_profile
from TwinSimulateLib.radiotherapy import Schedule
from TwinSimulateLib.schedule_search import organ_sparing, search_schedule
from TwinSimulateLib.search_space import SearchSpace
from TwinSimulateLib.surgery import Surgery
from TwinSimulateLib.tumour_margins import compare_margins

SHAPE = (30, 30, 30)
GRID = Grid.isotropic(SHAPE, 1.0)
DISTANCE = np.sqrt(((np.indices(SHAPE) - 14.5) ** 2).sum(0))
STANDARD = Schedule.of(10, 2.0)


def model():
    sarcoma = registry.find("tumour_growth", "soft-tissue sarcoma")
    sarcoma.spacing_mm = 1.0
    return sarcoma


def patient(radius=6.0, images=None, **tissues):
    return Anatomy(GRID, {"tumour": DISTANCE < radius, "soft tissue": np.ones(SHAPE, bool), **tissues}, images or {})


def belief(sd=1e-6, **medians) -> Posterior:
    prior = model().prior()
    mean = [np.log(medians.get(p.name, p.default)) for p in prior.parameters]
    return replace(prior, log_mean=np.array(mean), log_covariance=sd**2 * np.eye(len(mean)))


STILL = {"proliferation_rate": 1e-4, "diffusivity": 3e-4}
"""Hardly any growth: a front of the grid's width that needs years to move."""


@pytest.mark.parametrize(("alpha_beta", "sparing"), [(2.0, 1.0), (8.0, 1.0), (8.0, 0.3), (2.0, 1.9)])
def test_without_growth_the_best_is_that_of_the_linear_quadratic_model(alpha_beta, sparing):
    """Few fractions if alpha/beta < (alpha/beta of normal tissue) / sparing, else many: Unkelbach et al. 2013."""
    space = SearchSpace(STANDARD, (1, 2, 5, 20), alpha_beta_gy=3.0, sparing=sparing, highest_dose_gy=30.0)
    found = search_schedule(
        model(), patient(), belief(alpha=0.1, alpha_beta=alpha_beta, **STILL), space, 40.0, Job(), members=2
    )
    few = alpha_beta < 3.0 / sparing
    assert found.best.fractions == (1 if few else 20)
    assert found.probability_of_better == 1.0
    columns = found.table.columns
    # each candidate's burden is the start's times what survives, and no tissue takes more than from the standard
    start = model().simulate(patient(), STILL, [0.0], Job()).curves["burden"].values[0]
    for dose, each, burden in zip(columns["dose"], columns["dose_per_fraction"], columns["burden"]):
        survival = np.exp(-0.1 * dose * (1 + each / alpha_beta))
        assert burden == pytest.approx(start * survival, rel=0.01)
    limit = sparing * 20.0 * (1 + sparing * 2.0 / 3.0)
    assert max(columns["tissue_bed"]) <= limit * (1 + 1e-12)
    assert min(columns["tissue_bed"]) > 0.985 * limit
    assert columns["burden"] == sorted(columns["burden"])


def test_where_only_time_tells_schedules_apart_the_earliest_and_quickest_leaves_least():
    """Alpha/beta is that of the normal tissue, so that all kill the same."""
    space = SearchSpace(STANDARD, (10,), (3, 5, 7), (0, 7), objective="nadir")
    fast = belief(alpha=0.15, alpha_beta=3.0, proliferation_rate=0.15, diffusivity=0.2)
    found = search_schedule(model(), patient(), fast, space, 40.0, Job(), members=2)
    names = found.table.columns["scenario"]
    assert (len(names), names[0], names[-1]) == (6, "10 x 2 Gy 7 a week", "10 x 2 Gy 3 a week from day 7")
    job = Job()
    search_schedule(model(), patient(), fast, replace(space, objective="burden"), 40.0, job, members=2)
    assert any("later they were killed" in warning for warning in job.warnings)


def test_control_can_be_the_objective_and_surgery_go_with_each():
    space = SearchSpace(STANDARD, (5, 20), objective="control", others=(Surgery.of(0),), sparing=0.6)
    found = search_schedule(model(), patient(), belief(sd=0.1, alpha=0.75), space, 40.0, Job(), members=6, seed=1)
    assert found.best.name.startswith("surgery day 0 + ")
    tcp = found.table.columns["tcp"]
    assert tcp == sorted(tcp, reverse=True)
    assert 0.01 < tcp[0] < 0.99
    assert found.objective.interval_90[0] <= found.objective.value <= found.objective.interval_90[1]
    again = search_schedule(model(), patient(), belief(sd=0.1, alpha=0.75), space, 40.0, Job(), members=6, seed=1)
    assert again.table.columns == found.table.columns


def test_an_organ_is_spared_as_its_dose_says():
    ramp = np.linspace(0.0, 60.0, 30)
    dose = Image(np.broadcast_to(ramp, SHAPE).astype(np.float32).copy(), GRID, unit="Gy")
    organ = np.zeros(SHAPE, bool)
    organ[:, :, 20:] = True
    assert effective_sparing(np.full(7, 0.4)) == pytest.approx(0.4)
    relative = ramp[20:] / np.median(dose.array[DISTANCE < 6])
    expected = (relative**2).sum() / relative.sum()
    anatomy = patient(images={"dose": dose}, **{"spinal cord": organ})
    assert organ_sparing(anatomy, "spinal cord") == pytest.approx(expected, rel=1e-5)
    # the mean effective dose of the organ is that of the effective sparing: n r (d + s r d^2 / ab), summed
    d, ab = 2.0, 3.0
    assert np.mean(relative * d * (1 + relative * d / ab)) == pytest.approx(
        relative.mean() * d * (1 + expected * d / ab), rel=1e-6
    )
    with pytest.raises(MissingInput, match="'dose'"):
        organ_sparing(patient(**{"spinal cord": organ}), "spinal cord")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"standard": Schedule("none")}, "starts from a standard"),
        ({"objective": "happiness"}, "there are: burden, nadir"),
        ({"sparing": 0.0}, "Sparing"),
        ({"highest_dose_gy": 99.0}, "at most 40"),
    ],
)
def test_what_cannot_be_searched_is_named(changes, words):
    with pytest.raises(InvalidInput, match=words):
        SearchSpace(**{"standard": STANDARD, **changes})


def test_a_search_can_be_cancelled():
    job = Job()
    threading.Timer(0.2, job.cancel).start()
    with pytest.raises(JobCancelled):
        search_schedule(model(), patient(), model().prior(), SearchSpace(STANDARD), 200.0, job, members=500)
    with pytest.raises(InvalidInput, match="must end before the last day"):
        search_schedule(model(), patient(), model().prior(), SearchSpace(STANDARD), 5.0, Job())


def test_in_one_tissue_the_best_margin_is_the_even_one():
    """A ball: both margins are shells, and cover the travelling wave between their radii."""
    known = belief(proliferation_rate=0.05, diffusivity=0.1)
    found = compare_margins(model(), patient(7.0), known, [2.0, 4.0], 0.0, Job(), members=2)
    wave = front_profile(DISTANCE - 7.0, front_length_mm(0.1, 0.05), 0.5)
    beyond = wave[DISTANCE >= 7.0].sum()
    for n, margin in enumerate((2.0, 4.0)):
        exact = wave[(DISTANCE >= 7.0) & (DISTANCE < 7.0 + margin)].sum() / beyond
        assert found.table.columns["even"][n] == pytest.approx(exact, abs=0.03)
        assert found.table.columns["difference"][n] == pytest.approx(0.0, abs=0.01)
        assert found.even[n].array.sum() == found.model_based[n].array.sum()


def test_where_cells_move_unevenly_the_best_margin_covers_more():
    shape = (30, 30, 44)
    grid = Grid.isotropic(shape, 1.0)
    k, j, i = np.indices(shape)
    tumour = (k - 14.5) ** 2 + (j - 14.5) ** 2 + (i - 21.5) ** 2 < 36
    white = i > 21
    glioma = registry.find("tumour_growth", "glioma")
    anatomy = Anatomy(
        grid, {"tumour": tumour, "white matter": white, "grey matter": ~white, "recurrence": white & (i < 34) & ~tumour}
    )
    found = compare_margins(glioma, anatomy, glioma.prior(), [3.0, 6.0], 20.0, Job(), members=3, seed=2)
    columns = found.table.columns
    assert min(columns["difference"]) > 0.005
    assert columns["difference"][1] > 0.05
    assert columns["probability_of_better"] == [1.0, 1.0]
    assert (np.array(columns["recurrence_model_based"]) > columns["recurrence_even"]).all()
    assert all(m.array[tumour].all() for m in found.model_based)
    with pytest.raises(InvalidInput, match="at most 50 mm"):
        compare_margins(glioma, anatomy, glioma.prior(), [0.0], 20.0, Job())
