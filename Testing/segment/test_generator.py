"""Training images from label maps: repeatable, of known truth, and different from each other."""

from __future__ import annotations

import numpy as np
import pytest

from TwinCore import Grid, Image, InvalidInput, Segmentation
from TwinSegmentLib.generator import Mixture, Recipe, Scans, Structure, Synthesiser, read_recipe
from TwinSegmentLib.generator.contrast import random_contrast
from TwinSegmentLib.generator.spread import along_axes, between_samples, blurred_samples, smooth_spread

SHAPE = (32, 32, 32)


@pytest.fixture(scope="module")
def head() -> Image:
    """A ball of white matter in cortex, fluid, bone and soft tissue, 1 mm."""
    grid = Grid.isotropic((64, 72, 60), 1.0, (-30, -36, -32))
    k, j, i = np.indices(grid.shape)
    radius = np.sqrt((k - 31.5) ** 2 + (j - 35.5) ** 2 + (i - 29.5) ** 2)
    labels = np.select([radius < 12, radius < 17, radius < 20, radius < 23, radius < 26], [2, 3, 24, 515, 507], 0)
    return Image(labels.astype(np.float32), grid, name="ball")


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return read_recipe("brain")


def test_a_seed_gives_its_image_again_and_another_seed_another_one(recipe, head):
    make = Synthesiser(recipe, [head], SHAPE)
    first, again, other = make((0, 1)), make((0, 1)), make((0, 2))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.classes, again.classes)
    assert not np.array_equal(first.image, other.image)
    assert first.image.shape == first.classes.shape == SHAPE
    assert first.image.dtype == np.float32


def test_brightness_stays_in_its_range_and_classes_are_those_of_the_map(recipe, head):
    make = Synthesiser(recipe, [head], SHAPE)
    allowed = {
        recipe.classes.index(s.label_class) for s in recipe.structures if set(s.labels) & {0, 2, 3, 24, 515, 507}
    }
    for seed in range(20):
        sample = make(seed)
        assert np.isfinite(sample.image).all()
        assert sample.image.min() >= 0
        assert sample.image.max() < 6
        assert set(np.unique(sample.classes)) <= allowed


def test_a_t1_shows_white_matter_brighter_than_cortex_and_fluid(recipe, head):
    white, cortex, fluid = (recipe.classes.index(n) for n in recipe.classes[1:3] + ("cerebrospinal fluid",))
    make = Synthesiser(recipe, [head], SHAPE, kinds={"T1": 1.0})
    order = []
    for seed in range(12):
        sample = make(seed)
        means = [
            np.median(sample.image[sample.classes == c]) if (sample.classes == c).sum() > 200 else np.nan
            for c in (white, cortex, fluid)
        ]
        if np.isfinite(means).all():
            order.append(means[0] > means[1] > means[2])
    assert len(order) >= 5
    assert np.mean(order) > 0.8


def test_a_label_map_of_another_orientation_gives_the_same_structures(recipe, head):
    flip = head.grid.ijk_to_ras @ np.array([[-1, 0, 0, 59], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    mirrored = Image(head.array[:, :, ::-1].copy(), Grid(head.grid.shape, flip), name="flipped axes")
    np.testing.assert_array_equal(recipe.structures_of(head).array, recipe.structures_of(mirrored).array)


def test_unknown_labels_and_fractions_are_refused_by_name(recipe, head):
    with pytest.raises(InvalidInput, match="'ball'.*does not know: 9999"):
        recipe.structures_of(head.with_array(np.where(head.array == 24, 9999, head.array)))
    with pytest.raises(InvalidInput, match="no labels"):
        recipe.structures_of(head.with_array(head.array + 0.5))
    with pytest.raises(InvalidInput, match="no label map"):
        Synthesiser(recipe, [])
    with pytest.raises(InvalidInput, match="no recipe 'liver'"):
        read_recipe("liver")


def test_two_structures_cannot_share_a_label():
    a = Structure("a", (0, 1), "background", False, {"T1": 0.0})
    b = Structure("b", (1,), "tissue", True, {"T1": 1.0})
    with pytest.raises(InvalidInput, match="'a' and 'b' share label 1"):
        Recipe("twice", (a, b))


def test_a_contrast_has_a_brightness_for_every_structure(recipe):
    kinds = {random_contrast(recipe, np.random.default_rng(seed)).kind for seed in range(60)}
    assert kinds == {"any", *recipe.contrasts}
    for seed in range(20):
        contrast = random_contrast(recipe, np.random.default_rng(seed))
        assert contrast.mean.shape == contrast.deviation.shape == (len(recipe.structures),)
        assert (contrast.deviation >= 0).all()


def test_linear_maps_keep_what_they_must():
    """Splines sum to 1 (a constant stays), blurred samples keep the mean, and lines survive going back and forth."""
    np.testing.assert_allclose(smooth_spread(9, 50).sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(blurred_samples(64, 3.2, 1.4).sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(between_samples(20, 64).sum(1), 1, atol=1e-6)
    line = np.arange(60, dtype=np.float32)
    there_and_back = between_samples(20, 60) @ blurred_samples(60, 3.0, 0.5) @ line
    np.testing.assert_allclose(there_and_back[3:-3], line[3:-3], atol=0.02)
    volume = np.random.default_rng(0).random((6, 7, 8), np.float32)
    matrices = [np.random.default_rng(n).random((n + 3, size), np.float32) for n, size in enumerate(volume.shape)]
    np.testing.assert_allclose(
        along_axes(volume, matrices), np.einsum("kji,ak,bj,ci->abc", volume, *matrices), rtol=1e-4
    )


def scan_of(head: Image) -> tuple[Image, Image]:
    """A scan in which every structure has its own brightness, and the brain's labels alone."""
    array = head.array + np.random.default_rng(0).normal(0, 0.01, head.array.shape)
    return head.with_array(np.where(head.array == 0, 0, 10 + array), modality="MR"), head


def test_a_labelled_scan_is_shown_as_it_is_where_it_is_to_be_judged(recipe, head):
    scan, labels = scan_of(head)
    sample = Scans(recipe, [(scan, labels)], SHAPE, 2.0).plain(0)
    white, soft = recipe.classes.index("cerebral white matter"), recipe.classes.index("soft tissue")
    inner = sample.classes == white
    assert 0.8 < inner.sum() * 8 / (head.array == 2).sum() < 1.2
    assert sample.image[inner].std() < 0.05
    assert (sample.classes == soft).any()
    assert np.abs(sample.image[sample.classes == 0]).max() < 1


def test_a_scan_and_its_labels_are_bent_alike(recipe, head):
    """The brightness of a structure is its label, so it tells where the labels should be."""
    ball = head.with_array(np.where(np.isin(head.array, (2, 3)), 100.0 * (head.array == 2) + 50, 0), modality="MR")
    make = Scans(recipe, [(ball, head)], SHAPE, 1.0)
    white = recipe.classes.index("cerebral white matter")
    for seed in range(12):
        sample = make(seed)
        inside = sample.classes == white
        assert sample.image[inside].mean() > 1.5 * sample.image[~inside].mean()


def test_of_a_scan_with_a_labelled_brain_only_the_brain_is_shown(recipe, head):
    scan, labels = scan_of(head)
    brain = labels.with_array(np.where(np.isin(labels.array, (2, 3)), labels.array, 0))
    sample = Scans(recipe, [(scan, brain)], SHAPE, 2.0).plain(0)
    assert sample.image[sample.classes == 0].max() == 0
    assert sample.image[sample.classes > 0].min() > 0


def test_a_ct_is_shown_through_the_brain_window(recipe, head):
    hounsfield = head.with_array(np.select([head.array == 0, head.array == 2], [-1000.0, 30.0], 1000.0), modality="CT")
    sample = Scans(recipe, [(hounsfield, head)], SHAPE, 1.0).plain(0)
    white = recipe.classes.index("cerebral white matter")
    assert sample.kind == "CT"
    assert sample.image.min() == 0
    assert sample.image.max() == 1.5
    assert 0.3 < sample.image[sample.classes == white].mean() < 0.6


def test_scans_are_refused_by_name(recipe, head):
    with pytest.raises(InvalidInput, match="no labelled scan"):
        Scans(recipe, [])
    with pytest.raises(InvalidInput, match="'flat' is constant"):
        Scans(recipe, [(Image(np.ones(head.grid.shape), head.grid, "MR", name="flat"), head)], SHAPE)


def test_a_mixture_is_of_both(recipe, head):
    mixed = Mixture(lambda seed: "label map", lambda seed: "scan")
    assert {mixed(seed) for seed in range(20)} == {"label map", "scan"}
    assert [mixed(seed) for seed in range(20)] == [mixed(seed) for seed in range(20)]


def test_segments_named_as_classes_become_a_label_map(recipe, head):
    masks = {"cerebral white matter": head.array == 2, "cerebral cortex": head.array == 3}
    labels = recipe.label_map_of(Segmentation.from_masks(head.grid, masks))
    np.testing.assert_array_equal(labels.array, np.where(np.isin(head.array, (2, 3)), head.array, 0))
    with pytest.raises(InvalidInput, match="no class 'liver'"):
        recipe.label_map_of(Segmentation.from_masks(head.grid, {"liver": head.array == 2}))


def test_grey_and_white_matter_differ_in_ct_as_in_healthy_heads(recipe):
    """The ratio of their CT numbers is 1.32 in 27 healthy heads (Choi and others 2008, PMID 18843066)."""
    grey, white = ([s.name for s in recipe.structures].index(n) for n in ("cerebral cortex", "cerebral white matter"))
    drawn = [random_contrast(recipe, np.random.default_rng(seed), {"CT": 1.0}).mean for seed in range(500)]
    ratios = np.array([mean[grey] / mean[white] for mean in drawn])
    assert np.mean(ratios) == pytest.approx(1.32, abs=0.03)
    assert np.std(ratios) < 0.15
    assert np.mean(ratios > 1.05) > 0.98
