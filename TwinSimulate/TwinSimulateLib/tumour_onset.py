"""A glioma from its onset: where it began, how long ago and how it has spread since, from images of a single day.

A density grown from a point is fitted to the outlines of enhancement and FLAIR (and a PET, where there is one), and
goes on from there. Between two runs only D T and rho T matter, so one day's images tell of the front's width
sqrt(D/rho) and of rho T, but not of days: the time scale is the priors' alone, and the posterior is as wide along it
as they are. Idea and imaging model follow Lipkova et al. 2019 (IEEE Transactions on Medical Imaging 38:1875).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from TwinCore import Image, InvalidInput, Job, MissingInput, Quantity, Table, centroid, resample
from TwinCore.parameter import complete
from TwinCore.units import DAY, MILLILITRE, MILLIMETRE, NO_UNIT

from .model import Anatomy, Estimate, Posterior, Result
from .onset_fit import FIT_MM, SEARCH_MM, OnsetFit, fit_onset, smoothed
from .onset_forward import OnsetForward, pet_of
from .onset_unknowns import FITTED, ORIGIN, OnsetPosterior, onset, prior
from .radiotherapy import NO_TREATMENT
from .treatment import Treatment
from .tumour_growth import TumourGrowth
from .tumour_observations import TumourObservation
from .tumour_stage import Stages

LEAST_RADIUS_MM = 5.0
INVISIBLE = (0.1, 0.01)
"""Densities at which what lies beyond the outline on FLAIR is told."""
WAY_OUT = 0.5
"""Starting origins, as a share of the radius from the centre of enhancement."""
DETERMINED = {
    "front_width": ({"diffusivity": 0.5, "proliferation_rate": -0.5}, MILLIMETRE),
    "growth_times_age": ({"proliferation_rate": 1.0, "age": 1.0}, NO_UNIT),
    "spread_times_age": ({"diffusivity": 1.0, "age": 1.0}, "mm2"),
}
"""What one day's images do tell of, as products of powers of the parameters."""
TIME_SCALE = {"age": 1.0, "diffusivity": -1.0, "proliferation_rate": -1.0}


class TumourOnset(TumourGrowth):
    """The growth model whose runs start from what has grown from a point by the day of the images.

    The anatomy has the tissues "white matter", "grey matter", "tumour" (enhancement on T1 with gadolinium and what it
    encloses) and "flair"; and if there are any the tissue "necrosis" and the image "pet".

    >>> model = TumourOnset("glioma")
    >>> posterior = model.calibrate(anatomy, (), Job())
    >>> today = model.today(anatomy, posterior, Job())
    >>> comparison = model.compare(anatomy, posterior, SCENARIOS, range(0, 121, 3), Job(), members=128)

    Parameters
    ----------
    preset : str
        "glioma".
    spacing_mm : float, optional
        As of `TumourGrowth`; the onset itself is fitted at 3 and 2 mm.
    """

    name = "tumour_onset"
    title = "Glioma from its onset"

    def __init__(self, preset: str = "glioma", spacing_mm: float | None = None):
        super().__init__(preset, spacing_mm)
        if set(self._tissues) != {"white matter", "grey matter"}:
            raise InvalidInput(f"A tumour's onset is known of gliomas alone, not of the preset {preset!r}.")
        declared = onset(preset)
        self.parameters, self._requires = declared.parameters, declared.requires

    def prior(self, anatomy: Anatomy | None = None) -> OnsetPosterior:
        """What is believed before the fit: it depends on where the enhancement is."""
        if anatomy is None:
            raise MissingInput("What is believed of a tumour's onset depends on its images: give the anatomy.")
        tumour = np.asarray(anatomy.tissue("tumour")) >= 0.5
        volume_mm3 = 1000.0 * np.count_nonzero(tumour) * anatomy.grid.voxel_volume_ml
        radius_mm = max((0.75 * volume_mm3 / math.pi) ** (1 / 3), LEAST_RADIUS_MM)
        return prior(self.parameters, centroid(tumour, anatomy.grid), radius_mm)

    def fit(self, anatomy: Anatomy, job: Job) -> OnsetFit:
        """The fit with all that it says of itself; see `calibrate`."""
        belief = self.prior(anatomy)
        centre = np.array([belief.map[name] for name in ORIGIN])
        n = [p.name for p in belief.parameters].index(ORIGIN[0])
        away = WAY_OUT * math.sqrt(belief.log_covariance[n, n])
        origins = np.concatenate([centre[None], centre + away * np.concatenate([np.eye(3), -np.eye(3)])])
        coarse, fine = OnsetForward(anatomy, SEARCH_MM), OnsetForward(anatomy, FIT_MM)
        found = fit_onset(coarse, fine, belief, origins, job)
        return replace(found, posterior=replace(found.posterior, fit=_table(belief, found.posterior)))

    def calibrate(
        self,
        anatomy: Anatomy,
        observations: Sequence[TumourObservation],
        job: Job,
        treatment: Treatment = NO_TREATMENT,
        seed: int = 0,
        *,
        prior: Posterior | None = None,
    ) -> OnsetPosterior:
        """The onset from the images of one day, which the anatomy has.

        Parameters
        ----------
        anatomy : Anatomy
        observations : sequence of TumourObservation
            None: with follow-up, put `today`'s density into the anatomy as its image "density", and calibrate
            `TumourGrowth`.
        job : Job
        treatment, seed, prior
            Not used.

        Raises
        ------
        InvalidInput
            If there are observations, or an outline is empty.
        """
        if observations or prior is not None:
            raise InvalidInput(
                "A tumour's onset is fitted to the images of one day alone: calibrate tumour_growth on the follow-up, "
                "with the fitted density as the anatomy's image 'density'."
            )
        return self.fit(anatomy, job).posterior

    def check_calibration(  # type: ignore[override]
        self,
        anatomy: Anatomy,
        observations: Sequence[TumourObservation],
        posterior: OnsetPosterior,
        job: Job,
        seed: int = 0,
    ) -> Table:
        """The fit's unknowns beside an ensemble smoother's, as normal numbers: means, deviations and shift in these."""
        found = smoothed(OnsetForward(anatomy, SEARCH_MM), self.prior(anatomy), posterior, job, seed)
        names = [p.name for p in posterior.parameters]
        places = [names.index(name) for name in FITTED]
        n = len(FITTED)
        sd, other = np.sqrt(np.diag(posterior.log_covariance)[places]), np.sqrt(np.diag(found.covariance)[:n])
        mean = posterior.log_mean[places]
        columns: dict[str, Any] = {"parameter": list(FITTED), "mean": mean, "sd": sd, "smoothed_mean": found.mean[:n]}
        columns |= {"smoothed_sd": other, "shift_in_sd": (found.mean[:n] - mean) / sd}
        return Table("Posterior check", columns, {})

    def today(self, anatomy: Anatomy, posterior: OnsetPosterior, job: Job, members: int = 128, seed: int = 0) -> Result:
        """The tumour on the day of the images.

        Returns
        -------
        Result
            Fields "density" (at the most probable parameters) and "probability" (share of members with a density of a
            tenth of the carrying capacity or more), on the anatomy's grid. Numbers: "dice_flair" and "dice_t1" of the
            fitted outlines on the anatomy's voxels, "pet_correlation" (Pearson's, where the PET is above 0 in the
            tumour) and "pet_correlation_viable" (outside necrosis); with intervals "front_width" (sqrt(D/rho)),
            "growth_times_age" (rho T), "spread_times_age" (D T), "age", "origin_r" to "origin_s", "volume_flair",
            "volume_t1", and "beyond_flair_0.1", "beyond_flair_0.01": the volume with that density or more outside the
            outline on FLAIR.
        """
        forward = OnsetForward(anatomy, FIT_MM)
        best = complete(self.parameters, posterior.map)
        shown = resample(forward.image(forward.density(best, job)), anatomy.grid).array
        seen: dict[str, list[float]] = {}
        reached = np.zeros(forward.grid.shape)
        drawn = self._members(posterior, members, seed)
        for member in job.each(drawn, "members of the ensemble"):
            density = forward.density(member, job)
            reached += density >= INVISIBLE[0]
            for name, value in _volumes(forward, density, member).items():
                seen.setdefault(name, []).append(value)
        chance = resample(Image((reached / members).astype(np.float32), forward.grid), anatomy.grid).array
        fields = {
            "density": Image(shown, anatomy.grid, unit=NO_UNIT, time=0.0, name="density from the onset"),
            "probability": Image(chance, anatomy.grid, unit=NO_UNIT, time=0.0, name="probability of a tenth"),
        }
        numbers: dict[str, Quantity] = agreement(anatomy, shown, best)
        numbers |= {name: Estimate.of_members(np.array(values), MILLILITRE) for name, values in seen.items()}
        for name, (powers, unit) in DETERMINED.items():
            (middle, *ninety), (_, *fifty) = posterior.combined(powers), posterior.combined(powers, 50.0)
            numbers[name] = Estimate(middle, unit, (fifty[0], fifty[1]), (ninety[0], ninety[1]))
        for name in ("age", *ORIGIN):
            unit = DAY if name == "age" else MILLIMETRE
            fifty_, ninety_ = posterior.interval(name, 50.0), posterior.interval(name)
            numbers[name] = Estimate(best[name], unit, fifty_, ninety_)
        return Result(fields, {}, numbers)

    def _stages(self, anatomy: Anatomy, parameters: Mapping[str, float] | None = None) -> Stages:
        """As the growth model has them, each run starting from what its own values have grown from a point."""
        forward = OnsetForward(anatomy, FIT_MM)
        values = complete(self.parameters, parameters or {})
        relative = {
            tissue: 1.0 if divisor is None else 1.0 / values[divisor] for tissue, divisor in self._tissues.items()
        }
        return Stages(anatomy, relative, self.spacing_mm, lambda member: forward.image(forward.density(member)))


def _table(belief: OnsetPosterior, posterior: OnsetPosterior) -> Table:
    """Each unknown with its interval, and its deviation as a share of the prior's: 1 is what the images do not tell."""
    rows = [(p.name, p.unit, posterior.map[p.name], *posterior.interval(p.name)) for p in posterior.parameters]
    shares = list(np.sqrt(np.diag(posterior.log_covariance) / np.diag(belief.log_covariance)))
    for name, powers, unit in (
        *((name, powers, unit) for name, (powers, unit) in DETERMINED.items()),
        ("time_scale", TIME_SCALE, "d3/mm2"),
    ):
        rows.append((name, unit, *posterior.combined(powers)))
        weights = np.array([powers.get(p.name, 0.0) for p in posterior.parameters])
        shares.append(
            math.sqrt((weights @ posterior.log_covariance @ weights) / (weights @ belief.log_covariance @ weights))
        )
    columns = dict(zip(("parameter", "unit", "median", "low_90", "high_90"), map(list, zip(*rows))))
    return Table("Onset", {**columns, "share_of_prior_sd": shares}, {})


def _volumes(forward: OnsetForward, density: np.ndarray, member: Mapping[str, float]) -> dict[str, float]:
    voxel_ml = forward.grid.voxel_volume_ml
    cube_ml = voxel_ml * density.size / forward.flair.size
    volumes = {
        "volume_flair": float(forward.outline(density, member, member["oedema_threshold"]).sum() * cube_ml),
        "volume_t1": float(forward.outline(density, member, member["detection_threshold"]).sum() * cube_ml),
    }
    for level in INVISIBLE:
        outside = (density >= level) * (1.0 - forward.flair_share)
        volumes[f"beyond_flair_{level:g}"] = float(outside.sum() * voxel_ml)
    return volumes


def agreement(anatomy: Anatomy, density: np.ndarray, values: Mapping[str, float]) -> dict[str, Quantity]:
    """Dice of both outlines, and the correlation with the PET, on the anatomy's voxels."""
    tumour = np.asarray(anatomy.tissue("tumour")) >= 0.5
    flair = (np.asarray(anatomy.tissue("flair")) >= 0.5) | tumour
    numbers = {
        "dice_flair": Quantity(_dice(density >= values["oedema_threshold"], flair), NO_UNIT),
        "dice_t1": Quantity(_dice(density >= values["detection_threshold"], tumour), NO_UNIT),
    }
    if "pet" in anatomy.images:
        pet = pet_of(anatomy)
        parts = {"pet_correlation": tumour & (pet > 0)}
        if "necrosis" in anatomy.tissues:
            parts["pet_correlation_viable"] = parts["pet_correlation"] & (np.asarray(anatomy.tissue("necrosis")) < 0.5)
        numbers |= {
            name: Quantity(float(np.corrcoef(density[where], pet[where])[0, 1]), NO_UNIT)
            for name, where in parts.items()
        }
    return numbers


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    both, either = int(np.count_nonzero(one & other)), int(np.count_nonzero(one)) + int(np.count_nonzero(other))
    return 2.0 * both / either if either else 0.0
