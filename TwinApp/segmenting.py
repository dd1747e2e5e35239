"""Segmentation by a model: from images on disk to labels, their uncertainty, volumes, a scene and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from TwinCore import Image, InvalidInput, Job, Quantity, Table, centroid
from TwinCore.itk import to_sitk
from TwinCore.scene import boot, execute, save
from TwinSegmentLib.models.catalogue import find_model
from TwinSegmentLib.step import Outputs, SegmentStep
from TwinSegmentLib.tidy import Tidy

from .fusion_step import fusion_step
from .label_table import write_label_table
from .loading import load_files
from .named_images import case_of_images
from .outputs import as_entries, whole_folder, write_json
from .pictures import segmentation_planes
from .pipeline import open_twin, results_document
from .planes import Placed


def segment_images(
    paths: Sequence[Path],
    out: str | Path,
    model: str,
    *,
    modalities: Sequence[str] = (),
    patient: str = "unnamed",
    looks: int = 1,
    tidy: Tidy | None = None,
    job: Job | None = None,
) -> dict[str, dict[str, Any]]:
    """Segment one image, or the channels of a model, and write what was found.

    Parameters
    ----------
    paths : sequence of Path
        Volumes or DICOM folders: one a channel of the model, in its order. Several are first brought into the frame
        and onto the grid of the first.
    out : path
        Folder for `anatomy.nii.gz` (labels) with `anatomy.csv` (their names, colours, volumes and intervals),
        `uncertainty.nii.gz`, `anatomy.png`, `twin.mrb`, `results.json` and `provenance.json`: all at once.
    model : str
        Of the catalogue.
    modalities : sequence of str
        Of images that are not DICOM, in order.
    patient : str
        As shown.
    looks : int
        How often the model looks.
    tidy : Tidy, optional
        What is done to the segments that it finds.
    job : Job, optional

    Returns
    -------
    dict
        The results as results.json holds them.

    Raises
    ------
    TwinError
        If the images cannot be read or do not suit the model, or the job was cancelled; nothing is written then.
    """
    job = job or Job()
    entry = find_model(model)
    if len(paths) != len(entry.modalities):
        raise InvalidInput(
            f"Model {model!r} takes {len(entry.modalities)} images ({', '.join(entry.modalities)}), not {len(paths)}."
        )
    step = SegmentStep(model=model, looks=looks, tidy=tidy or Tidy())
    step.check()
    reading, fusing, segmenting, writing = job.split(reading=1, fusion=1, segmentation=10, writing=1)
    with reading:
        loaded = load_files(*case_of_images(paths, modalities, patient=patient, job=reading, least=1), reading)
        boot()
    with whole_folder(Path(out)) as folder:
        twin = open_twin(loaded)
        with fusing:
            fused = execute(twin, fusion_step(loaded), fusing)
        with segmenting:
            run = execute(twin, replace(step, model_images=list(loaded.images)), segmenting)
        with writing:
            outputs: Outputs = run.outputs
            write_labels(outputs, folder)
            picture = segmentation_planes(Placed(fused.outputs.fused[0]), outputs.segmentation, middle(outputs))
            (folder / "anatomy.png").write_bytes(picture.png)
            save(twin, folder / "twin.mrb")
            entries = as_entries(volumes(outputs.table))
            case = loaded.case
            records = [fused.provenance, run.provenance]
            write_json(folder / "provenance.json", {"case": case.model_dump(mode="json"), "runs": records})
            write_json(folder / "results.json", results_document(case, entries, job.warnings))
            job.checkpoint()
    return entries


def write_labels(outputs: Outputs, folder: Path) -> None:
    """The segments as one label map, numbered as they are listed, with a table beside it.

    Where segments overlap the smaller one shows: a tumour's core is not hidden by the tumour.
    """
    segmentation = outputs.segmentation
    labels = np.zeros(segmentation.grid.shape, np.uint8 if len(segmentation.names) < 256 else np.uint16)
    for number, name in sorted(enumerate(segmentation.names, 1), key=lambda one: -segmentation.volume_ml(one[1])):
        labels[segmentation.mask(name)] = number
    _write(Image(labels, segmentation.grid), folder / "anatomy.nii.gz")
    if outputs.uncertainty is not None:
        _write(outputs.uncertainty, folder / "uncertainty.nii.gz")
    write_label_table(segmentation, outputs.table, folder / "anatomy.csv")


def volumes(table: Table) -> dict[str, Quantity]:
    """Volume of every segment, as results; their intervals are in the table."""
    rows = zip(table.columns["segment"], table.columns["volume"])
    return {f"volume_ml_{name.replace(' ', '_')}": Quantity(float(volume), "mL") for name, volume in rows}


def middle(outputs: Outputs) -> str:
    """The segment whose centre is nearest to that of all segments: a plane through it shows most."""
    segmentation = outputs.segmentation
    centres = {name: centroid(segmentation.mask(name), segmentation.grid) for name in segmentation.names}
    mean = np.mean(list(centres.values()), axis=0)
    return min(centres, key=lambda name: float(np.linalg.norm(centres[name] - mean)))


def _write(image: Image, path: Path) -> None:
    sitk.WriteImage(to_sitk(image), str(path), useCompression=True)
