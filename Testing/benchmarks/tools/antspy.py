"""ANTs: mutual information from centre on centre; SyN; where a job looks far, after its multi-start initialiser."""

from __future__ import annotations

import tempfile
from pathlib import Path

import ants
import SimpleITK as sitk

COARSE_MM = 8.0
KINDS = {"rigid": "Rigid", "affine": "Affine", "deformable": "SyN"}


class Registration:
    def __init__(self, fixed: sitk.Image, moving: sitk.Image, job: dict):
        self.fixed, self.moving = to_ants(fixed), to_ants(moving)
        self.motion, self.far = job["motion"], job.get("far", False)
        self.folder = tempfile.TemporaryDirectory()
        self.start = str(Path(self.folder.name) / "start.mat")
        centres = sitk.CenteredTransformInitializer(
            fixed, moving, sitk.Euler3DTransform(), sitk.CenteredTransformInitializerFilter.GEOMETRY
        )
        start = sitk.Euler3DTransform(centres)
        if job.get("start") == "frames":
            start.SetTranslation([0.0, 0.0, 0.0])
        sitk.WriteTransform(start, self.start)

    def run(self) -> None:
        if self.far:
            coarse = (
                ants.resample_image(image, (COARSE_MM,) * 3, interp_type=0) for image in (self.fixed, self.moving)
            )
            ants.affine_initializer(*coarse, 20, 0.5, False, 10, txfn=self.start)
        self.answer = ants.registration(
            self.fixed,
            self.moving,
            KINDS[self.motion],
            initial_transform=[self.start],
            outprefix=str(Path(self.folder.name) / "answer_"),
            aff_metric="mattes",
        )

    def pull(self) -> sitk.Transform:
        moves = []
        for file in self.answer["fwdtransforms"]:  # applied to a point of the fixed image from the first to the last
            if file.endswith(".mat"):
                moves.insert(0, sitk.ReadTransform(file))
            else:
                moves.insert(0, sitk.DisplacementFieldTransform(sitk.ReadImage(file, sitk.sitkVectorFloat64)))
        return sitk.CompositeTransform(moves)


def to_ants(image: sitk.Image):
    return ants.from_sitk(image)
