"""`Label`: one class of a model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Label:
    """One class: its name, its colour (0 to 1), and its code (scheme, value, meaning)."""

    name: str
    colour: tuple[float, float, float]
    code: tuple[str, str, str] | None = None
