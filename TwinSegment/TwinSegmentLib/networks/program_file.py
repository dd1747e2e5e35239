"""Files of torch that are programs, not data, and are therefore never loaded: TorchScript and torch.export."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import BinaryIO

INSTEAD = (
    "is a program, which could do anything on loading, and is not loaded. Use the network as ONNX (torch.onnx.export), "
    "or its weights alone, in a MONAI bundle or as safetensors"
)
PROGRAM_KINDS = {"torchscript": "TorchScript", "torch.export": "torch.export"}
"""Kinds that a catalogue may ask for and does not get."""


def program_in(file: str | Path | BinaryIO) -> str | None:
    """What a file is, "TorchScript" or "torch.export", by the names of its parts; None if it is neither."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return None
    if any("/code/" in name or name.endswith("constants.pkl") for name in names):
        return "TorchScript"
    if any(name.endswith(("archive_format", "serialized_exported_program.json")) for name in names):
        return "torch.export"
    return None
