"""Fusion alone: a case's images into one frame, as a scene, as files for other programs, and as a page to look at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import SimpleITK as sitk
from markupsafe import Markup

from TwinCore import InvalidInput, Job, LinearTransform
from TwinCore.image import stacked
from TwinCore.itk import to_sitk
from TwinCore.scene import Run, boot, execute, save
from TwinFusionLib.outcome import registration_table
from TwinFusionLib.step import FusionStep, Outputs
from TwinFusionLib.time_series import most_telling

from .fusion_step import fusion_step
from .loading import LoadedCase
from .outputs import as_entries, file_names, whole_folder, write_json
from .pages import template
from .pictures import Picture, pair_planes
from .pipeline import open_twin, results_document
from .planes import Placed


def fuse(loaded: LoadedCase, out: str | Path, job: Job | None = None) -> dict[str, dict[str, Any]]:
    """Fuse the images of a case and write them.

    Parameters
    ----------
    loaded : LoadedCase
    out : str or Path
        Folder for `twin.mrb`, `results.json`, `provenance.json`, `fusion.html`, the fused volumes (`fused/*.nii.gz`),
        and for each image or series that was moved a transform (`transforms/*.tfm`, or `.h5` for a deformation) and a
        picture (`pictures/*.png`): all at once.
    job : Job, optional

    Returns
    -------
    dict
        The results as results.json holds them.

    Raises
    ------
    TwinError
        If the images cannot be fused as asked, or the job was cancelled. Nothing is written then, and an earlier
        folder of results is left as it was.
    """
    job = job or Job()
    step = fusion_step(loaded)
    if len(loaded.images) + len(loaded.series) < 2:
        raise InvalidInput("The case has one image only: there is nothing to fuse it with.")
    boot()
    fusing, writing = job.split(fusion=9, writing=1)
    with whole_folder(Path(out)) as folder:
        twin = open_twin(loaded)
        with fusing:
            run = execute(twin, step, fusing)
        with writing:
            outputs: Outputs = run.outputs
            write_volumes(outputs, folder, step, writing)
            write_transforms(outputs, folder, writing)
            save(twin, folder / "twin.mrb")
            pictures = overlays(loaded, outputs, writing)
            (folder / "pictures").mkdir()
            for name, stem in file_names(pictures).items():
                (folder / "pictures" / f"{stem}.png").write_bytes(pictures[name].png)
            write_page(loaded, run, pictures, folder / "fusion.html", job)
            entries = as_entries(run.results)
            case = loaded.case
            write_json(folder / "provenance.json", {"case": case.model_dump(mode="json"), "runs": [run.provenance]})
            write_json(folder / "results.json", results_document(case, entries, job.warnings))
            job.checkpoint()
    return entries


def write_volumes(outputs: Outputs, folder: Path, step: FusionStep, job: Job) -> None:
    """Every fused image and series as `fused/<name>.nii.gz`, and the images as `channels.nii.gz` if so asked."""
    volumes = {image.name: to_sitk(image) for image in outputs.fused}
    volumes |= {series.name: sitk.JoinSeries([to_sitk(image) for image in series.images]) for series in outputs.series}
    names = file_names(volumes)
    (folder / "fused").mkdir()
    for name, volume in job.each(list(volumes.items()), "writing volumes"):
        sitk.WriteImage(volume, str(folder / "fused" / f"{names[name]}.nii.gz"), useCompression=True)
    if step.stack:
        sitk.WriteImage(to_sitk(stacked(outputs.fused)), str(folder / "channels.nii.gz"), useCompression=True)


def write_transforms(outputs: Outputs, folder: Path, job: Job) -> None:
    """The move of each image as ITK and Slicer read it: a linear one as text (.tfm), a deformation as HDF5 (.h5)."""
    moves = {name: move for name, move in outputs.moves().items() if move is not None}
    names = file_names(moves)
    (folder / "transforms").mkdir()
    for name, move in moves.items():
        job.checkpoint()
        kind = "tfm" if isinstance(move, LinearTransform) else "h5"
        sitk.WriteTransform(move.to_sitk(), str(folder / "transforms" / f"{names[name]}.{kind}"))


def overlays(loaded: LoadedCase, outputs: Outputs, job: Job) -> dict[str, Picture]:
    """Each image that was moved, by its name, over the reference: in its own voxels, through its transform.

    Of a series the time point by which it was registered.
    """
    images = {**loaded.images, **{name: series[most_telling(series)] for name, series in loaded.series.items()}}
    fixed, grid = Placed(images[loaded.case.reference.name]), outputs.fused[0].grid
    moved = [(name, move) for name, move in outputs.moves().items() if move is not None]
    return {name: pair_planes(fixed, Placed(images[name], move), grid) for name, move in job.each(moved, "pictures")}


def write_page(loaded: LoadedCase, run: Run, pictures: Mapping[str, Picture], path: Path, job: Job) -> None:
    """One self-contained page: a light for each registration with its reasons, pictures, and figures."""
    registrations = run.outputs.registrations
    page = template("fusion.html").render(
        case=loaded.case,
        registrations=registrations,
        table=registration_table(registrations),
        warnings=job.warnings,
        pictures=pictures,
        record=Markup("{}").format(json.dumps(run.provenance, indent=2)),
    )
    path.write_text(page, "utf-8")
