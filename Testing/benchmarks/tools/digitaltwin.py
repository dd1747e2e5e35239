"""This project's registration: from all poses unless a job names a start."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from TwinCore import LinearTransform
from TwinCore.itk import from_sitk
from TwinFusionLib.linear import register_linear

COMPILES = True


class Registration:
    def __init__(self, fixed: sitk.Image, moving: sitk.Image, job: dict):
        self.fixed, self.moving = (
            from_sitk(image, modality=job["modalities"][n], name=("fixed", "moving")[n])
            for n, image in enumerate((fixed, moving))
        )
        self.motion, self.seed, self.start = job["motion"], job.get("seed", 0), None
        if "start" in job:
            shift = np.eye(4)
            if job["start"] == "centres":
                shift[:3, 3] = self.fixed.grid.centre - self.moving.grid.centre
            self.start = LinearTransform(shift)

    def run(self) -> None:
        deforms = self.motion == "deformable"
        motion = "rigid" if deforms else self.motion
        self.answer = register_linear(self.fixed, [self.moving], motion, start=self.start, seed=self.seed).transform
        if deforms:
            from TwinFusionLib.deformable import register_deformable

            self.answer = self.answer.then(register_deformable(self.fixed, self.moving, self.answer).transform)

    def pull(self) -> sitk.Transform:
        return self.answer.to_sitk()
