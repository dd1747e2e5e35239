"""Doses of a case added up in the frame of its reference: fused, carried through the registrations, and written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from TwinCore import Job, MissingInput
from TwinCore.itk import to_sitk
from TwinCore.scene import execute, save
from TwinCore.units import GRAY
from TwinSimulateLib.accumulation_step import AccumulationStep

from .fusion_step import fusion_step
from .loading import load_case
from .outputs import as_entries, whole_folder, write_json
from .pipeline import open_twin, results_document


def accumulate_doses(
    path: str | Path,
    out: str | Path,
    *,
    fractions: Mapping[str, int] | None = None,
    alpha_beta_gy: float | None = None,
    job: Job | None = None,
) -> dict[str, dict[str, Any]]:
    """Fuse a case's images, and add up its doses in the frame of the reference.

    Parameters
    ----------
    path : path
        Case file, whose maps in Gy are the doses and whose outlines on the reference are the structures.
    out : path
        Folder for `accumulated.nii.gz`, `twin.mrb`, `results.json` and `provenance.json`: all at once.
    fractions, alpha_beta_gy : optional
        As `AccumulationStep` takes them: then EQD2 is added up.
    job : Job, optional

    Returns
    -------
    dict
        The results as results.json holds them.

    Raises
    ------
    TwinError
        If the case cannot be read, has fewer than two doses, or the job was cancelled; nothing is written then.
    """
    job = job or Job()
    reading, fusing, adding, writing = job.split(reading=1, fusion=8, accumulation=2, writing=1)
    with reading:
        loaded = load_case(path, reading)
        doses = [name for name, (_, image) in loaded.maps.items() if image.unit == GRAY]
        if len(doses) < 2:
            raise MissingInput(f"The case has {len(doses)} maps in Gy ([[map]]); two doses or more are added up.")
        fusion, step = fusion_step(loaded), AccumulationStep(doses, fractions or {}, alpha_beta_gy)
        step.check()
    with whole_folder(Path(out)) as folder:
        twin = open_twin(loaded)
        with fusing:
            fused = execute(twin, fusion, fusing)
        reference = loaded.outlines.get(loaded.case.reference.name)
        if reference is not None:
            with twin.run("TwinSegment", {"outlines": reference.names}) as run:
                run.add_segmentation(reference, "Outlines")
        with adding:
            added = execute(twin, step, adding)
        with writing:
            entries = as_entries({**fused.results, **added.results})
            sitk.WriteImage(to_sitk(added.outputs.total), str(folder / "accumulated.nii.gz"), useCompression=True)
            save(twin, folder / "twin.mrb")
            records = [fused.provenance, added.provenance]
            write_json(folder / "provenance.json", {"case": loaded.case.model_dump(mode="json"), "runs": records})
            write_json(folder / "results.json", results_document(loaded.case, entries, job.warnings))
            job.checkpoint()
    return entries
