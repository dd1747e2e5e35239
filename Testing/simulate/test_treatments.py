"""Radiotherapy by voxel, drugs that decay and surgery, against exact solutions; and what is read out of them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from TwinCore import Grid, Image, InvalidInput, Job
from TwinCore.parameter import complete
from TwinSimulateLib import registry
from TwinSimulateLib.chemotherapy import Chemotherapy
from TwinSimulateLib.model import Anatomy
from TwinSimulateLib.numerics.extent import extent
from TwinSimulateLib.numerics.travelling_wave import front_profile
from TwinSimulateLib.oxygen import enhancement, hypoxic_fraction
from TwinSimulateLib.radiotherapy import Schedule, survival
from TwinSimulateLib.surgery import Surgery
from TwinSimulateLib.treatment import Combination
from TwinSimulateLib.tumour_answers import control_probability, days_gained
from TwinSimulateLib.tumour_run import run_member
from TwinSimulateLib.tumour_treated import TreatedTumour

SHAPE = (28, 30, 32)
GRID = Grid.isotropic(SHAPE, 1.0)
DISTANCE = np.sqrt(((np.indices(SHAPE) - np.array([14, 15, 16])[:, None, None, None]) ** 2).sum(0))
AT_ONCE = np.array([0.0, 1e-9, 2e-9])
"""Days so near that nothing grows between them."""


def gradient(axis: int, low: float, high: float, unit: str, name: str = "map") -> Image:
    line = np.linspace(low, high, SHAPE[axis], dtype=np.float32)
    shape = [1, 1, 1]
    shape[axis] = -1
    return Image(np.broadcast_to(line.reshape(shape), SHAPE).copy(), GRID, unit=unit, name=name)


def anatomy(images=None, tissues=None) -> Anatomy:
    everywhere = np.ones(SHAPE, bool)
    brain = {"tumour": DISTANCE < 7, "white matter": everywhere, "grey matter": ~everywhere}
    return Anatomy(GRID, {**brain, **(tissues or {})}, images or {})


MODEL = registry.find("tumour_growth", "glioma")
MODEL.spacing_mm = 1.0
MEMBER = complete(MODEL.parameters, {"alpha": 0.3, "alpha_beta": 10.0, "drug_efficacy": 0.4})


def run(patient: Anatomy, treatment, times=AT_ONCE, member=MEMBER):
    stages = MODEL._stages(patient)
    stages.prepare(1.0, 100.0)
    return run_member(stages, 1.0, member, treatment, np.asarray(times, float), (0.8,), Job(), True, True)


def test_dose_that_varies_kills_by_voxel():
    dose = gradient(2, 10.0, 72.0, "Gy")
    first, _, after = run(anatomy({"dose": dose}), Schedule.of(1, 2.0)).densities
    relative = dose.array / np.median(dose.array[DISTANCE < 7])
    exact = np.exp(-0.3 * 2.0 * relative * (1 + 2.0 * relative / 10.0))
    there = first > 1e-6
    np.testing.assert_allclose(after[there] / first[there], exact[there], rtol=2e-5)


def test_a_uniform_dose_map_is_the_prescribed_dose():
    flat = anatomy({"dose": Image(np.full(SHAPE, 47.3, np.float32), GRID, unit="Gy")})
    times = [0, 5, 12]
    np.testing.assert_allclose(
        run(flat, Schedule.of(6, 2.0), times).volume_ml, run(anatomy(), Schedule.of(6, 2.0), times).volume_ml, rtol=1e-5
    )


def test_oxygen_enhancement_is_that_of_alper_and_howard_flanders():
    # sensitivity (3 p + 3) / (p + 3) of that without oxygen, 3 at most
    for p in (0.0, 1.4, 3.0, 20.0):
        assert enhancement(p) == pytest.approx(3.0 / ((3 * p + 3) / (p + 3)), rel=1e-12)
    assert enhancement(1e9) == pytest.approx(1.0, abs=1e-6)


def test_hypoxia_divides_alpha_by_the_oer_and_beta_by_its_square():
    oxygen = gradient(2, 0.0, 40.0, "mm[Hg]")
    start, _, after = run(anatomy({"hypoxia": oxygen}), Schedule.of(1, 3.0)).densities
    oer = enhancement(oxygen.array)
    exact = np.exp(-0.3 / oer * 3.0 - 0.03 / oer**2 * 9.0)
    there = start > 1e-6
    np.testing.assert_allclose(after[there] / start[there], exact[there], rtol=2e-5)


def test_a_hypoxic_share_survives_as_its_oxygen_has_it():
    uptake = gradient(1, 0.5, 2.0, "g/mL")
    share = hypoxic_fraction(uptake, blood=1.0)
    np.testing.assert_array_equal(share.array, uptake.array >= 1.2)
    half = share.with_array(0.5 * share.array)
    start, _, after = run(anatomy({"hypoxia": half}), Schedule.of(1, 3.0)).densities
    oer = 3.0 / ((3 * 1.4 + 3) / (1.4 + 3))
    oxic, hypoxic = survival(3.0, 0.3, 10.0), np.exp(-0.3 * 3 / oer - 0.03 * 9 / oer**2)
    exact = np.where(share.array > 0, 0.5 * (oxic + hypoxic), oxic)
    there = start > 1e-6
    np.testing.assert_allclose(after[there] / start[there], exact[there], rtol=2e-5)


def test_a_drug_kills_by_the_concentration_that_has_decayed():
    course = Chemotherapy.of("doxorubicin", 90.0, 1, 3, 2)
    exact = 1.5 * ((1 - 2 ** (-4.5 / 1.25)) + (1 - 2 ** (-1.5 / 1.25)))
    assert course.acted(4.5) == pytest.approx(exact, rel=1e-12)
    assert course.acted(0.0) == 0.0
    still = {**MEMBER, "proliferation_rate": 1e-9, "diffusivity": 1e-9}
    found = run(anatomy(), course, [0.0, 4.5], still)
    assert np.log(found.burden_ml[1] / found.burden_ml[0]) == pytest.approx(-0.4 * exact, rel=1e-4)


def test_a_whole_regimen_kills_what_its_survival_says():
    course = Chemotherapy.of("temozolomide", 150.0, 5, 28, 2)
    still = {**MEMBER, "proliferation_rate": 1e-9, "diffusivity": 1e-9}
    found = run(anatomy(), course, [0.0, 60.0], still)
    assert course.survival(still) == pytest.approx(np.exp(-0.4 * 2 * 10), rel=1e-12)
    assert np.log(found.burden_ml[1] / found.burden_ml[0]) == pytest.approx(-8.0, rel=1e-3)


def test_drug_and_growth_together_are_of_second_order():
    """u' = rho u (1 - u) - k(t) u on a uniform density, against the ODE solved to 1e-10."""
    course, rate, days = Chemotherapy.of("doxorubicin", 60.0, 1), 0.2, 6.0
    decay = np.log(2) / 1.25
    ode = solve_ivp(
        lambda t, u: rate * u * (1 - u) - 0.4 * decay * np.exp(-decay * t) * u, (0, days), [0.5], rtol=1e-10, atol=1e-12
    )
    errors = []
    for step in (3.0, 1.5, 0.75):
        member = {**MEMBER, "proliferation_rate": rate, "diffusivity": 0.01}
        stages = MODEL._stages(anatomy())
        stages.prepare(1.0, 100.0)
        tumour = TreatedTumour(stages.maps.on(stages.stage(1.0)), member, course)
        tumour.state = tumour.equation.state(np.full(SHAPE, 0.5))
        for day in np.arange(step, days + 1e-9, step):
            tumour.grow(float(day), Job())
        errors.append(abs(float(tumour.density()[14, 15, 16]) - ode.y[0, -1]))
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (orders > 1.7).all()
    assert errors[-1] < 1e-3


def test_delivery_moves_the_kill_and_not_its_mean():
    delivery = gradient(0, 0.2, 4.0, "1")
    course = Chemotherapy.of("temozolomide", 75.0, 1)
    still = {**MEMBER, "proliferation_rate": 1e-9, "diffusivity": 1e-9}
    start, after = run(anatomy({"drug_delivery": delivery}), course, [0.0, 5.0], still).densities
    relative = delivery.array / delivery.array[DISTANCE < 7].mean()
    there = start > 1e-6
    np.testing.assert_allclose(after[there] / start[there], np.exp(-0.4 * relative)[there], rtol=1e-3)


def test_a_preset_without_a_drug_says_so():
    sarcoma = registry.find("tumour_growth", "soft-tissue sarcoma")
    patient = Anatomy(GRID, {"tumour": DISTANCE < 7, "soft tissue": np.ones(SHAPE, bool)})
    with pytest.raises(InvalidInput, match="no efficacy of a drug is known"):
        sarcoma.simulate(patient, {}, [0, 10], Job(), Chemotherapy.of("doxorubicin", 60.0, 1))


def test_surgery_empties_its_cavity_and_nothing_crosses_it():
    """A slab cut out between the tumour and the far side: no cell comes there, though many would have."""
    slab = np.zeros(SHAPE, bool)
    slab[:, :, 20:22] = True
    member = {**MEMBER, "proliferation_rate": 0.1, "diffusivity": 1.0}
    stages, ends = MODEL._stages(anatomy(tissues={"resection": slab})), []
    stages.prepare(1.0, 100.0)
    for treatment in (Schedule("none"), Surgery.of(0)):
        tumour = TreatedTumour(stages.maps.on(stages.stage(1.0)), member, treatment)
        tumour.state = tumour.equation.state(np.where(DISTANCE < 4, 0.5, 0.0))
        tumour.treat()
        tumour.grow(30.0, Job())
        ends.append(tumour.density())
    free, cut = ends
    assert free[:, :, 22:].max() > 0.1
    assert not cut[:, :, 20:].any()
    assert cut[:, :, :20].mean() > free[:, :, :20].mean()


def test_surgery_takes_the_margin_or_the_share_that_it_is_asked_for():
    stages = MODEL._stages(anatomy())
    stages.prepare(1.0, 100.0)
    maps = stages.maps.on(stages.stage(1.0))
    cut = maps.cavity(Surgery.of(0, 3.0))
    assert cut.sum() == pytest.approx(4 / 3 * np.pi * (7 + 3) ** 3, rel=0.06)
    assert (maps.cavity(Surgery.of(0)) == (DISTANCE < 7)).all()
    half = maps.cavity(Surgery.of(0, None, 0.5))
    assert half.sum() / (DISTANCE < 7).sum() == pytest.approx(0.5, abs=0.1)
    assert DISTANCE[half].max() <= DISTANCE[(DISTANCE < 7) & ~half].min() + 0.5
    with pytest.raises(InvalidInput, match="leaves no tissue"):
        run(anatomy(), Surgery.of(0, 40.0), [0.0, 1.0])


def test_courses_on_one_day_are_surgery_first():
    both = Combination("both", (Schedule.of(1, 2.0), Surgery.of(0)))
    found = run(anatomy(), both)
    start, _, after = found.densities
    left = (DISTANCE >= 7) & (start > 1e-6)
    np.testing.assert_allclose(after[left] / start[left], survival(2.0, 0.3, 10.0), rtol=2e-5)
    assert not after[DISTANCE < 7].any()
    assert found.least_burden_ml == pytest.approx(after.sum() / 1000, rel=1e-4)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ({"dose": gradient(0, 1, 2, "cGy")}, "'dose' must be in Gy"),
        ({"dose": gradient(0, -1, 2, "Gy")}, "not below 0"),
        ({"dose": gradient(0, 0, 0, "Gy")}, "0 in the tumour"),
        ({"hypoxia": gradient(0, 0, 2, "1")}, "from 0 to 1"),
        ({"hypoxia": gradient(0, 0, 2, "g/mL")}, "hypoxic_fraction"),
        ({"drug_delivery": gradient(0, -1, 2, "1")}, "'drug_delivery' must be finite"),
    ],
)
def test_maps_that_cannot_be_are_named(images, words):
    with pytest.raises(InvalidInput, match=words):
        run(anatomy(images), Schedule.of(1, 2.0))


def test_diameter_and_reach_of_a_ball_and_an_ellipsoid():
    axes = np.diag([2.0, 1.0, 0.8])
    k, j, i = (np.arange(n) - (n - 1) / 2 for n in (40, 60, 70))
    places = np.stack(np.meshgrid(2.0 * k, 1.0 * j, 0.8 * i, indexing="ij"))
    radius = np.sqrt((places**2).sum(0))
    ball = front_profile(radius - 17.3, 3.0, 0.6)
    diameter, reach = extent(ball, 0.6, axes, radius - 12.0)
    assert diameter == pytest.approx(34.6, abs=0.1)
    assert reach == pytest.approx(5.3, abs=0.05)
    long = np.sqrt(((places / np.array([30.0, 10.0, 10.0])[:, None, None, None]) ** 2).sum(0))
    assert extent(front_profile(10 * (long - 1), 3.0, 0.5), 0.5, axes)[0] == pytest.approx(60.0, rel=0.01)
    assert extent(np.zeros((4, 4, 4)), 0.5, axes) == (0.0, 0.0)


def test_days_gained_are_those_behind_the_virtual_control():
    times = np.array([0.0, 30.0, 60.0, 90.0])
    radii = 10.0 + 0.1 * times  # mm, linear as Neal and others have it
    control = SimpleNamespace(times_days=times, volume_ml=np.tile(radii**3, (3, 1)))
    ends = np.array([[17.0], [12.0], [7.0]]) ** 3
    treated = SimpleNamespace(volume_ml=np.hstack([np.tile(radii[:3] ** 3, (3, 1)), ends]))
    assert days_gained(treated, control) == pytest.approx([20.0, 70.0, 120.0])


def test_control_is_poisson():
    members = [{"clonogen_density": 1e7}, {"clonogen_density": 1e6}]
    assert control_probability(np.array([1e-7, 1e-7]), members) == pytest.approx([np.exp(-1), np.exp(-0.1)])
    growing = {**MEMBER, "clonogen_density": 1e3}
    # 15 fractions leave e^-(15 (0.6 + 0.12)) of each cell, less what grows between: the control is that of the least
    found = run(anatomy(), Schedule.of(15, 2.0), np.arange(0.0, 40.0, 5.0), growing)
    assert found.least_burden_ml < found.burden_ml.min()
    left = found.burden_ml[0] * Schedule.of(15, 2.0).survival(growing)
    assert left < found.least_burden_ml < left * np.exp(0.05 * 18)


def test_regions_lie_between_the_thresholds_of_the_images():
    """At the start the wave is known: each region is a shell between two of its levels."""
    found = MODEL.simulate(anatomy(), {"diffusivity": 0.1, "proliferation_rate": 0.05}, [0.0], Job())
    density, labels = found.fields["density"].array, found.fields["regions"].array
    np.testing.assert_array_equal(labels >= 1, density >= 0.16)
    np.testing.assert_array_equal(labels >= 2, DISTANCE < 7)
    np.testing.assert_array_equal(labels == 3, density >= 0.95)
    assert set(np.unique(labels)) == {0, 1, 2, 3}
    sarcoma = registry.find("tumour_growth", "soft-tissue sarcoma")
    uniform = Anatomy(GRID, {"tumour": DISTANCE < 7, "soft tissue": np.ones(SHAPE, bool)})
    assert "regions" not in sarcoma.simulate(uniform, {}, [0.0], Job()).fields
