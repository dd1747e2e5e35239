"""What the commands say on the terminal: how far they are, and at the end their warnings and results."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from TwinCore import Job, Progress

LINE_EVERY_S = 30.0
"""Where there is no terminal to draw a bar on, as in a log, a line says now and then how far the job is."""


@contextmanager
def job_on_terminal() -> Iterator[Job]:
    """A job that shows how far it is, and that Ctrl-C or a request to terminate cancels at its next checkpoint."""
    console = Console(stderr=True)
    with Bar(
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=console,
        disable=not console.is_terminal,
    ) as bar:
        job = Job(_on_bar(bar) if console.is_terminal else in_lines(console))
        earlier = {number: signal.signal(number, lambda *_: job.cancel()) for number in _stop_signals()}
        try:
            yield job
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)


def in_lines(console: Console) -> Callable[[Progress], None]:
    """An observer of a job that prints a line when the last one is `LINE_EVERY_S` old."""
    last = 0.0

    def show(report: Progress) -> None:
        nonlocal last
        if report.seconds - last >= LINE_EVERY_S:
            last = report.seconds
            line = f"{report.fraction:4.0%} after {report.seconds:.0f} s: {_place(report)}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    return show


def tell(results: dict[str, dict[str, Any]], warnings: Iterable[str]) -> None:
    """Print the warnings and the results, a line each."""
    for warning in warnings:
        print(f"Note: {warning}")
    for name, entry in results.items():
        print(f"{name:28} {_in_words(entry)}")


def _on_bar(bar: Bar) -> Callable[[Progress], None]:
    task = bar.add_task("", total=1.0)

    def show(report: Progress) -> None:
        bar.update(task, completed=report.fraction, description=escape(_place(report)))

    return show


def _place(report: Progress) -> str:
    return ": ".join(filter(None, (" / ".join(report.path), report.message)))


def _in_words(entry: dict[str, Any]) -> str:
    value = entry["value"]
    if isinstance(value, str):
        return value
    if value is None:
        return "not known"
    interval = entry.get("interval_90")
    bounds = f"  (90 %: {interval[0]:.4g} to {interval[1]:.4g})" if interval else ""
    return f"{value:.6g} {entry['unit'] if entry['unit'] != '1' else ''}{bounds}"


def _stop_signals() -> tuple[int, ...]:
    return (signal.SIGINT,) if os.name == "nt" else (signal.SIGINT, signal.SIGTERM)
