"""Rows of the project's catalogue, for tests that change them."""

from __future__ import annotations

import json
from importlib import resources

from TwinSegmentLib import models


def meshnet_row() -> dict:
    """The first MeshNet's."""
    rows = json.loads((resources.files(models) / "catalogue.json").read_text("utf-8"))
    return next(row for row in rows if row["kind"] == "meshnet")
