"""What a plan prescribes, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from Testing.fusion.dicom_files import slices
from Testing.fusion.dicom_objects import sequence, write
from TwinCore import InvalidInput
from TwinFusionLib.dicom_plan import read_plan


def plan(fractions=30, doses=(54.0, 60.0)) -> Dataset:
    d = slices(count=1)[0]
    for keyword in ("PixelData", "Rows", "Columns"):
        d.pop(keyword)
    d.SOPClassUID = d.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.5"
    d.Modality, d.RTPlanLabel = "RTPLAN", "brain <b>"
    d.FractionGroupSequence = sequence(FractionGroupNumber=1, NumberOfFractionsPlanned=fractions)
    d.DoseReferenceSequence = [
        *(sequence(DoseReferenceType="TARGET", TargetPrescriptionDose=dose)[0] for dose in doses),
        sequence(DoseReferenceType="ORGAN_AT_RISK", TargetPrescriptionDose=99.0)[0],
    ]
    return d


def test_fractions_and_the_highest_dose_to_a_target(tmp_path):
    made = plan()
    found = read_plan(write(tmp_path / "rp.dcm", made))
    assert (found.fractions, found.prescribed_gy, found.label) == (30, 60.0, "brain b")
    assert found.uid == made.SOPInstanceUID
    assert found.patient
    assert read_plan(write(tmp_path / "rp.dcm", plan(doses=()))).prescribed_gy is None


def groups(count):
    return lambda d: setattr(d, "FractionGroupSequence", [d.FractionGroupSequence[0]] * count)


WRONG = {
    "another object": (lambda d: setattr(d, "Modality", "RTDOSE"), "is RTDOSE; a plan"),
    "two groups": (groups(2), "has 2 groups"),
    "no group": (lambda d: d.pop("FractionGroupSequence"), "has 0 groups"),
    "no fractions": (lambda d: d.FractionGroupSequence[0].pop("NumberOfFractionsPlanned"), "is 0; it must be"),
    "too many": (lambda d: setattr(d.FractionGroupSequence[0], "NumberOfFractionsPlanned", 5000), "is 5000"),
    "centigray": (lambda d: setattr(d.DoseReferenceSequence[0], "TargetPrescriptionDose", 5400), "may be in cGy"),
    "negative": (lambda d: setattr(d.DoseReferenceSequence[0], "TargetPrescriptionDose", -1), "0 and 1000"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_prescribes_nothing_is_refused(tmp_path, kind):
    change, words = WRONG[kind]
    made = plan()
    change(made)
    with pytest.raises(InvalidInput, match=words):
        read_plan(write(tmp_path / "rp.dcm", made))


def test_a_planning_systems_plan():
    """pydicom's wheel holds a plan of one group of 30 fractions with 30.826 Gy to a point."""
    found = read_plan(get_testdata_file("rtplan.dcm", download=False))
    assert found.fractions == 30
    assert found.prescribed_gy == pytest.approx(30.826, abs=1e-3)


def test_no_random_damage_escapes_as_another_error(tmp_path):
    path, rng, refusals = write(tmp_path / "rp.dcm", plan()), np.random.default_rng(4), 0
    content = path.read_bytes()
    for _ in range(150):
        changed = bytearray(content)
        for _ in range(rng.integers(1, 6)):
            changed[int(rng.integers(132, len(changed)))] = int(rng.integers(256))
        path.write_bytes(changed)
        try:
            read_plan(path)
        except InvalidInput:
            refusals += 1
    assert refusals > 20
