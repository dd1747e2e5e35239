"""A tumour on one stage, as it grows between the events of a treatment."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from TwinCore import InvalidInput, Job

from .chemotherapy import Chemotherapy, efficacy_of
from .moving_tissue import MovingTissue
from .numerics.diffusion import ReactionDiffusion
from .radiotherapy import Schedule
from .surgery import Surgery
from .treatment import Treatment
from .treatment_maps import StageMaps


class TreatedTumour:
    """One member under one treatment.

    Parameters
    ----------
    maps : StageMaps
        With the stage.
    member : mapping of str to float
    treatment : Treatment
    """

    def __init__(self, maps: StageMaps, member: Mapping[str, float], treatment: Treatment):
        self._maps, self._member = maps, member
        self._growth = member["diffusivity"], member["proliferation_rate"]
        courses = treatment.courses
        self._surgery = [c for c in courses if isinstance(c, Surgery)]
        self._radiotherapy = [(c, set(c.days), maps.survivors(c, member)) for c in courses if isinstance(c, Schedule)]
        self._drugs = [(c, efficacy_of(member, c)) for c in courses if isinstance(c, Chemotherapy)]
        self.day = 0.0
        start = maps.stage.day_zero(member)
        self.equation: ReactionDiffusion | MovingTissue = maps.stage.growing(member, start)
        if self._surgery and isinstance(self.equation, MovingTissue):
            raise InvalidInput(
                f"Treatment {treatment.name!r}: how tissue gives way round a cavity is not modelled; leave surgery "
                "out, or mass_effect_strain at 0."
            )
        self.state = self.equation.state(start)

    def stops(self, last_day: float) -> set[float]:
        """Days up to the last on which it must be stopped for the treatment."""
        days = {day for c in self._surgery for day in c.days} | {
            day for _, each, _ in self._radiotherapy for day in each
        }
        days |= {day for c, _ in self._drugs for day in c.effect_days}
        return {float(day) for day in days if day <= last_day}

    def grow(self, day: float, job: Job) -> None:
        """Grow until a day, under the drugs that act meanwhile.

        What a drug kills in between is taken off at both ends, in the shares that keep its mean time: second order in
        the time between stops, and exact where cells do not grow.
        """
        early = [self._kill(c, efficacy, day) for c, efficacy in self._drugs]
        self._take(sum(kill * share for kill, share in early))
        self.state = self.equation.advance_state(self.state, *self._growth, day - self.day, job)
        self._take(sum(kill * (1.0 - share) for kill, share in early))
        self.day = day

    def treat(self) -> bool:
        """Do what is planned for the day, surgery first; whether anything was."""
        treated = False
        for surgery in self._surgery:
            if surgery.day == self.day:
                density = self.equation.density(self.state)
                self.equation = self._maps.without(self.equation.domain, surgery)
                self.state, treated = self.equation.state(density), True
        for _, days, survivors in self._radiotherapy:
            if self.day in days:
                self._scale(survivors)
                treated = True
        return treated

    @property
    def burden_ml(self) -> float:
        """All cells, as the volume that they would fill if packed."""
        return float((self.state * self.equation.volume).sum(dtype=np.float64)) * self._maps.stage.grid.voxel_volume_ml

    def density(self) -> np.ndarray:
        return self.equation.density(self.state)

    def _kill(self, course: Chemotherapy, efficacy: float, day: float) -> tuple[float, float]:
        """Logarithm of what a drug kills until a day, and the share of it to take off at once."""
        kill = efficacy * (course.acted(day) - course.acted(self.day))
        return (kill, 1.0 - course.delay_days(self.day, day) / (day - self.day)) if kill > 0 else (0.0, 0.0)

    def _take(self, kill: float) -> None:
        if kill > 0:
            self._scale(np.exp(-kill * self._maps.delivery))

    def _scale(self, survivors: np.ndarray | float) -> None:
        each = self.equation.state(survivors) if isinstance(survivors, np.ndarray) and survivors.ndim else survivors
        self.state *= each if isinstance(each, np.ndarray) else self.state.dtype.type(each)
