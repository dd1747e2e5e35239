"""Tumour growth and treatment: u' = div(D grad u) + rho u (1 - u), less the cells that a treatment takes.

u is the density of viable tumour cells as a fraction of the carrying capacity. The model knows viable cells only: dead
cells vanish at once, so after radiotherapy the **viable tumour volume** falls faster than the mass on an image, which
takes weeks to be cleared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from TwinCore import Image, InvalidInput, Job, Quantity, Table
from TwinCore.parameter import complete
from TwinCore.units import MILLILITRE, MILLIMETRE, NO_UNIT

from .mass_effect import displacement
from .model import Anatomy, Comparison, Curve, Model, Posterior, Requirement, Result
from .numerics.discretisation import check_discretisation
from .radiotherapy import NO_TREATMENT
from .treatment import Treatment
from .tumour_answers import CURVES, control_probability, prediction, scenario_table, untreated
from .tumour_calibration import TumourCalibration
from .tumour_observations import TumourObservation
from .tumour_presets import PRESETS, growth, titles
from .tumour_regions import regions
from .tumour_run import Ensemble, Run, checked_times, run_ensemble, run_member, volume_error
from .tumour_stage import Stages


class TumourGrowth(Model):
    """Reaction-diffusion growth of a tumour on the tissue grid, under radiotherapy, chemotherapy and surgery.

    An anatomy may also have the tissue "barrier" (falx and tentorium), which nothing crosses however coarse the grid,
    the image "diffusion_tensor" (in RAS: xx, xy, xz, yy, yz, zz), along which cells then spread, and the image
    "cellularity" (0 to 1, not a number where it is not known), which is then the density at day 0 within the outline.

    >>> model = TumourGrowth("soft-tissue sarcoma")
    >>> posterior = model.prior()
    >>> comparison = model.compare(anatomy, posterior, SCENARIOS, range(0, 121, 3), Job())

    Parameters
    ----------
    preset : str
        Which tumour: a key of `presets`.
    spacing_mm : float, optional
        Grid spacing of every run; by default chosen for each front so that its speed is right to 5 %.
    """

    name = "tumour_growth"
    title = "Tumour growth and treatment"
    presets = titles()

    def __init__(self, preset: str, spacing_mm: float | None = None):
        declared = growth(preset)
        self.parameters, self._requires = declared.parameters, declared.requires
        self.preset, self._tissues = preset, PRESETS[preset].tissues
        self.spacing_mm = spacing_mm

    def requires(self) -> tuple[Requirement, ...]:
        return self._requires

    def relative_diffusivity(self, values: Mapping[str, float]) -> dict[str, float]:
        """Diffusivity of each tissue, relative to where cells move most easily."""
        return {tissue: 1.0 if divisor is None else 1.0 / values[divisor] for tissue, divisor in self._tissues.items()}

    def prior(self) -> Posterior:
        """What is believed of the parameters before any follow-up of the patient."""
        return Posterior.prior(self.parameters)

    def simulate(
        self,
        anatomy: Anatomy,
        parameters: Mapping[str, float],
        times_days: Sequence[float],
        job: Job,
        treatment: Treatment = NO_TREATMENT,
    ) -> Result:
        """One run.

        Parameters
        ----------
        anatomy : Anatomy
            Tissues "tumour" and those of the preset.
        parameters : mapping of str to float
            Those left out take their defaults.
        times_days : sequence of float
            Days from the reference scan, ascending; volumes on the day of a fraction are those before it.
        job : Job
        treatment : Treatment
            Where the anatomy has no image "dose", the whole tissue receives what is prescribed.

        Returns
        -------
        Result
            Field "density" at the last time, where the tissue has come to, and, where the preset tells them apart, its
            "regions" (`tumour_regions.REGIONS`); curves "volume" (mL at or above the detection threshold), "burden"
            (integral of the density, mL), "diameter" (the largest, mm) and "reach" (beyond the outline, mm); numbers
            "volume", "minimum_volume", "diameter", "reach", "surviving_fraction" (of the whole treatment as prescribed)
            and "tcp" (Poisson probability of control). If `mass_effect_strain` is not zero, also the transform
            "tissue", which `resample` takes to show any image of the anatomy as it has been moved by then, the field
            "displacement" (mm) and the number "largest_displacement".

        Raises
        ------
        MissingInput, InvalidInput, NotResolved
        """
        times = checked_times(times_days)
        run, stages = self._run(anatomy, parameters, times, treatment, job)
        member = complete(self.parameters, parameters)
        field = Image(
            stages.on_anatomy(run.densities[-1], run.stage),
            anatomy.grid,
            unit=NO_UNIT,
            time=float(times[-1]),
            name="density",
        )
        shown = {
            "volume": run.volume_ml[:, 0],
            "burden": run.burden_ml,
            "diameter": run.diameter_mm,
            "reach": run.reach_mm,
        }
        numbers = {
            "volume": Quantity(float(run.volume_ml[-1, 0]), MILLILITRE),
            "minimum_volume": Quantity(float(run.volume_ml[:, 0].min()), MILLILITRE),
            "diameter": Quantity(float(run.diameter_mm[-1]), MILLIMETRE),
            "reach": Quantity(float(run.reach_mm[-1]), MILLIMETRE),
            "surviving_fraction": Quantity(treatment.survival(member), NO_UNIT),
            "tcp": Quantity(float(control_probability([run.least_burden_ml], [member])[0]), NO_UNIT),
        }
        curves = {name: Curve(times, values, CURVES[name]) for name, values in shown.items()}
        fields, shown_as = {"density": field}, regions(field.array, member)
        if shown_as is not None:
            fields["regions"] = field.with_array(shown_as, name="regions")
        move = run.moves[-1]
        if move is None:
            return Result(fields, curves, numbers)
        fields["displacement"] = displacement(move, anatomy.grid, float(times[-1]))
        numbers["largest_displacement"] = Quantity(float(fields["displacement"].array.max()), MILLIMETRE)
        return Result(fields, curves, numbers, {"tissue": move})

    def frames(
        self,
        anatomy: Anatomy,
        parameters: Mapping[str, float],
        times_days: Sequence[float],
        job: Job,
        treatment: Treatment = NO_TREATMENT,
    ) -> list[Image]:
        """The density of one run at each time, on the anatomy's grid."""
        times = checked_times(times_days)
        run, stages = self._run(anatomy, parameters, times, treatment, job, keep=True)
        return [
            Image(
                stages.on_anatomy(density, run.stage),
                anatomy.grid,
                unit=NO_UNIT,
                time=float(time),
                name=f"density, day {time:g}",
            )
            for time, density in zip(times, run.densities)
        ]

    def calibrate(
        self,
        anatomy: Anatomy,
        observations: Sequence[TumourObservation],
        job: Job,
        treatment: Treatment = NO_TREATMENT,
        seed: int = 0,
        *,
        prior: Posterior | None = None,
    ) -> Posterior:
        """Growth, spread and (where the patient was treated) radiosensitivity from follow-up scans.

        Parameters
        ----------
        anatomy : Anatomy
        observations : sequence of Observation, Outline, Cellularity or Uptake
            An `Observation` is of "volume", in mL. One at day 0 that shows more than the outline itself (a volume or an
            outline at another threshold, as FLAIR beside T1 with contrast, or a map) tells D/rho.
        job : Job
        treatment : Treatment
            That the patient received.
        seed : int
            For the ensemble that predicts the held-out visit.
        prior : Posterior, optional
            Of earlier visits, when new ones arrive: the observations are then those of the new visits alone. The
            parameters' own priors, if left out.

        Returns
        -------
        Posterior
            With `held_out` where there are more than two visits, the reference scan being one, or any after a `prior`.
        """
        return self._calibration(anatomy, prior, treatment).posterior(observations, job, seed)

    def check_calibration(
        self,
        anatomy: Anatomy,
        observations: Sequence[TumourObservation],
        posterior: Posterior,
        job: Job,
        treatment: Treatment = NO_TREATMENT,
        seed: int = 0,
        *,
        prior: Posterior | None = None,
    ) -> Table:
        """The posterior beside an ensemble smoother's, which takes no derivatives; warns where the two disagree.

        It costs about eight times the calibration that gave `posterior`; what was given to that is given here.
        """
        return self._calibration(anatomy, prior, treatment).check(observations, posterior, job, seed)

    def volume_error(
        self,
        anatomy: Anatomy,
        parameters: Mapping[str, float],
        times_days: Sequence[float],
        job: Job,
        treatment: Treatment = NO_TREATMENT,
    ) -> float:
        """How wrong a run's volume is for its grid's sake, as a share of the largest: from a second, coarser run.

        It warns of more than 5 %, and raises `NotResolved` of more than 20 %.
        """
        member, times = complete(self.parameters, parameters), checked_times(times_days)
        error, spacing = volume_error(self._stages(anatomy, parameters), member, treatment, times, job)
        check_discretisation(error, spacing, "tumour volume", job)
        return error

    def predict(
        self,
        anatomy: Anatomy,
        posterior: Posterior,
        times_days: Sequence[float],
        job: Job,
        treatment: Treatment = NO_TREATMENT,
        members: int = 48,
        seed: int = 0,
    ) -> Result:
        """An ensemble under one treatment: `compare` with a single scenario."""
        return self.compare(anatomy, posterior, [treatment], times_days, job, members, seed).predictions[treatment.name]

    def compare(
        self,
        anatomy: Anatomy,
        posterior: Posterior,
        scenarios: Sequence[Treatment],
        times_days: Sequence[float],
        job: Job,
        members: int = 48,
        seed: int = 0,
    ) -> Comparison:
        """The same members under each treatment; differences are to the first.

        Returns
        -------
        Comparison
            Each prediction has the fields "probability" (share of members with u at or above the threshold at the last
            time) and "density" (mean of the members), the curves and numbers of `simulate`, "days_to_regrow" (infinite
            where it has not regrown by the last time) and, where a scenario is untreated, "days_gained", each with its
            intervals, and "discretisation_error": of the volume under the first scenario at the most probable
            parameters, as `volume_error` has it.
        """
        _check_names(scenarios)
        grids, runs = job.split(grids=1, members=members)
        with grids:
            error = self.volume_error(anatomy, posterior.map, times_days, grids, scenarios[0])
        with runs:
            ensembles, drawn = self.ensembles(anatomy, posterior, scenarios, times_days, runs, members, seed)
        control = untreated(ensembles)
        predictions = {e.treatment.name: prediction(e, drawn, anatomy.grid, error, control) for e in ensembles}
        return Comparison(scenario_table(ensembles, drawn), predictions)

    def ensembles(
        self,
        anatomy: Anatomy,
        posterior: Posterior,
        scenarios: Sequence[Treatment],
        times_days: Sequence[float],
        job: Job,
        members: int = 48,
        seed: int = 0,
    ) -> tuple[list[Ensemble], list[dict[str, float]]]:
        """What `compare` rests on: all runs, a member's the same in each scenario, and the members' parameters."""
        _check_names(scenarios)
        drawn = self._members(posterior, members, seed)
        stages = self._stages(anatomy, posterior.map)
        return run_ensemble(stages, drawn, scenarios, checked_times(times_days), job), drawn

    def _members(self, posterior: Posterior, members: int, seed: int) -> list[dict[str, float]]:
        return [complete(self.parameters, sample) for sample in posterior.samples(members, seed)]

    def _stages(self, anatomy: Anatomy, parameters: Mapping[str, float] | None = None) -> Stages:
        values = complete(self.parameters, parameters or {})
        stiffness_kpa = PRESETS[self.preset].stiffness_kpa
        return Stages(anatomy, self.relative_diffusivity(values), self.spacing_mm, stiffness_kpa=stiffness_kpa)

    def _run(self, anatomy, parameters, times, treatment, job, keep=False) -> tuple[Run, Stages]:
        member, stages = complete(self.parameters, parameters), self._stages(anatomy, parameters)
        (spacing,) = stages.plan([member], float(times[-1]), job)
        return run_member(
            stages, spacing, member, treatment, times, (member["detection_threshold"],), job, keep, not keep
        ), stages

    def _calibration(self, anatomy: Anatomy, prior: Posterior | None, treatment: Treatment) -> TumourCalibration:
        return TumourCalibration(self.parameters, self._stages(anatomy), prior, treatment)


def _check_names(scenarios: Sequence[Treatment]) -> None:
    names = [s.name for s in scenarios]
    if not names or len(set(names)) != len(names):
        raise InvalidInput(
            f"Scenarios need distinct names, and there must be one at least: {', '.join(names) or 'none'}."
        )
