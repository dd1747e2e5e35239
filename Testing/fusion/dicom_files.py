"""Makes small DICOM series with known content for the tests of reading them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

PET_CLASS = "1.2.840.10008.5.1.4.1.1.128"


def slices(
    count=5, rows=6, columns=7, modality="MR", cosines=(1, 0, 0, 0, 1, 0), origin=(-10.0, -20.0, 30.0), spacing=2.5
) -> list[Dataset]:
    """A stack of slices whose stored values count up through the whole volume."""
    series, study, frame = generate_uid(), generate_uid(), generate_uid()
    rows, columns, origin = 6, 7, np.array([-10.0, -20.0, 30.0])
    normal = np.cross(cosines[:3], cosines[3:])
    made = []
    for n in range(count):
        d = Dataset()
        d.file_meta = FileMetaDataset()
        d.file_meta.MediaStorageSOPClassUID = d.SOPClassUID = PET_CLASS
        d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID = generate_uid()
        d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        d.SeriesInstanceUID, d.StudyInstanceUID, d.FrameOfReferenceUID = series, study, frame
        d.Modality, d.SeriesDescription, d.PatientName, d.PatientID = modality, "axial", "Roe^Jane", "0815"
        d.SeriesDate = d.AcquisitionDate = "20200305"
        d.SeriesTime, d.AcquisitionTime = "110000", f"1100{n:02d}"
        d.ImageOrientationPatient = [float(f"{c:.12g}") for c in cosines]
        d.ImagePositionPatient = [float(f"{v:.10g}") for v in origin + n * spacing * normal]
        d.PixelSpacing, d.Rows, d.Columns = [1.5, 0.75], rows, columns
        d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
        d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 16, 15, 1
        stored = np.arange(rows * columns, dtype="<i2").reshape(rows, columns) + n * 100
        d.PixelData = stored.tobytes()
        made.append(d)
    return made


def pet_slices(**changes) -> list[Dataset]:
    """A PET stack with all that SUV needs: 70 kg, 350 MBq of FDG injected an hour before the scan."""
    made = slices(modality="PT", **changes)
    for n, d in enumerate(made):
        d.Units, d.DecayCorrection, d.CorrectedImage = "BQML", "START", ["DECY", "ATTN", "SCAT"]
        d.PatientWeight, d.RescaleSlope, d.RescaleIntercept = 70.0, 1.0 + n, 0.0
        item, code = Dataset(), Dataset()
        item.RadionuclideTotalDose, item.RadionuclideHalfLife, item.RadiopharmaceuticalStartTime = (
            3.5e8,
            6586.2,
            "100000",
        )
        code.CodeMeaning = "^18^Fluorine"
        item.RadionuclideCodeSequence = [code]
        d.RadiopharmaceuticalInformationSequence = [item]
    return made


def save(folder: Path, made: list[Dataset], prefix="s") -> Path:
    """Write the slices under names whose order says nothing about their place."""
    folder.mkdir(parents=True, exist_ok=True)
    for n, d in enumerate(made):
        d.save_as(folder / f"{prefix}{(n * 7) % len(made)}{n}.dcm", enforce_file_format=True)
    return folder
