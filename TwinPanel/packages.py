"""Python packages that Slicer does not ship, installed when they are first needed and the user agrees."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from importlib import metadata
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from TwinCore import MissingPackage


def ensure_packages(requirements: str | Path, requester: str) -> None:
    """Have what a requirements.txt asks for: to be called on the main thread, where the packages are first used.

    Slicer asks the user once, with the names of what would be installed; nothing happens where all is there.

    Parameters
    ----------
    requirements : path
    requester : str
        The module that needs them, as the question names it.

    Raises
    ------
    MissingPackage
        If the user declines, or the installation fails.
    """
    lines = [line.partition("#")[0].strip() for line in Path(requirements).read_text(encoding="utf-8").splitlines()]
    wanted = [line for line in lines if line]
    try:
        _ensure(requirements, wanted, requester)
    except (RuntimeError, subprocess.CalledProcessError) as error:
        raise MissingPackage(
            ", ".join(wanted), requester, f"slicer.util.pip_install({' '.join(wanted)!r}) in Slicer's Python console"
        ) from error


def ensure_torch(requester: str) -> None:
    """Have torch, through Slicer's PyTorch extension, which chooses the build for the machine and asks the user.

    Raises
    ------
    MissingPackage
        If the extension is not installed, the user declines, or torch cannot be imported: Windows leaves half an
        installation behind where paths are too long.
    """
    try:
        from PyTorchUtils import PyTorchUtilsLogic
    except ImportError as error:
        if importlib.util.find_spec("torch") is not None:
            return
        raise MissingPackage("torch", requester, _("install the PyTorch extension of Slicer")) from error
    logic = PyTorchUtilsLogic()
    if not logic.torchInstalled() and logic.installTorch(askConfirmation=True) is None:
        raise MissingPackage("torch", requester, _("use the PyTorch Util module of Slicer"))
    if not logic.torchInstalled():
        raise MissingPackage("torch", requester, _("repair it with the PyTorch Util module of Slicer"))


def _ensure(path: str | Path, wanted: list[str], requester: str) -> None:
    try:
        from slicer.packaging import load_requirements, pip_ensure
    except ImportError:  # Slicer before 5.12
        missing = [line for line in wanted if not _installed(re.match(r"[\w.-]+", line)[0])]
        if not missing:
            return
        question = _("{module} needs these Python packages, which are not installed: {packages}. Install them now?")
        if not slicer.util.confirmOkCancelDisplay(question.format(module=requester, packages=", ".join(missing))):
            raise RuntimeError("declined") from None
        slicer.util.pip_install(" ".join(f'"{line}"' for line in missing))
    else:
        pip_ensure(load_requirements(str(path)), requester=requester)


def _installed(name: str) -> bool:
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False
