"""Brain tissue classes, PET threshold rules, the body's outline and the measures: on made data, and on real images."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from TwinCore import Grid, Image, InvalidInput, Job, JobCancelled, Segmentation
from TwinCore.volume_file import read_volume
from TwinSegmentLib.body import body
from TwinSegmentLib.brain_tissue import CLASSES, brain_tissue
from TwinSegmentLib.measure import dice, segment_table
from TwinSegmentLib.pet_threshold import RULES, pet_tumour

GRID = Grid.isotropic((30, 32, 34), 2.0)


def ball(centre, radius, shape=GRID.shape) -> np.ndarray:
    return sum((axis - c) ** 2 for axis, c in zip(np.indices(shape), centre)) <= radius**2


def layered_brain(noise: float) -> tuple[Image, dict[str, np.ndarray], np.ndarray]:
    """White matter inside grey matter inside fluid, with noise."""
    white, grey, brain = (ball((15, 16, 17), r) for r in (8, 11, 13))
    truth = dict(zip(CLASSES, (brain & ~grey, grey & ~white, white)))
    values = 20.0 * truth[CLASSES[0]] + 60.0 * truth[CLASSES[1]] + 100.0 * truth[CLASSES[2]]
    values += noise * np.random.default_rng(0).standard_normal(GRID.shape)
    return Image(values.astype(np.float32), GRID, "MR", name="T1"), truth, brain


def test_tissue_classes_are_found_in_noise_that_no_threshold_could_separate():
    t1, truth, brain = layered_brain(noise=16.0)
    found = brain_tissue(t1, brain)
    assert list(found) == list(CLASSES)
    assert sum(mask.astype(int) for mask in found.values()).max() == 1
    assert np.array_equal(np.logical_or.reduce(list(found.values())), brain)
    for name, mask in truth.items():
        by_threshold = brain & (np.abs(t1.array - t1.array[mask].mean()) < 20)
        assert dice(found[name], mask) > max(0.85, dice(by_threshold, mask) + 0.05)


def test_a_lesion_does_not_shape_the_classes_and_takes_its_neighbours():
    t1, truth, brain = layered_brain(noise=8.0)
    lesion = ball((15, 16, 12), 3)
    sick = t1.with_array(np.where(lesion, 400.0, t1.array).astype(np.float32))
    found = brain_tissue(sick, brain, exclude=lesion)
    healthy = brain_tissue(t1, brain)
    for name in CLASSES:
        assert dice(found[name] & ~lesion, healthy[name] & ~lesion) > 0.98
    assert (found["white matter"] & lesion).sum() > 0.8 * (truth["white matter"] & lesion).sum()


def test_tissue_of_the_mni_brain_agrees_with_its_maps():
    spec = importlib.util.find_spec("nilearn")
    if spec is None:
        pytest.skip("nilearn, whose wheel holds the MNI152 maps, is not installed")
    folder = Path(spec.origin).parent / "datasets/data"
    files = (folder / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz" for name in ("t1", "gm", "wm"))
    t1, grey, white = (read_volume(file, "MR") for file in files)
    low, high = (60, 40, 30), (130, 190, 165)  # the middle of the head keeps the test quick
    t1, grey, white = (image.crop(low, high) for image in (t1, grey, white))
    brain = ndimage.binary_opening(t1.array > 5)
    found = brain_tissue(t1, brain)
    assert dice(found["white matter"], white.array > 127) > 0.93
    assert dice(found["grey matter"], grey.array > 127) > 0.78


@pytest.mark.parametrize(
    ("brain", "array", "words"),
    [(np.zeros(GRID.shape, bool), 1.0, "too few"), (np.ones(GRID.shape, bool), 1.0, "too little contrast")],
)
def test_what_cannot_be_classified_is_refused(brain, array, words):
    with pytest.raises(InvalidInput, match=words):
        brain_tissue(Image(np.full(GRID.shape, array, np.float32), GRID, "MR", name="T1"), brain)


def test_tissue_classes_can_be_cancelled():
    t1, _, brain = layered_brain(noise=8.0)
    job = Job()
    job.cancel()
    with pytest.raises(JobCancelled):
        brain_tissue(t1, brain, job=job)


def pet_with_tumour(unit="g/mL") -> tuple[Image, np.ndarray]:
    """A tumour of SUV 10 with a necrotic core, beside a bladder of SUV 60."""
    tumour = ball((15, 16, 10), 6)
    values = np.where(tumour, 10.0, 0.5) + 60.0 * ball((15, 16, 26), 4)
    values[ball((15, 16, 10), 2)] = 1.0
    return Image(values.astype(np.float32), GRID, "PT", unit, name="PET"), tumour


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_finds_the_tumour_with_its_necrosis_and_not_the_bladder(rule):
    pet, tumour = pet_with_tumour()
    found = pet_tumour(pet, ball((15, 16, 10), 9), rule, reference=ball((5, 5, 5), 3))
    if rule == "gradient":  # the edge is looked for on the smoothed image
        assert dice(found, tumour) > 0.9
    else:
        assert np.array_equal(found, tumour)


def test_the_threshold_is_a_share_of_the_maximum_in_the_search_region():
    values = np.linspace(0.0, 10.0, GRID.size).reshape(GRID.shape).astype(np.float32)
    found = pet_tumour(Image(values, GRID, "PT", "g/mL"), np.ones(GRID.shape, bool), "50 % of maximum")
    assert values[found].min() == pytest.approx(5.0, abs=0.01)


@pytest.mark.parametrize(
    ("unit", "search", "rule", "words"),
    [
        ("Bq/mL", True, "SUV 2.5", "SUVbw"),
        ("g/mL", True, "my rule", "41 % of maximum"),
        ("g/mL", False, "SUV 2.5", "empty"),
        ("g/mL", None, "SUV 2.5", "reaches 2.5"),
        ("g/mL", True, "PERCIST", "needs an outline named 'liver'"),
    ],
)
def test_bad_pet_input_is_named(unit, search, rule, words):
    pet, _ = pet_with_tumour(unit)
    region = ball((3, 3, 3), 2) if search is None else np.full(GRID.shape, search)
    with pytest.raises(InvalidInput, match=words):
        pet_tumour(pet, region, rule)


@pytest.mark.parametrize(("modality", "air", "inside"), [("CT", -1000.0, 40.0), ("MR", 5.0, 300.0), ("PT", 0.02, 0.6)])
def test_body_is_the_large_filled_object_whatever_is_hot_in_it(modality, air, inside):
    truth = ball((15, 16, 17), 12)
    values = np.where(truth, inside, air) + 0.1 * abs(air) * np.random.default_rng(0).standard_normal(GRID.shape)
    values[ball((15, 16, 12), 2)] = air  # a gas bubble
    values[ball((15, 16, 22), 3)] = 100 * inside if modality == "PT" else inside
    assert dice(body(Image(values.astype(np.float32), GRID, modality, name="scan")), truth) > 0.95


def test_no_body_is_an_error():
    with pytest.raises(InvalidInput, match="No body.*'air'"):
        body(Image(np.full(GRID.shape, -1000.0), GRID, "CT", name="air"))


def test_table_of_segments_has_units_and_right_numbers():
    pet, tumour = pet_with_tumour()
    table = segment_table(Segmentation.from_masks(GRID, {"tumour": tumour, "all": np.ones(GRID.shape, bool)}), [pet])
    assert table.columns["volume"][0] == pytest.approx(tumour.sum() * 0.008)
    assert table.columns["PET maximum"] == pytest.approx([10.0, 60.5])
    assert table.columns["PET mean"][0] == pytest.approx(pet.array[tumour].mean(), rel=1e-5)
    assert table.units == {
        "volume": "mL",
        "surface": "cm2",
        "PET mean": "g/mL",
        "PET maximum": "g/mL",
        "PET peak": "g/mL",
    }


def test_rules_on_real_sarcomas_reach_their_recorded_dice(data):
    """docs/segmentation.md holds the figures of all rules."""
    best = {"STS_001": 0.604, "STS_002": 0.603, "STS_008": 0.735, "STS_025": 0.776}
    for patient, expected in best.items():
        folder = data("sts_petctmr") / patient
        pet = read_volume(folder / "PET_image.nii.gz", "PT", "g/mL")
        truth = read_volume(folder / "PET_mask.nii.gz").array > 0
        near = ndimage.distance_transform_edt(~truth, sampling=pet.grid.spacing[::-1]) <= 10
        assert dice(pet_tumour(pet, near, "SUV 2.5"), truth) == pytest.approx(expected, abs=0.002)
