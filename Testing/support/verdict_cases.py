"""Registrations of known error for the validation of the verdict: right, wrong, and deliberately wrong ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation
from verdict_subjects import Subject

from TwinCore import Grid, Image, InvalidInput, LinearTransform
from TwinFusionLib.linear import LinearResult, register_linear
from TwinFusionLib.quality_overlay import body, lay_over

KINDS = {
    "registered": 62,
    "hard start": 40,
    "perturbed": 60,
    "mirrored": 14,
    "upside down": 14,
    "wrong patient": 26,
    "wrong part": 14,
}
"""Cases of each kind in one run. What a kind means is told in the function that makes it."""


@dataclass(frozen=True, eq=False)
class Case:
    """One registration and the truth.

    Parameters
    ----------
    kind, pair : str
    fixed, moving : Image
    transform : LinearTransform
        What is to be judged.
    found : LinearResult or None
        Of the engine, where it found the transform.
    error_mm : float
        Mean over the body in the true common view; infinite for a pair that cannot be right.
    """

    kind: str
    pair: str
    fixed: Image
    moving: Image
    transform: LinearTransform
    found: LinearResult | None
    error_mm: float


def cases(patients: Sequence[Subject], seed: int, kinds: dict[str, int] = KINDS) -> Iterator[Case]:
    """Cases of every kind, the same for the same seed."""
    for number, (kind, count) in enumerate(kinds.items()):
        for n in range(count):
            made = MAKERS[kind](patients, np.random.default_rng([seed, number, n]), n)
            if made is not None:
                yield replace(made, kind=kind)


def registered(patients, rng, n) -> Case | None:
    """The engine's answer for two images of a patient, up to 60 degrees and 60 mm apart."""
    fixed, moving, name = _same_patient(patients, rng, n)
    moving, truth = _elsewhere(moving, rng, 60.0, 60.0)
    return _found(fixed, moving, truth, name)


def hard_start(patients, rng, n) -> Case | None:
    """The engine's answer with a third to two thirds of the moving image cut off, any turn, and a start far off."""
    fixed, moving, name = _same_patient(patients, rng, n)
    moving, truth = _elsewhere(_cut(moving, rng), rng, 180.0, 60.0)
    if n % 2:
        return _found(fixed, moving, truth, name)
    off = random_rigid(rng, rng.uniform(15, 90), rng.uniform(10, 60), fixed.grid.centre)
    return _found(fixed, moving, truth, name, start=truth.then(off))


def perturbed(patients, rng, n) -> Case | None:
    """A pose beside the truth by up to 40 mm and degrees, a third of them by up to 2 mm; nothing is registered."""
    fixed, moving, name = _same_patient(patients, rng, n)
    size = rng.uniform(0, 2) if n % 3 == 0 else np.exp(rng.uniform(np.log(2), np.log(40)))
    share = rng.uniform(0, 1)
    off = random_rigid(rng, size * share / 2, size * (1 - share / 2), moving.grid.centre)
    return Case("", name, fixed, moving, off, None, error_mm(fixed, moving, off, LinearTransform.identity()))


def mirrored(patients, rng, n) -> Case | None:
    """A moving image whose left and right are exchanged, registered."""
    fixed, moving, name = _same_patient(patients, rng, n)
    return _found(fixed, _reflected(_elsewhere(moving, rng, 20.0, 30.0)[0], 0), None, name)


def upside_down(patients, rng, n) -> Case | None:
    """A moving image turned round by 180 degrees or with its head at its foot, registered from there."""
    fixed, moving, name = _same_patient(patients, rng, n)
    if n % 2:
        return _found(fixed, _reflected(moving, 2), None, name, start=LinearTransform.identity())
    half = random_rigid(rng, 180.0, 0.0, moving.grid.centre, np.eye(3)[rng.integers(3)])
    return _found(fixed, moving, LinearTransform.identity(), name, start=half)


def wrong_patient(patients, rng, n) -> Case | None:
    """Images of two patients of one part of the body, registered."""
    parts = [p for p in {s.part: None for s in patients} if sum(s.part == p for s in patients) > 1]
    if not parts:
        return None
    part = "head" if n % 4 or len(parts) == 1 else parts[rng.integers(len(parts))]
    some = [s for s in patients if s.part == part]
    one, other = (some[i] for i in rng.choice(len(some), 2, replace=False))
    return _different(one, other, rng)


def wrong_part(patients, rng, n) -> Case | None:
    """Images of different parts of the body, registered."""
    order = rng.permutation(len(patients))
    one = patients[order[0]]
    other = next((patients[i] for i in order if patients[i].part != one.part), None)
    if n % 2:  # heads are many: begin with another part
        one = next((patients[i] for i in order if patients[i].part != "head"), one)
        other = next((patients[i] for i in order if patients[i].part != one.part), None)
    return None if other is None else _different(one, other, rng)


MAKERS = {
    "registered": registered,
    "hard start": hard_start,
    "perturbed": perturbed,
    "mirrored": mirrored,
    "upside down": upside_down,
    "wrong patient": wrong_patient,
    "wrong part": wrong_part,
}


def random_rigid(rng, degrees: float, shift_mm: float, centre, axis=None) -> LinearTransform:
    """A turn about a centre by an angle, and a shift by a length; random directions."""
    axis = rng.standard_normal(3) if axis is None else np.asarray(axis)
    way = rng.standard_normal(3)
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.deg2rad(degrees) * axis / np.linalg.norm(axis)).as_matrix()
    matrix[:3, 3] = centre + shift_mm * way / np.linalg.norm(way) - matrix[:3, :3] @ centre
    return LinearTransform(matrix)


def error_mm(fixed: Image, moving: Image, transform: LinearTransform, truth: LinearTransform) -> float:
    """Mean distance between where two transforms take the points of the body that both images truly show."""
    overlay = lay_over(fixed, moving, truth)
    points = fixed.grid.to_ras(np.argwhere(body(fixed))[::997, ::-1]) if overlay is None else overlay.body_points(500)
    there = truth.pull(points)
    return float(np.linalg.norm(transform.push(there) - points, axis=1).mean())


def _same_patient(patients: Sequence[Subject], rng, n: int) -> tuple[Image, Image, str]:
    """Every second time a head, otherwise another part; real cross-modality pairs as often as made ones."""
    heads, rest = ([s for s in patients if (s.part == "head") is head] for head in (True, False))
    subject = (some := rest if n % 3 == 2 and rest else heads)[rng.integers(len(some))]
    fixed, moving = (subject.images[i] for i in rng.choice(len(subject.images), 2, replace=False))
    return fixed, moving, f"{subject.name}: {moving.name} to {fixed.name}"


def _different(one: Subject, other: Subject, rng) -> Case | None:
    fixed, moving = (s.images[rng.integers(len(s.images))] for s in (one, other))
    moving = _elsewhere(moving, rng, 30.0, 30.0)[0]
    return _found(fixed, moving, None, f"{other.name} {moving.name} to {one.name} {fixed.name}")


def _elsewhere(image: Image, rng, degrees: float, shift_mm: float) -> tuple[Image, LinearTransform]:
    """The image in another frame, and the move back."""
    move = random_rigid(rng, rng.uniform(0, degrees), rng.uniform(0, shift_mm), image.grid.centre)
    return replace(image, grid=Grid(image.grid.shape, move.matrix @ image.grid.ijk_to_ras)), move.inverse()


def _reflected(image: Image, ras_axis: int) -> Image:
    """The image with its content reversed along the axis of its array that is nearest to a patient axis."""
    axis = 2 - int(np.abs(image.grid.direction[ras_axis]).argmax())
    return image.with_array(np.ascontiguousarray(np.flip(image.array, axis)))


def _cut(image: Image, rng) -> Image:
    """The image without a third to two thirds of it, from one side."""
    axis, low, high = rng.integers(3), np.zeros(3, int), np.array(image.grid.shape)
    gone = int(high[axis] * rng.uniform(0.33, 0.67))
    if rng.random() < 0.5:
        low[axis] = gone
    else:
        high[axis] -= gone
    return image.crop(low, high) if min(high - low) >= 8 else image


def _found(fixed: Image, moving: Image, truth: LinearTransform | None, pair: str, start=None) -> Case | None:
    """The engine's answer; none where it refuses the pair."""
    try:
        result = register_linear(fixed, [moving], start=start)
    except InvalidInput:
        return None
    error = np.inf if truth is None else error_mm(fixed, moving, result.transform, truth)
    return Case("", pair, fixed, moving, result.transform, result, error)
