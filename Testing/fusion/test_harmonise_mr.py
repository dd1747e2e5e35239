"""Bias field, foreground and scale of MR intensities."""

import numpy as np
import pytest

from TwinCore import Grid, Image, InvalidInput, Job, JobCancelled
from TwinCore.volume_file import read_volume
from TwinFusionLib.bias_field import without_bias
from TwinFusionLib.intensity import foreground, normalised

SHAPE = (40, 60, 52)
GRID = Grid(SHAPE, [[0.0, -3.2, 0.0, 80.0], [3.0, 0.0, 0.0, -70.0], [0.0, 0.0, 4.0, -60.0], [0.0, 0.0, 0.0, 1.0]])


def tissues(seed: int = 2) -> np.ndarray:
    """1 to 3: three tissues in folds inside an ellipsoid; 0: air."""
    from scipy import ndimage

    k, j, i = np.indices(SHAPE)
    inside = ((k - 20) / 17) ** 2 + ((j - 30) / 25) ** 2 + ((i - 26) / 22) ** 2 < 1
    texture = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(SHAPE), 2.0)
    return np.where(inside, 1 + np.digitize(texture, np.quantile(texture, (0.3, 0.6))), 0)


def bias(strength: float = 0.4) -> np.ndarray:
    z, y, x = (np.linspace(-1, 1, n).reshape([-1 if a == b else 1 for b in range(3)]) for a, n in enumerate(SHAPE))
    return np.exp(strength * (np.sin(1.2 * x + 0.8 * z) + 0.5 * np.cos(1.5 * y - 0.4)))


def mr(field: np.ndarray | float = 1.0) -> tuple[Image, np.ndarray]:
    labels = tissues()
    clean = np.array([0.0, 60.0, 110.0, 170.0])[labels] * field
    rng = np.random.default_rng(1)
    noisy = np.hypot(clean + 3 * rng.standard_normal(SHAPE), 3 * rng.standard_normal(SHAPE))
    return Image(noisy.astype(np.float32), GRID, "MR", name="made"), labels


def variation(array: np.ndarray, tissue: np.ndarray) -> float:
    """Coefficient of variation within a tissue: what is left of a bias field, of noise and of the tissue's own."""
    return float(array[tissue].std() / array[tissue].mean())


def test_a_made_bias_field_is_divided_out():
    field = bias()
    image, labels = mr(field)
    before = image.array.copy()
    found = without_bias(image)
    inside = labels > 0
    left = np.log(found.field.array / field)[inside]
    assert left.std() < 0.25 * np.log(field)[inside].std()
    for tissue in (1, 2, 3):
        assert variation(found.image.array, labels == tissue) < 0.5 * variation(image.array, labels == tissue)
    assert np.array_equal(image.array, before)
    assert np.allclose(found.image.array * found.field.array, image.array, rtol=1e-4, atol=1e-3)
    assert np.log(found.field.array)[inside].mean() == pytest.approx(0, abs=0.02)


def test_an_image_without_a_bias_field_stays_as_it_is():
    image, labels = mr()
    found = without_bias(image)
    assert np.log(found.field.array)[labels > 0].std() < 0.02
    assert np.array_equal(without_bias(image).field.array, found.field.array)  # and always the same


def test_finding_a_bias_field_can_be_cancelled():
    image, _ = mr(bias())
    job = Job()
    job.cancel()
    with pytest.raises(JobCancelled):
        without_bias(image, job=job)


def test_the_t1_of_a_head_is_hardly_changed_and_its_made_bias_goes(data):
    head = read_volume(data("brain_t1") / "t1_crop.nii.gz", "MR")
    head = head.with_array(head.array[::2, ::2, ::2].astype(np.float32), grid=Grid.isotropic((128, 128, 128), 2.0))
    body = foreground(head)
    assert 0.2 < body.mean() < 0.26
    white = body & (head.array > 200) & (head.array < 230)
    ramp = np.exp(0.5 * np.linspace(-1, 1, 128))[:, None, None] * np.exp(0.3 * np.cos(np.linspace(0, 3, 128)))
    shaded = head.with_array((head.array * ramp).astype(np.float32))
    found = without_bias(shaded, body)
    assert variation(shaded.array, white) > 0.15
    assert variation(found.image.array, white) < 0.06
    assert np.log(without_bias(head, body).field.array)[body].std() < 0.02


def test_foreground_is_the_body_far_from_the_coil_too():
    image, labels = mr(bias(0.8))
    found = foreground(image)
    body = labels > 0
    overlap = 2 * np.count_nonzero(found & body) / (np.count_nonzero(found) + np.count_nonzero(body))
    assert overlap > 0.92
    assert np.count_nonzero(body & ~found) < 0.01 * np.count_nonzero(body)


def test_normalised_means_median_0_and_quartiles_1_apart_whatever_the_scale():
    image, labels = mr()
    one = normalised(image)
    other = normalised(image.with_array(image.array * 37 + 0))
    body = foreground(image)
    low, median, high = np.percentile(one.array[body], (25, 50, 75))
    assert median == pytest.approx(0, abs=1e-5)
    assert high - low == pytest.approx(1, abs=1e-5)
    assert np.allclose(one.array, other.array, atol=1e-4)
    artefact = image.array.copy()
    artefact[tuple(np.argwhere(labels > 0)[:50].T)] = 1e5
    assert np.abs(normalised(image.with_array(artefact), body).array - one.array)[artefact < 1e5].max() < 0.02


@pytest.mark.parametrize("array", [np.zeros(SHAPE, np.float32), -np.ones(SHAPE, np.float32)])
def test_what_shows_nothing_is_refused_by_name(array):
    with pytest.raises(InvalidInput, match="'dark'"):
        foreground(Image(array, GRID, "MR", name="dark"))


def test_a_foreground_of_one_value_cannot_be_scaled():
    image = Image(np.where(tissues() > 0, 5.0, 0.0), GRID, "MR", name="flat")
    with pytest.raises(InvalidInput, match="'flat'"):
        normalised(image, tissues() > 0)
