"""A case from its images to its report: the three steps on one twin, and the folder of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from TwinCore import InvalidInput, Job, MissingInput, Quantity
from TwinCore.scene import Run, Twin, boot, execute, new_scene, save
from TwinFusionLib.step import FusionStep
from TwinFusionLib.step import Outputs as Fused
from TwinSegmentLib.step import Outputs as Segmented
from TwinSegmentLib.step import SegmentStep
from TwinSimulateLib import registry
from TwinSimulateLib.radiotherapy import Schedule
from TwinSimulateLib.search_space import SearchSpace
from TwinSimulateLib.step import Forecast, SimulationStep, with_best
from TwinSimulateLib.treatment_text import parse, parse_scenarios
from TwinSimulateLib.twin_images import check_images

from .case_file import CaseFile, Search
from .fusion_step import fusion_step
from .loading import LoadedCase, load_case
from .outputs import as_entries, whole_folder, write_json
from .report import ReportContent, write_report
from .truth import truth_rows

SCHEMA = "digitaltwin-results-1"
Steps = tuple[FusionStep, SegmentStep, SimulationStep | None]

LIMITS = (
    "Research use only: not a medical device, not for decisions on a patient.",
    "Only viable cells are modelled: dead ones vanish at once, so on images a treated tumour shrinks slower than here.",
    "Without a map of the dose the whole tissue is given what is prescribed, and a drug's strength is a choice.",
    "Organs at risk and mass effect are not modelled.",
)
UNCALIBRATED = (
    "There is no follow-up of this patient: the bands show what is believed of such tumours, not of this one."
)


@dataclass(frozen=True, eq=False)
class Answer:
    """What the three steps found; the simulation is None where the case asks for none."""

    fused: Fused
    segmented: Segmented
    forecast: Forecast | None
    results: Mapping[str, Quantity | str]
    records: Sequence[Mapping[str, Any]]


def run_case(path: str | Path, out: str | Path, job: Job | None = None) -> dict[str, dict[str, Any]]:
    """Run a case file and write its results.

    Parameters
    ----------
    path : str or Path
        The case file.
    out : str or Path
        Folder for `twin.mrb`, `results.json`, `report.html` and `provenance.json`: they appear all at once.
    job : Job, optional

    Returns
    -------
    dict
        The results as results.json holds them: value, unit and, for predictions, intervals.

    Raises
    ------
    TwinError
        If the case or its images are not as they should be (before anything is computed), or the job was cancelled.
        Nothing is written then, and an earlier folder of results is left as it was.
    """
    job = job or Job()
    reading, computing, writing = job.split(reading=1, computing=16, writing=3)
    with reading:
        loaded = load_case(path, reading)
        steps = case_steps(loaded)
        boot()
    with whole_folder(Path(out)) as folder:
        twin = open_twin(loaded)
        with computing:
            answer = run_steps(twin, steps, computing)
        with writing:
            return _write(folder, twin, loaded, steps, answer, job, writing)


def case_steps(loaded: LoadedCase) -> Steps:
    """The steps that a case asks for, with its parameters.

    Raises
    ------
    MissingInput
        If the case has no question or no target, or names a segment that is not outlined.
    InvalidInput
        If what it asks for is not possible.
    """
    case = loaded.case
    if case.question is None or case.target is None:
        lacking = "question" if case.question is None else "[target]"
        raise MissingInput(f"The case has no {lacking}, which a run needs; to fuse its images alone: digitaltwin fuse.")
    fuse = fusion_step(loaded)
    segment = SegmentStep(
        case.target.name,
        loaded.outlines,
        case.target.pet_rule,
        case.target.pet_search_ras_mm,
        case.anatomy.body,
        case.anatomy.brain,
        case.target.centroid_reference_ras_mm,
    )
    segment.check()
    if case.simulation is None:
        if loaded.maps:
            raise InvalidInput("Maps are for a model: without [simulation] the case has no use for them.")
        return fuse, segment, None
    asked = case.simulation
    kind = registry.step_of(asked.model)
    if not issubclass(kind, SimulationStep):
        raise InvalidInput(f"A case cannot ask the model {asked.model!r}: it has no growth over time.")
    simulate = kind(
        preset=asked.preset,
        segments={"tumour": case.target.name},
        model=asked.model,
        horizon_days=asked.horizon_days,
        scenarios=parse_scenarios(asked.scenarios),
        observations=loaded.observations,
        members=asked.members,
        seed=asked.seed,
        search=search_space(asked.search) if asked.search else None,
        margins_mm=asked.margins_mm,
        margins_day=asked.margins_day,
    )
    check_images(simulate.check().requires(), {name: image for name, (_, image) in loaded.maps.items()})
    return fuse, segment, simulate


def search_space(asked: Search) -> SearchSpace:
    """The schedules that a case asks to search."""
    words = {"standard": Schedule.parse(asked.standard), "others": [parse(text) for text in asked.others]}
    return SearchSpace(**{**asked.model_dump(), **words})


def open_twin(loaded: LoadedCase) -> Twin:
    """A new scene with the twin of the case's patient and its input images and series."""
    twin = Twin.create(loaded.case.patient.name, new_scene())
    nodes = {
        name: twin.add_image(image, reference=name == loaded.case.reference.name)
        for name, image in loaded.images.items()
    }
    for name, images in loaded.series.items():
        twin.add_series(images, name)
    for where, image in loaded.maps.values():
        twin.add_field(image, nodes[where])
    return twin


def run_steps(twin: Twin, steps: Steps, job: Job) -> Answer:
    """Fuse, segment and simulate, each as one run of the twin."""
    parts = job.split(fusion=6, segmentation=2, simulation=8)
    runs: list[Run] = []
    for step, part in zip(steps, parts):
        if step is not None:
            with part:
                runs.append(execute(twin, step, part))
    results: dict[str, Quantity | str] = {}
    for run in runs:
        results.update(run.results)
    outputs = [run.outputs for run in runs] + [None] * (3 - len(runs))
    return Answer(*outputs, results, [run.provenance or {} for run in runs])


def _write(
    folder: Path, twin: Twin, loaded: LoadedCase, steps: Steps, answer: Answer, whole: Job, job: Job
) -> dict[str, dict[str, Any]]:
    case = loaded.case
    truth = truth_rows(loaded, answer.fused, answer.results)
    results = {**answer.results, **{f"error_{row.key}": Quantity(row.error, row.unit) for row in truth}}
    entries = as_entries(results)
    comparison = answer.forecast.comparison if answer.forecast else None
    found = {"scenarios": comparison.table} if comparison else {}
    if answer.forecast and answer.forecast.search:
        found["schedules_searched"] = answer.forecast.search.table
    if answer.forecast and answer.forecast.margins:
        found["margins"] = answer.forecast.margins.table
    tables = {name: as_rows(table) for name, table in found.items()}
    content = ReportContent(
        patient=case.patient.name,
        virtual=case.patient.virtual,
        question=case.question,
        reference=answer.fused.fused[0],
        moved=[(loaded.images[name], move) for name, move in answer.fused.moves().items() if name in loaded.images],
        segmentation=answer.segmented.segmentation,
        target=case.target.name,
        results=results,
        verdicts=[(r.frame, r.verdict.grade, "; ".join(r.verdict.reasons)) for r in answer.fused.registrations],
        comparison=comparison,
        posterior=answer.forecast.posterior if answer.forecast else None,
        treatments=with_best(steps[2].scenarios, answer.forecast.search) if steps[2] and answer.forecast else (),
        tables=[table for name, table in found.items() if name != "scenarios"],
        truth=[(row.title, row.unit, row.truth, row.found) for row in truth],
        limits=LIMITS if loaded.observations else (*LIMITS, UNCALIBRATED),
        warnings=whole.warnings,
        provenance=answer.records,
    )
    report, bundle = job.split(report=2, scene=1)
    with report:
        write_report(content, folder / "report.html", report)
    with bundle:
        save(twin, folder / "twin.mrb")
    write_json(folder / "provenance.json", {"case": case.model_dump(mode="json"), "runs": list(answer.records)})
    write_json(folder / "results.json", results_document(case, entries, whole.warnings, tables))
    return entries


def results_document(
    case: CaseFile, entries: Mapping[str, Any], warnings: Sequence[str], tables: Mapping[str, list] | None = None
) -> dict[str, Any]:
    """What results.json holds; the rows of `tables` by their key."""
    return {
        "schema": SCHEMA,
        "patient": case.patient.name,
        "virtual": case.patient.virtual,
        **entries,
        "scenarios": [],
        **(tables or {}),
        "warnings": list(warnings),
    }


def as_rows(table) -> list[dict[str, Any]]:
    """A table as a list of rows, each number with its unit, as results.json holds it."""
    rows = []
    for number in range(table.rows):
        numbers = {c: Quantity(float(v[number]), table.units[c]) for c, v in table.columns.items() if c in table.units}
        words = {c: str(v[number]) for c, v in table.columns.items() if c not in table.units}
        rows.append({**words, **as_entries(numbers)})
    return rows
