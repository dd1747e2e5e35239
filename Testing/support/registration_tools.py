"""Registration tools side by side: this project's and its peers', each run in a process of its own environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import SimpleITK as sitk

from TwinCore import Image
from TwinCore.itk import to_sitk

ROOT = Path(__file__).resolve().parents[2]
RUNNER = ROOT / "Testing/benchmarks/tools/run.py"
PEERS_PYTHON = ROOT / ".venv-peers/bin/python"
THREADS = os.cpu_count() or 1
HEAD_WINDOW, BODY_WINDOW = (-20.0, 100.0), (-160.0, 240.0)
"""CT values that peers are given, clipped as radiologists look at them; we are given all."""


@dataclass(frozen=True)
class Method:
    """A tool as it is used: what it is called in tables, its module beside the runner, its options in each job."""

    label: str
    tool: str
    options: dict = field(default_factory=dict)

    @property
    def is_peer(self) -> bool:
        return self.tool != "digitaltwin"


ALL_POSES, SAME_START = (
    Method("DigitalTwin, all poses", "digitaltwin"),
    Method("DigitalTwin, peers' start", "digitaltwin", {"start": "centres"}),
)
PEERS = (
    Method("elastix", "elastix"),
    Method("SimpleITK", "simpleitk"),
    Method("greedy", "greedy"),
    Method("ANTs", "antspy"),
)


def peers() -> tuple[Method, ...]:
    """The peers, or none, saying so, where their environment has not been made."""
    if PEERS_PYTHON.exists():
        return PEERS
    print(f"Peers are left out: {PEERS_PYTHON.parents[1].name} is not there; `make bench` makes it where it can.\n")
    return ()


def run(method: Method, jobs: Sequence[dict]) -> list[dict]:
    """What a method answers to jobs (see the runner), one after the other; what it did not live to answer says so."""
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder) / "jobs.json", Path(folder) / "answers.json"
        asked.write_text(json.dumps([_for(method, job) for job in jobs]), "utf-8")
        python = PEERS_PYTHON if method.is_peer else sys.executable
        command = [python, RUNNER, method.tool, asked, answered]
        # Run in the folder, for elastix leaves files where it runs.
        ended = subprocess.run(command, capture_output=True, text=True, cwd=folder)
        answers = json.loads(answered.read_text("utf-8")) if answered.exists() else []
    lost = {"error": f"ended with code {ended.returncode}: {ended.stderr[-300:]}"}
    return answers + [lost] * (len(jobs) - len(answers))


def write(image: Image, path: Path) -> str:
    """Write an image for a job."""
    sitk.WriteImage(to_sitk(image), str(path))
    return str(path)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """As Markdown."""
    print("| " + " | ".join(header) + " |")
    print("|" + " --- |" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)


def _for(method: Method, job: dict) -> dict:
    job = job | method.options
    if not method.is_peer:
        job.pop("window", None)
    return job
