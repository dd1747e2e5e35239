"""A glioma's onset from one day's outlines: how often intervals hold the truth, and a real patient: `make bench`.

Synthetic patients have parameters from the prior, a tumour grown in a made-up brain at 1.5 mm, and outlines that are
off by 2 mm to and fro over 8 mm. The real patient (WM, GM, tumFLAIR, tumT1c and tumPET of a public data set) is
taken from the folder glioma_growth of DIGITALTWIN_DATA where there is one. Another number of patients can be given:
`python Testing/benchmarks/glioma_onset.py 5`.
"""

from __future__ import annotations

import math
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from TwinCore import Image, Job, resample
from TwinCore.volume_file import read_volume
from TwinSimulateLib.model import Anatomy
from TwinSimulateLib.onset_forward import OnsetForward
from TwinSimulateLib.onset_unknowns import ORIGIN, OnsetPosterior
from TwinSimulateLib.radiotherapy import SCENARIOS
from TwinSimulateLib.tumour_onset import DETERMINED, TumourOnset, agreement

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from glioma_brains import TRUTH, brain, with_tumour

PATIENTS, MEMBERS = 30, 128
OUTLINE_SD_MM = 2.0
PUBLISHED = {
    "origin_r": 166.2,
    "origin_a": 151.3,
    "origin_s": 95.05,
    "diffusivity": 0.13,
    "proliferation_rate": 0.025,
    "age": 300.0,
    "white_to_grey_ratio": 10.0,
    "detection_threshold": 0.7,
    "oedema_threshold": 0.25,
}
"""The example run on the same patient that comes with a published solver (slitvinov/GliomaSolver): the origin is in
voxels."""


def drawn_truth(random: np.random.Generator) -> dict[str, float]:
    """Parameters from the priors, of tumours that neither hide nor fill the brain, with fronts that the grids carry."""
    while True:
        log = {name: math.log(2.5) / 1.645 * random.normal() for name in ("diffusivity", "proliferation_rate", "age")}
        truth = dict(TRUTH)
        truth.update(
            diffusivity=0.1 * math.exp(log["diffusivity"]),
            proliferation_rate=0.05 * math.exp(log["proliferation_rate"]),
            age=250.0 * math.exp(log["age"]),
            white_to_grey_ratio=1.0 + 9.0 * math.exp(math.log(3.0) / 1.645 * random.normal()),
        )
        for name, middle in (("detection_threshold", 0.7), ("oedema_threshold", 0.25)):
            truth[name] = 1.0 / (1.0 + math.exp(-(math.log(middle / (1 - middle)) + 0.5 * random.normal())))
        truth.update(zip(ORIGIN, (random.uniform(18, 34), random.uniform(-25, 25), random.uniform(-15, 20))))
        spread, growth = (truth["age"] * truth[name] for name in ("diffusivity", "proliferation_rate"))
        reach = 2.0 * math.sqrt(spread * growth) - 1.5 * math.sqrt(spread / growth) * math.log(growth)
        if 10.0 < reach < 28.0 and math.sqrt(spread / growth) > 1.0:
            return truth


def coverage(patients: int) -> None:
    random, held, off, seconds = np.random.default_rng(3), {}, [], []
    done = 0
    while done < patients:
        truth = drawn_truth(random)
        anatomy = with_tumour(brain(done), truth, OUTLINE_SD_MM, seed=done)
        if np.count_nonzero(anatomy.tissue("tumour")) * anatomy.grid.voxel_volume_ml < 2.0:
            continue
        done += 1
        start = time.process_time()
        posterior = TumourOnset().fit(anatomy, Job()).posterior
        seconds.append(time.process_time() - start)
        off.append(math.dist([posterior.map[name] for name in ORIGIN], [truth[name] for name in ORIGIN]))
        for name in (*ORIGIN, "detection_threshold", "oedema_threshold", "diffusivity", "proliferation_rate", "age"):
            low, high = posterior.interval(name)
            held.setdefault(name, []).append(low <= truth[name] <= high)
        for name, (powers, _) in DETERMINED.items():
            _, low, high = posterior.combined(powers)
            true = math.prod(truth[key] ** power for key, power in powers.items())
            held.setdefault(name, []).append(low <= true <= high)
    print(f"{patients} synthetic patients; a fit takes {statistics.median(seconds):.1f} s of processor time (median)")
    print(f"origin off by {statistics.median(off):.1f} mm (median), {max(off):.1f} mm (worst)")
    for name, hits in held.items():
        print(f"truth within the 90 % interval of {name}: {sum(hits)} of {len(hits)}")


def patient(folder: Path) -> Anatomy:
    """The public patient's anatomy: of the core's labels 4 is necrosis, where the PET is lowest."""
    files = {name: read_volume(folder / f"{name}.nii.gz", "MR") for name in ("WM", "GM", "tumFLAIR", "tumT1c")}
    pet = read_volume(folder / "tumPET.nii.gz", "PT", "1")
    core = files["tumT1c"].array
    tissues = {"white matter": files["WM"].array > 0, "grey matter": files["GM"].array > 0}
    tissues |= {"tumour": core > 0, "flair": files["tumFLAIR"].array > 0, "necrosis": core == 4}
    return Anatomy(files["WM"].grid, tissues, {"pet": pet})


def real(anatomy: Anatomy) -> None:
    shown(anatomy, "with PET")
    shown(Anatomy(anatomy.grid, anatomy.tissues), "without PET", anatomy.images["pet"])
    published(anatomy)


def shown(anatomy: Anatomy, title: str, pet: Image | None = None) -> None:
    model, start, used = TumourOnset(), time.perf_counter(), time.process_time()
    fit = model.fit(anatomy, Job())
    fitted, used_fit = time.perf_counter(), time.process_time() - used
    judged = anatomy if pet is None else Anatomy(anatomy.grid, anatomy.tissues, {"pet": pet})
    today = model.today(judged, fit.posterior, Job(), MEMBERS)
    done, used = time.perf_counter(), time.process_time() - used
    print(f"{title}: fit {fitted - start:.1f} s, {MEMBERS} members {done - fitted:.1f} s", end="")
    print(f" (processor time {used_fit:.1f} and {used - used_fit:.1f} s)")
    noise = fit.posterior.discrepancy.noise_factor
    print(f"  {fit.cubes} cubes worth {fit.independent:.0f}, rms {fit.rms_mm:.1f} mm, noise x {noise:.1f}")
    for name, quantity in today.numbers.items():
        bounds = getattr(quantity, "interval_90", None)
        told = f"  (90 %: {bounds[0]:.3g} to {bounds[1]:.3g})" if bounds else ""
        print(f"  {name}: {quantity.value:.4g} {quantity.unit}{told}")
    for name in ("detection_threshold", "oedema_threshold", "white_to_grey_ratio"):
        low, high = fit.posterior.interval(name)
        print(f"  {name}: {fit.posterior.map[name]:.3g}  (90 %: {low:.3g} to {high:.3g})")
    if pet is None:
        ahead(model, anatomy, fit.posterior)


def ahead(model: TumourOnset, anatomy: Anatomy, posterior: OnsetPosterior) -> None:
    start = time.perf_counter()
    compared = model.compare(anatomy, posterior, SCENARIOS[:2], range(0, 61, 10), Job(), MEMBERS)
    print(f"  60 days ahead, {MEMBERS} members, 2 schedules: {time.perf_counter() - start:.1f} s")
    for row in zip(*(compared.table.columns[c] for c in ("scenario", "volume", "volume_low_90", "volume_high_90"))):
        print("  {}: {:.1f} mL (90 %: {:.1f} to {:.1f})".format(*row))


def published(anatomy: Anatomy) -> None:
    ras = anatomy.grid.to_ras([PUBLISHED[name] for name in ORIGIN])
    values = {**PUBLISHED, **dict(zip(ORIGIN, ras))}
    forward = OnsetForward(anatomy, 1.0)
    density = resample(forward.image(forward.density(values)), anatomy.grid).array
    numbers = agreement(anatomy, density, values)
    print(
        "the published example's parameters in our solver: "
        + ", ".join(f"{n} {q.value:.3f}" for n, q in numbers.items())
    )


def main(patients: int) -> None:
    if patients:
        coverage(patients)
    folder = Path(os.environ.get("DIGITALTWIN_DATA", "")) / "glioma_growth"
    if folder.is_dir():
        real(patient(folder))
    else:
        print("The real patient is left out: DIGITALTWIN_DATA holds no glioma_growth.")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else PATIENTS)
