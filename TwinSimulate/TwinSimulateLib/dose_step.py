"""What a planned dose may do to a twin's tumour and organs, and what other fractions would do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from TwinCore import Image, InvalidInput, Job, MissingInput, Quantity
from TwinCore.units import GRAY, NO_UNIT

from . import registry
from .declared import DOSE
from .dose_response import endpoints
from .model import Anatomy, Comparison
from .radiotherapy import Schedule
from .radiotherapy_model import Radiotherapy
from .twin_anatomy import anatomy_of
from .twin_images import hashed

if TYPE_CHECKING:
    from TwinCore.scene import Run, Twin


@dataclass
class DoseStep:
    """Tumour control and complications of a plan's dose under each schedule.

    >>> plans = [Schedule.of(30, 2.0), Schedule.of(15, 2.67)]
    >>> run = execute(twin, DoseStep("glioma", dose, scenarios=plans))                   # doctest: +SKIP
    >>> run.results["tcp, 30 x 2 Gy"].interval_90                                        # doctest: +SKIP

    Parameters
    ----------
    preset : str
        Which tumour.
    dose : Image
        Total dose of the plan in Gy, in the twin's frame, on any grid.
    segments : mapping of str to str
        Segment of the twin for "tumour", and for organs whose segment has not the model's own name.
    scenarios : sequence of Schedule
        The first is the one that the dose was planned for.
    members, seed : int
        Size and seed of the ensemble.
    values : mapping of str to float
        Parameters at other values than the preset's.
    """

    preset: str
    dose: Image
    segments: Mapping[str, str] = field(default_factory=dict)
    scenarios: Sequence[Schedule] = ()
    members: int = 200
    seed: int = 0
    values: Mapping[str, float] = field(default_factory=dict)
    model: str = "radiotherapy"
    name: str = "TwinSimulate"

    def parameters(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "preset": self.preset,
            "dose": hashed(self.dose),
            "segments": dict(self.segments),
            "scenarios": [asdict(s) for s in self.scenarios],
            "members": self.members,
            "seed": self.seed,
            "values": dict(self.values),
        }

    def check(self) -> Radiotherapy:
        """The model, if what was chosen is possible: so that a mistake is told before anything is computed."""
        if self.dose.unit not in (GRAY, NO_UNIT) or self.dose.array.min() < 0:
            raise InvalidInput(
                f"{self.dose.name!r} is no dose in Gy: its unit is {self.dose.unit!r}, or it is below 0."
            )
        if not self.scenarios:
            raise MissingInput("What a dose does depends on its fractions: give the schedule that it was planned for.")
        if not 2 <= self.members <= 10_000:
            raise InvalidInput(f"An ensemble needs from 2 to 10000 members, not {self.members}.")
        model = registry.find(self.model, self.preset, dict(self.values))
        if not isinstance(model, Radiotherapy):
            raise InvalidInput(f"The model {self.model!r} has no use for a dose.")
        return model

    def read(self, twin: Twin) -> Anatomy:
        dose = {DOSE.name: replace(self.dose, unit=GRAY)}
        return anatomy_of(twin, self.check().requires(), self.segments, tuple(endpoints()), dose)

    def compute(self, inputs: Anatomy, job: Job) -> Comparison:
        model = self.check()
        return model.compare(inputs, model.prior(), self.scenarios, (), job, self.members, self.seed)

    def write(self, run: Run, outputs: Comparison) -> None:
        results: dict[str, Quantity | str] = {}
        for schedule, prediction in outputs.predictions.items():
            field_name = f"EQD2, {schedule}"
            run.add_image(replace(prediction.fields["eqd2"], name=field_name), "field")
            results.update({f"{name}, {schedule}": number for name, number in prediction.numbers.items()})
        run.add_table(outputs.table)
        run.record(results)
