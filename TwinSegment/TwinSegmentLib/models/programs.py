"""Programs that the user has installed, run on a patient's images: as a list of arguments, never through a shell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from TwinCore import Image, InvalidInput, Job, resample
from TwinCore.guard import display_name
from TwinCore.itk import to_sitk

from ..networks.model import AIR

POLL_S = 0.1
LOG = "log.txt"
LONGEST_REASON = 300
USUAL_SECONDS = 300.0


def run_program(command: Sequence[str], folder: Path, job: Job, seconds: float | None = None) -> None:
    """Run a program to its end; it and all that it started are killed if the job is cancelled.

    Parameters
    ----------
    command : sequence of str
        The executable and its arguments.
    folder : Path
        Where it runs, and leaves what it says.
    job : Job
    seconds : float, optional
        About how long it takes, from which its progress is guessed.

    Raises
    ------
    InvalidInput
        If it cannot be started or fails, with its last words.
    JobCancelled
    """
    name, start = Path(command[0]).stem, time.monotonic()
    with open(folder / LOG, "wb") as log:
        try:
            process = subprocess.Popen(
                list(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, start_new_session=True
            )
        except OSError as error:
            raise InvalidInput(f"{name} cannot be started: {error}.") from error
        try:
            while process.poll() is None:
                spent = time.monotonic() - start
                job.report(spent / (spent + (seconds or USUAL_SECONDS)), f"{name} is running")
                time.sleep(POLL_S)
        finally:
            _end(process)
    if process.returncode:
        said = (folder / LOG).read_bytes()[-4000:].decode("utf-8", "replace").strip().splitlines()
        reason = display_name(said[-1] if said else "", "it said nothing", LONGEST_REASON)
        raise InvalidInput(f"{name} failed with exit code {process.returncode}: {reason}")


def _end(process: subprocess.Popen) -> None:
    """Kill a process that still runs, with its children."""
    if process.poll() is not None:
        return
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], capture_output=True, check=False)
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def write_channels(images: Sequence[Image], paths: Sequence[Path]) -> None:
    """Write images as files, all on the grid of the first and nothing of the patient in them but voxels."""
    for image, path in zip(images, paths):
        fill = AIR.get(image.modality, float(image.array.min()))
        on_grid = image if image.grid.same_as(images[0].grid) else resample(image, images[0].grid, fill=fill)
        plain = Image(on_grid.array.astype(np.float32), images[0].grid)
        sitk.WriteImage(to_sitk(plain), str(path), useCompression=True)
