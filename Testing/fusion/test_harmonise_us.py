"""Speckle and sector of ultrasound."""

import numpy as np
import pytest
from scipy import ndimage

from TwinCore import Grid, Image, InvalidInput, Job, JobCancelled
from TwinCore.volume_file import read_volume
from TwinFusionLib import ultrasound
from TwinFusionLib.ultrasound import convex_hull, echoes, sector, without_attenuation, without_speckle

SHAPE = (36, 64, 64)
THIRD = np.full(3, 1 / 6, np.float32)


def lesion() -> tuple[Image, np.ndarray, np.ndarray]:
    """A bright ball in fully developed speckle, log-compressed; distance from its edge in voxels; the same clean."""
    rng = np.random.default_rng(0)
    k, j, i = np.indices(SHAPE)
    beyond = np.sqrt((k - 18) ** 2 + (j - 32) ** 2 + (i - 32) ** 2) - 13
    echo = np.where(beyond < 0, 4.0, 1.0)
    real, imaginary = (ndimage.gaussian_filter(rng.standard_normal(SHAPE), 0.8) for _ in range(2))
    speckle = np.hypot(real, imaginary)
    decibel = 20 * np.log10(np.maximum(echo * speckle / speckle.mean(), 1e-3))
    return Image(_shown(decibel), Grid.isotropic(SHAPE, 0.5), "US", name="ball"), beyond, _shown(20 * np.log10(echo))


def _shown(decibel: np.ndarray) -> np.ndarray:
    return np.clip((decibel + 35) / 50 * 255, 0, 255).astype(np.float32)


def _slope(array: np.ndarray, beyond: np.ndarray) -> float:
    """Steepest step of the mean profile across the edge."""
    return max(abs(np.diff([array[(beyond >= r) & (beyond < r + 1)].mean() for r in range(-6, 6)])))


def test_attenuation_and_gain_go_and_what_is_finer_than_the_surroundings_stays():
    rng, grid = np.random.default_rng(1), Grid.isotropic(SHAPE, 1.0)
    fine = ndimage.gaussian_filter(rng.standard_normal(SHAPE), 1.5) * 400
    depth = 40 + 6.0 * np.arange(SHAPE[1])[None, :, None]
    seen = np.ones(SHAPE, bool)
    seen[:, :, :20] = False
    shown = Image(np.where(seen, depth + fine, 0.0).astype(np.float32), grid, "US")
    even = without_attenuation(shown, seen)
    assert not even.array[~seen].any()
    assert np.corrcoef(shown.array[seen], fine[seen])[0, 1] < 0.4
    assert np.corrcoef(even.array[seen], fine[seen])[0, 1] > 0.9
    louder = shown.with_array(np.where(seen, shown.array + 25, 0.0).astype(np.float32))
    np.testing.assert_allclose(without_attenuation(louder, seen).array, even.array, atol=1e-2)


def test_speckle_goes_and_the_edge_stays():
    image, beyond, _ = lesion()
    smooth = without_speckle(image).array
    around, inside = beyond > 4, beyond < -4
    assert smooth[around].var() < image.array[around].var() / 20
    assert smooth[inside].var() < image.array[inside].var() / 20
    contrast = image.array[inside].mean() - image.array[around].mean()
    assert smooth[inside].mean() - smooth[around].mean() == pytest.approx(contrast, rel=0.05)
    # a Gaussian that takes away as much speckle blurs the edge more
    sigma = next(
        s
        for s in np.arange(0.5, 4, 0.1)
        if ndimage.gaussian_filter(image.array, s)[around].var() < smooth[around].var()
    )
    assert _slope(smooth, beyond) > 1.5 * _slope(ndimage.gaussian_filter(image.array, sigma), beyond)


def test_answers_stay_between_the_least_and_the_greatest_value():
    image, _, _ = lesion()
    smooth = without_speckle(image).array
    assert smooth.min() >= image.array.min() - 1e-3
    assert smooth.max() <= image.array.max() + 1e-3


def test_nothing_is_lost_or_made_and_nothing_crosses_the_sector():
    rng = np.random.default_rng(3)
    echo = np.pad(rng.uniform(1, 2, (12, 14, 16)).astype(np.float32), 1)
    open_ = np.pad(rng.random((12, 14, 16)) > 0.2, 1).astype(np.float32)
    diffusivity, flowed = np.zeros_like(echo), echo.copy()
    start, before = echo.copy(), echo[open_ > 0].sum(dtype=float)
    for _ in range(30):
        ultrasound._diffusivity(echo, open_, THIRD, np.float32(0.04), diffusivity)
        ultrasound._flow(echo, open_, diffusivity, THIRD, np.float32(0.5), flowed)
        echo, flowed = flowed, echo
    assert echo[open_ > 0].sum(dtype=float) == pytest.approx(before, rel=1e-6)
    assert np.array_equal(echo[open_ == 0], start[open_ == 0])
    assert echo[open_ > 0].std() < 0.5 * start[open_ > 0].std()
    assert echo.min() >= 0


def test_the_variation_is_that_of_yu_and_acton_in_a_plane():
    array = np.random.default_rng(5).uniform(1, 3, (20, 24)).astype(np.float32)
    echo = np.pad(array[None], 1, mode="edge")
    open_ = np.pad(np.ones((1, 20, 24), np.float32), 1)
    found = np.zeros_like(echo)
    ultrasound._variation(echo, open_, np.array([0, 0.25, 0.25], np.float32), found)
    steps = [np.roll(array, s, a) - array for a in (0, 1) for s in (1, -1)]
    laplacian, squares = sum(steps), sum(s**2 for s in steps) / 2  # mean of forward and backward slopes
    q2 = (squares / 2 - laplacian**2 / 16) / (array + laplacian / 4) ** 2
    assert np.allclose(found[1, 2:-2, 2:-2], q2[1:-1, 1:-1], rtol=1e-4, atol=1e-6)


def test_a_mirrored_image_has_the_mirrored_answer_and_anisotropic_voxels_count():
    image, _, _ = lesion()
    smooth = without_speckle(image).array
    mirrored = without_speckle(image.with_array(np.ascontiguousarray(image.array[::-1, :, ::-1]))).array
    assert np.allclose(mirrored[::-1, :, ::-1], smooth, atol=0.05)
    thick = Image(image.array, Grid(SHAPE, np.diag([0.5, 0.5, 5.0, 1.0])), "US")
    apart = without_speckle(thick).array
    assert np.abs(np.diff(apart, axis=0)).mean() > 2 * np.abs(np.diff(smooth, axis=0)).mean()


def test_smoothing_can_be_cancelled_and_a_constant_image_is_refused():
    image, _, _ = lesion()
    job = Job()
    job.cancel()
    with pytest.raises(JobCancelled):
        without_speckle(image, job=job)
    with pytest.raises(InvalidInput, match="'flat'"):
        without_speckle(image.with_array(np.full(SHAPE, 7.0), name="flat"))


def fan(shape=(40, 120, 160)) -> np.ndarray:
    """A sector whose depth falls with k, as a tilted probe sees it."""
    k, j, i = np.indices(shape)
    radius, angle = np.hypot(j + 10, i - 80), np.arctan2(i - 80, j + 10)
    return (np.abs(angle) < 0.7) & (radius < 118 - 0.4 * k)


def test_the_sector_is_found_beside_text_and_around_shadows():
    truth = fan()
    rng = np.random.default_rng(8)
    array = np.where(truth, 60 * rng.rayleigh(size=truth.shape), 0.0).clip(0, 255)
    array[:, 40:, 70:90] = 0  # a shadow to the far edge
    array[10:20, 60:70, 100:110] = 0
    for n in range(8):  # letters, and a grey scale
        array[:, 4:12, 4 + 5 * n : 6 + 5 * n] = 255
        array[:, 10:12, 4 + 5 * n : 8 + 5 * n] = 255
    array[:, 60:110, 152:155] = np.linspace(255, 0, 50)[:, None]
    image = Image(array.astype(np.uint8), Grid.isotropic(array.shape, 0.5), "US")
    found = sector(image)
    assert np.count_nonzero(found & truth) / np.count_nonzero(found | truth) > 0.97
    deep = ndimage.binary_erosion(truth, np.ones((1, 3, 3)))  # where the far edge is dark, its bulge cannot be known
    assert found[:, 40:100, 75:85][deep[:, 40:100, 75:85]].all()
    assert not found[:, 4:12, 4:44].any()


def test_no_sector_where_all_was_seen_or_too_little_tells():
    image, _, _ = lesion()
    assert sector(image) is None
    assert echoes(image).all()
    wires = np.zeros(SHAPE, np.uint8)
    wires[:, 10:13, 10:14] = wires[:, 40:43, 50:53] = 200
    assert sector(image.with_array(wires)) is None


@pytest.mark.parametrize(("shape", "extent"), [((14, 18, 22), (14, 18, 22)), ((1, 18, 22), (18, 22))])
def test_the_hull_is_the_smallest_convex_set_around_all_points(shape, extent):
    from scipy.spatial import Delaunay

    rng = np.random.default_rng(2)
    points = np.stack([rng.integers(2, n - 2, 25) for n in extent], 1)
    mask = np.zeros(shape, bool)
    mask.reshape(extent)[tuple(points.T)] = True
    everywhere = np.stack(np.indices(extent), -1).reshape(-1, len(extent))
    inside = Delaunay(points).find_simplex(everywhere, tol=1e-9).reshape(shape) >= 0
    found = convex_hull(mask)
    assert found[mask].all()
    assert np.count_nonzero(found != inside) <= 0.005 * inside.sum()


def test_a_line_has_no_hull():
    mask = np.zeros((6, 6, 6), bool)
    mask[2, 3, 1:5] = True
    assert convex_hull(mask) is None


def test_phantoms(data):
    spine = read_volume(data("ultrasound") / "SpinePhantomFreehandReconstructed.mha", "US")
    seen = sector(spine)
    shown = spine.array > 0
    assert np.mean(seen[shown]) > 0.99
    assert np.count_nonzero(seen) < 1.1 * np.count_nonzero(shown)
    smooth = without_speckle(spine, seen)
    assert np.array_equal(smooth.array[~seen], spine.array[~seen])
    assert np.corrcoef(smooth.array[seen], spine.array[seen])[0, 1] > 0.9
    wires = read_volume(data("ultrasound") / "NwirePhantomFreehandReconstructed.mha", "US")
    assert sector(wires) is None
    assert np.mean(echoes(wires)) < 0.02
