"""Checks on everything that enters: values, geometry, memory and the words that come with it.

Each check passes silently or raises `InvalidInput` with the input's name, what is wrong and what would be right.
"""

from __future__ import annotations

import ctypes
import os
import sys
import unicodedata
from pathlib import Path

import numpy as np

from .errors import InvalidInput
from .grid import Grid
from .image import Image

SPACING_MM = (0.01, 50.0)
EXTENT_MM = (1.0, 4000.0)
_BLOCK = 1 << 22


def check_image(image: Image, name: str = "") -> Image:
    """The image itself, if its values and its grid are plausible for its modality.

    An image with a modality is taken for an acquisition: it must not be constant, must be more than one slice thick,
    and a CT must look like Hounsfield units if that is its unit.

    Raises
    ------
    InvalidInput
    """
    name = name or image.name or "The image"
    check_grid(image.grid, name)
    check_values(image.array, name, acquisition=bool(image.modality))
    if image.modality == "CT" and image.unit == "[hnsf'U]":
        check_hounsfield(image.array, name)
    return image


def check_grid(grid: Grid, name: str) -> None:
    """Refuse spacings and extents that no patient image has, and axes that are not at right angles."""
    words = " x ".join(f"{s:.4g}" for s in grid.spacing)
    if grid.spacing.max() > SPACING_MM[1]:
        raise InvalidInput(
            f"{name}: the voxel spacing is {words} mm, above {SPACING_MM[1]:g} mm: it was probably written in "
            "micrometres. Spacing must be in millimetres."
        )
    if grid.spacing.min() < SPACING_MM[0]:
        raise InvalidInput(
            f"{name}: the voxel spacing is {words} mm, below {SPACING_MM[0]:g} mm: it was probably written in metres, "
            "or its unit is marked as micrometres. Spacing must be in millimetres."
        )
    extent = grid.spacing * grid.shape[::-1]
    if extent.max() > EXTENT_MM[1] or extent.max() < EXTENT_MM[0]:
        raise InvalidInput(
            f"{name}: the volume measures {' x '.join(f'{e:.4g}' for e in extent)} mm; the largest side of a patient "
            f"image is between {EXTENT_MM[0]:g} and {EXTENT_MM[1]:g} mm. Check dimensions and spacing."
        )
    if not grid.is_orthogonal:
        raise InvalidInput(
            f"{name}: the axes are not at right angles (a sheared matrix or a tilted gantry). Resample it to a regular "
            "grid first."
        )


def check_values(array: np.ndarray, name: str, acquisition: bool = True) -> None:
    """Refuse values that are not finite and, where an acquisition is meant, single slices and constant images."""
    if array.size == 0:
        raise InvalidInput(f"{name}: there are no voxels in it.")
    if array.dtype.kind == "c":
        raise InvalidInput(f"{name}: the values are complex numbers. Take the magnitude first.")
    bad = count_not_finite(array)
    if bad:
        raise InvalidInput(
            f"{name}: {bad} of {array.size} values are NaN or infinite. Every voxel must have a finite value."
        )
    if not acquisition:
        return
    if min(array.shape[:3]) < 2:
        raise InvalidInput(
            f"{name}: it is a single slice, of {' x '.join(map(str, array.shape[2::-1]))} voxels. A volume needs two "
            "or more voxels along each axis."
        )
    if array.min() == array.max():
        raise InvalidInput(f"{name}: every voxel has the value {array.flat[0]:g}. An acquired image is not constant.")


def count_not_finite(array: np.ndarray) -> int:
    """Number of NaN and infinite values, counted in blocks so that no copy of the volume is made."""
    if array.dtype.kind != "f":
        return 0
    flat = array.reshape(-1) if array.flags.c_contiguous else array.ravel()
    return sum(int(np.count_nonzero(~np.isfinite(flat[at : at + _BLOCK]))) for at in range(0, flat.size, _BLOCK))


def check_hounsfield(array: np.ndarray, name: str) -> None:
    """Refuse a CT whose values are raised by 1000 or 1024: soft tissue near 1000 and nothing below zero."""
    sample = array.reshape(-1)[:: max(1, array.size // 200_000)]
    body = sample[sample > 0]
    if array.min() >= 0 and body.size and np.mean((body > 850) & (body < 1250)) > 0.25:
        raise InvalidInput(
            f"{name}: no value is below 0 and soft tissue lies near 1000, so the values are probably Hounsfield units "
            "+ 1000 or + 1024. Subtract the offset, or give another unit than [hnsf'U]."
        )


def check_memory(needed_bytes: float, what: str) -> None:
    """Refuse an allocation that does not fit the memory available now; call it before allocating.

    Parameters
    ----------
    needed_bytes : float
    what : str
        What needs the memory, as the user knows it.
    """
    available = available_memory()
    if available is not None and needed_bytes > available:
        raise InvalidInput(
            f"{what} needs {needed_bytes / 1e9:.3g} GB of memory and {available / 1e9:.3g} GB are available. Use a "
            "coarser or smaller volume, or close other programs."
        )


def available_memory() -> int | None:
    """Bytes of memory that can still be taken; all physical memory on macOS, None where it cannot be told."""
    if sys.platform == "win32":
        return _available_on_windows()
    if sys.platform == "linux":
        return min((n for n in (_available_on_linux(), _available_in_cgroup()) if n is not None), default=None)
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def _available_on_linux() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _available_in_cgroup() -> int | None:
    """What a container's limit leaves; reclaimable file cache counts as free, as it does for MemAvailable."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit, used = (folder / "memory.max").read_text().strip(), int((folder / "memory.current").read_text())
        cache = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines()).get("inactive_file", 0)
        return None if limit == "max" else int(limit) - used + int(cache)
    except (OSError, ValueError):
        return None


def _available_on_windows() -> int | None:
    class MemoryStatus(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ulong), ("load", ctypes.c_ulong)] + [
            (name, ctypes.c_ulonglong)
            for name in (
                "physical",
                "available",
                "page_file",
                "available_page_file",
                "virtual",
                "available_virtual",
                "extended",
            )
        ]

    status = MemoryStatus()
    status.length = ctypes.sizeof(status)
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009  (the attribute exists on Windows only)
    return status.available if kernel.GlobalMemoryStatusEx(ctypes.byref(status)) else None


def display_name(text: object, fallback: str = "unnamed", length: int = 64) -> str:
    """Words from a file made safe to show, to use as a node name and to write into a table.

    >>> display_name("=cmd|' /C calc'!A0")
    "cmd ' C calc'!A0"
    >>> display_name("../../etc/passwd")
    'etc passwd'

    Letters of every script stay. Control and direction characters, path separators, brackets of markup and the signs
    that make a spreadsheet run a formula go.
    """
    kept = "".join(" " if c in '<>/\\|:*?"`\x00' or unicodedata.category(c)[0] in "CZ" else c for c in str(text or ""))
    return " ".join(kept.split()).lstrip("=+-@. ").strip()[:length].strip() or fallback
