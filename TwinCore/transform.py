"""Spatial transforms of an image into the reference frame, and resampling through them.

All kinds describe the same thing, the move image -> reference. Points are pushed forward (`push`, image -> reference);
images are pulled back (`pull`, reference -> image), which is what resampling needs and what ITK calls the transform.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import overload

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import map_coordinates

from .errors import InvalidInput
from .grid import LPS_FROM_RAS, Grid
from .image import Image
from .itk import from_sitk, grid_onto_sitk, to_sitk

INTERPOLATORS = {"nearest": sitk.sitkNearestNeighbor, "linear": sitk.sitkLinear, "cubic": sitk.sitkBSpline3}


@dataclass(frozen=True, eq=False)
class LinearTransform:
    """A rigid or affine move of an image into the reference frame.

    Parameters
    ----------
    matrix : array, shape (4, 4)
        Maps RAS points of the image, in mm, to RAS points of the reference.
    """

    matrix: np.ndarray

    def __post_init__(self):
        matrix = np.array(self.matrix, float)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:3, :3])) < 1e-9:
            raise InvalidInput("A linear transform must be a finite, invertible 4x4 matrix.")
        object.__setattr__(self, "matrix", matrix)

    @classmethod
    def identity(cls) -> LinearTransform:
        return cls(np.eye(4))

    def push(self, points_ras) -> np.ndarray:
        """Points (..., 3) of the image, in the reference frame; RAS mm."""
        return np.asarray(points_ras, float) @ self.matrix[:3, :3].T + self.matrix[:3, 3]

    def pull(self, points_ras) -> np.ndarray:
        """Points (..., 3) of the reference, in the image's frame; RAS mm."""
        return self.inverse().push(points_ras)

    def inverse(self) -> LinearTransform:
        return LinearTransform(np.linalg.inv(self.matrix))

    @overload
    def then(self, other: LinearTransform) -> LinearTransform: ...

    @overload
    def then(self, other: Transform) -> Transform: ...

    def then(self, other):
        """This move, followed by another."""
        if isinstance(other, LinearTransform):
            return LinearTransform(other.matrix @ self.matrix)
        return CompositeTransform((self,)).then(other)

    def to_sitk(self) -> sitk.Transform:
        """The pull-back as ITK has it: LPS points of the reference to LPS points of the image."""
        pull = LPS_FROM_RAS @ np.linalg.inv(self.matrix) @ LPS_FROM_RAS
        transform = sitk.AffineTransform(3)
        transform.SetMatrix(pull[:3, :3].ravel().tolist())
        transform.SetTranslation(pull[:3, 3].tolist())
        return transform


@dataclass(frozen=True, eq=False)
class GridTransform:
    """A deformation of an image into the reference frame, sampled on a grid in the reference frame.

    Parameters
    ----------
    displacement_mm : array, shape (k, j, i, 3)
        For each grid point x of the reference, the RAS vector d(x) in mm such that the image shows at x + d(x) what
        belongs at x.
    grid : Grid
        The sampling points. Beyond them the displacement is zero.
    """

    displacement_mm: np.ndarray
    grid: Grid

    def __post_init__(self):
        if self.displacement_mm.shape != (*self.grid.shape, 3) or not np.isfinite(self.displacement_mm).all():
            raise InvalidInput(
                f"A grid transform needs a finite displacement of shape {(*self.grid.shape, 3)}, "
                f"not {self.displacement_mm.shape}."
            )

    def to_sitk(self) -> sitk.Transform:
        """The pull-back as ITK has it: LPS points of the reference to LPS points of the image."""
        field = sitk.GetImageFromArray(self.displacement_mm * np.array([-1.0, -1.0, 1.0]), isVector=True)
        return sitk.DisplacementFieldTransform(grid_onto_sitk(field, self.grid))

    def then(self, other: Transform) -> CompositeTransform:
        """This move, followed by another."""
        return CompositeTransform((self,)).then(other)

    def pull(self, points_ras) -> np.ndarray:
        """Points (..., 3) of the reference, in the image's frame; RAS mm."""
        points = np.asarray(points_ras, float)
        kji = self.grid.to_ijk(points.reshape(-1, 3)).T[::-1]
        displacement = np.stack(
            [map_coordinates(self.displacement_mm[..., c], kji, float, order=1, mode="nearest") for c in range(3)], -1
        )
        edge = np.array(self.grid.shape)[:, None] - 0.5  # as ITK: to the outer voxels' faces
        outside = ((kji < -0.5) | (kji > edge)).any(0)
        displacement[outside] = 0.0
        return points + displacement.reshape(points.shape)

    def push(self, points_ras) -> np.ndarray:
        """Points (..., 3) of the image, in the reference frame; RAS mm.

        The inverse of `pull`, by fixed-point iteration to 1e-4 mm (Chen et al. 2008, Med Phys 35:81).

        Raises
        ------
        InvalidInput
            If it does not converge: the deformation folds there.
        """
        points = np.asarray(points_ras, float)
        answer = points.copy()
        for _ in range(100):
            miss = points - self.pull(answer)
            answer += miss
            if np.abs(miss).max() < 1e-4:
                return answer
        raise InvalidInput("The deformation cannot be inverted at the points asked for: it folds there.")


@dataclass(frozen=True, eq=False)
class CompositeTransform:
    """Several moves, one after the other: most often a linear one and then a deformation.

    >>> shift = LinearTransform(np.eye(4) + np.eye(4, k=3))
    >>> bend = GridTransform(np.zeros((4, 4, 4, 3)), Grid.isotropic((4, 4, 4)))
    >>> shift.then(bend).push([0, 0, 0])
    array([1., 0., 0.])

    Parameters
    ----------
    moves : tuple of LinearTransform and GridTransform
        In the order in which an image's points pass through them. Linear ones that follow each other become one.
    """

    moves: tuple[LinearTransform | GridTransform, ...]

    def __post_init__(self):
        moves: list[LinearTransform | GridTransform] = []
        for move in self.moves:
            last = moves[-1] if moves else None
            if isinstance(move, LinearTransform) and isinstance(last, LinearTransform):
                moves[-1] = last.then(move)
            else:
                moves.append(move)
        if not moves:
            raise InvalidInput("A composite transform needs at least one move.")
        object.__setattr__(self, "moves", tuple(moves))

    def then(self, other: Transform) -> CompositeTransform:
        """This move, followed by another."""
        return CompositeTransform((*self.moves, *parts(other)))

    def push(self, points_ras) -> np.ndarray:
        """Points (..., 3) of the image, in the reference frame; RAS mm."""
        for move in self.moves:
            points_ras = move.push(points_ras)
        return points_ras

    def pull(self, points_ras) -> np.ndarray:
        """Points (..., 3) of the reference, in the image's frame; RAS mm."""
        for move in reversed(self.moves):
            points_ras = move.pull(points_ras)
        return points_ras

    def to_sitk(self) -> sitk.Transform:
        """The pull-back as ITK has it: LPS points of the reference to LPS points of the image."""
        return sitk.CompositeTransform([move.to_sitk() for move in self.moves])  # ITK applies the last one first


Transform = LinearTransform | GridTransform | CompositeTransform


def parts(transform: Transform) -> tuple[LinearTransform | GridTransform, ...]:
    """The single moves that a transform consists of, in the order in which an image's points pass through them."""
    return transform.moves if isinstance(transform, CompositeTransform) else (transform,)


def resample(
    image: Image, grid: Grid, transform: Transform | None = None, interpolation: str = "linear", fill: float = 0.0
) -> Image:
    """The image's values at the voxels of another grid.

    Parameters
    ----------
    image : Image
    grid : Grid
        Grid of the answer, in the reference frame.
    transform : LinearTransform, GridTransform or CompositeTransform, optional
        Move of the image into the reference frame; none leaves it where it is.
    interpolation : {"linear", "nearest", "cubic"}
        "nearest" for labels.
    fill : float
        Value outside the image's field of view, in the image's unit (CT: -1000).

    Returns
    -------
    Image
        Same modality, unit, time and name; floating point unless the interpolation is "nearest".
    """
    if interpolation not in INTERPOLATORS:
        raise InvalidInput(f"Interpolation {interpolation!r} is not one of {', '.join(INTERPOLATORS)}.")
    source = to_sitk(image)
    pixel = source.GetPixelID() if interpolation == "nearest" else _floating(source)
    reference = sitk.Image([1, 1, 1], sitk.sitkUInt8)
    grid_onto_sitk(reference, grid)
    resampler = sitk.ResampleImageFilter()
    resampler.SetReferenceImage(reference)
    resampler.SetSize([int(n) for n in grid.shape[::-1]])
    resampler.SetTransform(sitk.Transform(3, sitk.sitkIdentity) if transform is None else transform.to_sitk())
    resampler.SetInterpolator(INTERPOLATORS[interpolation])
    resampler.SetDefaultPixelValue(float(fill))
    resampler.SetOutputPixelType(pixel)
    return image.with_array(from_sitk(resampler.Execute(source)).array, grid=grid)


def _floating(source: sitk.Image) -> int:
    vector = source.GetNumberOfComponentsPerPixel() > 1
    double = source.GetPixelIDValue() in (sitk.sitkFloat64, sitk.sitkVectorFloat64)
    if vector:
        return sitk.sitkVectorFloat64 if double else sitk.sitkVectorFloat32
    return sitk.sitkFloat64 if double else sitk.sitkFloat32
