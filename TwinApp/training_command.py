"""`digitaltwin train` and `digitaltwin compare-training`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from .terminal import job_on_terminal

MAPS = typer.Argument(help="Label maps of whole heads: volumes, or folders of them.")
OUT = typer.Option("--out", help="Folder for the state, the curve and the weights; a beginning there is taken up.")
STEPS = typer.Option(help="Images shown in all.")
SCANS = typer.Option(help="Folder of labelled scans, each NAME.nii.gz with its labels NAME_labels.nii.gz.")
START = typer.Option(help="Weights to refine (safetensors); from nothing if none.")
MODALITY = typer.Option(help="Of the scans: MR or CT.")
SEED = typer.Option(help="Of the images and of the first weights.")


def train(
    label_maps: Annotated[list[Path], MAPS],
    out: Annotated[Path, OUT] = Path("output/training"),
    held_out: Annotated[int, typer.Option(help="How many of the label maps, the last ones, are only tested on.")] = 2,
    steps: Annotated[int, STEPS] = 9000,
    pathology: Annotated[int, typer.Option(help="Label maps with painted tumours and lesions to learn from too.")] = 0,
    scans: Annotated[Path | None, SCANS] = None,
    modality: Annotated[str, MODALITY] = "MR",
    start: Annotated[Path | None, START] = None,
    seed: Annotated[int, SEED] = 0,
) -> None:
    """Train a network on images made of label maps, and on labelled scans if there are any."""
    from .training import train_brain

    with job_on_terminal() as job:
        weights = train_brain(
            label_maps,
            out,
            held_out=held_out,
            steps=steps,
            pathology=pathology,
            scans=scans,
            modality=modality,
            start=start,
            seed=seed,
            job=job,
        )
    print(f"The weights are {weights}; the learning curve is {weights.parent / 'curve.jsonl'}")


def compare_training(
    label_maps: Annotated[list[Path], MAPS],
    scans: Annotated[Path, SCANS],
    out: Annotated[Path, OUT] = Path("output/comparison"),
    held_out: Annotated[int, typer.Option(help="How many of the scans, the last ones, are only tested on.")] = 1,
    steps: Annotated[int, STEPS] = 9000,
    modality: Annotated[str, MODALITY] = "MR",
    start: Annotated[Path | None, START] = None,
    seed: Annotated[int, SEED] = 0,
) -> None:
    """What labelled scans are worth: networks from label maps, from scans and from both, judged on other scans."""
    from . import training

    with job_on_terminal() as job:
        table = training.compare_training(
            label_maps, scans, out, held_out=held_out, steps=steps, modality=modality, start=start, seed=seed, job=job
        )
    shown = Table(title=table.name, title_justify="left", box=box.SIMPLE_HEAD)
    for number, name in enumerate(table.columns):
        shown.add_column(name, justify="right" if number else "left")
    for row in zip(*table.columns.values()):
        shown.add_row(row[0], *(f"{value:.3f}" for value in row[1:]))
    Console().print(shown)
    print(f"The table is {out / training.COMPARISON}")
