"""Reading what a radiotherapy plan (RTPLAN) prescribes: how many fractions, and how much dose to the target."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from TwinCore.dicom.file import items, number, read_dicom
from TwinCore.errors import InvalidInput
from TwinCore.guard import display_name

from .dicom_dose import MOST_GY
from .series import patient_hash

MOST_FRACTIONS = 100


@dataclass(frozen=True)
class Plan:
    """What a plan prescribes.

    Parameters
    ----------
    label : str
    uid : str
        SOP Instance UID, by which a dose refers to its plan.
    fractions : int
    prescribed_gy : float or None
        Highest total dose prescribed to a target; None where the plan does not say.
    patient : str
        One-way hash, as that of a `Series`.
    """

    label: str
    uid: str
    fractions: int
    prescribed_gy: float | None
    patient: str


def read_plan(path: str | Path) -> Plan:
    """Read the prescription of an RTPLAN file (DICOM PS3.3 C.8.8.10 and C.8.8.13).

    >>> read_plan("plan/rp.dcm").fractions  # doctest: +SKIP
    30

    Raises
    ------
    MissingInput
        If there is no such file.
    InvalidInput
        If it is no RTPLAN, has not exactly one group of fractions, or its numbers are missing or impossible.
    """
    path = Path(path)
    dataset = read_dicom(path)
    name = display_name(path.name)
    if dataset.get("Modality") != "RTPLAN":
        raise InvalidInput(
            f"{name}: the modality (0008,0060) is {display_name(dataset.get('Modality'), 'not given')}; a plan "
            "(RTPLAN) is meant."
        )
    groups = items(dataset, "FractionGroupSequence", name)
    if len(groups) != 1:
        raise InvalidInput(
            f"{name}: the plan has {len(groups)} groups of fractions (300A,0070). A plan with exactly one is needed, "
            "since fractions of different doses do not add up to one number of fractions."
        )
    fractions = number(groups[0], "NumberOfFractionsPlanned", 0, name)
    if fractions != np.floor(fractions) or not 1 <= fractions <= MOST_FRACTIONS:
        raise InvalidInput(
            f"{name}: the number of fractions planned (300A,0078) is {fractions:g}; it must be a whole number from 1 "
            f"to {MOST_FRACTIONS}."
        )
    doses = [
        number(item, "TargetPrescriptionDose", 0, name)
        for item in items(dataset, "DoseReferenceSequence", name)
        if item.get("DoseReferenceType") == "TARGET" and item.get("TargetPrescriptionDose") not in (None, "")
    ]
    if doses and not all(0 < dose < MOST_GY for dose in doses):
        raise InvalidInput(
            f"{name}: a prescribed dose (300A,0026) is {min(doses):g} to {max(doses):g} Gy; it must be between 0 and "
            f"{MOST_GY:g} Gy. It may be in cGy."
        )
    return Plan(
        display_name(dataset.get("RTPlanLabel"), "plan"),
        str(dataset.get("SOPInstanceUID", "")),
        int(fractions),
        max(doses, default=None),
        patient_hash(dataset),
    )
