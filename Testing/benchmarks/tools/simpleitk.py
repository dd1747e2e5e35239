"""SimpleITK: Mattes mutual information over three resolutions, from centre on centre; then symmetric demons."""

from __future__ import annotations

import SimpleITK as sitk

SHRINK = (4, 2, 1)
SAMPLES = 50_000
TRANSFORMS = {"rigid": sitk.Euler3DTransform, "affine": sitk.AffineTransform}


class Registration:
    def __init__(self, fixed: sitk.Image, moving: sitk.Image, job: dict):
        self.fixed, self.moving, self.motion = fixed, moving, job["motion"]
        self.frames = job.get("start") == "frames"

    def run(self) -> None:
        self.answer = self._linear("rigid" if self.motion == "deformable" else self.motion)
        if self.motion == "deformable":
            self.answer = sitk.CompositeTransform([self.answer, self._bend(self.answer)])

    def pull(self) -> sitk.Transform:
        return self.answer

    def _linear(self, motion: str) -> sitk.Transform:
        kind = TRANSFORMS[motion](3) if motion == "affine" else TRANSFORMS[motion]()
        start = sitk.CenteredTransformInitializer(
            self.fixed, self.moving, kind, sitk.CenteredTransformInitializerFilter.GEOMETRY
        )
        if self.frames:
            start.SetTranslation([0.0, 0.0, 0.0])
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(50)
        method.SetMetricSamplingStrategy(method.RANDOM)
        voxels = self.fixed.GetNumberOfPixels()
        method.SetMetricSamplingPercentagePerLevel([min(SAMPLES * shrink**3 / voxels, 1.0) for shrink in SHRINK], 1)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsGradientDescentLineSearch(1.0, 100, 1e-6, 10)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetShrinkFactorsPerLevel(SHRINK)
        method.SetSmoothingSigmasPerLevel([4, 2, 0])
        method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
        method.SetInitialTransform(start, inPlace=True)
        method.Execute(self.fixed, self.moving)
        return start

    def _bend(self, linear: sitk.Transform) -> sitk.Transform:
        """Fast symmetric demons on images of one contrast."""
        moved = sitk.Resample(self.moving, self.fixed, linear, sitk.sitkLinear)
        moved = sitk.HistogramMatching(moved, self.fixed, 256, 15, True)
        demons = sitk.FastSymmetricForcesDemonsRegistrationFilter()
        demons.SetStandardDeviations(1.5)
        field = None
        for shrink, iterations in zip(SHRINK, (60, 60, 30)):
            demons.SetNumberOfIterations(iterations)
            fixed, moving = (_coarse(image, shrink) for image in (self.fixed, moved))
            if field is None:
                field = demons.Execute(fixed, moving)
            else:
                field = demons.Execute(fixed, moving, sitk.Resample(field, fixed))
        return sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))


def _coarse(image: sitk.Image, shrink: int) -> sitk.Image:
    if shrink == 1:
        return image
    return sitk.Shrink(sitk.SmoothingRecursiveGaussian(image, 0.5 * shrink * image.GetSpacing()[0]), [shrink] * 3)
