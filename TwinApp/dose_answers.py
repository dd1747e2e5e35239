"""What a plan's dose may do, with intervals: tumour control, complications, and other schedules of the same dose."""

from __future__ import annotations

from collections.abc import Mapping

from TwinCore import InvalidInput, Job, MissingInput, Quantity, Table
from TwinSimulateLib.dose_response import complication, find_endpoint
from TwinSimulateLib.dose_volume import DoseVolume
from TwinSimulateLib.radiotherapy import Schedule
from TwinSimulateLib.radiotherapy_model import Radiotherapy

from .dose_goals import GoalsFile, Prescription


def answers(
    asked: GoalsFile, histograms: Mapping[str, DoseVolume], prescription: Prescription | None, job: Job
) -> tuple[dict[str, Quantity | str], Table | None]:
    """Complications of the named organs, control of the named tumour, and the table of schedules.

    Raises
    ------
    MissingInput
        If the fractions are not known, or schedules are asked without a tumour.
    """
    if not asked.asks_for_effects():
        return {}, None
    if prescription is None:
        raise MissingInput("What a dose does depends on its fractions: give the prescription, or the plan.")
    results: dict[str, Quantity | str] = {}
    for entry in asked.complication:
        job.checkpoint()
        found = complication(histograms[entry.structure], prescription.fractions, find_endpoint(entry.organ))
        results.update({f"{key}, {entry.structure}": estimate for key, estimate in found.items()})
    if not asked.control:
        if asked.what_if.schedules:
            raise MissingInput("Schedules are compared by the control of a tumour: name it under [[control]].")
        return results, None
    return _control(asked, histograms, prescription, results, job)


def _control(
    asked: GoalsFile,
    histograms: Mapping[str, DoseVolume],
    prescription: Prescription,
    results: dict[str, Quantity | str],
    job: Job,
) -> tuple[dict[str, Quantity | str], Table]:
    (tumour,) = asked.control
    total = prescription.dose_gy or histograms[tumour.structure].mean_gy
    delivered = Schedule(
        f"as planned, {prescription.fractions} fractions", prescription.fractions, total / prescription.fractions
    )
    by_role = {"tumour": histograms[tumour.structure]}
    by_role.update({entry.organ: histograms[entry.structure] for entry in asked.complication})
    others = asked.schedules()
    if any(s.start_day for s in others):
        raise InvalidInput("The schedules of a plan have no first day: the model knows of no time.")
    model = Radiotherapy(tumour.tumour)
    numbers, table = model.of_histograms(by_role, model.prior(), [delivered, *others], job)
    results[f"tcp, {tumour.structure}"] = numbers[delivered.name]["tcp"]
    results[f"eqd2_mean_gy, {tumour.structure}"] = numbers[delivered.name]["eqd2_mean_tumour"]
    return results, table
