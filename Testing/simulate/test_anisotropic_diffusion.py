"""Diffusion along fibres, behind barriers and in stages, against exact solutions and conservation."""

import math

import numpy as np
import pytest

from TwinCore import InvalidInput
from TwinSimulateLib.numerics import diffusion
from TwinSimulateLib.numerics.diffusion import ReactionDiffusion
from TwinSimulateLib.numerics.edges import edges, reach
from TwinSimulateLib.numerics.super_step import coefficients, stages_for
from TwinSimulateLib.numerics.travelling_wave import front_length_mm, front_profile

SPACING_KJI = np.array([1.2, 1.0, 0.8])


def rotated(eigenvalues, seed):
    """A tensor of these eigenvalues in a random frame."""
    frame, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return frame @ np.diag(eigenvalues) @ frame.T


def everywhere(tensor, shape):
    return np.broadcast_to(tensor, (*shape, 3, 3))


@pytest.mark.parametrize("eigenvalues", [(1.0, 1.0, 1.0), (2.0, 0.7, 0.3), (3.0, 0.3, 0.3), (1.4, 1.4, 0.2)])
def test_the_steps_make_up_the_tensor_with_positive_weights(eigenvalues):
    for seed in range(6):
        tensor = rotated(eigenvalues, seed)
        margin = reach(tensor[None], SPACING_KJI)
        domain = np.pad(np.ones((9, 9, 9), bool), margin)
        steps, weights = edges(domain, SPACING_KJI, domain * 1.0, everywhere(tensor, (domain.sum(),)))
        inside = (margin + 4,) * 3
        sum_ = sum(w[inside] * np.outer(s * SPACING_KJI, s * SPACING_KJI) for s, w in zip(np.array(steps), weights))
        np.testing.assert_allclose(sum_, tensor, atol=1e-8)
        assert min(w.min() for w in weights) >= 0


@pytest.mark.parametrize("seed", [0, 2])
def test_a_gaussian_in_a_rotated_frame_spreads_at_second_order(seed):
    tensor, diffusivity, days = rotated((2.0, 0.6, 0.4), seed), 0.3, 4.0
    before, after = 3.0 * np.eye(3), 3.0 * np.eye(3) + 2 * diffusivity * days * tensor

    def gaussian(x, covariance):
        exponent = np.einsum("...p,pq,...q->...", x, np.linalg.inv(covariance), x)
        return np.sqrt(np.linalg.det(before) / np.linalg.det(covariance)) * np.exp(-0.5 * exponent)

    errors = []
    for refined in (1, 2):
        spacing = SPACING_KJI / refined
        shape = tuple(2 * np.ceil(11.0 / spacing).astype(int) + 1)
        x = np.stack(np.meshgrid(*[(np.arange(n) - n // 2) * h for n, h in zip(shape, spacing)], indexing="ij"), -1)
        equation = ReactionDiffusion(
            np.ones(shape, bool), spacing[::-1], dtype=np.float64, tensor=everywhere(tensor, shape)
        )
        start = gaussian(x, before)
        u = equation.advance(start, diffusivity, 0.0, days)
        assert u.sum() == pytest.approx(start.sum(), rel=1e-12)
        errors.append(np.abs(u - gaussian(x, after)).max())
    assert errors[1] < 0.005
    assert np.log2(errors[0] / errors[1]) > 1.8


@pytest.mark.parametrize(("angle", "order"), [(0.0, 1.8), (0.5, 0.9)])
def test_at_the_border_the_order_is_two_along_the_axes_and_one_across(angle, order):
    """Successive grids, beside a border that nothing crosses: each coarse voxel and the mean of its four fine ones."""
    frame = np.eye(3)
    frame[1:, 1:] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    tensor, found = frame @ np.diag([1.0, 2.0, 0.5]) @ frame.T, []
    for cells in (16, 32, 64):
        h = 32 / cells
        x = (np.arange(cells) + 0.5) * h
        start = np.exp(-((x[:, None] - 8) ** 2 + (x - 16) ** 2) / 18)[None]
        equation = ReactionDiffusion(
            np.ones(start.shape, bool), (h, h, h), dtype=np.float64, tensor=everywhere(tensor, start.shape)
        )
        found.append(equation.advance(start, 1.0, 0.0, 60.0)[0])
    means = [u.reshape(u.shape[0] // 2, 2, -1, 2).mean(axis=(1, 3)) for u in found[1:]]
    errors = [np.abs(coarse - fine).max() for coarse, fine in zip(found, means)]
    assert errors[0] < 0.003
    assert np.log2(errors[0] / errors[1]) > order


def test_mass_and_bounds_hold_whatever_the_tensor():
    """Random tensors of each voxel, random holes, steps of diffusion alone, in stages and explicit."""
    random = np.random.default_rng(0)
    shape = (14, 12, 13)
    domain = random.random(shape) < 0.8
    frames, _ = np.linalg.qr(random.normal(size=(*shape, 3, 3)))
    tensor = np.einsum("...pa,...a,...qa->...pq", frames, random.uniform(0.2, 2.0, (*shape, 3)), frames)
    u = (random.random(shape) < 0.5) * domain * 1.0
    for dtype, most in ((np.float64, 1e-12), (np.float32, 1e-5)):
        equation = ReactionDiffusion(
            domain, (0.8, 1.1, 1.5), random.uniform(0.1, 1.0, shape), dtype=dtype, tensor=tensor
        )
        after = equation.advance(u, 0.3, 0.0, 30.0)
        assert after.sum(dtype=float) == pytest.approx(u.sum(), rel=most)
        assert after.min() >= 0
        assert after.max() <= 1
        assert not after[~domain].any()
        assert np.abs(after - u).max() > 0.1


def test_a_tensor_alike_in_all_directions_is_no_tensor():
    random = np.random.default_rng(1)
    domain, relative = random.random((10, 11, 12)) < 0.9, random.uniform(0.1, 1.0, (10, 11, 12))
    u = random.random(domain.shape)
    plain, tensor = (
        ReactionDiffusion(domain, (1, 2, 1.5), relative, np.float64, tensor=t).advance(u, 0.3, 0.05, 20.0)
        for t in (None, everywhere(np.eye(3), domain.shape))
    )
    np.testing.assert_allclose(tensor, plain, atol=1e-12)


def test_nothing_jumps_over_a_barrier_along_fibres():
    """Oblique steps of two voxels against a plane of voxels, a diagonal one, and a plane of closed faces."""
    shape = (8, 20, 20)
    tensor = everywhere(rotated((3.0, 0.3, 0.3), 4), shape)
    j, i = np.meshgrid(np.arange(20), np.arange(20), indexing="ij")
    u = np.broadcast_to((i < 5) & (i + j < 15), shape).astype(float)
    for wall in (i == 10, (i + j == 20) | (i + j == 21)):
        domain = np.broadcast_to(~wall, shape)
        after = ReactionDiffusion(domain, (1, 1, 1), tensor=tensor).advance(u, 0.3, 0.1, 200.0)
        far = np.broadcast_to(i > 10 if (i == 10)[wall].all() else i + j > 21, shape)
        assert not after[far].any()
        assert after[domain & ~far].min() > 0.5
    closed = np.zeros((3, *shape), bool)
    closed[2, :, :, 9] = True
    for t in (tensor, None):
        after = ReactionDiffusion(np.ones(shape, bool), (1, 1, 1), tensor=t, closed=closed).advance(u, 0.3, 0.1, 200.0)
        assert not after[:, :, 10:].any()
        assert after[:, :, :10].min() > 0.5


def test_tensors_that_cannot_be_are_refused():
    domain = np.ones((4, 4, 4), bool)
    for wrong in (rotated((1.0, 1.0, -0.1), 0), rotated((1.0, 0.001, 0.001), 0), np.full((3, 3), np.nan)):
        with pytest.raises(InvalidInput, match="tensor"):
            ReactionDiffusion(domain, (1, 1, 1), tensor=everywhere(wrong, domain.shape))


def test_stages_are_of_second_order_and_reach_as_far_as_published():
    """One step of an eigenvector against exp: third order of a single step; stable up to (s^2 + s - 2) / 4 steps."""

    def factor(z, stages):
        table, before, now = coefficients(stages), 1.0, None
        now = 1.0 + table[0, 4] * z
        for mu, nu, rest, ahead, back in table[1:]:
            before, now = now, mu * now + nu * before + rest + ahead * z * now + back * z
        return now

    for stages in (3, 7, 15):
        errors = [abs(factor(-z, stages) - math.exp(-z)) for z in (0.02, 0.01)]
        assert np.log2(errors[0] / errors[1]) > 2.9
        reach_ = (stages**2 + stages - 2) / 2
        assert max(abs(factor(-z, stages)) for z in np.linspace(0, reach_, 1000)) <= 1 + 1e-12
        assert abs(factor(-2 * reach_, stages)) > 1
        assert stages_for((stages**2 + stages - 2) / 4) == stages


def test_diffusion_in_stages_is_of_second_order_in_time(monkeypatch):
    """The slowest cosine of the grid decays as the grid's own eigenvalue says; mass is kept."""
    monkeypatch.setattr(diffusion, "SUPER_FROM", 2.0)
    cells, diffusivity, days = 64, 1.0, 64.0
    mode = np.cos(math.pi * (np.arange(cells) + 0.5) / cells * 4)
    exact = math.exp(-diffusivity * days * (2 * math.sin(math.pi * 2 / cells)) ** 2)
    errors = []
    for steps in (4, 8, 16):
        equation = ReactionDiffusion(np.ones((1, 1, cells), bool), (1, 1, 1), dtype=np.float64)
        monkeypatch.setattr(diffusion, "GROWTH_A_STEP", 1e-9 * days / steps)
        u = equation.advance(0.5 + 0.3 * mode[None, None], diffusivity, 1e-9, days)[0, 0]
        errors.append(abs((u - 0.5) @ mode / (0.3 * mode @ mode) - exact))
        assert u.mean() == pytest.approx(0.5, rel=1e-6)
    assert np.log2(np.array(errors[:-1]) / errors[1:]).min() > 1.8


def test_stages_answer_as_explicit_steps_do(monkeypatch):
    """Where they take over: a front 9 voxels wide; to 2e-3 of the density, also along fibres; and mass."""
    shape = (6, 6, 90)
    start = np.broadcast_to(front_profile(np.arange(90) - 25.0, front_length_mm(4.0, 0.05), 0.5), shape)
    tensor = everywhere(rotated((1.5, 0.8, 0.7), 2), shape)
    for t in (None, tensor):
        equation = ReactionDiffusion(np.ones(shape, bool), (1, 1, 1), dtype=np.float64, tensor=t)
        staged = equation.advance(start, 4.0, 0.05, 40.0)
        slow = equation.advance(start, 4.0, 1e-15, 40.0)
        monkeypatch.setattr(diffusion, "SUPER_FROM", 1e9)
        explicit = equation.advance(start, 4.0, 0.05, 40.0)
        monkeypatch.undo()
        assert 0 < np.abs(staged - explicit).max() < 2e-3
        assert slow.sum() == pytest.approx(start.sum(), rel=1e-12)
