"""The virtual patient: repeatable, geometry and values as its truth says, growth recovered by calibration."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from TwinApp import virtual_images, virtual_patient
from TwinApp.loading import load_case
from TwinCore import Grid, Job, LinearTransform, MissingPackage, centroid
from TwinSimulateLib.model import Anatomy
from TwinSimulateLib.registry import find

pytest.importorskip("nilearn", reason="nilearn, whose wheel holds the brain, is not installed")


@pytest.fixture(scope="module")
def case_path(tmp_path_factory):
    return virtual_patient.make_virtual_patient(tmp_path_factory.mktemp("patient"), seed=0)


@pytest.fixture(scope="module")
def loaded(case_path):
    return load_case(case_path)


@pytest.fixture(scope="module")
def maps():
    return virtual_patient.brain_maps()


@pytest.fixture(scope="module")
def pose(loaded):
    return LinearTransform(np.array(loaded.case.truth.transforms["PET"]))


def pet_at(loaded, pose, points_ras):
    """PET values at points of the T1, by plain interpolation."""
    pet = loaded.images["PET"]
    ijk = pet.grid.to_ijk(pose.pull(points_ras))
    return ndimage.map_coordinates(pet.array, ijk[:, ::-1].T, order=1, mode="constant")


def points(mask, grid):
    return grid.to_ras(np.argwhere(mask)[:, ::-1])


def depth(mask, grid):
    return -virtual_images.signed_distance(mask, grid)


def test_same_seed_same_files(case_path, tmp_path):
    again = virtual_patient.make_virtual_patient(tmp_path, seed=0)
    names = {path.name for path in case_path.parent.iterdir()}
    assert names == {"case.toml", "t1.nii.gz", "pet.nii.gz", "visit_0_labels.nii.gz", "visit_1_labels.nii.gz"}
    for name in names:
        assert (again.parent / name).read_bytes() == (case_path.parent / name).read_bytes(), name


def test_seeds_differ_and_stay_in_bounds():
    drawn = [virtual_patient.draw_parameters(np.random.default_rng(seed)) for seed in range(30)]
    assert len(set(drawn)) == 30
    fronts = [np.sqrt(diffusivity / rate) for rate, diffusivity in drawn]
    assert virtual_patient.FRONT_MM[0] <= min(fronts)
    assert max(fronts) <= virtual_patient.FRONT_MM[1]


def test_case_file(loaded):
    case = loaded.case
    assert case.patient.virtual
    assert case.reference.name == "T1"
    model = find(case.simulation.model, case.simulation.preset)
    assert set(case.truth.parameters) < {p.name for p in model.parameters}
    days = sorted({o.time_days for o in loaded.observations})
    assert days[0] == 0
    assert 30 <= days[1] <= 60
    seen = [(o.time_days, o.threshold) for o in loaded.observations]
    assert seen == [(0, 0.16), (days[1], 0.8), (days[1], 0.16)]


def test_pose_is_rigid_and_far(pose, loaded):
    turn = pose.matrix[:3, :3]
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-8)
    assert 10 <= np.degrees(np.arccos((np.trace(turn) - 1) / 2)) <= 25
    centre = centroid(loaded.images["T1"].array > 0, loaded.images["T1"].grid)
    assert 28 <= np.linalg.norm(pose.pull(centre) - centre) <= 82


def test_pet_lies_where_the_truth_says(loaded, pose):
    grid = loaded.images["T1"].grid
    tumour = loaded.outlines["T1"].mask("tumour")
    near = ndimage.binary_dilation(tumour, iterations=15)
    values = np.zeros(grid.shape)
    values[near] = pet_at(loaded, pose, points(near, grid))
    hot = centroid(values > 0.5 * values.max(), grid)
    assert np.linalg.norm(hot - centroid(tumour, grid)) < 2.0
    elsewhere = pet_at(loaded, LinearTransform.identity(), points(tumour, grid))
    assert elsewhere.max() < 0.5 * values.max()


def test_pet_covers_the_head(loaded, pose):
    pet, t1 = loaded.images["PET"], loaded.images["T1"]
    ijk = pet.grid.to_ijk(pose.pull(points(t1.array > 0, t1.grid)))
    assert ijk.min() >= 0
    assert (ijk <= np.array(pet.grid.shape[::-1]) - 1).all()


def test_pet_values_are_plausible(loaded, pose, maps):
    pet, grid = loaded.images["PET"], loaded.images["T1"].grid
    tumour = loaded.outlines["T1"].mask("tumour")
    right = np.zeros(grid.shape, bool)
    right[:, :, 99:] = True
    assert not (tumour & right).any()  # the other hemisphere is healthy
    white, grey = (
        pet_at(loaded, pose, points(ndimage.binary_erosion(maps[name].array > 0.9, iterations=n) & right, grid)).mean()
        for name, n in (("wm", 5), ("gm", 2))
    )
    inside = depth(tumour, grid)
    rim = pet_at(loaded, pose, points((inside > 1) & (inside < 4), grid)).mean()
    core = pet_at(loaded, pose, points(inside > 11, grid)).mean()
    assert pet.unit == "g/mL"
    assert pet.array.min() >= 0
    assert 1.4 < white < 2.2
    assert 1.6 < grey / white < 2.5  # 2.5 before the blur
    assert 2.0 < rim / grey < 4.0
    assert core < 0.6 * rim


def test_t1_shows_the_tumour(loaded, maps):
    t1 = loaded.images["T1"]
    tumour = loaded.outlines["T1"].mask("tumour")
    inside = depth(tumour, t1.grid)
    white, grey = (np.median(t1.array[(maps[name].array > 0.9) & (inside < -20)]) for name in ("wm", "gm"))
    assert np.median(t1.array[(inside > 2) & (inside < 4)]) > 1.15 * white
    assert np.median(t1.array[inside > 8]) < 0.6 * grey
    assert not t1.array[maps["t1"].array == 0].any()


def test_outlines_are_close_to_the_density_but_not_exact(loaded):
    outlines, truth = loaded.outlines["T1"], loaded.case.truth
    assert 15 < truth.volume_ml < 40
    assert outlines.volume_ml("tumour") == pytest.approx(truth.volume_ml, rel=0.2)
    assert not (outlines.mask("tumour") & outlines.mask("infiltration")).any()
    first = outlines.volume_ml("tumour")
    wide, later, later_wide = (o.value for o in loaded.observations)
    assert first < wide < later_wide
    assert first < later < later_wide


@pytest.fixture(scope="module")
def ball():
    """A density that falls off around a ball, and the distance to the surface where it is 0.8."""
    grid = Grid.isotropic((72, 72, 72))
    k, j, i = np.indices(grid.shape) - 35.5
    radius = np.sqrt(k**2 + j**2 + i**2)
    return grid, 1 / (1 + np.exp((radius - 18) / 2)), radius - (18 - 2 * np.log(4))


def test_distance_to_a_ball(ball):
    grid, density, distance = ball
    near = np.abs(distance) < 5
    error = (virtual_images.signed_distance(density >= 0.8, grid) - distance)[near]
    assert np.abs(error).max() < 0.9  # the mask knows its surface to the diagonal of half a voxel
    assert abs(error.mean()) < 0.1


def test_outline_error_of_a_ball(ball):
    """Over many outlines right on average, each off by some ten per cent."""
    grid, density, distance = ball
    exact = np.array([np.count_nonzero(density >= u) for u in (0.8, 0.16)])
    ratios = []
    for seed in range(24):
        labels = virtual_images.draw_outlines(density, grid, density > 0, np.random.default_rng(seed))
        ratios.append(np.array([np.count_nonzero(labels == 1), np.count_nonzero(labels)]) / exact)
        wrong = (labels == 1) != (density >= 0.8)
        assert np.abs(distance[wrong]).max() < 5
    assert np.abs(np.mean(ratios, axis=0) - 1).max() < 0.06
    assert (np.std(ratios, axis=0) > 0.03).all()
    assert (np.std(ratios, axis=0) < 0.12).all()


def test_growth_is_recovered(loaded, maps):
    """The truth lies in the 90 % intervals, which are narrower than the prior's."""
    outlines = loaded.outlines["T1"]
    tissues = {"white matter": maps["wm"].array, "grey matter": maps["gm"].array, "tumour": outlines.mask("tumour")}
    model = find(loaded.case.simulation.model, loaded.case.simulation.preset)
    anatomy = Anatomy(outlines.grid, tissues)
    posterior, prior = model.calibrate(anatomy, loaded.observations, Job()), model.prior()
    for name, truth in loaded.case.truth.parameters.items():
        low, high = posterior.interval(name)
        assert low < truth < high, name
        before = prior.interval(name)
        assert high / low < 0.6 * before[1] / before[0], name


def test_without_nilearn(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match="nilearn"):
        virtual_patient.make_virtual_patient(tmp_path / "patient")
    assert not (tmp_path / "patient").exists()
