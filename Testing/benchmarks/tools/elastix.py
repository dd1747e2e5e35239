"""elastix: its default parameter maps, from centre on centre; the B-spline with Mattes mutual information alone."""

from __future__ import annotations

import itk
import numpy as np
import SimpleITK as sitk

MAPS = {"rigid": ["rigid"], "affine": ["affine"], "deformable": ["rigid", "bspline"]}
CENTRES = {
    "AutomaticTransformInitialization": ["true"],
    "AutomaticTransformInitializationMethod": ["GeometricalCenter"],
}
# With its bending energy the default B-spline map crashes on more than one thread.
MUTUAL_INFORMATION_ALONE = {
    "Metric": ["AdvancedMattesMutualInformation"],
    "Registration": ["MultiResolutionRegistration"],
}


class Registration:
    """By default elastix stops with less than a quarter of its samples inside: a moving image may be far smaller."""

    def __init__(self, fixed: sitk.Image, moving: sitk.Image, job: dict):
        parameters = itk.ParameterObject.New()
        for number, name in enumerate(MAPS[job["motion"]]):
            changes = {"WriteResultImage": ["false"], "RequiredRatioOfValidSamples": ["0.05"]}
            if number == 0:
                changes |= {} if job.get("start") == "frames" else CENTRES
            else:
                changes |= MUTUAL_INFORMATION_ALONE
            parameters.AddParameterMap(dict(parameters.GetDefaultParameterMap(name, 4)) | changes)
        self.fixed, self.moving, self.motion = to_itk(fixed), to_itk(moving), job["motion"]
        self.method = itk.ElastixRegistrationMethod.New(self.fixed, self.moving)
        self.method.SetParameterObject(parameters)
        self.method.SetLogToConsole(False)

    def run(self) -> None:
        self.method.UpdateLargestPossibleRegion()

    def pull(self) -> sitk.Transform:
        parameters = self.method.GetTransformParameterObject()
        if self.motion == "deformable":
            field = itk.transformix_deformation_field(self.moving, parameters)
            return sitk.DisplacementFieldTransform(sitk.Cast(field_to_sitk(field, self.fixed), sitk.sitkVectorFloat64))
        last = parameters.GetParameterMap(parameters.GetNumberOfParameterMaps() - 1)
        transform = sitk.Euler3DTransform() if self.motion == "rigid" else sitk.AffineTransform(3)
        transform.SetCenter([float(v) for v in last["CenterOfRotationPoint"]])
        transform.SetParameters([float(v) for v in last["TransformParameters"]])
        return transform


def to_itk(image: sitk.Image):
    copy = itk.image_from_array(sitk.GetArrayFromImage(image))
    copy.SetSpacing(image.GetSpacing())
    copy.SetOrigin(image.GetOrigin())
    copy.SetDirection(itk.matrix_from_array(np.array(image.GetDirection()).reshape(3, 3)))
    return copy


def field_to_sitk(field, like) -> sitk.Image:
    copy = sitk.GetImageFromArray(itk.array_from_image(field), isVector=True)
    copy.SetSpacing(list(like.GetSpacing()))
    copy.SetOrigin(list(like.GetOrigin()))
    copy.SetDirection(itk.array_from_matrix(like.GetDirection()).ravel().tolist())
    return copy
