"""The report: one self-contained page for a clinician, with the answer first and everything it rests on below."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from TwinCore import Image, Job, Quantity, Segmentation, Table
from TwinCore.transform import Transform
from TwinSimulateLib.model import Comparison, Estimate, Posterior
from TwinSimulateLib.treatment import Treatment

from .charts import is_logarithmic, prediction_chart
from .pages import template
from .pictures import Picture, field_planes, fused_overlay, segmentation_planes
from .planes import Placed
from .surface_view import render_surfaces
from .wording import interval, label, number, percent, plain, quantity, scenario, volume, volume_interval, with_unit

NO_GL = "The three-dimensional picture was left out: no GL library that renders off-screen (OSMesa or EGL) was found."
PREDICTED = "predicted_volume_ml, "
"""Results that begin so are in the table of scenarios already."""


@dataclass(frozen=True, eq=False)
class ReportContent:
    """All that a report tells.

    Parameters
    ----------
    patient : str
        Name as shown.
    virtual : bool
        Whether the patient is made up; the report then says so in large letters.
    question : str
        One sentence.
    reference : Image
        The reference image on the common grid.
    moved : sequence of (Image, Transform or None)
        The other images in their own grids, each with its move into the reference frame (none: it is there already).
    segmentation : Segmentation
        On the common grid.
    target : str
        Name of the tumour's segment.
    results : mapping of str to Quantity, Estimate or str
        As in results.json.
    verdicts : sequence of (frame, grade, reasons)
        Of each registration; the grade is "good", "check" or "failed".
    comparison : Comparison, optional
        Its first scenario is the one that the others are compared with.
    posterior : Posterior, optional
        What is believed of the parameters, fitted or not.
    truth : sequence of (name, unit, truth, found)
        For virtual patients.
    limits, warnings : sequence of str
        Sentences.
    provenance : sequence of mappings
        Records of the runs.
    treatments : sequence of Treatment
        Of the scenarios, to mark the days of treatment in the chart.
    tables : sequence of Table
        What else was compared: schedules of a search, margins.
    """

    patient: str
    virtual: bool
    question: str
    reference: Image
    moved: Sequence[tuple[Image, Transform | None]]
    segmentation: Segmentation
    target: str
    results: Mapping[str, Quantity | str | Estimate]
    verdicts: Sequence[tuple[str, str, str]]
    comparison: Comparison | None
    posterior: Posterior | None
    truth: Sequence[tuple[str, str, float, float]] = ()
    limits: Sequence[str] = ()
    warnings: Sequence[str] = ()
    provenance: Sequence[Mapping[str, Any]] = ()
    treatments: Sequence[Treatment] = ()
    tables: Sequence[Table] = ()


def write_report(content: ReportContent, path: Path, job: Job) -> None:
    """Write the report as one HTML file that needs nothing else: pictures inside, no script, nothing from the network.

    Equal contents give equal files. Every word from a file is escaped.

    Parameters
    ----------
    content : ReportContent
    path : Path
    job : Job

    Raises
    ------
    MissingInput, InvalidInput
        If the target is not a segment, or has no voxel.
    """
    slices, surfaces, text = job.split(slice_pictures=3, surface_picture=2, text=1)
    with slices:
        pictures = _slice_pictures(content, slices)
    with surfaces:
        surface = _surface_picture(content)
    with text:
        page = template("report.html").render(_words(content, pictures, surface))
    Path(path).write_text(page, "utf-8")


def _slice_pictures(content: ReportContent, job: Job) -> dict[str, Picture]:
    anatomy, uptake = _shown_images(content)
    arguments = content.segmentation, content.target
    pictures = {"fused": fused_overlay(anatomy, uptake, *arguments)}
    job.report(0.3)
    pictures["segmentation"] = segmentation_planes(anatomy, *arguments)
    job.report(0.6)
    predictions = content.comparison.predictions if content.comparison else {}
    fields = {name: p.fields["probability"] for name, p in predictions.items() if "probability" in p.fields}
    if fields:
        pictures["field"] = field_planes(anatomy, fields, *arguments)
    return pictures


def _shown_images(content: ReportContent) -> tuple[Placed, Placed | None]:
    """The image to show in grey, an MR before a CT before an ultrasound, and the PET to show in colour."""
    images = [Placed(content.reference), *(Placed(image, move) for image, move in content.moved)]
    images = [placed for placed in images if placed.image.array.ndim == 3]
    order = {"MR": 0, "CT": 1, "US": 2}
    anatomy = min(images, key=lambda placed: order.get(placed.image.modality, 3))
    uptake = next((placed for placed in images if placed.image.modality == "PT" and placed is not anatomy), None)
    return anatomy, uptake


def _surface_picture(content: ReportContent) -> Picture | None:
    png = render_surfaces(content.segmentation, content.target)
    view = "Three-dimensional view from the front, patient right on the left"
    words = f"{view}: {plain(content.target)} in its surroundings."
    return None if png is None else Picture(png, words)


def _words(content: ReportContent, pictures: Mapping[str, Picture], surface: Picture | None) -> dict[str, Any]:
    """What the template prints."""
    return {
        "content": content,
        "answer": answer(content),
        "pictures": pictures,
        "surface": surface,
        "no_gl": NO_GL,
        "numbers": _numbers(content),
        "chart": _chart(content),
        "scenarios": _scenarios(content.comparison) if content.comparison else [],
        "members": _members(content.comparison),
        "compared": [_condensed(table) for table in content.tables],
        "parameters": _parameters(content.posterior) if content.posterior else [],
        "fit": [t for t in (content.posterior.fit, content.posterior.held_out) if t] if content.posterior else [],
        "truth": [_truth(*row) for row in content.truth],
        "records": [_record(record) for record in content.provenance],
    }


def answer(content: ReportContent) -> list[str]:
    """The question's answer, a sentence a scenario; without a prediction, what the images show."""
    if content.comparison is None:
        shown = [name for name in ("volume_ml", "suv_mean_target") if name in content.results]
        known = [f"{label(name)}: {quantity(content.results[name])}." for name in shown]
        return [*known, "No prediction was asked for."]
    benefits = [float(v) for v in content.comparison.table.columns.get("probability_of_benefit", ())]
    sentences: list[str] = []
    first = ""
    for n, (name, prediction) in enumerate(content.comparison.predictions.items()):
        curve = prediction.curves["volume"]
        end = with_unit(volume(curve.values[-1]), curve.unit)
        if curve.members is not None:
            end += f" (90\u00a0% interval {volume_interval(*curve.band(90.0)[:, -1])})"
        if n == 0:
            first = "without treatment" if name == "none" else f"with {plain(name)}"
            start, day = with_unit(number(curve.values[0]), curve.unit), number(curve.times_days[-1])
            opening = f"{first[0].upper()}{first[1:]}, the viable tumour volume"
            sentences.append(f"{opening} goes from {start} to {end} by day {day}.")
        else:
            members = 0 if curve.members is None else len(curve.members)
            if benefits and members:
                share = f"{percent(benefits[n])} of {members} courses simulated"
                end += f"; in {share} it is at least a tenth below that {first}"
            sentences.append(f"With {plain(name)} it is {end}.")
    return sentences


def _numbers(content: ReportContent) -> list[tuple[str, str]]:
    """Results in words, but for those told elsewhere."""
    fitted = [p.name for p in content.posterior.parameters] if content.posterior else []
    elsewhere = {"verdict", "verdict_reasons", "horizon_days", *fitted}
    return [
        (plain(label(name)), quantity(value))
        for name, value in content.results.items()
        if name not in elsewhere and not name.startswith((PREDICTED, "error_"))
    ]


def _chart(content: ReportContent) -> dict[str, Any] | None:
    if content.comparison is None:
        return None
    volumes, burdens = (
        {n: p.curves[c] for n, p in content.comparison.predictions.items()} for c in ("volume", "burden")
    )
    days = {treatment.name: treatment.days for treatment in content.treatments}
    return {
        "svg": Markup(prediction_chart(volumes, days, "viable tumour volume")),
        "burden": Markup(prediction_chart(burdens, days, "viable cells, packed", logarithmic=True)),
        "logarithmic": is_logarithmic(volumes),
        "days": any(days.values()),
    }


def _scenarios(comparison: Comparison) -> list[dict[str, str]]:
    """The table of scenarios in words: a row each, the first being the one compared with."""
    columns, units = comparison.table.columns, comparison.table.units
    rows = []
    for n in range(comparison.table.rows):
        row = {name: str(v[n]) if name not in units else number(float(v[n])) for name, v in columns.items()}
        row["volume"] = volume(float(columns["volume"][n]))
        row["volume_90"] = volume_interval(float(columns["volume_low_90"][n]), float(columns["volume_high_90"][n]))
        row["difference_90"] = interval(float(columns["difference_low_90"][n]), float(columns["difference_high_90"][n]))
        row["cells"] = _cells_left(comparison, row["scenario"])
        row["scenario"] = scenario(row["scenario"])
        if float(columns["days_to_regrow"][n]) == 0:
            row["days_to_regrow"] = "–"  # it never shrank
        row["benefit"] = percent(float(columns["probability_of_benefit"][n])) if n else ""
        row["fewer"] = percent(float(columns["probability_of_fewer_cells"][n])) if n else ""
        row["days_gained_90"] = interval(
            float(columns["days_gained_low_90"][n]), float(columns["days_gained_high_90"][n])
        )
        rows.append(row)
    return rows


def _condensed(table: Table) -> dict[str, Any]:
    """A table in words, each median with its 90 % interval in one cell."""
    ends = "_low_90", "_high_90"
    names = [name for name in table.columns if not name.endswith(ends)]
    rows = []
    for n in range(table.rows):
        cells = []
        for name in names:
            value = table.columns[name][n]
            low, high = (table.columns.get(name + end) for end in ends)
            words = number(float(value)) if name in table.units else plain(value)
            cells.append((words, "" if low is None or high is None else interval(float(low[n]), float(high[n]))))
        rows.append(cells)
    return {"name": table.name, "header": [(name, table.units.get(name, "")) for name in names], "rows": rows}


def _cells_left(comparison: Comparison, name: str) -> str:
    """Viable cells at the last day as a share of those at the first: what is left where no volume shows any more."""
    prediction = comparison.predictions.get(name)
    burden = prediction.curves.get("burden") if prediction else None
    return number(float(burden.values[-1] / burden.values[0])) if burden and burden.values[0] > 0 else "–"


def _members(comparison: Comparison | None) -> int:
    """Size of the ensemble."""
    curves = [p.curves["volume"] for p in comparison.predictions.values()] if comparison else []
    return len(curves[0].members) if curves and curves[0].members is not None else 0


def _parameters(posterior: Posterior) -> list[dict[str, str]]:
    """Each uncertain parameter for this patient, beside what is believed of such patients."""
    population = Posterior.prior(posterior.parameters)
    believed = {p.name: interval(*population.interval(p.name)) for p in population.parameters}
    return [
        {
            "symbol": p.symbol,
            "meaning": p.meaning,
            "value": with_unit(number(posterior.map[p.name]), p.unit),
            "interval": interval(*posterior.interval(p.name)),
            "population": with_unit(number(p.default), p.unit) if p.asked else "–",
            "population_interval": believed.get(p.name, "–"),
            "source": p.source,
        }
        for p in posterior.parameters
    ]


def _truth(name: str, unit: str, truth: float, found: float) -> dict[str, str]:
    error = with_unit(number(found - truth), unit)
    relative = f"{number(100 * (found - truth) / truth)}\u00a0%" if truth else ""
    return {
        "name": name,
        "truth": with_unit(number(truth), unit),
        "found": with_unit(number(found), unit),
        "error": error,
        "relative": relative,
    }


def _record(record: Mapping[str, Any]) -> dict[str, Any]:
    software = ", ".join(f"{name} {version}" for name, version in record.get("software", {}).items())
    seeds = ", ".join(f"{name} {value}" for name, value in record.get("seeds", {}).items())
    return {
        "module": record.get("module", ""),
        "run": record.get("run", ""),
        "started": record.get("started", ""),
        "seconds": number(float(record.get("seconds", 0.0))),
        "software": software,
        "seeds": seeds or "none",
        "text": Markup("{}").format(json.dumps(record, indent=2, default=str)),
    }
