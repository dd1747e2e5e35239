"""The parts of a deformable registration against exact solutions: flows, common contrasts, the pull, and the step."""

import numpy as np
import pytest
from scipy import fft, ndimage

from TwinCore import Grid, Image, Job
from TwinFusionLib import deformable_solve
from TwinFusionLib.deformable_contrast import common_contrasts, recoded
from TwinFusionLib.deformable_flow import compose, exponential, refine, see_through
from TwinFusionLib.deformable_force import FLOOR, normal_equations
from TwinFusionLib.deformable_solve import bending_spectrum, solve
from TwinFusionLib.sampling import BINS

RNG = np.random.default_rng(4)


def smooth(shape, sigma, rng):
    noise = ndimage.gaussian_filter(rng.standard_normal(shape), sigma)
    return (noise / noise.std()).astype(np.float32)


def turn(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Velocity in voxels of n^3 whose flow is known: a turn about the middle, faster or slower with the radius."""
    z, y, x = (np.indices((n, n, n)) - (n - 1) / 2) / (n - 1)
    angle = 2.0 * np.exp(-40 * (x * x + y * y)) * np.exp(-20 * z * z)
    velocity = (n - 1) * np.stack([-angle * y, angle * x, 0 * z])
    cos, sin = np.cos(angle), np.sin(angle)
    moved = (n - 1) * np.stack([cos * x - sin * y - x, sin * x + cos * y - y, 0 * z])
    return velocity.astype(np.float32), moved


def test_the_flow_of_a_turn_converges_to_the_exact_one():
    errors = []
    for n in (25, 49, 97):
        velocity, exact = turn(n)
        errors.append(np.abs(exponential(velocity) - exact).max() / (n - 1))
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (orders > 1.5).all()
    assert errors[-1] < 2e-3


def test_flows_forth_and_back_cancel():
    velocity = np.stack([6 * smooth((40, 44, 48), 6, RNG) for _ in range(3)]) / 2
    there_and_back = compose(exponential(-velocity), exponential(velocity))[:, 8:-8, 8:-8, 8:-8]
    assert np.abs(exponential(velocity)).max() > 4
    assert np.abs(there_and_back).mean() < 0.05


def test_composition_moves_by_one_and_then_by_the_other():
    shape = (8, 9, 10)
    k, j, i = np.indices(shape).astype(np.float32)
    outer = np.stack([0.1 * i, 0.2 * j, -0.1 * k])
    inner = np.broadcast_to(np.float32([1.5, -0.5, 2.25])[:, None, None, None], (3, *shape)).copy()
    found = compose(outer, inner)[:, 2:5, 2:7, 2:7]
    expected = np.stack([1.5 + 0.1 * (i + 1.5), -0.5 + 0.2 * (j - 0.5), 2.25 - 0.1 * (k + 2.25)])[:, 2:5, 2:7, 2:7]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_refining_and_looking_through_keep_what_is_linear():
    ratio, shape = (2, 3, 1), (9, 11, 8)
    knots = tuple((n - 1) // r + 2 for n, r in zip(shape, ratio))
    k, j, i = np.indices(knots) * np.array(ratio)[:, None, None, None]
    field = np.stack([0.1 * i - 0.05 * j, 0.02 * k + 0.3, 0.04 * j]).astype(np.float32)
    fine = refine(field, ratio, shape)
    k, j, i = np.indices(shape)
    np.testing.assert_allclose(fine, np.stack([0.1 * i - 0.05 * j, 0.02 * k + 0.3, 0.04 * j]), atol=1e-5)

    to_voxels = np.array([[0.5, 0, 0.1, 3], [0, 0.6, 0, 4], [0.1, 0, 0.4, 2]], float)
    kk, jj, ii = np.indices((20, 22, 24)).astype(np.float32)
    volume, weight = 2 * ii - jj + 3 * kk, np.float32(0.1) * kk
    per_knot = field / np.float32(ratio[::-1])[:, None, None, None]
    values, weights = see_through(volume, weight, to_voxels, per_knot, ratio, shape)
    u, v, w = (
        np.einsum("ab,bkji->akji", to_voxels[:, :3], np.stack([i, j, k]) + fine) + to_voxels[:, 3][:, None, None, None]
    )
    np.testing.assert_allclose(values, 2 * u - v + 3 * w, atol=1e-3)
    np.testing.assert_allclose(weights, 0.1 * w, atol=1e-4)
    assert not see_through(volume, None, to_voxels + [[0, 0, 0, 99]] * 3, per_knot, ratio, shape)[1].any()


def test_common_contrasts_find_a_relation_that_is_no_function_either_way():
    """One image shows bone, air and tissue; the other two tissues and nothing of what bone and air are."""
    kinds = RNG.integers(0, 4, (30, 30, 30))  # air, bone, and two tissues
    p = np.array([1.0, 30.0, 12.0, 18.0], np.float32)[kinds]
    q = np.array([2.0, 2.0, 25.0, 9.0], np.float32)[kinds]
    of_p, of_q = common_contrasts(p, q, np.ones(p.shape, np.float32), 2)
    grid = Grid.isotropic(p.shape, 1.0)
    for code_p, code_q in zip(of_p, of_q):
        a, b = recoded(Image(p, grid), code_p).array, recoded(Image(q, grid), code_q).array
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.95
        assert abs(code_p[1] - code_p[30]) < 0.05  # air and bone are one
        assert abs(a.mean()) < 0.1
        assert a.std() == pytest.approx(1, abs=0.15)
    noise = RNG.uniform(0, BINS - 1, p.shape).astype(np.float32)
    half = np.zeros(p.shape, np.float32)
    half[:15] = 1
    spoilt = np.where(half > 0, q, noise)  # the spoilt half has no weight
    np.testing.assert_allclose(
        np.abs(common_contrasts(p, spoilt, half, 1)[1]),
        np.abs(common_contrasts(p[:15], q[:15], half[:15], 1)[1]),
        atol=1e-5,
    )


@pytest.mark.parametrize("sign", [1, -1])
def test_the_pull_is_the_slope_of_the_measure(sign):
    """In a window that holds all there is, against finite differences along shifts, on an anisotropic grid."""
    shape, spacing = (24, 28, 32), np.array([1.5, 2.0, 3.0])
    waves = np.indices(shape) / np.array(shape)[:, None, None, None] * 2 * np.pi

    def image_at(shift_mm, own):
        k, j, i = (w + 2 * np.pi * s / (n * d) for w, s, n, d in zip(waves, shift_mm[::-1], shape, spacing[::-1]))
        return np.cos(i) + np.sin(j + i) + np.cos(k - j) + 0.5 * np.sin(k + 0.4) + own * np.cos(k + j + i)

    away = np.array([2.0, -1.5, 1.0])

    def images(d):
        return image_at(-d / 2, 0.3), sign * image_at(away + d / 2, -0.5)

    def measure(d):
        p, q = (image[inner] for image in images(d))
        pp, qq, pq = p.var() + FLOOR, q.var() + FLOOR, ((p - p.mean()) * (q - q.mean())).mean()
        return -0.5 * np.log(1 - pq**2 / (pp * qq))

    p, q = (image.astype(np.float32) for image in images(np.zeros(3)))
    inside = np.zeros(shape, np.float32)  # the border is repeated outwards: it must not count
    inner = (slice(1, -1),) * 3
    inside[inner] = 1
    knots = tuple((n - 1) // 2 + 2 for n in shape)
    equations = normal_equations([(p, q)], inside, 200.0, spacing, (2, 2, 2), knots, Job())
    force = 8 * equations[:3].sum((1, 2, 3)) / p[inner].size
    h = 0.05
    slope = [(measure(h * e) - measure(-h * e)) / (2 * h) for e in np.eye(3)]
    np.testing.assert_allclose(force, slope, atol=0.05 * np.linalg.norm(slope))


def test_the_pull_s_matrix_is_positive_and_vanishes_with_the_weight():
    shape = (16, 16, 16)
    p = smooth(shape, 2, RNG)
    weight = np.zeros(shape, np.float32)
    weight[:, :, :6] = 1
    equations = normal_equations([(p, -p)], weight, 1.5, np.ones(3), (2, 2, 2), (9, 9, 9), Job())
    xx, yy, zz, xy, xz, yz = equations[3:].astype(float)
    matrices = np.stack([np.stack(row, -1) for row in ([xx, xy, xz], [xy, yy, yz], [xz, yz, zz])], -1)
    assert np.linalg.eigvalsh(matrices).min() > -1e-5 * matrices.max()
    assert equations[:, :, :, :3].any()
    assert not equations[:, :, :, 4:].any()


def test_the_step_solves_the_dense_equations(monkeypatch):
    monkeypatch.setattr(deformable_solve, "MOST_ITERATIONS", 200)
    monkeypatch.setattr(deformable_solve, "RELATIVE_RESIDUAL", 1e-6)
    shape, spacing = (5, 6, 4), np.array([3.0, 2.0, 4.0])
    n = int(np.prod(shape))
    roots = RNG.standard_normal((3, 3, *shape))
    dense = np.einsum("ab...,cb...->ac...", roots, roots) + 0.3 * np.eye(3)[:, :, None, None, None]
    order = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]
    force, velocity = RNG.standard_normal((2, 3, *shape)).astype(np.float32)
    equations = np.concatenate([force, [dense[i] for i in order]]).astype(np.float32)
    spectrum = bending_spectrum(shape, spacing, 1.0)

    waves = np.stack([fft.dctn(e.reshape(shape), norm="ortho").ravel() for e in np.eye(n)], 1)
    stiffness = np.kron(np.eye(3), waves.T @ (spectrum.ravel()[:, None] * waves))
    matrix = np.block([[np.diag(dense[a, b].ravel()) for b in range(3)] for a in range(3)])
    expected = np.linalg.solve(matrix + stiffness, force.ravel() - stiffness @ velocity.ravel())
    found = solve(equations, velocity, spectrum, Job())
    np.testing.assert_allclose(found.ravel(), expected, atol=1e-3)


def test_bending_costs_waves_their_fourth_power_and_shifts_next_to_nothing():
    spectrum = bending_spectrum((64, 64, 64), np.array([1.0, 1.0, 1.0]), 2.0)
    assert spectrum[0, 0, 0] < 1e-4
    assert spectrum[0, 0, 8] / spectrum[0, 0, 4] == pytest.approx(16, rel=0.05)
    np.testing.assert_allclose(bending_spectrum((64, 64, 64), np.ones(3), 4.0), 2 * spectrum, rtol=1e-6)
    coarse = bending_spectrum((32, 32, 32), np.array([2.0, 2.0, 2.0]), 2.0)
    np.testing.assert_allclose(coarse[:4, :4, :4], spectrum[:4, :4, :4], rtol=0.1)
