"""Run one registration tool on a list of jobs, and time it; runs in the environment where the tool is installed.

    python run.py TOOL jobs.json answers.json

TOOL is a module beside this one with a class `Registration(fixed, moving, job)`, whose `run` is timed and whose `pull`
is then asked for: the ITK transform that takes points of the fixed image to the moving one. Reading, converting and
writing are not timed. A job, a dictionary, has

    fixed, moving, modalities    files, and DICOM codes of the two
    motion                       rigid, affine or deformable
    answer                       file for the field of a deformation
    move                         4x4, RAS mm, that the moving image's frame is first given (optional)
    window                       least and most value of a CT (optional)
    start                        "centres" on each other, or "frames" as the files have them (optional)
    resample                     whether the moving image is also brought onto the fixed one's grid (optional)

and what concerns single tools.
"""

from __future__ import annotations

import importlib
import json
import re
import resource
import sys
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk

RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def main(tool: str, jobs_file: str, answers_file: str) -> None:
    module = importlib.import_module(tool)
    with open(jobs_file, encoding="utf-8") as file:
        jobs = json.load(file)
    if getattr(module, "COMPILES", False):
        module.Registration(*images(jobs[0]), jobs[0]).run()
    answers = []
    for job in jobs:
        answers.append(answer(module, job))
        with open(answers_file, "w", encoding="utf-8") as file:  # after each, so that a crash loses only the rest
            json.dump(answers, file)


def answer(module, job: dict) -> dict:
    """Seconds by the clock and of the processor, peak memory so far, and the answer itself or what went wrong."""
    try:
        begin = time.perf_counter()
        fixed, moving = images(job)
        registration = module.Registration(fixed, moving, job)
        wall, cpu = time.perf_counter(), time.process_time()
        registration.run()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        pull = registration.pull()
        if job.get("resample"):
            sitk.Resample(moving, fixed, pull, sitk.sitkLinear)
        whole = time.perf_counter() - begin
    except Exception as error:  # whatever a tool raises is its answer
        return {"error": f"{type(error).__name__}: {error}"[-300:]}
    peak_gb = _peak_bytes() / 1e9
    figures = {"wall_s": wall, "cpu_s": cpu, "whole_s": whole, "peak_gb": peak_gb}
    if job["motion"] != "deformable":
        return figures | {"pull": matrix(pull).tolist()}
    np.save(job["answer"], displacement(pull, fixed))
    return figures


def _peak_bytes() -> float:
    """The most memory that this process held. On Linux the figure of the kernel's status file, for that of getrusage
    begins with what the parent process held."""
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * float(re.search(r"VmHWM:\s*(\d+)", status.read_text())[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def images(job: dict) -> tuple[sitk.Image, sitk.Image]:
    fixed, moving = (sitk.ReadImage(job[name], sitk.sitkFloat32) for name in ("fixed", "moving"))
    if "window" in job:
        fixed, moving = (
            sitk.Clamp(image, lowerBound=job["window"][0], upperBound=job["window"][1]) if modality == "CT" else image
            for image, modality in zip((fixed, moving), job["modalities"])
        )
    if "move" in job:
        move = RAS @ np.array(job["move"]) @ RAS
        moving.SetOrigin((move[:3, :3] @ moving.GetOrigin() + move[:3, 3]).tolist())
        moving.SetDirection((move[:3, :3] @ np.array(moving.GetDirection()).reshape(3, 3)).ravel().tolist())
    return fixed, moving


def matrix(pull: sitk.Transform) -> np.ndarray:
    """A linear transform as 4x4, RAS mm."""
    ends = np.array([pull.TransformPoint((100.0 * axis).tolist()) for axis in np.eye(4, 3, k=-1)])
    lps = np.eye(4)
    lps[:3, 3] = ends[0]
    lps[:3, :3] = (ends[1:] - ends[0]).T / 100.0
    return RAS @ lps @ RAS


def displacement(pull: sitk.Transform, fixed: sitk.Image) -> np.ndarray:
    """How far each voxel of the fixed image lies from its place in the moving one: (k, j, i, 3), RAS mm."""
    geometry = fixed.GetSize(), fixed.GetOrigin(), fixed.GetSpacing(), fixed.GetDirection()
    field = sitk.TransformToDisplacementField(pull, sitk.sitkVectorFloat32, *geometry)
    return sitk.GetArrayFromImage(field) * np.array([-1, -1, 1], np.float32)


if __name__ == "__main__":
    main(*sys.argv[1:])
