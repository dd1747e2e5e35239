"""Makes small DICOM segmentations with known content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import pack_bits
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from TwinCore import Grid
from TwinCore.grid import LPS_FROM_RAS

FRAME = "1.2.3.4.5"


def item(**values) -> Dataset:
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def seg(grid: Grid, shares: dict[str, np.ndarray], kind="BINARY", skip_empty=True, full=255) -> Dataset:
    """A segmentation of these segments, shares of 0 to 1 on a grid, plane by plane from the last segment on."""
    d = Dataset()
    d.file_meta = FileMetaDataset()
    d.file_meta.MediaStorageSOPClassUID = d.SOPClassUID = (
        "1.2.840.10008.5.1.4.1.1.66.7" if kind == "LABELMAP" else "1.2.840.10008.5.1.4.1.1.66.4"
    )
    d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID = generate_uid()
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d.SeriesInstanceUID, d.StudyInstanceUID, d.FrameOfReferenceUID = generate_uid(), generate_uid(), FRAME
    d.Modality, d.SegmentationType, d.PatientName = "SEG", kind, "Roe^Jane"
    d.Rows, d.Columns, d.SamplesPerPixel, d.PhotometricInterpretation = *grid.shape[1:], 1, "MONOCHROME2"
    bits = 1 if kind == "BINARY" else 8
    d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = bits, bits, bits - 1, 0
    if kind == "FRACTIONAL":
        d.SegmentationFractionalType, d.MaximumFractionalValue = "PROBABILITY", full
    d.SegmentSequence = [
        item(
            SegmentNumber=n + 1,
            SegmentLabel=name,
            SegmentAlgorithmType="MANUAL",
            SegmentedPropertyTypeCodeSequence=[
                item(CodeValue="4147007", CodingSchemeDesignator="SCT", CodeMeaning="Mass")
            ],
            RecommendedDisplayCIELabValue=[34885, 53485, 50171],  # sRGB red under D65: L* 53.23, a* 80.11, b* 67.22
        )
        for n, name in enumerate(shares)
    ]
    d.NumberOfFrames, d.PerFrameFunctionalGroupsSequence, planes = 0, [], []
    lps = LPS_FROM_RAS @ grid.ijk_to_ras
    for n, share in reversed(list(enumerate(shares.values()))):
        for k in range(grid.shape[0]):
            if kind == "LABELMAP" and n > 0 or skip_empty and kind != "LABELMAP" and not share[k].any():
                continue
            position = lps @ [0, 0, k, 1]
            group = item(PlanePositionSequence=[item(ImagePositionPatient=[f"{v:.10g}" for v in position[:3]])])
            if kind == "LABELMAP":
                planes.append(sum((m + 1) * (s[k] > 0) for m, s in enumerate(shares.values())).astype(np.uint8))
            else:
                group.SegmentIdentificationSequence = [item(ReferencedSegmentNumber=n + 1)]
                planes.append(np.round(share[k] * (1 if kind == "BINARY" else full)).astype(np.uint8))
            d.PerFrameFunctionalGroupsSequence.append(group)
    d.NumberOfFrames = len(planes)
    direction = LPS_FROM_RAS[:3, :3] @ grid.direction
    i, j, k = grid.spacing
    d.SharedFunctionalGroupsSequence = [
        item(
            PlaneOrientationSequence=[
                item(ImageOrientationPatient=[f"{v:.10g}" for v in (*direction[:, 0], *direction[:, 1])])
            ],
            PixelMeasuresSequence=[item(PixelSpacing=[j, i], SpacingBetweenSlices=k, SliceThickness=k)],
        )
    ]
    stored = np.array(planes)
    d.PixelData = pack_bits(stored.ravel()) if kind == "BINARY" else stored.tobytes() + b"\0" * (stored.size % 2)
    return d


def write(path: Path, dataset: Dataset) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path
