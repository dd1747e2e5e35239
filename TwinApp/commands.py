"""The commands of `digitaltwin`: run, check, demo."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from TwinCore import Job, Progress, __version__

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="One patient's images to a prediction. Research use only.",
)
OUT = typer.Option("--out", help="Folder for the results; replaced if it holds earlier ones.")


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    """Show the help where no command is given."""
    if version:
        print(f"digitaltwin {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def run(
    case: Annotated[Path, typer.Argument(help="Case file (TOML), see docs/case_file.md.")],
    out: Annotated[Path | None, OUT] = None,
) -> None:
    """Run a case: fuse its images, segment, simulate, and write twin.mrb, results.json, report.html."""
    _run_case(case, out or Path("output") / case.stem)


@app.command()
def check(case: Annotated[Path, typer.Argument(help="Case file (TOML).")]) -> None:
    """Read a case and all that it names, and say what is wrong with it; compute nothing."""
    from .loading import load_case

    with job_on_terminal() as job:
        loaded = load_case(case, job)
    print(f"{case.name}: {len(loaded.images)} images, {len(loaded.outlines)} sets of outlines; all is well.")


@app.command()
def demo(
    out: Annotated[Path, OUT] = Path("output/demo"),
    seed: Annotated[int, typer.Option(help="Which virtual patient to make.")] = 0,
) -> None:
    """Make a virtual patient whose truth is known, run it, and report each error."""
    from .virtual_patient import make_virtual_patient

    folder = out.parent / f"{out.name}_patient"
    with job_on_terminal() as job:
        case = make_virtual_patient(folder, seed, job)
    print(f"The virtual patient's images and case file are in {folder}.")
    _run_case(case, out)


def _run_case(case: Path, out: Path) -> None:
    from .pipeline import run_case

    with job_on_terminal() as job:
        results = run_case(case, out, job)
    for warning in job.warnings:
        print(f"Note: {warning}")
    for name, entry in results.items():
        print(f"{name:28} {_in_words(entry)}")
    print(f"The report is {out / 'report.html'}")


def _in_words(entry: dict[str, Any]) -> str:
    value = entry["value"]
    if isinstance(value, str):
        return value
    interval = entry.get("interval_90")
    bounds = f"  (90 %: {interval[0]:.4g} to {interval[1]:.4g})" if interval else ""
    return f"{value:.6g} {entry['unit'] if entry['unit'] != '1' else ''}{bounds}"


@contextmanager
def job_on_terminal() -> Iterator[Job]:
    """A job with a progress bar, which Ctrl-C and a request to terminate cancel at its next checkpoint."""
    console = Console(stderr=True)
    with Bar(
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=console,
    ) as bar:
        task = bar.add_task("", total=1.0)

        def show(report: Progress) -> None:
            bar.update(task, completed=report.fraction, description=" / ".join(report.path))

        job = Job(show)
        earlier = {number: signal.signal(number, lambda *_: job.cancel()) for number in _stop_signals()}
        try:
            yield job
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)


def _stop_signals() -> tuple[int, ...]:
    return (signal.SIGINT,) if os.name == "nt" else (signal.SIGINT, signal.SIGTERM)
