"""greedy: NMI from centre on centre, where a job looks far after its random search; WNCC or NMI for the deformation."""

from __future__ import annotations

import io

import numpy as np
import SimpleITK as sitk
from picsl_greedy import Greedy3D

DEGREES_OF_FREEDOM = {"rigid": 6, "affine": 12, "deformable": 6}
SEARCH = "-search 1000 60 20"


class Registration:
    def __init__(self, fixed: sitk.Image, moving: sitk.Image, job: dict):
        self.images = {"fixed": fixed, "moving": moving}
        self.motion, self.far, self.same_contrast = job["motion"], job.get("far", False), job.get("same_contrast")
        self.start = "-ia-identity" if job.get("start") == "frames" else "-ia-image-centers"
        self.greedy = Greedy3D()

    def run(self) -> None:
        search = SEARCH if self.far else ""
        linear = f"-a -dof {DEGREES_OF_FREEDOM[self.motion]} -m NMI {self.start} {search} -n 100x50x10"
        self._greedy(f"{linear} -i fixed moving -o move", move=None, **self.images)
        if self.motion == "deformable":
            metric = "WNCC 2x2x2" if self.same_contrast else "NMI"
            self._greedy(f"-m {metric} -n 100x50x20 -i fixed moving -it move -o bend", bend=None)

    def _greedy(self, command: str, **images) -> None:
        self.greedy.execute(command, out=io.StringIO(), err=io.StringIO(), **images)

    def pull(self) -> sitk.Transform:
        ras = np.diag([-1.0, -1.0, 1.0, 1.0])
        pull = ras @ self.greedy["move"] @ ras
        linear = sitk.AffineTransform(pull[:3, :3].ravel().tolist(), pull[:3, 3].tolist())
        if self.motion != "deformable":
            return linear
        bend = sitk.DisplacementFieldTransform(sitk.Cast(self.greedy["bend"], sitk.sitkVectorFloat64))
        return sitk.CompositeTransform([linear, bend])
