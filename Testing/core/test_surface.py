"""Surfaces of masks: closed, of the shape's exact area and of the volume of its voxels, on every kind of grid."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from TwinCore import Grid, InvalidInput
from TwinCore.surface import ROUNDS, Surface, _net, _smoothed, closed_surface
from TwinCore.volume_file import read_volume


def turned_grid(seed: int, spacing, reach_mm: float) -> Grid:
    """An oblique grid, flipped as often as not, that holds a ball around its centre."""
    rng = np.random.default_rng(seed)
    size = np.ceil(2 * reach_mm / np.array(spacing)).astype(int) + 4
    matrix = np.eye(4)
    matrix[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] * spacing * rng.choice([-1, 1], 3)
    matrix[:3, 3] = rng.uniform(-300, 300, 3)
    return Grid(tuple(size[::-1]), matrix)


def distances(grid: Grid, centre: np.ndarray) -> np.ndarray:
    k, j, i = np.indices(grid.shape)
    return np.linalg.norm(grid.to_ras(np.stack([i, j, k], -1)) - centre, axis=-1)


def ball(seed: int, radius: float, spacing) -> tuple[np.ndarray, Grid, np.ndarray]:
    grid = turned_grid(seed, spacing, radius)
    centre = grid.centre + np.random.default_rng(seed).uniform(-0.5, 0.5, 3)
    return distances(grid, centre) < radius, grid, centre


def is_closed(surface: Surface) -> bool:
    """Whether every edge is passed as often one way as the other."""
    ways = Counter()
    for a, b in ((0, 1), (1, 2), (2, 0)):
        ways.update(map(tuple, surface.triangles[:, [a, b]].tolist()))
    return all(ways[edge[::-1]] == count for edge, count in ways.items())


@pytest.mark.parametrize(
    ("spacing", "off"), [((1, 1, 1), 0.01), ((1, 1, 3), 0.02), ((2, 1, 1.5), 0.02), ((1, 1, 5), 0.03)]
)
@pytest.mark.parametrize("seed", range(4))
def test_the_area_of_a_sphere(seed, spacing, off):
    """4 pi r^2, in mm; slices much thicker than their pixels leave steps, which add to the area."""
    radius = 20.0
    mask, grid, centre = ball(seed, radius, spacing)
    surface = closed_surface(mask, grid)
    assert surface.area_mm2 == pytest.approx(4 * np.pi * radius**2, rel=off)
    assert surface.volume_ml == pytest.approx(mask.sum() * grid.voxel_volume_ml, rel=2e-4)
    np.testing.assert_allclose(surface.points.mean(axis=0), centre, atol=0.2)
    assert np.abs(np.linalg.norm(surface.points - centre, axis=1) - radius).max() < 0.6 * max(spacing)
    assert is_closed(surface)


def test_the_area_comes_nearer_with_the_voxels_and_smoothing_brings_it_nearer():
    off = []
    for radius in (5.0, 10.0, 20.0):
        mask, grid, _ = ball(1, radius, (1, 1, 1))
        off.append(abs(closed_surface(mask, grid).area_mm2 / (4 * np.pi * radius**2) - 1))
    assert off[2] < off[0]
    raw = closed_surface(mask, grid, smooth=False)
    assert off[2] < 0.25 * abs(raw.area_mm2 / (4 * np.pi * 20.0**2) - 1)


@pytest.mark.parametrize(("radius", "off"), [(5.0, 0.03), (20.0, 0.003)])
def test_the_filter_alone_keeps_the_volume_and_a_plain_mean_does_not(radius, off):
    mask, _, _ = ball(0, radius, (1, 1, 1))
    places, quads = _net(np.pad(mask, 1))
    triangles = np.concatenate([quads[:, :3], quads[:, [0, 2, 3]]])
    before = Surface(places, triangles).volume_ml
    assert Surface(_smoothed(places, quads), triangles).volume_ml == pytest.approx(before, rel=off)
    shrunk = places
    for _ in range(ROUNDS):
        ends = np.concatenate([quads, np.roll(quads, -1, axis=1)]).ravel()
        others = np.concatenate([np.roll(quads, -1, axis=1), quads]).ravel()
        sums = [np.bincount(ends, shrunk[others, axis]) for axis in range(3)]
        shrunk = np.stack(sums, axis=1) / np.bincount(ends)[:, None]
    assert Surface(shrunk, triangles).volume_ml < (1 - 5 * off) * before


@pytest.mark.parametrize("seed", range(4))
def test_noise_is_closed_and_has_its_volume(seed):
    rng = np.random.default_rng(seed)
    grid = turned_grid(seed, (0.7, 1.1, 2.5), 6.0)
    mask = rng.random(grid.shape) > 0.5
    surface = closed_surface(mask, grid)
    assert is_closed(surface)
    assert surface.volume_ml > 0
    assert set(surface.triangles.ravel().tolist()) == set(range(len(surface.points)))


def test_a_shell_has_two_walls_and_a_slab_keeps_its_thickness():
    grid = Grid.isotropic((44, 44, 44))
    r = distances(grid, grid.centre)
    shell = closed_surface((r < 20) & (r > 10), grid)
    assert shell.area_mm2 == pytest.approx(4 * np.pi * (20**2 + 10**2), rel=0.01)
    slab = np.zeros((3, 40, 40), bool)
    slab[1] = True
    thin = closed_surface(slab, Grid.isotropic(slab.shape, 2.0))
    assert thin.area_mm2 == pytest.approx(2 * 80**2 + 4 * 80 * 2, rel=0.05)
    assert 2 * np.median(np.abs(thin.points[:, 2] - 2.0)) == pytest.approx(2.0, rel=0.1)


def test_one_voxel_has_the_volume_of_one_voxel():
    mask = np.zeros((3, 3, 3), bool)
    mask[1, 1, 1] = True
    surface = closed_surface(mask, Grid.isotropic((3, 3, 3), 2.0, (10, 20, 30)))
    assert surface.volume_ml == pytest.approx(0.008, rel=0.01)
    np.testing.assert_allclose(surface.points.mean(axis=0), [12, 22, 32], atol=1e-9)


def test_what_leaves_the_grid_is_closed_there_and_nothing_is_refused():
    grid = Grid.isotropic((6, 7, 8))
    whole = closed_surface(np.ones(grid.shape, bool), grid)
    assert is_closed(whole)
    assert whole.volume_ml == pytest.approx(0.336, rel=1e-3)
    with pytest.raises(InvalidInput, match="empty"):
        closed_surface(np.zeros(grid.shape, bool), grid)


def test_normals_point_outward():
    mask, grid, centre = ball(3, 8.0, (1, 1, 2))
    surface = closed_surface(mask, grid)
    outward = (surface.points - centre) / np.linalg.norm(surface.points - centre, axis=1, keepdims=True)
    assert ((surface.normals() * outward).sum(axis=1) > 0.5).all()


@pytest.mark.parametrize("file", ["STS_002/MR_T1_mask.nii.gz", "STS_025/CT_mask.nii.gz"])
def test_a_patients_tumour_keeps_its_volume(data, file):
    """With the volume put right, and to 1 % by the filter alone."""
    labels = read_volume(data("sts_petctmr") / file)
    mask = labels.array > 0
    surface = closed_surface(mask, labels.grid)
    assert surface.volume_ml == pytest.approx(mask.sum() * labels.grid.voxel_volume_ml, rel=2e-4)
    places, quads = _net(np.pad(mask, 1))
    triangles = np.concatenate([quads[:, :3], quads[:, [0, 2, 3]]])
    uneven = labels.grid.spacing.max() / labels.grid.spacing.min()
    voxels = Surface(_smoothed(places, quads, uneven), triangles).volume_ml * 1000
    assert voxels == pytest.approx(mask.sum(), rel=0.01)
