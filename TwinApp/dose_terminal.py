"""The tables of a plan on the terminal: structures, goals and schedules, as their files hold them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .wording import plain

TABLES = ("structures", "goals", "schedules")
COLOURS = {"pass": "green", "acceptable": "yellow", "fail": "red"}
DETAIL = ("difference_", "geud_")
"""Columns of schedules that are only in the file."""
LOW, HIGH = "_low_90", "_high_90"


def show_tables(folder: Path, console: Console | None = None) -> None:
    """Print those that the folder has."""
    console = console or Console()
    for name in TABLES:
        path = folder / f"{name}.csv"
        if path.is_file():
            with open(path, newline="", encoding="utf-8") as file:
                rows = list(csv.reader(file))
            if name == "schedules":  # a column each, for they are few and their read-outs many
                rows = _side_by_side(rows)
            console.print(_table(name, *rows))


def _table(name: str, header: Sequence[str], *rows: Sequence[str]) -> Table:
    table = Table(title=name.capitalize(), title_justify="left", box=box.SIMPLE_HEAD)
    for n, word in enumerate(header):
        table.add_column(_words(word), justify="left" if n == 0 else "right", no_wrap=n == 0)
    for row in rows:
        table.add_row(_words(row[0]), *map(_cell, row[1:]))
    return table


def _side_by_side(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Read-outs down and schedules across, each with its 90 % interval."""
    columns = {column[0].partition(" [")[0]: column for column in zip(*rows)}
    shown = []
    for name, (title, *values) in columns.items():
        if name.startswith(DETAIL) or name.endswith((LOW, HIGH)):
            continue
        ends = [columns[name + end][1:] for end in (LOW, HIGH) if name + end in columns]
        cells = [
            f"{_cell(value)} ({_cell(ends[0][n])} to {_cell(ends[1][n])})" if ends else value
            for n, value in enumerate(values)
        ]
        shown.append([title, *cells])
    return shown


def _words(text: str) -> str:
    return escape(plain(text, 40).replace("_", " "))


def _cell(text: str) -> str:
    try:
        return f"{float(text):.4g}"
    except ValueError:
        return f"[{COLOURS[text]}]{text}[/]" if text in COLOURS else _words(text)
