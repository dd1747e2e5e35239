"""Pathology that is painted into a healthy label map lies where it may, and is the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from TwinApp.pathology import KINDS, painted
from TwinCore import Grid, Image, InvalidInput
from TwinSegmentLib.generator import read_recipe

WHITE, CORTEX, VENTRICLE, SKIN = 2, 3, 4, 507


@pytest.fixture(scope="module")
def recipe():
    return read_recipe("brain_tumour")


@pytest.fixture(scope="module")
def head() -> Image:
    """A head of balls: skin, cortex, white matter, and a ventricle in the middle."""
    grid = Grid.isotropic((96, 96, 96), 1.0, (-48, -48, -48))
    radius = np.linalg.norm(np.moveaxis(np.indices(grid.shape), 0, -1) - 47.5, axis=-1)
    labels = np.select([radius < 7, radius < 34, radius < 39, radius < 45], [VENTRICLE, WHITE, CORTEX, SKIN], 0)
    return Image(labels.astype(np.uint16), grid, name="made head")


@pytest.mark.parametrize(
    ("kind", "structures"),
    [
        ("tumour", {"oedema", "enhancing tumour"}),
        ("lesions", {"white-matter lesion"}),
        ("ablation", {"ablation zone"}),
    ],
)
def test_what_is_painted_is_solid_tissue_and_the_skull_stays(head, recipe, kind, structures):
    result = painted(head, recipe, seed=3, kind=kind)
    assert result.name == f"made head with {kind}"
    new = ~np.isin(result.array, [0, WHITE, CORTEX, VENTRICLE, SKIN])
    names = {s.name for s in recipe.structures if set(s.labels) & set(np.unique(result.array[new]))}
    assert structures <= names <= structures | {"necrotic tumour"}
    was = head.array[tuple(slice(0, n) for n in result.array.shape)]
    assert np.isin(was[new], [WHITE, CORTEX, VENTRICLE]).all()
    np.testing.assert_array_equal(result.array == SKIN, was == SKIN)
    np.testing.assert_array_equal(painted(head, recipe, seed=3, kind=kind).array, result.array)


def test_a_tumour_pushes_the_ventricle_aside(head, recipe):
    result = painted(head, recipe, seed=5, kind="tumour")
    ventricle = result.array == VENTRICLE
    tumour = np.isin(result.array, [recipe.label("enhancing tumour"), recipe.label("necrotic tumour")])
    assert ventricle.sum() < (head.array == VENTRICLE).sum()
    away = np.argwhere(head.array == VENTRICLE).mean(0) - np.argwhere(tumour).mean(0)
    shift = np.argwhere(ventricle).mean(0) - np.argwhere(head.array == VENTRICLE).mean(0)
    assert shift @ away > 0


def test_seeds_choose_among_all_kinds_and_a_foreign_map_is_refused(head, recipe):
    kinds = {np.random.default_rng(seed).choice(list(KINDS), p=list(KINDS.values())) for seed in range(20)}
    assert kinds == set(KINDS)
    with pytest.raises(InvalidInput, match="does not know: 4000"):
        painted(head.with_array(head.array + np.uint16(4000)), recipe, seed=0)
