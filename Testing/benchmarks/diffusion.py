"""Reaction-diffusion beside the machine's memory, torch and scipy, and what the growth model makes wait: `make bench`.

The case is a glioma of the preset's medians in the MNI152 brain at 1 mm (nilearn's maps; an ellipsoid of about as many
voxels where nilearn is not installed). Candidates take turns, so that whatever else the machine does meets all of them
alike; what is printed are medians by the clock after one run to compile. Peers that are not installed are left out.
"""

from __future__ import annotations

import importlib.util
import math
import statistics
import time
from collections.abc import Callable

import numba
import numpy as np
from scipy import sparse

from TwinApp.virtual_patient import brain_maps
from TwinCore import Grid, Job, MissingPackage, bounding_box
from TwinCore.parameter import complete
from TwinSimulateLib.model import Anatomy
from TwinSimulateLib.numerics.level_set import voxels_above
from TwinSimulateLib.radiotherapy import NO_TREATMENT
from TwinSimulateLib.tumour_growth import TumourGrowth
from TwinSimulateLib.tumour_run import run_member
from TwinSimulateLib.tumour_stage import Stage, Stages

MODEL = TumourGrowth("glioma", spacing_mm=1.0)
MEMBER = complete(MODEL.parameters, {})
DIFFUSIVITY, RATE = MEMBER["diffusivity"], MEMBER["proliferation_rate"]
THRESHOLD = MEMBER["detection_threshold"]
RELATIVE = {"white matter": 1.0, "grey matter": 1.0 / MEMBER["white_to_grey_ratio"]}
RADIUS_MM, CENTRE_RAS = 12.0, (-28.0, -20.0, 28.0)
DAYS, WHOLE_MM, SLIDER_MM = 100.0, 300.0, 3.0
STEPS, OUR_STEPS = 10, 50
"""Of a run; more of ours, so that the half steps of growth at its ends hardly count."""
BYTES = 20
"""Of a step, for each active voxel: three face coefficients and the density read once, the density written once."""
TRIAD_VALUES = 96_000_000
RK4_STABLE = 2.785
"""Step times largest eigenvalue up to which the classical Runge-Kutta method is stable on the negative real axis."""

Candidates = dict[str, Callable[[], object]]


def main() -> None:
    head, kind = anatomy()
    brain = cropped(head)
    stage = whole(brain, 1.0)
    shape, active = stage.equation.domain.shape, int(stage.equation.domain.sum())
    print(f"{kind}, box {shape}, {active / 1e6:.2f} M voxels active, {numba.get_num_threads()} threads, float32")
    one_step(stage, active)
    a_hundred_days(head, brain, stage)
    waits(head)


def one_step(stage: Stage, active: int) -> None:
    """One explicit step of diffusion and exact growth, beside the STREAM triad and peers."""
    equation, faces = stage.equation, face_coefficients(stage)
    start = stage.start(DIFFUSIVITY, RATE, THRESHOLD)
    days = 0.999 * equation.largest_step_days(DIFFUSIVITY, RATE)
    state = equation.state(start)

    def ours() -> None:
        nonlocal state
        state = equation.advance_state(state, DIFFUSIVITY, RATE, OUR_STEPS * days)

    sizes = {"triad of as many bytes": BYTES * active // 12, "triad beyond all caches": TRIAD_VALUES}
    candidates: Candidates = {name: triad(size) for name, size in sizes.items()}
    candidates["ours"] = ours
    candidates |= torch_steps(start, faces, days) | {"scipy.sparse, CSR": sparse_steps(stage, start, faces, days)}
    times = medians(candidates, rounds=7)
    print("\nOne step")
    rates = {name: 12e-9 * size / times.pop(name) for name, size in sizes.items()}
    steps = {name: seconds / (OUR_STEPS if name == "ours" else STEPS) for name, seconds in times.items()}
    for name, seconds in steps.items():
        print(f"  {name:32s} {1e3 * seconds:8.2f} ms   {seconds / steps['ours']:5.1f} x ours")
    moved = 1e-9 * BYTES * active / steps["ours"]
    print(f"  ours, {BYTES} B an active voxel: {moved:.1f} GB/s")
    for name, rate in rates.items():
        print(f"  {name:32s} {rate:8.1f} GB/s, of which ours is {100 * moved / rate:.0f} %")


def a_hundred_days(head: Anatomy, brain: Anatomy, stage: Stage) -> None:
    """The same tumour by the model, by its solver alone, and as the equation is written in torch."""
    start, ends = stage.start(DIFFUSIVITY, RATE, THRESHOLD), {}
    low, high = bounding_box(tissue(head))
    box = tuple(slice(a, b) for a, b in zip(low, high))

    def model() -> None:
        result = MODEL.simulate(head, {}, [0.0, DAYS], Job())
        ends["model, set-up and all"] = result.fields["density"].array[box]

    def solver() -> None:
        ends["solver alone, whole brain"] = stage.equation.advance(start, DIFFUSIVITY, RATE, DAYS)

    candidates: Candidates = {"model, set-up and all": model, "solver alone, whole brain": solver}
    if importlib.util.find_spec("torch"):
        run = torch_rk4(start, face_coefficients(stage))
        candidates["torch eager, rk4"] = lambda: ends.update({"torch eager, rk4": run()})
    times = medians(candidates, rounds=3)
    print(f"\n{DAYS:.0f} days at 1 mm, from a tumour of {RADIUS_MM:.0f} mm radius")
    for name, seconds in times.items():
        above, _ = voxels_above(stage.equation, stage.equation.state(ends[name]), THRESHOLD)
        model_times, solver_times = (f"{seconds / times[ours]:5.1f} x" for ours in list(times)[:2])
        print(f"  {name:32s} {seconds:8.3f} s {1e-3 * above:9.3f} mL  {model_times} model, {solver_times} solver")


def waits(head: Anatomy) -> None:
    """Other waits of a user: a whole head made ready, and another diffusivity on a coarse grid that is ready."""
    coarse = Stages(head, RELATIVE, SLIDER_MM)
    coarse.plan([{**MEMBER, "diffusivity": 2 * DIFFUSIVITY}], DAYS, Job())
    values = iter(np.resize(DIFFUSIVITY * np.geomspace(0.5, 2.0, 7), 100))

    def run(stages: Stages, spacing: float, diffusivity: float) -> None:
        member, times = {**MEMBER, "diffusivity": diffusivity}, np.array([0.0, DAYS])
        run_member(stages, spacing, member, NO_TREATMENT, times, (THRESHOLD,), Job())

    def whole_head() -> None:
        stages = Stages(head, RELATIVE, 1.0)
        stages.prepare(1.0, WHOLE_MM)
        run(stages, 1.0, DIFFUSIVITY)

    candidates: Candidates = {
        "slider: another D on a ready grid of 3 mm": lambda: run(coarse, SLIDER_MM, float(next(values))),
        "grid of 3 mm made anew": lambda: TumourGrowth("glioma", SLIDER_MM).simulate(head, {}, [0.0, DAYS], Job()),
        "box of the whole head at 1 mm made anew": whole_head,
    }
    print(f"\n{DAYS:.0f} days otherwise")
    for name, seconds in medians(candidates, rounds=7).items():
        print(f"  {name:42s} {1e3 * seconds:8.0f} ms")


def medians(candidates: Candidates, rounds: int) -> dict[str, float]:
    """Median seconds of each by the clock; they take turns."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        for name, run in candidates.items():
            start = time.perf_counter()
            run()
            if number > 0:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in times.items()}


def anatomy() -> tuple[Anatomy, str]:
    """A tumour in a brain, in its whole field of view."""
    try:
        maps = brain_maps()
        grid, white, grey = maps["wm"].grid, maps["wm"].array, maps["gm"].array
        kind = "MNI152 brain"
    except MissingPackage:
        grid, kind = Grid.isotropic((189, 233, 197)), "ellipsoid"
        axes = np.meshgrid(*(np.arange(n) - 0.5 * n for n in grid.shape), indexing="ij", sparse=True)
        away = sum((axis / half) ** 2 for axis, half in zip(axes, (70.0, 84.0, 71.0)))
        white, grey = (away < 0.6).astype(np.float32), ((away >= 0.6) & (away < 1.0)).astype(np.float32)
    places = grid.to_ras(np.moveaxis(np.indices(grid.shape), 0, -1)[..., ::-1])
    tumour = (np.linalg.norm(places - CENTRE_RAS, axis=-1) < RADIUS_MM) & (white + grey >= 0.5)
    return Anatomy(grid, {"tumour": tumour, "white matter": white, "grey matter": grey}), kind


def tissue(head: Anatomy) -> np.ndarray:
    return head.tissues["white matter"] + head.tissues["grey matter"] >= 0.5


def cropped(head: Anatomy) -> Anatomy:
    low, high = bounding_box(tissue(head))
    box = tuple(slice(a, b) for a, b in zip(low, high))
    return Anatomy(head.grid.crop(low, high), {name: part[box] for name, part in head.tissues.items()})


def whole(brain: Anatomy, spacing_mm: float) -> Stage:
    stages = Stages(brain, RELATIVE, spacing_mm)
    stages.prepare(spacing_mm, WHOLE_MM)
    return stages.stage(spacing_mm)


@numba.njit(parallel=True, nogil=True)
def _triad(a, b, c, factor):
    for n in numba.prange(a.size):
        a[n] = b[n] + factor * c[n]


def triad(size: int) -> Callable[[], None]:
    """McCalpin's STREAM triad, which moves 12 B a value as he counts them."""
    a, b, c = (np.ones(size, np.float32) for _ in range(3))
    return lambda: _triad(a, b, c, np.float32(3.0))


def face_coefficients(stage: Stage) -> list[np.ndarray]:
    """Of the faces along each axis, harmonic means of the voxels' relative diffusivities, in 1/mm2."""
    relative = np.where(stage.equation.domain, np.square(stage.relative_width), 0.0).astype(np.float32)
    faces = []
    for axis in range(3):
        lower, upper = np.delete(relative, -1, axis), np.delete(relative, 0, axis)
        faces.append(2 * lower * upper / np.maximum(lower + upper, 1e-9))
    return faces


def sparse_steps(stage: Stage, start: np.ndarray, faces: list[np.ndarray], days: float) -> Callable[[], None]:
    """STEPS products with a matrix of the active voxels alone, and the growth after each."""
    domain = stage.equation.domain
    number = np.cumsum(domain).reshape(domain.shape) - 1
    rows, columns, values = [], [], []
    for axis, face in enumerate(faces):
        joined = face > 0
        rows.append(np.delete(number, -1, axis)[joined])
        columns.append(np.delete(number, 0, axis)[joined])
        values.append(np.float32(DIFFUSIVITY * days) * face[joined])
    n, one_way = int(domain.sum()), (np.concatenate(rows), np.concatenate(columns))
    half = sparse.csr_matrix((np.concatenate(values), one_way), shape=(n, n))
    exchange = half + half.T
    matrix = (exchange + sparse.diags(1 - np.asarray(exchange.sum(1)).ravel())).tocsr().astype(np.float32)
    growth = np.float32(math.exp(RATE * days))

    def run() -> None:
        u = start[domain].astype(np.float32)
        for _ in range(STEPS):
            u = matrix @ u
            u = growth * u / (1 + (growth - 1) * u)

    return run


def torch_steps(start: np.ndarray, faces: list[np.ndarray], days: float) -> Candidates:
    """STEPS steps in torch: as it is naturally written, and the same compiled where there is a C++ compiler."""
    if not importlib.util.find_spec("torch"):
        return {}
    import torch

    first, coefficients = torch.from_numpy(start.astype(np.float32)), [torch.from_numpy(face) for face in faces]
    growth, factor = math.exp(RATE * days), DIFFUSIVITY * days

    def step(u: torch.Tensor) -> torch.Tensor:
        diffused = u + factor * divergence(torch, u, coefficients)
        return growth * diffused / (1 + (growth - 1) * diffused)

    def steps(one: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], None]:
        def run() -> None:
            u = first
            with torch.inference_mode():
                for _ in range(STEPS):
                    u = one(u)

        return run

    torch.set_num_threads(numba.get_num_threads())
    found: Candidates = {"torch eager": steps(step)}
    compiled = steps(torch.compile(step))
    try:
        compiled()
    except Exception as error:  # whatever its compiler says: the others go on without it
        print(f"torch.compile is left out: {type(error).__name__}")
    else:
        found["torch.compile"] = compiled
    return found


def torch_rk4(start: np.ndarray, faces: list[np.ndarray]) -> Callable[[], np.ndarray]:
    """The equation for DAYS by the classical Runge-Kutta method, at the largest step at which it is stable."""
    import torch

    first, coefficients = torch.from_numpy(start.astype(np.float32)), [torch.from_numpy(face) for face in faces]
    steps = math.ceil(DAYS * 12.0 * DIFFUSIVITY / RK4_STABLE)
    step = DAYS / steps

    def slope(u: torch.Tensor) -> torch.Tensor:
        return DIFFUSIVITY * divergence(torch, u, coefficients) + RATE * u * (1 - u)

    def run() -> np.ndarray:
        u = first
        with torch.inference_mode():
            for _ in range(steps):
                k1 = slope(u)
                k2 = slope(u + 0.5 * step * k1)
                k3 = slope(u + 0.5 * step * k2)
                k4 = slope(u + step * k3)
                u = u + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return u.numpy()

    return run


def divergence(torch, u, faces):
    """What flows into each voxel through its faces; nothing through those of the mask, whose coefficients are zero."""
    inflow = torch.zeros_like(u)
    for axis, face in enumerate(faces):
        flux = face * torch.diff(u, dim=axis)
        inflow.narrow(axis, 0, u.shape[axis] - 1).add_(flux)
        inflow.narrow(axis, 1, u.shape[axis] - 1).sub_(flux)
    return inflow


if __name__ == "__main__":
    main()
