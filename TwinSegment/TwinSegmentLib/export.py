"""The segments of a twin as files of other programs: DICOM SEG, RTSTRUCT, and a surface each."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path

from TwinCore import InvalidInput, Job, Segmentation
from TwinCore.surface import surfaces_of

KINDS = {
    "seg": "DICOM segmentation (SEG)",
    "rtstruct": "DICOM outlines (RTSTRUCT)",
    "stl": "surfaces (STL)",
    "obj": "surfaces (OBJ)",
    "vtk": "surfaces (VTK)",
}
"""Each with what it is."""


def export_segments(
    segmentation: Segmentation, folder: str | Path, kind: str, patient: str = "", job: Job | None = None
) -> list[Path]:
    """Write all segments; no file that is there already is replaced.

    Parameters
    ----------
    segmentation : Segmentation
    folder : path
        That is there.
    kind : str
        A name of `KINDS`.
    patient : str
        Name or pseudonym, as DICOM files say it.
    job : Job, optional

    Returns
    -------
    list of Path
        `anatomy_seg.dcm`, `anatomy_rtstruct.dcm`, or a file of its name for each segment that has voxels.

    Raises
    ------
    InvalidInput
        If there is no such kind or folder, or no segment has a voxel.
    MissingPackage
        If highdicom, which SEG needs, is not installed.
    """
    folder, job = Path(folder), job or Job()
    if kind not in KINDS:
        raise InvalidInput(f"Segments are exported as one of {', '.join(KINDS)}, not as {kind!r}.")
    if not folder.is_dir():
        raise InvalidInput(f"There is no folder {str(folder)!r} to export into.")
    if kind in ("seg", "rtstruct"):
        return [_writer(kind)(segmentation, _free(folder / f"anatomy_{kind}.dcm"), (), patient, job)]
    from TwinCore.scene import save_surface

    surfaces = surfaces_of(segmentation, job)
    if not surfaces:
        raise InvalidInput("There is nothing to write: no segment has a voxel.")
    return [save_surface(surface, _free(folder / f"{_plain(name)}.{kind}")) for name, surface in surfaces.items()]


def _writer(kind: str) -> Callable[..., Path]:
    """Imported only now, for DICOM needs packages that a panel opens without."""
    if kind == "seg":
        from .dicom_seg_writer import write_dicom_seg

        return write_dicom_seg
    from .rtstruct_writer import write_rtstruct

    return write_rtstruct


def _plain(name: str) -> str:
    """A segment's name as that of a file on any system."""
    return re.sub(r"[^A-Za-z0-9-]+", "_", name).strip("_") or "segment"


def _free(path: Path) -> Path:
    """The path, with a number where there is such a file already."""
    numbered = (path.with_stem(f"{path.stem}_{number}") for number in itertools.count(2))
    return path if not path.exists() else next(p for p in numbered if not p.exists())
