"""Elasticity against exact solutions: a smooth one on a box, and a growing ball in a held ball."""

from __future__ import annotations

import numpy as np
import pytest

from TwinCore import InvalidInput, Job, JobCancelled
from TwinSimulateLib.numerics.elasticity import Elasticity

POISSON = 0.3


def box(count: int) -> tuple[Elasticity, np.ndarray]:
    """A unit box of tissue, with another spacing along each axis, and the places of its corners."""
    shape = (count, 2 * count, count)
    spacing = np.array([1.0, 0.5, 1.0]) / count
    held = Elasticity(np.ones(shape, bool), spacing[::-1], poisson_ratio=POISSON)
    return held, held.corner_positions()


def body_force(places: np.ndarray) -> np.ndarray:
    """Of the displacement (s, 0, 0) with s = sin(pi x) sin(pi y) sin(pi z), for a Young's modulus of 1."""
    first = POISSON / ((1 + POISSON) * (1 - 2 * POISSON))
    shear = 1 / (2 * (1 + POISSON))
    sine, cosine = np.sin(np.pi * places), np.cos(np.pi * places)
    s = sine.prod(-1)
    # -(first + shear) grad(div u) - shear laplace(u)
    along_k = (first + shear) * s + 3 * shear * s
    along_j = -(first + shear) * cosine[..., 0] * cosine[..., 1] * sine[..., 2]
    along_i = -(first + shear) * cosine[..., 0] * sine[..., 1] * cosine[..., 2]
    return np.pi**2 * np.stack([along_k, along_j, along_i], -1)


def smooth_error(count: int) -> float:
    held, places = box(count)
    element_volume = 0.5 / count**3
    found = held.solve(body_force(places) * element_volume)
    inside = ((places >= 0) & (places <= 1)).all(-1)
    exact = np.zeros_like(found)
    exact[..., 0] = np.sin(np.pi * places).prod(-1)
    return float(np.sqrt((((found - exact) ** 2).sum(-1)[inside]).mean()))


def test_a_smooth_displacement_is_found_at_second_order():
    errors = [smooth_error(count) for count in (8, 16, 32)]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert orders == pytest.approx([2, 2], abs=0.15)
    assert errors[-1] < 1e-3


def ball(count: int, inner: float = 0.4, strain: float = 0.1):
    """Radial displacement of a ball (radius 1, held) in which a smaller one grows, found and exact, and the radii.

    Exact: Lame's solution A r within, B r + C / r2 outside, with the displacement and the radial stress continuous.
    """
    spacing = 2.2 / count
    centres = (np.moveaxis(np.indices((count,) * 3), 0, -1) - (count - 1) / 2) * spacing
    radius = np.linalg.norm(centres, axis=-1)
    # The part of a voxel within the inner ball, by its distance to the surface.
    growth = strain * np.clip(0.5 - (radius - inner) / spacing, 0, 1)
    found = Elasticity(radius < 1, (spacing,) * 3, poisson_ratio=POISSON).displacement(growth)
    radial = (found[..., ::-1] * centres).sum(-1) / np.maximum(radius, 1e-9)
    bulk, shear = 1 / (1 - 2 * POISSON), 1 / (2 * (1 + POISSON))
    system = np.array([[0, 1, 1], [inner, -inner, -1 / inner**2], [bulk, -bulk, 4 * shear / inner**3]])
    a, b, c = np.linalg.solve(system, [0, 0, bulk * strain])
    exact = np.where(radius < inner, a * radius, b * radius + c / np.maximum(radius, 1e-9) ** 2)
    return radial, exact, radius


def test_a_growing_ball_pushes_as_lame_has_it():
    """Well within the ball; beside its surface, where the exact displacement has a kink, to the spacing's order."""
    within, anywhere = [], []
    for count in (22, 44):
        found, exact, radius = ball(count)
        error = np.abs(found - exact) / exact.max()
        within.append(error[radius < 0.3].max())
        anywhere.append(error[radius < 0.95].max())
    assert within[1] < 0.004
    assert within[1] < 0.6 * within[0]
    assert anywhere[1] < 0.1
    assert anywhere[1] < 0.7 * anywhere[0]


def test_soft_tissue_gives_way_more_than_stiff():
    shape = (20, 20, 40)
    stiffness = np.ones(shape)
    stiffness[..., :20] = 0.1
    growth = np.zeros(shape)
    growth[8:12, 8:12, 18:22] = 0.1
    moved = Elasticity(np.ones(shape, bool), (2.0, 1.0, 1.0), stiffness).displacement(growth)
    assert -moved[10, 10, 14, 0] > 1.2 * abs(moved[10, 10, 25, 0])
    np.testing.assert_allclose(moved[::-1, :, :, 2], -moved[..., 2], atol=1e-4)


def test_nothing_grows_nothing_moves_and_what_is_wrong_is_said():
    domain = np.ones((8, 8, 8), bool)
    assert not Elasticity(domain, (1, 1, 1)).displacement(np.zeros(domain.shape)).any()
    with pytest.raises(InvalidInput, match="0 to 0.49"):
        Elasticity(domain, (1, 1, 1), poisson_ratio=0.5)
    with pytest.raises(InvalidInput, match="positive and finite"):
        Elasticity(domain, (1, 1, 1), np.zeros(domain.shape))
    with pytest.raises(InvalidInput, match="Nothing in the domain can move"):
        Elasticity(np.ones((1, 8, 8), bool), (1, 1, 1))


def test_a_cancelled_solution_stops():
    job, growth = Job(), np.zeros((12, 12, 12))
    growth[5:7, 5:7, 5:7] = 0.1
    job.cancel()
    with pytest.raises(JobCancelled):
        Elasticity(growth >= 0, (1, 1, 1)).displacement(growth, job)
