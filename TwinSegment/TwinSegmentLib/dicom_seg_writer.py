"""Writing a `Segmentation` as a DICOM segmentation (SEG, PS3.3 A.51): binary, a plane for each segment and slice."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from TwinCore import __version__
from TwinCore.dicom.frames import plane_at, slices_on
from TwinCore.errors import MissingPackage
from TwinCore.grid import LPS_FROM_RAS, Grid
from TwinCore.guard import check_memory, display_name
from TwinCore.job import Job
from TwinCore.segmentation import UNCODED, Segment, Segmentation

from .dicom_identity import MAKER, identity, not_empty, reference, uid
from .dicom_meaning import category_of, cielab, code_item

_PURPOSE = ("DCM", "121322", "Source image for image processing operation")


def write_dicom_seg(
    segmentation: Segmentation,
    path: str | Path,
    images: Sequence[Dataset] = (),
    patient: str = "",
    job: Job | None = None,
) -> Path:
    """Write segments with their names, coded meanings and colours as one file.

    >>> write_dicom_seg(anatomy, "anatomy.dcm", patient="Patient A")                     # doctest: +SKIP
    >>> read_dicom_seg("anatomy.dcm", anatomy.grid).names == anatomy.names               # doctest: +SKIP
    True

    Every identifier is made from the content, so that the same input gives the same file but for its dates.

    Parameters
    ----------
    segmentation : Segmentation
        On any grid whose axes are at right angles: oblique, flipped and anisotropic ones are written as they are.
    path : str or Path
    images : sequence of pydicom.Dataset
        Headers of the DICOM series in whose frame of reference the grid lies: the file becomes part of its patient and
        study, and each plane that coincides with a slice refers to it.
    patient : str
        Name of the patient, or a pseudonym, where there are no such images; study and frame are then new.
    job : Job, optional
        Takes the warning about segments without voxels, which are left out.

    Raises
    ------
    MissingPackage
        If highdicom is not installed.
    MissingInput, InvalidInput
        If no segment has voxels, the grid is sheared, the images are not of one series, or there is neither an image
        nor a name.
    """
    try:
        import highdicom
    except ModuleNotFoundError as error:
        raise MissingPackage("highdicom", "Writing a DICOM segmentation", "pip install highdicom") from error
    path, job = Path(path), job or Job()
    prepare, build, refer, write = job.split(voxels=2, planes=4, references=1, file=1)
    with prepare:
        segments = not_empty(segmentation, job)
        whose = identity(segmentation, images, patient, "SEG")
        voxels = _voxels(segmentation, segments)
    with build:
        made = _built(highdicom, voxels, segmentation.grid, segments, whose)
        job.checkpoint()
    with refer:
        _refer(made, images, segmentation.grid)
    with write:
        made.save_as(path, enforce_file_format=True)
    return path


def _voxels(segmentation: Segmentation, segments: Sequence[Segment]) -> np.ndarray:
    """A label map (k, j, i) numbered from 1 where no segments overlap, else a mask each along a last axis."""
    used = {s.layer for s in segments}
    overlapping = len(used) > 1
    check_memory(3.0 * segmentation.grid.size * (len(segments) if overlapping else 2), "The DICOM segmentation")
    if overlapping:
        return np.stack([segmentation.mask(s.name) for s in segments], axis=-1)
    labels = np.zeros(segmentation.grid.shape, np.uint8 if len(segments) < 256 else np.uint16)
    for number, segment in enumerate(segments, 1):
        labels[segmentation.mask(segment.name)] = number
    return labels


def _built(highdicom: Any, voxels: np.ndarray, grid: Grid, segments: Sequence[Segment], whose: Dataset) -> Dataset:
    """The object, from highdicom: it is given the grid as its only source image, and what it says of that is undone."""
    lps = LPS_FROM_RAS @ grid.ijk_to_ras
    direction = LPS_FROM_RAS[:3, :3] @ grid.direction
    i, j, k = grid.spacing.tolist()
    orientation = [*direction[:, 0], *direction[:, 1]]
    positions = [(lps @ [0, 0, plane, 1])[:3] for plane in range(grid.shape[0])]
    quiet = logging.getLogger("highdicom")
    level = quiet.level
    quiet.setLevel(logging.CRITICAL)  # its warnings repeat what is in the header
    try:
        made = highdicom.seg.Segmentation(
            source_images=[_stand_in(grid, orientation, positions[0], whose)],
            pixel_array=voxels,
            segmentation_type="BINARY",
            segment_descriptions=[_description(highdicom, n, segment) for n, segment in enumerate(segments, 1)],
            series_instance_uid=whose.SeriesInstanceUID,
            series_number=1,
            sop_instance_uid=whose.SOPInstanceUID,
            instance_number=1,
            manufacturer=MAKER,
            manufacturer_model_name=MAKER,
            software_versions=__version__,
            device_serial_number="none",
            content_label="SEGMENTATION",
            content_description="Research use only",
            plane_orientation=highdicom.PlaneOrientationSequence("PATIENT", orientation),
            plane_positions=[highdicom.PlanePositionSequence("PATIENT", position) for position in positions],
            pixel_measures=highdicom.PixelMeasuresSequence((j, i), slice_thickness=k, spacing_between_slices=k),
        )
    finally:
        quiet.setLevel(level)
    _as_ours(made, whose)
    return made


def _stand_in(grid: Grid, orientation: Sequence[float], position: np.ndarray, whose: Dataset) -> Dataset:
    """The header of an image on the grid's first plane, without a patient's words."""
    made = Dataset()
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(made, keyword, "")
    made.StudyDate = made.StudyTime = None
    made.StudyInstanceUID, made.FrameOfReferenceUID = whose.StudyInstanceUID, whose.FrameOfReferenceUID
    made.SeriesInstanceUID = made.SOPInstanceUID = uid("stand-in")
    made.SOPClassUID, made.Modality = "1.2.840.10008.5.1.4.1.1.4", "MR"
    made.SpecificCharacterSet = whose.SpecificCharacterSet
    made.Rows, made.Columns = grid.shape[1:]
    made.ImageOrientationPatient = [f"{v:.10g}" for v in orientation]
    made.ImagePositionPatient = [f"{v:.10g}" for v in position]
    made.PixelSpacing = [f"{v:.10g}" for v in grid.spacing[[1, 0]]]
    made.SliceThickness = made.SpacingBetweenSlices = f"{grid.spacing[2]:.10g}"
    return made


def _description(highdicom: Any, number: int, segment: Segment) -> Any:
    kind = highdicom.sr.CodedConcept.from_dataset(code_item(segment.code or UNCODED))
    category = highdicom.sr.CodedConcept.from_dataset(code_item(category_of(segment.code)))
    return highdicom.seg.SegmentDescription(
        number,
        display_name(segment.name),
        category,
        kind,
        "SEMIAUTOMATIC",
        highdicom.AlgorithmIdentificationSequence(MAKER, codes.DCM.ManualProcessing, __version__),
        display_color=highdicom.color.CIELabColor.from_dicom_value(cielab(segment.colour)),
    )


def _as_ours(made: Dataset, whose: Dataset) -> None:
    """Patient and study as they are, and nothing that was not said or is made up anew each time."""
    made.update(whose)
    made.ContentDate, made.ContentTime = made.InstanceCreationDate, made.InstanceCreationTime
    for segment in made.SegmentSequence:
        del segment.SegmentationAlgorithmIdentificationSequence  # a segment does not say by which family it was made
    dimension = uid("dimensions", whose.SOPInstanceUID)
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = dimension
    for keyword in ("ReferencedSeriesSequence", "SourceImageSequence"):
        made.pop(keyword, None)
    for frame in made.PerFrameFunctionalGroupsSequence:
        frame.pop("DerivationImageSequence", None)


def _refer(made: Dataset, images: Sequence[Dataset], grid: Grid) -> None:
    """Name the images that the segments belong to, and at each plane the slice that coincides with it."""
    if not images:
        return
    series = Dataset()
    series.SeriesInstanceUID = images[0].SeriesInstanceUID
    series.ReferencedInstanceSequence = [reference(image) for image in images]
    made.ReferencedSeriesSequence = [series]
    slices = slices_on(grid, images)
    for frame in made.PerFrameFunctionalGroupsSequence:
        plane = plane_at(grid, frame.PlanePositionSequence[0].ImagePositionPatient)
        if plane in slices:
            derivation = Dataset()
            derivation.SourceImageSequence = [reference(*slices[plane])]
            derivation.SourceImageSequence[0].PurposeOfReferenceCodeSequence = [code_item(_PURPOSE)]
            derivation.DerivationCodeSequence = [code_item(("DCM", "113076", "Segmentation"))]
            frame.DerivationImageSequence = [derivation]
