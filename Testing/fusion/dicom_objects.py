"""Makes multi-frame DICOM objects with known content: enhanced images, ultrasound clips and volumes, dose grids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from Testing.fusion.dicom_files import slices

US_VOLUME = "1.2.840.10008.5.1.4.1.1.6.2"
_PER_FRAME = {
    "PixelMeasuresSequence": ("PixelSpacing",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
    "FrameContentSequence": ("TemporalPositionIndex", "FrameAcquisitionDateTime", "FrameReferenceDateTime"),
    "CardiacSynchronizationSequence": ("NominalCardiacTriggerDelayTime",),
    "TemporalPositionSequence": ("TemporalPositionTimeOffset",),
    "MREchoSequence": ("EffectiveEchoTime",),
    "ImageDataTypeSequence": ("DataType",),
}


def sequence(**values) -> list[Dataset]:
    """A sequence of one item with these elements."""
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return [item]


def enhanced(made: list[Dataset], shared=("PixelMeasuresSequence", "PlaneOrientationSequence")) -> Dataset:
    """The slices as the frames of one enhanced object, in their order, with these groups shared by all."""
    whole = Dataset()
    whole.update(made[0])
    whole.file_meta = made[0].file_meta
    whole.SOPInstanceUID = whole.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    groups = []
    for d in made:
        group = Dataset()
        for name, keywords in _PER_FRAME.items():
            values = {k: d[k].value for k in keywords if k in d}
            if values:
                setattr(group, name, sequence(**values))
        groups.append(group)
    for keywords in _PER_FRAME.values():
        for keyword in keywords:
            whole.pop(keyword, None)
    whole.SharedFunctionalGroupsSequence = sequence(**{name: groups[0][name].value for name in shared})
    for group in groups:
        for name in shared:
            del group[name]
    whole.PerFrameFunctionalGroupsSequence = groups
    whole.NumberOfFrames = len(made)
    whole.PixelData = b"".join(d.PixelData for d in made)
    return whole


def four_dimensional(times=3, count=4, **marks) -> list[Dataset]:
    """Slices of several time points, values raised by 1000 a point; `marks` maps a keyword to each point's value."""
    series = slices(count=count)
    made = []
    for t in range(times):
        for d in slices(count=count):
            d.SeriesInstanceUID, d.FrameOfReferenceUID = series[0].SeriesInstanceUID, series[0].FrameOfReferenceUID
            d.PixelData = (np.frombuffer(d.PixelData, "<i2") + 1000 * t).astype("<i2").tobytes()
            for keyword, values in marks.items():
                setattr(d, keyword, values[t])
            made.append(d)
    return made


def ultrasound_volume() -> Dataset:
    """An enhanced ultrasound volume of two time points, with a flow frame for each of its tissue frames."""
    made = four_dimensional(2, 5, TemporalPositionTimeOffset=[0.0, 0.04])
    for d in made:
        d.Modality, d.DataType = "US", "TISSUE_INTENSITY"
    flow = four_dimensional(2, 5, TemporalPositionTimeOffset=[0.0, 0.04])
    for d in flow:
        d.DataType, d.PixelData = "FLOW_VELOCITY", bytes(len(d.PixelData))
    whole = enhanced(made + flow)
    whole.SOPClassUID = whole.file_meta.MediaStorageSOPClassUID = US_VOLUME
    orientation = whole.SharedFunctionalGroupsSequence[0]
    orientation.PlaneOrientationVolumeSequence = sequence(
        ImageOrientationVolume=orientation.PlaneOrientationSequence[0].ImageOrientationPatient
    )
    del orientation.PlaneOrientationSequence
    for group in whole.PerFrameFunctionalGroupsSequence:
        position = group.PlanePositionSequence[0].ImagePositionPatient
        group.PlanePositionVolumeSequence = sequence(ImagePositionVolume=position)
        del group.PlanePositionSequence
    whole.VolumeFrameOfReferenceUID = whole.FrameOfReferenceUID
    del whole.FrameOfReferenceUID
    return whole


def clip(frames=3, rows=40, columns=60, colour=False, **region) -> Dataset:
    """A B-mode clip with a region of tissue from x 10 to 49 and y 5 to 34, 0.5 x 0.4 mm a pixel, 40 ms a frame."""
    d = slices(count=1)[0]
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "FrameOfReferenceUID"):
        del d[keyword]
    d.Modality, d.SeriesDescription, d.Rows, d.Columns = "US", "carotid", rows, columns
    d.SOPClassUID = d.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.3.1"
    d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 8, 8, 7, 0
    values = {
        "RegionSpatialFormat": 1, "RegionDataType": 1, "RegionLocationMinX0": 10, "RegionLocationMinY0": 5,
        "RegionLocationMaxX1": 49, "RegionLocationMaxY1": 34, "PhysicalUnitsXDirection": 3,
        "PhysicalUnitsYDirection": 3, "PhysicalDeltaX": 0.05, "PhysicalDeltaY": 0.04,
    }  # fmt: skip
    d.SequenceOfUltrasoundRegions = sequence(**{**values, **region})
    d.NumberOfFrames, d.FrameTime = frames, 40.0
    stored = np.random.default_rng(3).integers(0, 250, (frames, rows, columns), np.uint8)
    if colour:
        d.SamplesPerPixel, d.PhotometricInterpretation, d.PlanarConfiguration = 3, "RGB", 0
        stored = np.repeat(stored[..., None], 3, axis=-1)
    d.PixelData = stored.tobytes()
    return d


def dose(planes=6, offsets=None, origin=(-10.0, -20.0, 30.0), cosines=(1, 0, 0, 0, 1, 0)) -> Dataset:
    """A dose grid of 2 x 3 mm pixels whose dose rises by 1 Gy per mm along the normal, from 2 Gy."""
    d = slices(count=1)[0]
    offsets = np.arange(planes) * 2.5 if offsets is None else np.asarray(offsets, float)
    d.SOPClassUID = d.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.2"
    d.Modality, d.SeriesDescription, d.DoseUnits, d.DoseType = "RTDOSE", "plan", "GY", "PHYSICAL"
    d.DoseSummationType, d.DoseGridScaling = "PLAN", 1e-6
    d.ImagePositionPatient, d.ImageOrientationPatient = list(origin), list(cosines)
    d.PixelSpacing, d.NumberOfFrames, d.GridFrameOffsetVector = [3.0, 2.0], len(offsets), offsets.tolist()
    d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 32, 32, 31, 0
    start = origin[2] if abs(offsets[0]) > 0 else 0.0
    along = (offsets - start) * np.sign(np.cross(cosines[:3], cosines[3:])[2] if start else 1.0)
    stored = np.ones((len(offsets), 6, 7)) * (2.0 + along - along.min())[:, None, None] * 1e6
    d.PixelData = np.round(stored).astype("<u4").tobytes()
    return d


def write(path: Path, dataset: Dataset) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path
