"""A case made of images that are named on the command line, in place of a case file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import ValidationError

from TwinCore import InvalidInput, Job, MissingInput
from TwinCore.dicom.file import is_dicom
from TwinCore.guard import display_name
from TwinFusionLib.dicom_folder import MODALITIES, SeriesEntry, list_series

from .case_file import CaseFile, Fusion
from .toml_file import in_words

FUSIBLE = ("volume", "multi-frame", "4D")
"""Kinds of DICOM series that are volumes."""


def case_of_images(
    paths: Sequence[Path],
    modalities: Sequence[str] = (),
    fusion: Fusion | None = None,
    patient: str = "unnamed",
    job: Job | None = None,
    least: int = 2,
) -> tuple[CaseFile, Path]:
    """A case of images, the first the reference, and the folder that its paths start from.

    A DICOM folder gives each of its image series, in the frame of reference that it names.

    Parameters
    ----------
    paths : sequence of Path
        Volume files, DICOM files and DICOM folders.
    modalities : sequence of str
        Of those that are not DICOM, in order, as "CT" or, with a unit, "PT:g/mL".
    fusion : Fusion, optional
    patient : str
        As shown.
    job : Job, optional
    least : int
        How many images there must be.

    Raises
    ------
    MissingInput
        If a path leads nowhere, or the modality of an image is not said.
    InvalidInput
        If they are too few, the first is several, or a modality is not known.
    """
    job, said = job or Job(), list(modalities)
    for path in paths:
        if not path.exists():
            raise MissingInput(f"There is no {display_name(path.name)!r}.")
    try:
        folder = Path(os.path.commonpath([path.absolute().parent for path in paths]))
    except ValueError as error:
        raise InvalidInput("The images must lie on one drive.") from error
    entries: list[dict] = []
    for path in paths:
        where = path.absolute().relative_to(folder).as_posix()
        dicom = path.is_dir() or is_dicom(path)
        found = _series(path, where, job) if dicom else [_volume(path, where, said)]
        if not entries and len(found) > 1:
            names = "; ".join(f"{entry['name']} ({entry['modality']})" for entry in found)
            raise InvalidInput(
                f"{display_name(path.name)!r} comes first, so it is the reference, but it holds {len(found)} image "
                f"series: {names}. Put the folder of one series first, or write a case file."
            )
        entries += found
    if said:
        raise InvalidInput(f"There are more modalities than images that need one: {', '.join(said)} is left over.")
    if len(entries) < least:
        raise InvalidInput("Only one image is named: name the fixed image first, and then one or more to be moved.")
    _name_apart(entries)
    entries[0]["reference"] = True
    content = {"patient": {"name": patient}, "image": entries, "fusion": (fusion or Fusion()).model_dump()}
    try:
        return CaseFile.model_validate(content), folder
    except ValidationError as error:
        raise InvalidInput(in_words(error)) from error


def _volume(path: Path, where: str, said: list[str]) -> dict:
    if not said:
        raise MissingInput(
            f"What is {display_name(path.name)!r}? Say it by --modality {'|'.join(MODALITIES)}, once for each image "
            "that is not DICOM, in their order (with a unit for a PET: --modality PT:g/mL)."
        )
    modality, _, unit = said.pop(0).partition(":")
    if modality not in MODALITIES:
        raise InvalidInput(f"Modality {display_name(modality)!r} is not one of {', '.join(MODALITIES)}.")
    return {"name": path.name.split(".")[0] or path.name, "path": where, "modality": modality, "unit": unit or None}


def _series(path: Path, where: str, job: Job) -> list[dict]:
    """The image series of a DICOM folder or file."""
    found = list_series(path, job)
    images = [series for series in found if series.kind in FUSIBLE]
    if not images:
        listed = "; ".join(map(str, found))
        raise InvalidInput(f"{display_name(path.name)!r} holds no volume that could be fused: {listed}.")
    for series in found:
        if series.kind not in FUSIBLE:
            job.warn(f"Left out of the fusion: {series}.")
    return [_entry(series, where) for series in images]


def _entry(series: SeriesEntry, where: str) -> dict:
    name = series.description or series.modality
    uid = {"series_uid": series.uid} if series.uid else {}
    frame = {"frame": series.frame_of_reference_uid} if series.frame_of_reference_uid else {}
    points = {"time_point": "all"} if series.kind == "4D" else {}
    return {"name": name[:100], "path": where, "modality": series.modality, **uid, **frame, **points}


def _name_apart(entries: Iterable[dict]) -> None:
    """Give images of the same name a number, and name each frame after its first image."""
    taken: set[str] = set()
    frames: dict[str, str] = {}
    for entry in entries:
        name, number = entry["name"], 2
        while entry["name"] in taken:
            entry["name"], number = f"{name} {number}", number + 1
        taken.add(entry["name"])
        if "frame" in entry:
            entry["frame"] = frames.setdefault(entry["frame"], entry["name"])
