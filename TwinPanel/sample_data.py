"""What Slicer's Sample Data module offers for these modules: a virtual patient that needs no download, and a head."""

from __future__ import annotations

from pathlib import Path

import slicer
from slicer.i18n import tr as _

from TwinCore.scene import Twin, segmentation_to_node

from .phantom import phantom_outlines, phantom_twin

CATEGORY = "Digital Twin"
STORE = "https://github.com/Slicer/SlicerTestingData/releases/download/SHA256/"
HEAD = (
    ("CT-brain.nrrd", "CTBrain", "6a5b6caccb76576a863beb095e3bfb910c50ca78f4c9bf043aa42f976cfa53d1"),
    ("MR-brain-T1.nrrd", "MRBrainT1", "2da3f655ed20356ee8cdf32aa0f8f9420385de4b6e407d28e67f9974d7ce1593"),
    ("MR-brain-T2.nrrd", "MRBrainT2", "fa1fe5910a69182f2b03c0150d8151ac6c75df986449fb5a6c5ae67141e0f5e7"),
)
"""File, node and SHA-256 of a head in CT and MR, given to 3D Slicer by the person who is seen, for any use."""


def register_sample_data(icons: str | Path) -> None:
    """Offer the samples: to be called once Slicer has started.

    Parameters
    ----------
    icons : path
        The folder that holds `VirtualPatient.png`.
    """
    from SampleData import SampleDataLogic

    files, nodes, digests = (list(column) for column in zip(*HEAD))
    SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=_("Virtual patient"),
        uris="digitaltwin:virtual-patient",  # made here; Slicer wants an address all the same
        fileNames="virtual-patient",
        customDownloader=load_virtual_patient,
        thumbnailFileName=str(Path(icons) / "VirtualPatient.png"),
    )
    SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=_("Head in CT and MR"),
        uris=[STORE + digest for digest in digests],
        fileNames=files,
        nodeNames=nodes,
        checksums=[f"SHA256:{digest}" for digest in digests],
    )


def load_virtual_patient(_source=None) -> Twin:
    """A twin with CT and PET, and the outline of its tumour: enough for all three modules; Slicer gives the source."""
    twin = phantom_twin(slicer.mrmlScene)
    segmentation_to_node(phantom_outlines(), slicer.mrmlScene, "Outlines")
    return twin
