"""A radiotherapy plan from disk to figures: its dose in each structure, its goals, and what it may do."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from TwinCore import Image, InvalidInput, Job, MissingInput, Quantity, Table
from TwinCore.guard import display_name
from TwinCore.provenance import content_hash, record
from TwinCore.units import GRAY, MILLILITRE
from TwinFusionLib.dicom_dose import is_effective, read_dose
from TwinFusionLib.dicom_plan import Plan, read_plan
from TwinFusionLib.series import Series
from TwinSegmentLib.structures import ENDS, read_structures
from TwinSimulateLib.dose_volume import DoseVolume, dose_volume
from TwinSimulateLib.plan_goals import Metric, evaluate
from TwinSimulateLib.plan_what_ifs import after_shifts, with_margin

from .dose_answers import answers
from .dose_chart import draw_histograms
from .dose_goals import GoalsFile, Prescription, WhatIf, read_goals
from .dose_scene import doses_to_show, histogram_table, write_scene
from .outputs import as_entries, check_replaceable, whole_folder, write_json, write_table
from .pipeline import SCHEMA, as_rows

STATIC = (
    "The what-ifs take the dose to stay where it is in space, and to scale as a whole: how it would change with the "
    "patient, or be planned anew, is left out."
)
READ_OUTS = {"mean_gy": "mean", "min_gy": "min", "max_gy": "max", "d95_gy": "D95%", "d2_gy": "D2%"}


def evaluate_plan(
    dose: str | Path,
    structures: str | Path,
    out: str | Path,
    *,
    goals: str | Path | None = None,
    plan: str | Path | None = None,
    ends: str = ENDS.default,
    effective: bool = False,
    job: Job | None = None,
) -> dict[str, dict[str, Any]]:
    """Evaluate a plan, and write what was found.

    Parameters
    ----------
    dose, structures : path
        DICOM RTDOSE of the whole plan, and the RTSTRUCT that it was planned on.
    out : path
        Folder for `results.json`, `structures.csv`, `dvh.csv`, `dvh.png`, `twin.mrb`, `provenance.json` and, where they
        were asked for, `goals.csv` and `schedules.csv`: all at once.
    goals : path, optional
        Goals file; without one, the histograms are all there is.
    plan : path, optional
        DICOM RTPLAN, whose prescription takes the place of that of the goals file.
    ends : str
        An option of `TwinSegmentLib.structures.ENDS`.
    effective : bool
        Whether an effective dose is taken too; of such a one there are histograms and goals only.
    job : Job, optional

    Returns
    -------
    dict
        The results as results.json holds them.

    Raises
    ------
    TwinError
        If a file cannot be read, they do not belong together, or the job was cancelled; nothing is written then.
    """
    job, started = job or Job(), datetime.now().astimezone()
    check_replaceable(Path(out))
    ENDS.check(ends)
    asked = read_goals(goals) if goals is not None else GoalsFile()
    reading, drawing, measuring, answering, writing = job.split(
        reading=1, structures=3, histograms=4, answers=4, writing=1
    )
    with reading:
        series = read_dose(dose, reading, effective)
        if is_effective(series) and asked.asks_for_effects():
            raise InvalidInput(
                "Complications, control and other schedules are computed of a physical dose, and this one is "
                "effective: leave them out of the goals file, or give the physical dose."
            )
        prescription = _prescription(asked, read_plan(plan) if plan is not None else None, series)
    with drawing:
        drawn = _structures(Path(structures), series, asked, ends, drawing)
    with measuring:
        histograms = _histograms(series.image, drawn, asked, measuring)
    prescribed = prescription.dose_gy if prescription else None
    results, table = _goals(asked, histograms, prescribed)
    results.update(_what_ifs(asked, series.image, drawn, histograms))
    if asked.what_if != WhatIf():
        job.warn(STATIC)
    with answering:
        found, schedules = answers(asked, histograms, prescription, answering)
        results.update(found)
    with writing, whole_folder(Path(out)) as folder:
        entries = as_entries(results)
        tables = {"structures": _read_outs(histograms)}
        if table.rows:
            tables["goals"] = table
        if schedules is not None:
            tables["schedules"] = schedules
        for name, each in tables.items():
            write_table(folder / f"{name}.csv", each)
        _write_histograms(folder, histograms, prescribed)
        parameters = {"ends": ends, "effective": effective, "goals": asked.model_dump(mode="json")}
        parameters["prescription"] = prescription.model_dump(mode="json") if prescription else None
        write_scene(
            folder / "twin.mrb", asked.patient, series.image, drawn, histograms, tables.values(), results, parameters,
            writing,
        )  # fmt: skip
        document = {
            "schema": SCHEMA,
            "patient": asked.patient,
            "virtual": False,
            **entries,
            "scenarios": as_rows(schedules) if schedules is not None else [],
            "warnings": list(job.warnings),
        }
        write_json(folder / "results.json", document)
        inputs = [_input(series.image), *(_input(s) for s in drawn.values())]
        run = record(
            "dose", "TwinApp.dosing", parameters, inputs, [], results, job.warnings, started, job.elapsed_seconds,
            job.seconds,
        )  # fmt: skip
        write_json(folder / "provenance.json", {"runs": [run]})
        job.checkpoint()
    return entries


def _prescription(asked: GoalsFile, plan: Plan | None, series: Series) -> Prescription | None:
    """That of the plan where there is one, if the dose is the plan's."""
    if plan is None:
        return asked.prescription
    (header,) = series.headers
    referred = [str(item.get("ReferencedSOPInstanceUID", "")) for item in header.get("ReferencedRTPlanSequence") or []]
    if referred and plan.uid not in referred:
        raise InvalidInput("The dose was calculated for another plan than the one given (300C,0002).")
    if plan.patient and series.patient and plan.patient != series.patient:
        raise InvalidInput("The plan and the dose are not of the same patient: their patient ID or name differ.")
    own = asked.prescription.dose_gy if asked.prescription else None
    return Prescription(fractions=plan.fractions, dose_gy=plan.prescribed_gy or own)


def _structures(path: Path, series: Series, asked: GoalsFile, ends: str, job: Job) -> dict[str, Image]:
    """Every structure that can be used; one that is named in the goals must be there."""
    frame = series.frame_of_reference_uid or None
    found = read_structures(path, frame, None, ends, job)
    wanted = [name for name in asked.structures() if name not in found]
    if wanted:
        found.update(read_structures(path, frame, wanted, ends, job))
        if unknown := [name for name in wanted if name not in found]:
            raise MissingInput(f"The structure {unknown[0]!r} is known here by another name: {', '.join(found)}.")
    return found


def _histograms(dose: Image, drawn: Mapping[str, Image], asked: GoalsFile, job: Job) -> dict[str, DoseVolume]:
    """Of every structure that the dose reaches; one that is named in the goals must be reached."""
    found: dict[str, DoseVolume] = {}
    for name in job.each(drawn, "histograms"):
        try:
            found[name] = dose_volume(dose, drawn[name], job)
        except InvalidInput as error:
            if name in asked.structures():
                raise
            job.warn(f"Left out: {error}")
    if not found:
        raise InvalidInput("None of the structures lies inside the dose grid.")
    return found


def _goals(
    asked: GoalsFile, histograms: Mapping[str, DoseVolume], prescribed_gy: float | None
) -> tuple[dict[str, Quantity | str], Table]:
    """Usual read-outs of every structure, and each goal with its verdict."""
    results: dict[str, Quantity | str] = {}
    for name, histogram in histograms.items():
        results[f"volume_ml, {name}"] = Quantity(histogram.total_ml + histogram.outside_ml, MILLILITRE)
        for key, metric in READ_OUTS.items():
            results[f"{key}, {name}"] = Metric.parse(metric).of(histogram)
    goals = asked.goals()
    values, table = evaluate(goals, histograms, prescribed_gy)
    for goal, value, verdict in zip(goals, values, table.columns["verdict"]):
        results[f"goal, {goal.structure}, {goal.metric.name}"] = value
        results[f"goal_verdict, {goal.structure}, {goal.metric.name}"] = str(verdict)
    if goals:
        worst = ("fail", "acceptable", "pass")
        results["goals_verdict"] = min(map(str, table.columns["verdict"]), key=worst.index)
    return results, table


def _what_ifs(
    asked: GoalsFile, dose: Image, drawn: Mapping[str, Image], histograms: Mapping[str, DoseVolume]
) -> dict[str, Quantity | str]:
    """Structures moved or grown in the dose as it is."""
    results: dict[str, Quantity | str] = {}
    for name in asked.what_if.structures:
        if asked.what_if.shift_mm is not None:
            shifted = after_shifts(dose, drawn[name], asked.what_if.shift_mm)
            results[f"d95_lowest_after_shift_gy, {name}"] = _extreme(shifted, "D95%", min)
            results[f"d2_highest_after_shift_gy, {name}"] = _extreme(shifted, "D2%", max)
        for margin in asked.what_if.margins_mm:
            grown = dose_volume(dose, with_margin(drawn[name], margin))
            results[f"d95_gy, {name} {margin:+g} mm"] = Quantity(grown.dose_to_percent(95), GRAY)
    return results


def _extreme(histograms: Mapping[str, DoseVolume], metric: str, of) -> Quantity:
    return of((Metric.parse(metric).of(h) for h in histograms.values()), key=lambda q: q.value)


def _read_outs(histograms: Mapping[str, DoseVolume]) -> Table:
    """Volume and usual read-outs, a structure a row."""
    columns: dict[str, Any] = {
        "structure": list(histograms),
        "volume": [h.total_ml + h.outside_ml for h in histograms.values()],
    }
    for metric in READ_OUTS.values():
        columns[metric] = [Metric.parse(metric).of(h).value for h in histograms.values()]
    return Table("Structures", columns, {"volume": MILLILITRE, **dict.fromkeys(READ_OUTS.values(), GRAY)})


def _write_histograms(folder: Path, histograms: Mapping[str, DoseVolume], prescribed_gy: float | None) -> None:
    dose_gy = doses_to_show(histograms, prescribed_gy)
    shares = histogram_table(histograms, dose_gy).columns
    with open(folder / "dvh.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["dose [Gy]", *(f"{name} [% of {h.total_ml:.4g} mL]" for name, h in histograms.items())])
        writer.writerows(
            [f"{d:.1f}", *(f"{shares[name][n]:.4f}" for name in histograms)] for n, d in enumerate(dose_gy)
        )
    draw_histograms(histograms, dose_gy, folder / "dvh.png", prescribed_gy)


def _input(image: Image) -> dict[str, str]:
    return {"name": display_name(image.name), "hash": content_hash(image.array, image.grid.ijk_to_ras)}
