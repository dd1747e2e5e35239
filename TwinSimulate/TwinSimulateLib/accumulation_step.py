"""Doses of a twin, of several plans or visits, carried through its registrations into one frame and added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from TwinCore import Grid, Image, InvalidInput, Job, MissingInput, Quantity, Segmentation, Table
from TwinCore.transform import Transform
from TwinCore.units import GRAY, MILLILITRE

from .dose_accumulation import accumulate
from .dose_response import eqd2
from .dose_volume import dose_volume

if TYPE_CHECKING:
    from TwinCore.scene import Run, Twin


@dataclass(frozen=True, eq=False)
class Inputs:
    """Each dose with its move into the reference's frame, the grid of the sum, and the twin's segments."""

    doses: Sequence[tuple[Image, Transform | None]]
    grid: Grid
    segmentations: Sequence[Segmentation]


@dataclass(frozen=True, eq=False)
class Outputs:
    """The sum, and what of it is in each segment."""

    total: Image
    table: Table | None


@dataclass
class AccumulationStep:
    """Add up doses of a twin: the fields of these names, moved as the images in whose frames they lie.

    >>> run = execute(twin, AccumulationStep(["first plan", "second plan"], {"first plan": 30, "second plan": 5}, 3.0))

    Parameters
    ----------
    doses : sequence of str
        Names of fields of the twin, in Gy.
    fractions : mapping of str to int
        Of each dose; with them the sum is one of EQD2, and not of physical dose.
    alpha_beta_gy : float, optional
        For EQD2.
    """

    doses: Sequence[str]
    fractions: Mapping[str, int] = field(default_factory=dict)
    alpha_beta_gy: float | None = None
    name: str = "TwinSimulate"

    def parameters(self) -> dict[str, Any]:
        return {"doses": list(self.doses), "fractions": dict(self.fractions), "alpha_beta_gy": self.alpha_beta_gy}

    def check(self) -> None:
        """Raise `InvalidInput` or `MissingInput` if what was chosen is not possible."""
        if len(self.doses) < 2 or len(set(self.doses)) != len(self.doses):
            raise InvalidInput(f"Two doses or more are added up, each once, not {', '.join(self.doses) or 'none'}.")
        if bool(self.fractions) != (self.alpha_beta_gy is not None):
            raise MissingInput("A sum of EQD2 needs alpha/beta and the fractions of every dose; one of dose neither.")
        if self.fractions and set(self.fractions) != set(self.doses):
            raise MissingInput(
                f"Say the fractions of every dose, and of no other: of {', '.join(self.doses)}, not of "
                f"{', '.join(self.fractions)}."
            )

    def read(self, twin: Twin) -> Inputs:
        from TwinCore.scene import node_to_segmentation

        self.check()
        fields = {node.GetName(): node for node in reversed(twin.nodes("field"))}
        missing = [name for name in self.doses if name not in fields]
        if missing:
            raise MissingInput(f"The twin has no field {missing[0]!r}; it has: {', '.join(fields) or 'none'}.")
        doses = [(twin.image(fields[name]), twin.move_of(fields[name])) for name in self.doses]
        still = next((dose.grid for dose, move in doses if move is None), None)
        grid = still if still is not None else twin.image(twin.node("reference")).grid
        return Inputs(doses, grid, [node_to_segmentation(node) for node in twin.nodes("segmentation")])

    def compute(self, inputs: Inputs, job: Job) -> Outputs:
        adding, measuring = job.split(doses=3, histograms=1)
        with adding:
            doses = [(self._counted(dose), move) for dose, move in inputs.doses]
            word = "dose" if self.alpha_beta_gy is None else f"EQD2, alpha/beta {self.alpha_beta_gy:g} Gy"
            total = replace(accumulate(doses, inputs.grid, adding), name=f"accumulated {word}")
        with measuring:
            return Outputs(total, _table(total, inputs.segmentations, measuring))

    def write(self, run: Run, outputs: Outputs) -> None:
        run.add_image(outputs.total, "field")
        results = {"accumulated_max_gy": Quantity(float(outputs.total.array.max()), GRAY)}
        if outputs.table is not None:
            run.add_table(outputs.table)
            columns = outputs.table.columns
            for key in ("mean", "D95%", "D2%"):
                word = {"mean": "mean_gy", "D95%": "d95_gy", "D2%": "d2_gy"}[key]
                values = zip(columns["segment"], columns[key])
                results |= {f"accumulated_{word}, {segment}": Quantity(float(v), GRAY) for segment, v in values}
        run.record(results)

    def _counted(self, dose: Image) -> Image:
        if self.alpha_beta_gy is None:
            return dose
        return eqd2(dose, self.fractions[dose.name], self.alpha_beta_gy)


def _table(total: Image, segmentations: Sequence[Segmentation], job: Job) -> Table | None:
    """The usual read-outs of every segment that the sum reaches."""
    rows: dict[str, list] = {"segment": [], "volume": [], "mean": [], "D95%": [], "D2%": [], "maximum": []}
    names = [(one, name) for one in segmentations for name in one.names if one.mask(name).any()]
    for one, name in job.each(names, "segments"):
        try:
            found = dose_volume(total, Image(one.mask(name), one.grid, name=name), job)
        except InvalidInput as error:
            job.warn(f"Left out: {error}")
            continue
        for column, value in zip(
            rows,
            (
                name,
                found.total_ml,
                found.mean_gy,
                found.dose_to_percent(95),
                found.dose_to_percent(2),
                found.max_gy,
            ),
        ):
            rows[column].append(value)
    if not rows["segment"]:
        return None
    units = dict.fromkeys(("mean", "D95%", "D2%", "maximum"), GRAY)
    columns = {name: values if name == "segment" else np.array(values) for name, values in rows.items()}
    return Table("Accumulated dose", columns, {"volume": MILLILITRE, **units})
