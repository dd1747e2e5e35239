"""What is compared: harmonised images within what the scanner saw; and fused CT volumes, air where it did not see."""

import numpy as np
import pytest
from phantoms import rigid

from TwinCore import Grid, Image, InvalidInput, Job
from TwinFusionLib import prepared, registration
from TwinFusionLib.attention import Attention
from TwinFusionLib.fused import fuse
from TwinFusionLib.harmonise import Harmonised, harmonise
from TwinFusionLib.linear import LinearResult
from TwinFusionLib.prepared import Preparation
from TwinFusionLib.presets import find_preset
from TwinFusionLib.registration import register

SHAPE = (8, 48, 48)
GRID = Grid.isotropic(SHAPE, 3.0)
PLAIN, PREPARING = find_preset("PET-CT"), find_preset("thorax")


def round_view() -> np.ndarray:
    _, j, i = np.indices(SHAPE)
    return np.hypot(j - 23.5, i - 23.5) < 24


def ct(offset: float = 0.0, padding: float | None = None) -> Image:
    """A body in air, all `offset` too high, and padding outside a round field of view."""
    _, j, i = np.indices(SHAPE)
    values = np.where(np.hypot((j - 24) / 14, (i - 23) / 18) < 1, 40.0, -1000.0) + offset
    values += np.random.default_rng(0).normal(0, 8, SHAPE)
    if padding is not None:
        values = np.where(round_view(), values, padding)
    return Image(values.astype(np.float32), GRID, "CT", "[hnsf'U]", name="CT")


def mr() -> Image:
    values = np.random.default_rng(1).gamma(3.0, 20.0, SHAPE).astype(np.float32)
    return Image(values, GRID, "MR", name="T1")


def test_each_modality_is_harmonised_in_its_own_way():
    values = np.random.default_rng(2).normal(1.0, 1.0, SHAPE).astype(np.float32)
    pet = harmonise(Image(values, GRID, "PT", "g/mL", name="PET"))
    assert np.array_equal(pet.image.array, np.maximum(values, 0))
    assert "'PET': 16 % of its values are below 0" in pet.notes[0]
    t1 = mr()
    made = harmonise(t1)
    assert (made.image.unit, made.image.array.dtype) == ("1", np.float32)
    assert "'T1': a bias field of" in made.notes[0]
    field = Image(values, GRID, name="not acquired")
    assert harmonise(field).image is field


def test_an_ultrasound_is_smoothed_within_its_sector_and_one_of_few_echoes_is_left():
    echoes = np.where(round_view(), np.random.default_rng(3).rayleigh(60.0, SHAPE), 0.0).clip(0, 255)
    image = Image(echoes.astype(np.uint8), GRID, "US", name="liver")
    made = harmonise(image)
    assert np.count_nonzero(made.mask != round_view()) < 0.01 * round_view().sum()
    assert made.image.array[round_view()].std() < 0.5 * image.array[round_view()].std()
    assert "speckle was smoothed" in made.notes[0]
    wires = np.zeros(SHAPE, np.uint8)
    wires[:, 10:12, 10:12] = wires[:, 30:32, 38:40] = 200
    left = harmonise(image.with_array(wires))
    assert np.array_equal(left.image.array, wires)
    assert "'liver': too few echoes" in left.warnings[0]


@pytest.fixture
def harmonised(monkeypatch):
    """How often each image was harmonised, without the work."""
    counts = {}

    def harmonise(image, job):
        counts[image.name] = counts.get(image.name, 0) + 1
        return Harmonised(image.with_array(image.array + 1), notes=(f"{image.name} done",))

    monkeypatch.setattr(prepared, "harmonise", harmonise)
    return counts


def test_an_image_is_harmonised_once_and_only_where_the_preset_says_so(harmonised):
    preparation, image = Preparation(), mr()
    [same], _ = preparation.compared([image], PLAIN, Attention())
    assert same is image
    for _ in range(2):
        [made], _ = preparation.compared([image], PREPARING, Attention())
        assert np.array_equal(made.array, image.array + 1)
    assert harmonised == {"T1": 1}
    assert preparation.notes([image]) == ("T1 done",)


def test_a_ct_is_always_in_hounsfield_units_and_what_was_wrong_is_warned_of():
    image, job = ct(offset=1024.0), Job()
    before = image.array.copy()
    [made], _ = Preparation().compared([image], PLAIN, Attention(), job)
    assert np.median(made.array[:, 22:26, 22:26]) == pytest.approx(40, abs=5)
    [warning] = job.warnings
    assert "'CT' is not in Hounsfield units" in warning
    assert "1024" in warning
    assert np.array_equal(image.array, before)


def test_only_what_the_scanner_saw_is_compared():
    inside = np.zeros(SHAPE, bool)
    inside[:, :, :30] = True
    [made], attention = Preparation().compared([ct(padding=-2000.0)], PLAIN, Attention(inside={"CT": inside}))
    assert np.array_equal(attention.mask(made), inside & round_view())
    assert attention.mask(made.with_array(made.array)) is inside  # another image of that name has its own view
    corner = {"CT": ~round_view()}
    with pytest.raises(InvalidInput, match="'CT': .* leave no voxel to compare within its field of view"):
        Preparation().compared([ct(padding=-2000.0)], PLAIN, Attention(inside=corner))


def test_an_image_that_cannot_be_harmonised_is_compared_as_it_is_and_that_is_told():
    dark, job = mr().with_array(-mr().array), Job()
    [made], _ = Preparation().compared([dark], PREPARING, Attention(), job)
    assert made is dark
    assert job.warnings == ("Image 'T1' shows nothing above 0: no foreground can be found. It was compared as it is.",)


def test_the_engine_is_given_what_was_prepared(monkeypatch):
    asked = {}

    def linear(fixed, moving, motion, **options):
        asked.update(options, fixed=fixed, moving=moving)
        move = rigid(0, (1, 0, 0), (0, 0, 0))
        return LinearResult(move, (move,), 1.2, 1.0, 0.9, 0.0, 0.0)

    monkeypatch.setattr(registration, "register_linear", linear)
    fixed, moving = mr(), ct(offset=1000.0, padding=-3024.0)
    register(fixed, [moving], PLAIN)
    assert asked["fixed"] is fixed
    assert asked["fixed_mask"] is None
    assert asked["moving"][0].array[~round_view()] == pytest.approx(-1000)
    assert np.median(asked["moving"][0].array[:, 22:26, 22:26]) == pytest.approx(40, abs=5)
    assert np.array_equal(asked["moving_masks"][0], round_view())


@pytest.mark.parametrize("padding", [-2000.0, -3024.0])
def test_a_fused_ct_is_air_where_the_scanner_did_not_see(padding):
    image = ct(padding=padding)
    shift = rigid(0, (1, 0, 0), (1.5, 0, 0))  # half a voxel: the padding must not be mixed with what is beside it
    [still, moved] = fuse([image, image.with_array(image.array, name="moved")], {"moved": shift}, GRID, Job())
    assert np.array_equal(still.array[round_view()], image.array[round_view()])
    assert (still.array[~round_view()] == -1000).all()
    assert moved.array.min() >= image.array[round_view()].min()
    assert (moved.array[:, [0, -1], 0] == -1000).all()
    assert image.array.min() == padding
