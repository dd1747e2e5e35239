"""Whose a written DICOM object is: patient, study and frame of reference, taken over from images or derived."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from uuid import NAMESPACE_OID, uuid5

import numpy as np
from pydicom import config
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from TwinCore import __version__
from TwinCore.errors import InvalidInput, MissingInput
from TwinCore.grid import Grid
from TwinCore.guard import check_grid, display_name
from TwinCore.job import Job
from TwinCore.segmentation import Segment, Segmentation

UTF_8 = "ISO_IR 192"
MAKER = "DigitalTwin"
# Elements of patient and study that must be there, if only empty, and those of the frame of reference.
_TAKEN_OVER = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
)
_ONE_SERIES = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")


def uid(*words: str) -> str:
    """An identifier that is the same for the same words: a UUID under the root 2.25 (DICOM PS3.5 B.2)."""
    return f"2.25.{uuid5(NAMESPACE_OID, '/'.join((MAKER, *words))).int}"


def identity(segmentation: Segmentation, images: Sequence[Dataset], patient: str, kind: str) -> Dataset:
    """Patient, study, frame of reference, equipment, and the identifiers of the new series and object.

    Parameters
    ----------
    segmentation : Segmentation
    images : sequence of Dataset
        Headers of the series whose patient, study and frame it belongs to; none where it does not come from DICOM.
    patient : str
        The patient's name where there are no images: from it and the grid, study and frame of reference are derived,
        so that all that is written of one twin belongs together.
    kind : str
        What is written ("SEG", "RTSTRUCT").

    Raises
    ------
    MissingInput
        If there are neither images nor a name.
    InvalidInput
        If the images are not of one series, or say no study or frame of reference.
    """
    made = Dataset()
    made.SpecificCharacterSet = UTF_8
    for keyword in _TAKEN_OVER:
        text = str(images[0].get(keyword, "") or "") if images else ""
        made.add(DataElement(keyword, dictionary_VR(keyword), text, validation_mode=config.IGNORE))  # as it came
    if images:
        _check_one_series(images)
    else:
        grid, who = _in_words(segmentation.grid), display_name(patient, "")
        if not who:
            raise MissingInput("Without DICOM images, the patient's name, or a pseudonym, must be given.")
        made.PatientName = who
        made.StudyInstanceUID, made.FrameOfReferenceUID = uid("study", who, grid), uid("frame", who, grid)
    made.SeriesInstanceUID = uid("series", kind, made.StudyInstanceUID, made.FrameOfReferenceUID, digest(segmentation))
    made.SOPInstanceUID = uid("object", made.SeriesInstanceUID)
    made.Modality, made.SeriesNumber, made.InstanceNumber = kind, 1, 1
    made.SeriesDescription = f"{MAKER}, research use only"
    made.Manufacturer = made.ManufacturerModelName = MAKER
    made.SoftwareVersions = __version__
    now = datetime.now()
    made.SeriesDate = made.InstanceCreationDate = now.strftime("%Y%m%d")
    made.SeriesTime = made.InstanceCreationTime = now.strftime("%H%M%S")
    return made


def digest(segmentation: Segmentation) -> str:
    """Hash of all that a segmentation says: grid, voxels, names, colours and codes."""
    whole = hashlib.sha256(_in_words(segmentation.grid).encode())
    for segment in segmentation.segments:
        whole.update(f"{segment.name}{np.round(segment.colour, 4).tolist()}{segment.code}".encode())
        whole.update(np.packbits(segmentation.mask(segment.name)).tobytes())
    return whole.hexdigest()


def not_empty(segmentation: Segmentation, job: Job) -> list[Segment]:
    """The segments that have voxels; the others are left out with a warning, since a file cannot hold them.

    Raises
    ------
    InvalidInput
        If no segment has voxels, or the grid is not one of DICOM: its axes must be at right angles.
    """
    check_grid(segmentation.grid, "The segmentation's grid")
    full = [s for s in segmentation.segments if (segmentation.layers[s.layer] == s.value).any()]
    if not full:
        raise InvalidInput("There is nothing to write: no segment has a voxel.")
    empty = [s.name for s in segmentation.segments if s not in full]
    if empty:
        job.warn(f"Segments without voxels are not written: {', '.join(empty)}.")
    return full


def reference(image: Dataset, frame: int | None = None) -> Dataset:
    """An image, or one of its frames, as an object that others refer to."""
    made = Dataset()
    made.ReferencedSOPClassUID, made.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    if frame is not None:
        made.ReferencedFrameNumber = frame
    return made


def _check_one_series(images: Sequence[Dataset]) -> None:
    for keyword in _ONE_SERIES:
        values = {str(image.get(keyword, "") or "") for image in images}
        if len(values) > 1:
            raise InvalidInput(f"The DICOM images are not of one series: their {keyword} differs.")
        if values == {""}:
            raise InvalidInput(f"The DICOM images have no {keyword}, which a segmentation must refer to.")


def _in_words(grid: Grid) -> str:
    """The grid to a tenth of a micrometre."""
    return f"{grid.shape}{(np.round(grid.ijk_to_ras, 4) + 0.0).tolist()}"
