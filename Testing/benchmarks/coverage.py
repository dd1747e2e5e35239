"""How often the 90 % intervals of a calibration hold the truth, over synthetic patients: `make bench`.

Each patient has growth and spread drawn from the prior, a tumour in a block of soft tissue, and volumes with 10 %
noise: at the reference scan at a lower threshold, and at two follow-up visits at the outline's own and at the lower
one. Another number of patients can be given: `python Testing/benchmarks/coverage.py 20`.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import numpy as np

from TwinCore import Grid, Job
from TwinCore.parameter import complete
from TwinSimulateLib import registry
from TwinSimulateLib.model import Anatomy, Observation
from TwinSimulateLib.radiotherapy import NO_TREATMENT
from TwinSimulateLib.tumour_run import observed_volumes

PATIENTS = 100
LOG_SD = 0.1
LOW_THRESHOLD = 0.16
SHAPE, RADIUS_MM = (36, 36, 36), 7.0
FITTED = ("proliferation_rate", "diffusivity")


def main(patients: int) -> None:
    axes = np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in SHAPE], indexing="ij")
    tumour = sum(a**2 for a in axes) < RADIUS_MM**2
    anatomy = Anatomy(Grid.isotropic(SHAPE), {"tumour": tumour, "soft tissue": np.ones(SHAPE, bool)})
    model = registry.find("tumour_growth", "soft-tissue sarcoma")
    prior, random, start = model.prior(), np.random.default_rng(11), time.perf_counter()
    asked = [
        Observation("volume", day, 1.0, LOG_SD, threshold)
        for day in (0.0, 30.0, 60.0)
        for threshold in (None, LOW_THRESHOLD)
        if day or threshold
    ]
    held = dict.fromkeys(FITTED, 0)
    held_out, widened = [], 0
    for sample in prior.samples(patients, seed=5):
        truth = complete(model.parameters, {**{p.name: p.default for p in prior.parameters}, **sample})
        stages = model._stages(anatomy)
        (spacing,) = stages.plan([truth], 60.0, Job())
        seen = observed_volumes(stages, spacing, truth, asked, NO_TREATMENT, Job())
        noise = np.exp(LOG_SD * random.normal(size=len(asked)))
        posterior = model.calibrate(anatomy, [replace(o, value=v) for o, v in zip(asked, seen * noise)], Job())
        for name in FITTED:
            low, high = posterior.interval(name)
            held[name] += low <= truth[name] <= high
        visit = posterior.held_out.columns
        held_out += [low <= o <= high for low, o, high in zip(visit["low_90"], visit["observed"], visit["high_90"])]
        widened += posterior.discrepancy.noise_factor > 1
    print(f"{patients} patients, {time.perf_counter() - start:.0f} s")
    for name, count in held.items():
        print(f"truth within the 90 % interval of {name}: {count} ({100 * count / patients:.0f} %)")
    print(f"held-out volumes within their 90 % interval: {100 * np.mean(held_out):.0f} %")
    print(f"patients whose noise was widened: {widened}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else PATIENTS)
