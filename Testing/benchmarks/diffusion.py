"""Time of one reaction-diffusion step on a box the size of a brain at 1 mm: `make bench`.

Prints the best and the median by the clock, and processor time divided by the number of threads, which is the better
guide on a busy machine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numba
import numpy as np

from TwinSimulateLib.numerics.diffusion import ReactionDiffusion

SHAPE = (145, 182, 156)
STEPS, REPEATS = 50, 9


def ellipsoid(shape: tuple[int, int, int], fraction: float = 0.925) -> np.ndarray:
    """A mask of the box's inscribed ellipsoid, shrunk by `fraction`: about as many voxels as a brain has in its box."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij", sparse=True)
    return sum(axis**2 for axis in axes) < fraction**2


def measure(run: Callable[[], object]) -> tuple[float, float, float]:
    """Best and median seconds by the clock, and least processor seconds per thread, after one run to compile."""
    run()
    clock, processor = [], []
    for _ in range(REPEATS):
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        clock.append(time.perf_counter() - wall)
        processor.append((time.process_time() - cpu) / numba.get_num_threads())
    return min(clock), statistics.median(clock), min(processor)


def main() -> None:
    domain = ellipsoid(SHAPE)
    equation = ReactionDiffusion(domain, (1.0, 1.0, 1.0))
    start = np.where(domain, 0.1, 0.0).astype(np.float32)
    diffusivity, rate = 0.1, 0.01
    step = 0.999 * equation.largest_step_days(diffusivity, rate)
    # A run also copies the field in and out: the difference of two lengths leaves the steps alone.
    short = measure(lambda: equation.advance(start, diffusivity, rate, step))
    long = measure(lambda: equation.advance(start, diffusivity, rate, step * (STEPS + 1)))
    best, median, processor = (1e3 * (b - a) / STEPS for a, b in zip(short, long, strict=True))
    voxels = f"{domain.sum() / 1e6:.2f} M of {domain.size / 1e6:.2f} M voxels"
    print(f"reaction-diffusion, float32, box {SHAPE}, {voxels}, {numba.get_num_threads()} threads")
    print(f"ms a step: best {best:.2f}, median {median:.2f}, processor time per thread {processor:.2f}")


if __name__ == "__main__":
    main()
