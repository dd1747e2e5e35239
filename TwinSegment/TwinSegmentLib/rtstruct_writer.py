"""Writing a `Segmentation` as a DICOM RT Structure Set (PS3.3 A.19): closed outlines in the planes of its slices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import UID, ImplicitVRLittleEndian

from TwinCore.dicom.frames import slices_on
from TwinCore.grid import Grid
from TwinCore.guard import display_name
from TwinCore.job import Job
from TwinCore.segmentation import Segmentation

from .dicom_identity import identity, not_empty, reference
from .dicom_meaning import code_item
from .outlines import outline

RT_STRUCTURE_SET = UID("1.2.840.10008.5.1.4.1.1.481.3")
STUDY = "1.2.840.10008.3.1.2.3.1"  # the retired class that PS3.3 C.8.8.5 names for references to a study
_DATA = Tag("ContourData")
_LPS = np.array([-1.0, -1.0, 1.0])


def write_rtstruct(
    segmentation: Segmentation,
    path: str | Path,
    images: Sequence[Dataset] = (),
    patient: str = "",
    job: Job | None = None,
) -> Path:
    """Write the outlines of segments with their names, coded meanings and colours as one file.

    >>> write_rtstruct(anatomy, "anatomy.dcm", patient="Patient A")                      # doctest: +SKIP
    >>> again = read_rtstruct("anatomy.dcm", anatomy.grid)                               # doctest: +SKIP
    >>> (again.mask("liver") == anatomy.mask("liver")).all()                             # doctest: +SKIP
    True

    Outlines run half-way between voxels inside and outside (see `outlines`), holes are keyholes (PS3.3 C.8.8.6.3), and
    each outline says the thickness of its slice. All identifiers are made from the content.

    Parameters
    ----------
    segmentation, images, patient, job
        As `dicom_seg_writer.write_dicom_seg` takes them.
    path : str or Path

    Raises
    ------
    MissingInput, InvalidInput
        As `dicom_seg_writer.write_dicom_seg`.
    """
    path, job = Path(path), job or Job()
    segments = not_empty(segmentation, job)
    made = identity(segmentation, images, patient, "RTSTRUCT")
    made.SOPClassUID = RT_STRUCTURE_SET
    made.StructureSetLabel, made.ApprovalStatus, made.OperatorsName = "SEGMENTATION", "UNAPPROVED", ""
    made.StructureSetDate, made.StructureSetTime = made.InstanceCreationDate, made.InstanceCreationTime
    made.ReferencedFrameOfReferenceSequence = [_frame(made, images)]
    made.StructureSetROISequence, made.ROIContourSequence, made.RTROIObservationsSequence = [], [], []
    slices = slices_on(segmentation.grid, images)
    for number, segment in enumerate(job.each(segments), 1):
        declared, drawn, observed = Dataset(), Dataset(), Dataset()
        declared.ROINumber = drawn.ReferencedROINumber = observed.ReferencedROINumber = number
        declared.ROIName, declared.ROIGenerationAlgorithm = display_name(segment.name), ""
        declared.ReferencedFrameOfReferenceUID = made.FrameOfReferenceUID
        drawn.ROIDisplayColor = [round(255 * share) for share in segment.colour]
        drawn.ContourSequence = list(_contours(segmentation.mask(segment.name), segmentation.grid, slices))
        observed.ObservationNumber, observed.RTROIInterpretedType, observed.ROIInterpreter = number, "", ""
        if segment.code is not None:
            observed.RTROIIdentificationCodeSequence = [code_item(segment.code)]
        made.StructureSetROISequence.append(declared)
        made.ROIContourSequence.append(drawn)
        made.RTROIObservationsSequence.append(observed)
    made.file_meta = FileMetaDataset()
    # Implicit: an outline may have more numbers than the length of an explicit element can tell.
    made.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID, made.file_meta.MediaStorageSOPInstanceUID = (
        RT_STRUCTURE_SET,
        made.SOPInstanceUID,
    )
    made.save_as(path, enforce_file_format=True)
    return path


def _contours(mask: np.ndarray, grid: Grid, slices: dict[int, tuple[Dataset, int | None]]) -> Iterator[Dataset]:
    for k in np.flatnonzero(mask.any(axis=(1, 2))).tolist():
        for corners in outline(mask[k]):
            points = grid.to_ras(np.column_stack([corners, np.full(len(corners), float(k))])) * _LPS
            contour = Dataset()
            contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", len(points)
            contour.ContourSlabThickness = f"{grid.spacing[2]:.10g}"
            contour[_DATA] = _decimals(points)
            if k in slices:
                contour.ContourImageSequence = [reference(*slices[k])]
            yield contour


def _decimals(points: np.ndarray) -> RawDataElement:
    """Coordinates to a tenth of a micrometre, as the bytes of the file: pydicom takes 50 us to look at each number."""
    text = "\\".join(f"{v:.4f}" for v in points.ravel().tolist()).encode()
    text += b" " * (len(text) % 2)
    return RawDataElement(_DATA, "DS", len(text), text, 0, True, True)


def _frame(made: Dataset, images: Sequence[Dataset]) -> Dataset:
    """The frame of reference, and the images in it."""
    frame = Dataset()
    frame.FrameOfReferenceUID = made.FrameOfReferenceUID
    if images:
        study, series = Dataset(), Dataset()
        study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = STUDY, made.StudyInstanceUID
        series.SeriesInstanceUID = images[0].SeriesInstanceUID
        series.ContourImageSequence = [reference(image) for image in images]
        study.RTReferencedSeriesSequence = [series]
        frame.RTReferencedStudySequence = [study]
    return frame
