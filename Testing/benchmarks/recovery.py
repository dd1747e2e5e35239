"""Whether calibration on maps and outlines finds growth and spread, and foretells the next visit: `make bench`.

Each synthetic patient has growth and spread drawn from the prior and an ellipsoid of tumour in a block of soft tissue,
grown on a grid of 0.7 mm. At the reference scan and at a visit 40 days later there is a map of cellularity, which
explains as much of the true density as images do (R2 of about 0.55) and whose errors go together over 3 mm, and an
outline that is drawn a little too wide or narrow, and wavy: the model's start is laid along the first, drawn one. What
is fitted is then compared with the truth, and what is predicted for day 80 with the tumour of that day. For comparison
some patients are fitted as if the voxels' errors were independent, too.

Another number of patients can be given: `python Testing/benchmarks/recovery.py 10`.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter

from TwinCore import Grid, Image, Job
from TwinCore.parameter import complete
from TwinSimulateLib.cellularity import R_SQUARED
from TwinSimulateLib.model import Anatomy, Posterior
from TwinSimulateLib.radiotherapy import NO_TREATMENT
from TwinSimulateLib.tumour_growth import TumourGrowth
from TwinSimulateLib.tumour_observations import CORRELATION_MM, Cellularity, Outline, TumourObservation

PATIENTS = 100
DAYS = (0.0, 40.0, 80.0)
SHAPE, RADII_MM = (44, 44, 44), (6.0, 8.5)
TRUTH_SPACING_MM = 0.5**0.5
MAPPED_MM = 8.0
"""How far beyond the drawn outline a map tells of the tumour."""
LOG_SD, WOBBLE_MM, WOBBLE_SMOOTHNESS_MM = 0.1, 0.5, 3.0
MEMBERS = 24
INDEPENDENT = 20
"""How many patients are fitted as if voxels were independent, too."""
SEED = 23
FITTED = ("proliferation_rate", "diffusivity")


@dataclass(frozen=True, eq=False)
class Patient:
    """A synthetic patient: what is seen, and the truth.

    Parameters
    ----------
    anatomy : Anatomy
    observations : list
        Of both visits.
    truth : mapping of str to float
    volume_ml : float
        On the last day, and `outline`, a mask on the anatomy's grid, likewise.
    r_squared : float
        Of the maps, against the true densities.
    """

    anatomy: Anatomy
    observations: list[TumourObservation]
    truth: dict[str, float]
    volume_ml: float
    outline: np.ndarray
    r_squared: float


def make_patient(truth: dict[str, float], random: np.random.Generator, r_squared: float = R_SQUARED) -> Patient:
    """A patient of these parameters, whose maps explain `r_squared` of the density."""
    grid, tissue = Grid.isotropic(SHAPE), np.ones(SHAPE, bool)
    axes = np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in SHAPE], indexing="ij")
    tumour = sum((a / r) ** 2 for a, r in zip(axes, random.uniform(*RADII_MM, 3))) < 1
    model = TumourGrowth("soft-tissue sarcoma", TRUTH_SPACING_MM)
    anatomy = Anatomy(grid, {"tumour": tumour, "soft tissue": tissue})
    run, stages = model._run(anatomy, truth, np.array(DAYS), NO_TREATMENT, Job(), keep=True)
    densities = [stages.on_anatomy(density, run.stage) for density in run.densities]
    threshold = complete(model.parameters, truth)["detection_threshold"]
    drawn = [draw(density >= threshold, random) for density in densities[:2]]
    observations: list[TumourObservation] = []
    shown, true = [], []
    for day, density, mask in zip(DAYS, densities, drawn):
        known = distance_transform_edt(~mask) <= MAPPED_MM
        error = gaussian_filter(random.standard_normal(SHAPE), CORRELATION_MM / 2**0.5)
        noise_sd, seen = with_error(density, error / error.std(), known, r_squared)
        image = Image(np.where(known, seen, np.nan).astype(np.float32), grid, name="cellularity")
        observations.append(Cellularity(day, image, noise_sd))
        shown.append(seen[known])
        true.append(density[known])
    observations.append(Outline(DAYS[1], Image(drawn[1], grid, name="outline"), LOG_SD))
    explained = float(np.corrcoef(np.concatenate(shown), np.concatenate(true))[0, 1] ** 2)
    seen_anatomy = Anatomy(grid, {"tumour": drawn[0], "soft tissue": tissue})
    return Patient(seen_anatomy, observations, truth, float(run.volume_ml[2, 0]), densities[2] >= threshold, explained)


def with_error(density: np.ndarray, error: np.ndarray, known: np.ndarray, r_squared: float) -> tuple[float, np.ndarray]:
    """The density plus as much error as leaves this share of it explained where it is known, cut off at 0 and 1."""
    noise_sd, seen = float(density[known].std()), density
    for _ in range(20):
        seen = np.clip(density + noise_sd * error, 0.0, 1.0)
        found = np.corrcoef(seen[known], density[known])[0, 1] ** 2
        noise_sd *= float(np.sqrt(found / (1.0 - found) * (1.0 - r_squared) / r_squared))
    return noise_sd, seen


def draw(mask: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The mask with an outline that is off: as a whole, so that its volume is by LOG_SD, and locally."""
    distance = np.where(mask, 0.5 - distance_transform_edt(mask), distance_transform_edt(~mask) - 0.5)
    area = np.linalg.norm(np.gradient(gaussian_filter(mask.astype(float), 1.0)), axis=0).sum()
    wobble = gaussian_filter(random.standard_normal(mask.shape), WOBBLE_SMOOTHNESS_MM)
    off = LOG_SD * mask.sum() / area * random.standard_normal() + WOBBLE_MM * wobble / wobble.std()
    return distance + off <= 0


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of one patient.

    Parameters
    ----------
    deviations : array, shape (2,)
        Truth less fit over the fit's standard deviation, of the logarithms of FITTED.
    apart : array, shape (2,), or None
        The same with voxels taken as independent.
    narrowed : array, shape (2,)
        Posterior over prior standard deviation.
    widened : bool
        Whether the noise was.
    held : two bools
        Whether the 50 % and the 90 % interval hold the volume on the last day.
    ratio, dice, r_squared : float
        Predicted over true volume, Dice of the outlines on that day, and R2 of the maps.
    """

    deviations: np.ndarray
    apart: np.ndarray | None
    narrowed: np.ndarray
    widened: bool
    held: tuple[bool, bool]
    ratio: float
    dice: float
    r_squared: float


def outcome(number: int, truth: dict[str, float], model: TumourGrowth) -> Outcome:
    """Fit and predict one patient."""
    patient, prior = make_patient(truth, np.random.default_rng([SEED, number])), model.prior()
    posterior = model.calibrate(patient.anatomy, patient.observations, Job())
    apart = None
    if number < INDEPENDENT:
        as_if = [replace(o, correlation_mm=0.0) if isinstance(o, Cellularity) else o for o in patient.observations]
        apart = deviations(model.calibrate(patient.anatomy, as_if, Job()), truth)
    predicted = model.predict(patient.anatomy, posterior, DAYS, Job(), members=MEMBERS)
    volume, outline = predicted.numbers["volume"], predicted.fields["probability"].array >= 0.5
    fifty, ninety = (low <= patient.volume_ml <= high for low, high in (volume.interval_50, volume.interval_90))
    return Outcome(
        deviations(posterior, truth),
        apart,
        np.sqrt(np.diag(posterior.log_covariance) / np.diag(prior.log_covariance))[:2],
        posterior.discrepancy.noise_factor > 1,
        (fifty, ninety),
        volume.value / patient.volume_ml,
        2 * (outline & patient.outline).sum() / (outline.sum() + patient.outline.sum()),
        patient.r_squared,
    )


def deviations(posterior: Posterior, truth: dict[str, float]) -> np.ndarray:
    """Truth less fit in standard deviations, of the logarithms of FITTED."""
    names = [p.name for p in posterior.parameters]
    at = [names.index(name) for name in FITTED]
    logs = np.log([truth[name] for name in FITTED])
    return (logs - posterior.log_mean[at]) / np.sqrt(np.diag(posterior.log_covariance)[at])


def tell(outcomes: list[Outcome]) -> None:
    """Print what came of all patients."""
    off = np.array([o.deviations for o in outcomes])
    apart = np.array([o.apart for o in outcomes if o.apart is not None])
    print(f"maps of R2 {np.median([o.r_squared for o in outcomes]):.2f} (median)")
    for n, name in enumerate(FITTED):
        held, held_apart = (100 * np.mean(np.abs(x[:, n]) < 1.645) for x in (off, apart))
        print(
            f"{name}: truth within the 90 % interval in {held:.0f} %; off by {off[:, n].mean():.2f} deviations on "
            f"average, {off[:, n].std():.2f} (standard deviation); posterior over prior deviation "
            f"{np.median([o.narrowed[n] for o in outcomes]):.2f} (median); with voxels taken as independent, "
            f"{len(apart)} patients: {held_apart:.0f} %"
        )
    fifty, ninety = 100 * np.mean([o.held for o in outcomes], axis=0)
    print(f"volume on day {DAYS[2]:g} within its 90 % interval: {ninety:.0f} %, its 50 % interval: {fifty:.0f} %")
    low, middle, high = np.percentile([o.ratio for o in outcomes], (5, 50, 95))
    print(f"predicted over true volume: median {middle:.2f}, 5 to 95 % of patients {low:.2f} to {high:.2f}")
    dice = [o.dice for o in outcomes]
    print(f"Dice of the predicted outline: median {np.median(dice):.2f}, 5 % below {np.percentile(dice, 5):.2f}")
    print(f"patients whose noise was widened: {sum(o.widened for o in outcomes)}")


def draws(model: TumourGrowth, patients: int) -> list[dict[str, float]]:
    """Each patient's parameters, from the prior."""
    return [{name: sample[name] for name in FITTED} for sample in model.prior().samples(patients, seed=6)]


def main(patients: int) -> None:
    model, start = TumourGrowth("soft-tissue sarcoma"), time.perf_counter()
    outcomes = [outcome(number, truth, model) for number, truth in enumerate(draws(model, patients))]
    print(f"{patients} patients, {time.perf_counter() - start:.0f} s")
    tell(outcomes)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else PATIENTS)
