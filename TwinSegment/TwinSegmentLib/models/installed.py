"""What a model still lacks before it can be used: files to fetch, packages or programs to install.

Nothing heavy is imported, so that a panel can list the models as soon as it opens.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

from TwinCore import MissingInput, MissingPackage

from .catalogue import Entry
from .fetch import size_in_words, verify

CHECKPOINT = "checkpoint_final.pth"
ENGINES = {
    "own": (("openvino", "torch"), ("safetensors",)),
    "meshnet": (("openvino", "torch"),),
    "onnx": (("openvino",),),
    "monai": (("torch",), ("monai",)),
}
"""By kind, the packages that its networks need: of each group, one."""


def find_program(name: str, package: str) -> str:
    """Where an executable is: on the search path, or beside this Python.

    Raises
    ------
    MissingPackage
        If it is not installed: says how to install the package that has it.
    """
    for folders in (None, sysconfig.get_path("scripts"), str(Path(sys.executable).parent)):
        found = shutil.which(name, path=folders)
        if found and Path(found).is_absolute():  # on Windows one in the current folder is found too, and not wanted
            return found
    raise MissingPackage(package, f"The program {name}", f"pip install {package}")


def find_totalsegmentator(entry: Entry) -> str:
    """The executable; `MissingPackage` if it is not installed."""
    return find_program("TotalSegmentator", "TotalSegmentator")


def find_nnunet(entry: Entry) -> str:
    """The executable; `MissingPackage` if it is not installed, `MissingInput` if the trained network is not there.

    It is the one that takes a folder of results as it is; nnUNetv2_predict needs it below a certain folder.
    """
    program = find_program("nnUNetv2_predict_from_modelfolder", "nnunetv2")
    if not (entry.folder / "plans.json").is_file():
        raise MissingInput(
            f"Model {entry.name!r}: put nnU-Net's results (plans.json, dataset.json, fold_0 with {CHECKPOINT}) into "
            f"{entry.folder}."
        )
    return program


PROGRAMS = {"totalsegmentator": find_totalsegmentator, "nnunet": find_nnunet}
"""By kind, what finds the program."""


def packages_missing(entry: Entry) -> tuple[str, ...]:
    """The packages to install before a network can run; of those that would do, the first."""
    groups = ENGINES.get(entry.kind, ())
    return tuple(group[0] for group in groups if not any(find_spec(package) for package in group))


def check_ready(entry: Entry) -> None:
    """Raise `MissingInput` or `MissingPackage` if a model cannot be used yet: says what is to be done."""
    if entry.kind in PROGRAMS:
        PROGRAMS[entry.kind](entry)
        return
    verify(entry)
    if missing := packages_missing(entry):
        raise MissingPackage(missing[0], f"Model {entry.name!r}", f"pip install {' '.join(missing)}")


def state_in_words(entry: Entry) -> str:
    """Whether a model is ready, is to be fetched (how much), or to be installed."""
    missing = entry.missing_files()
    if missing:
        return f"to fetch, {size_in_words(missing)}"
    if packages := packages_missing(entry):
        return f"to install, {', '.join(packages)}"
    try:
        if entry.kind in PROGRAMS:
            check_ready(entry)
    except MissingPackage as error:
        return f"to install, {error.package}"
    except MissingInput:
        return f"to be put into {entry.folder}"
    return "ready"
