"""Bodies drawn on planes in linear dose gradients, whose dose-volume histograms are known, and a planning system's."""

from __future__ import annotations

import base64
import csv
import re
import xml.etree.ElementTree as ElementTree
import zlib
from pathlib import Path

import numpy as np

from TwinCore import Grid, Image

RADIUS, HEIGHT = 12.0, 24.0
MIDDLE_GY = 20.0
"""Dose in the middle of each body; it rises by 1 Gy per mm."""
VOLUME_ML = {
    "sphere": 4 / 3 * np.pi * RADIUS**3 / 1000,
    "cylinder": np.pi * RADIUS**2 * HEIGHT / 1000,
    "cone": np.pi * RADIUS**2 * HEIGHT / 3000,
}


def circle(radius: float, points: int = 180) -> np.ndarray:
    """Corners of the regular polygon with the circle's area."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    step = 2 * np.pi / points
    return radius * np.sqrt(step / np.sin(step)) * np.column_stack([np.cos(angle), np.sin(angle)])


def radius_at(body: str, z: float) -> float:
    if abs(z) > HEIGHT / 2:
        return 0.0
    return {
        "sphere": np.sqrt(max(RADIUS**2 - z**2, 0.0)),
        "cylinder": RADIUS,
        "cone": RADIUS * (HEIGHT / 2 - z) / HEIGHT,
    }[body]


def outlines(body: str, distance: float, start: float) -> list[np.ndarray]:
    """A body of 24 mm on planes this far apart, the lowest one `start` above its end."""
    heights = np.arange(start - HEIGHT / 2, HEIGHT / 2 + 1e-9, distance)
    drawn = [(circle(r), z) for z in heights if (r := radius_at(body, z)) > 0.2]
    return [np.column_stack([c, np.full(len(c), z)]) for c, z in drawn]


def gradient(axis: int, spacing: float = 2.5) -> Image:
    """A dose that rises along RAS axis 0 or 2."""
    size = int(np.ceil(45 / spacing))
    grid = Grid.isotropic((size,) * 3, spacing, np.array([0.3, 0.2, 0.1]) - (size - 1) / 2 * spacing)
    ras = grid.to_ras(np.stack(np.indices(grid.shape)[::-1], axis=-1))
    return Image((MIDDLE_GY + ras[..., axis]).astype(np.float32), grid, unit="Gy", name="gradient")


def exact_percent(body: str, axis: int, dose_gy: np.ndarray) -> np.ndarray:
    """Share of the body, in %, beyond each dose's plane."""
    at = dose_gy - MIDDLE_GY
    s = np.clip(at / RADIUS, -1, 1)
    if body == "sphere":
        return 25.0 * (2 - 3 * s + s**3)
    if axis == 2:
        return 100.0 * ((1 - s) / 2 if body == "cylinder" else ((1 - s) / 2) ** 3)
    if body == "cylinder":
        return 100.0 * _segment(s) / np.pi
    z = np.linspace(1e-6, 1, 2001)
    slices = [np.trapezoid(z**2 * _segment(np.clip(x / (z * RADIUS), -1, 1)), z) for x in at]
    return 300.0 * np.array(slices) / np.pi


def _segment(s: np.ndarray) -> np.ndarray:
    """Area of a unit circle beyond a chord at distance s."""
    return np.arccos(s) - s * np.sqrt(1 - s * s)


# The order of the planning system's table for the structures numbered in the folder, whose names differ from it.
TABLE = [
    "BODY", "BRAIN", "BRSTEM", "CTV", "Dose5200cGy", "GTV", "LensLeft", "LensRight", "OpticChiasm", "OpticNerveRt",
    "OpticNerveLt", "OrbitLeft", "OrbitRight", "PTV1", "optBRAIN", "optOptic",
]  # fmt: skip


def eclipse_outlines(folder: Path, name: str) -> list[np.ndarray]:
    """A structure of the planning system as closed outlines, RAS mm, from VTK's XML (zlib blocks, base64)."""
    path = folder / "EclipseEnt_Structures.seg" / f"EclipseEnt_Structures.seg_{TABLE.index(name)}.vtp"
    piece = ElementTree.parse(path).getroot().find(".//Piece")
    points = _array(piece.find("Points/DataArray")).reshape(-1, 3).astype(float)
    lines = {a.get("Name"): _array(a) for a in piece.findall("Lines/DataArray")}
    parts = np.split(lines["connectivity"], lines["offsets"][:-1])
    return [points[ids[:-1] if ids[0] == ids[-1] else ids] for ids in parts]


def eclipse_table(folder: Path) -> dict[str, tuple[float, np.ndarray]]:
    """Volume in mL as printed, and the cumulative histogram (Gy, %), of each structure."""
    with open(folder / "EclipseEnt_DvhTable_Eclipse.csv", newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    found = {}
    for column in range(0, len(header), 2):
        pairs = [(float(r[column]), float(r[column + 1])) for r in rows if len(r) > column + 1 and r[column + 1]]
        volume = re.search(r"of ([\d.]+) cc", header[column + 1])
        found[header[column].split("_DvhArray")[0]] = (float(volume[1]), np.array(pairs))
    return found


def _array(element) -> np.ndarray:
    kinds = {"Float32": "<f4", "Float64": "<f8", "Int64": "<i8", "Int32": "<i4"}
    kind, text = kinds[element.get("type")], element.text.strip()
    if element.get("format") == "ascii":
        return np.array(text.split(), float).astype(kind)
    count = int(np.frombuffer(base64.b64decode(text[:8])[:4], "<u4")[0])
    head = -(-(4 * (3 + count)) // 3) * 4
    sizes = np.frombuffer(base64.b64decode(text[:head]), "<u4")[3 : 3 + count]
    data, at, blocks = base64.b64decode(text[head:]), 0, []
    for size in sizes:
        blocks.append(zlib.decompress(data[at : at + int(size)]))
        at += int(size)
    return np.frombuffer(b"".join(blocks), kind)
