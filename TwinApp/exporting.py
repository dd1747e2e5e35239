"""Segments as files of other programs: DICOM SEG and RTSTRUCT, and surfaces as STL, OBJ and VTK."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from TwinCore import InvalidInput, Job, MissingInput, Segmentation, bounding_box
from TwinCore.guard import display_name
from TwinCore.scene import boot, load, new_scene, node_to_segmentation, save_surface
from TwinCore.scene.surfaces import FORMATS
from TwinCore.surface import surfaces_of
from TwinFusionLib.dicom_folder import choose, series_files
from TwinFusionLib.dicom_series import read_series
from TwinSegmentLib.dicom_seg_writer import write_dicom_seg
from TwinSegmentLib.rtstruct_writer import write_rtstruct

from .label_table import read_labelled
from .outputs import file_names, whole_folder, write_json

MANIFEST = "export.json"
WRITERS = {"seg": write_dicom_seg, "rtstruct": write_rtstruct}
KINDS = (*WRITERS, *FORMATS)


def export(
    source: Path,
    out: Path,
    kinds: Sequence[str],
    *,
    table: Path | None = None,
    images: Path | None = None,
    series_uid: str | None = None,
    patient: str = "",
    segments: Sequence[str] = (),
    job: Job | None = None,
) -> dict[str, Any]:
    """Write the segments of a twin, or of a label map, in formats of other programs.

    Parameters
    ----------
    source : Path
        A bundle (`twin.mrb`), whose newest segmentation is taken; or a label map.
    out : Path
        Folder for the files, all at once: `<name>_seg.dcm`, `<name>_rtstruct.dcm`, a folder of surfaces for each
        format, and `export.json`, which says of each file what it holds. Earlier exports are replaced.
    kinds : sequence of str
        Of `KINDS`.
    table : Path, optional
        Names, colours and codes of a label map; the file beside it where not given, see `label_table.read_labelled`.
    images : Path, optional
        Folder of the DICOM series in whose frame of reference the segments lie: DICOM files become part of its study.
    series_uid : str, optional
        Which series of that folder.
    patient : str
        As shown; the twin's where not given.
    segments : sequence of str
        Which; all where not given.
    job : Job, optional

    Returns
    -------
    dict
        What export.json holds.

    Raises
    ------
    TwinError
        If something cannot be read or written, or nothing suits; nothing is written then.
    """
    job = job or Job()
    _check(kinds)
    read, write = job.split(reading=1, writing=3)
    with read:
        segmentation, own_name = _segments(source, table, job)
        segmentation = _chosen(segmentation, segments)
        headers = _headers(images, series_uid, segmentation, read) if images is not None else []
    with whole_folder(out, MANIFEST) as folder, write:
        name = file_names([source.name.split(".")[0]]).popitem()[1]
        files: list[dict[str, Any]] = []
        for kind in [k for k in WRITERS if k in kinds]:
            path = WRITERS[kind](segmentation, folder / f"{name}_{kind}.dcm", headers, patient or own_name, job)
            files.append({"file": path.name, "kind": kind, "segments": segmentation.names})
        files += _surfaces(segmentation, [kind for kind in FORMATS if kind in kinds], folder, job)
        manifest = {"source": display_name(source.name), "coordinates": "LPS, mm", "files": files}
        write_json(folder / MANIFEST, manifest)
        job.checkpoint()
    return manifest


def _check(kinds: Sequence[str]) -> None:
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        meant = ", ".join(map(display_name, unknown)) or "nothing"
        raise InvalidInput(f"Segments are exported as one or more of {', '.join(KINDS)}, not as {meant}.")


def _segments(source: Path, table: Path | None, job: Job) -> tuple[Segmentation, str]:
    """The segments and the patient's name, if the source knows it."""
    if source.suffix != ".mrb":
        return read_labelled(source, table, job), ""
    if table is not None:
        raise InvalidInput("A table of segments belongs to a label map: a bundle holds their names itself.")
    boot()
    twins = load(source, new_scene())
    if not twins:
        raise MissingInput(f"There is no twin in {source.name!r}.")
    return node_to_segmentation(twins[0].node("segmentation")), twins[0].patient


def _chosen(segmentation: Segmentation, names: Sequence[str]) -> Segmentation:
    for name in names:
        segmentation.mask(name)  # says which there are, if not this one
    kept = tuple(s for s in segmentation.segments if not names or s.name in names)
    return Segmentation(segmentation.grid, segmentation.layers, kept)


def _headers(images: Path, series_uid: str | None, segmentation: Segmentation, job: Job) -> list[Dataset]:
    """Headers of the files of a series, which must show where the segments are."""
    series = read_series(images, series_uid, job=job)
    whole = np.any([segmentation.mask(name) for name in segmentation.names], axis=0)
    low, high = bounding_box(whole)
    box = series.image.grid.to_ijk(segmentation.grid.crop(low, high).corners())
    size = np.array(series.image.grid.shape[::-1])
    if (box.max(axis=0) < -0.5).any() or (box.min(axis=0) > size - 0.5).any():
        raise InvalidInput(
            f"The segments lie off the images in {display_name(images.name)!r}. Give the series in whose frame of "
            "reference they were made: of a fused twin, that of its reference."
        )
    return [header for _, header in choose(series_files(images, job), display_name(images.name), series_uid)]


def _surfaces(segmentation: Segmentation, kinds: Sequence[str], folder: Path, job: Job) -> Iterable[dict[str, Any]]:
    """A file for each segment that has voxels, in a folder for each format."""
    if not kinds:
        return
    boot()
    surfaces = surfaces_of(segmentation, job)
    if not surfaces:
        raise InvalidInput("There is nothing to write: no segment has a voxel.")
    names = file_names(surfaces)
    for kind in kinds:
        (folder / kind).mkdir()
        for segment, surface in surfaces.items():
            path = save_surface(surface, folder / kind / f"{names[segment]}.{kind}")
            yield {
                "file": f"{kind}/{path.name}",
                "kind": kind,
                "segments": [segment],
                "volume_ml": surface.volume_ml,
                "surface_cm2": surface.area_mm2 / 100.0,
            }
