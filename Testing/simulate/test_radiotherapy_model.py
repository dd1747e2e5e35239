"""The four verbs of the radiotherapy model on a tumour and an organ in a dose."""

from __future__ import annotations

import numpy as np
import pytest
from dose_phantoms import gradient

from TwinCore import Image, InvalidInput, Job, MissingInput
from TwinSimulateLib import registry
from TwinSimulateLib.dose_response import find_endpoint, lyman
from TwinSimulateLib.model import Anatomy, Observation
from TwinSimulateLib.radiotherapy import NO_TREATMENT, Schedule
from TwinSimulateLib.step import SimulationStep

PLAN = Schedule.of(30, 2.0)


@pytest.fixture(scope="module")
def model():
    return registry.find("radiotherapy", "soft-tissue sarcoma")


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    """60 Gy in the tumour, 50 Gy in the brainstem."""
    grid = gradient(0).grid
    tumour, stem = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    tumour[5:10, 5:10, 3:7], stem[5:10, 5:10, 11:13] = True, True
    dose = np.where(np.indices(grid.shape)[2] < 9, 60.0, 50.0).astype(np.float32)
    return Anatomy(grid, {"tumour": tumour, "brainstem": stem}, {"dose": Image(dose, grid, unit="Gy", name="plan")})


def test_every_parameter_is_declared_with_its_source(model):
    names = [p.name for p in model.parameters]
    assert len(set(names)) == len(names)
    assert {"alpha", "alpha_beta", "alpha_spread", "clonogen_density", "alpha_beta_spinal_cord"} < set(names)
    for p in model.parameters:
        assert p.source
        assert p.low <= p.default <= p.high
    assert [r.name for r in model.requires()] == ["dose", "tumour"]


def test_simulate_gives_control_and_complications(model, anatomy):
    found = model.simulate(anatomy, {"alpha_beta_brainstem": 2.5}, (), Job(), PLAN)
    stem = find_endpoint("brainstem")
    equivalent = 50.0 * (50 / 30 + 2.5) / 4.5
    assert found.numbers["geud_brainstem"].value == pytest.approx(equivalent, rel=1e-3)
    assert found.numbers["ntcp_brainstem"].value == pytest.approx(lyman(equivalent, stem.td50_gy, stem.m), rel=1e-2)
    assert found.numbers["eqd2_mean_tumour"].value == pytest.approx(60.0, rel=1e-3)
    assert 0 < found.numbers["tcp"].value < 1
    assert found.fields["eqd2"].array.max() == pytest.approx(60.0, rel=1e-5)
    product = found.numbers["tcp"].value * (1 - found.numbers["ntcp_brainstem"].value)
    assert found.numbers["control_without_complication"].value == pytest.approx(product)


def test_compare_scales_the_dose_of_the_first_schedule(model, anatomy):
    same = Schedule("the same again", 30, 2.0)
    more = Schedule.of(35, 2.0)
    few = Schedule.of(15, 4.0)
    compared = model.compare(anatomy, model.prior(), [PLAN, same, more, few], (), Job(), members=60)
    table = compared.table.columns
    assert table["dose"] == [60.0, 60.0, 70.0, 60.0]
    assert table["difference_tcp"][:2] == [0.0, 0.0]
    assert table["probability_of_benefit"][:2] == [0.0, 0.0]
    assert table["difference_tcp_low_90"][2] >= 0 < table["difference_tcp"][2]
    assert table["difference_ntcp_brainstem_low_90"][3] > 0  # large fractions harm the brainstem whatever its ratio
    tcp = compared.predictions[PLAN.name].numbers["tcp"]
    assert tcp.interval_90[0] <= tcp.interval_50[0] <= tcp.value <= tcp.interval_50[1] <= tcp.interval_90[1]
    assert set(compared.table.units) == set(table) - {"scenario"}
    assert compared.predictions[more.name].fields["eqd2"].array.max() == pytest.approx(70.0, rel=1e-5)


def test_predict_is_seeded(model, anatomy):
    one, other = (model.predict(anatomy, model.prior(), (), Job(), PLAN, members=20, seed=3) for _ in range(2))
    assert one.numbers == other.numbers


def test_what_the_model_cannot_do_is_said(model, anatomy):
    assert model.calibrate(anatomy, (), Job()).map["alpha_beta"] == pytest.approx(4.0)
    with pytest.raises(InvalidInput, match="do not calibrate"):
        model.calibrate(anatomy, [Observation("volume", 0.0, 1.0, 0.1)], Job())
    with pytest.raises(MissingInput, match="image 'dose'"):
        model.simulate(Anatomy(anatomy.grid, anatomy.tissues), {}, (), Job(), PLAN)
    with pytest.raises(MissingInput, match="'tumour'"):
        model.simulate(Anatomy(anatomy.grid, {}, anatomy.images), {}, (), Job(), PLAN)
    for wrong in ([], [PLAN, PLAN], [NO_TREATMENT]):
        with pytest.raises(InvalidInput, match="distinct names|no fractions"):
            model.compare(anatomy, model.prior(), wrong, (), Job())
    with pytest.raises(InvalidInput, match="no preset 'lymphoma'"):
        registry.find("radiotherapy", "lymphoma")
    with pytest.raises(InvalidInput, match="no growth over time"):
        SimulationStep("glioma", model="radiotherapy").check()
