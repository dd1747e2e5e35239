"""Normalised mutual information of two images over many poses at once, the measure behind rigid registration.

NMI(A, B) = (H(A) + H(B)) / H(A, B), from the joint histogram of the voxels sampled in one image and interpolated in
the other (Studholme, Hill, Hawkes 1999, Pattern Recognition 32:71): 1 for unrelated images, larger the more one
explains the other, and steady where the overlap changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from scipy import ndimage

from TwinCore import Image, InvalidInput

BINS = 32

INTRINSIC_SIGMA_MM = {"PT": 3.0}
"""Blur that the modality itself brings, as a Gaussian's standard deviation: PET resolves about 7 mm (FWHM)."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Voxels drawn from an image: RAS positions (n, 3) in mm and intensity bins (n,)."""

    points: np.ndarray
    bins: np.ndarray


@dataclass(frozen=True, eq=False)
class Target:
    """The image that is interpolated: its intensities as continuous bins, and the way from RAS to its voxels."""

    bins: np.ndarray
    ras_to_ijk: np.ndarray


def smoothed(image: Image, sigma_mm: float) -> np.ndarray:
    """The image at a resolution (a Gaussian's standard deviation in mm), as float32; its own blur counts towards it."""
    own = INTRINSIC_SIGMA_MM.get(image.modality, 0.0)
    sigma = np.sqrt(max(sigma_mm**2 - own**2, 0.0)) / image.grid.spacing[::-1]
    return ndimage.gaussian_filter(image.array.astype(np.float32), np.where(sigma < 0.3, 0.0, sigma), mode="nearest")


def to_bins(values: np.ndarray) -> np.ndarray:
    """Intensities as continuous bins 0 to BINS - 1 that hold equally many voxels each, background apart.

    Equal counts make the measure the same for an MR in arbitrary units and for a PET whose hot spots span three
    decades. The background (below the image's mean, where the histogram peaks) gets the lowest eighth of the bins.

    Raises
    ------
    InvalidInput
        If the image is constant.
    """
    low, high = np.percentile(values, (0.1, 99.9))
    if not high > low:
        raise InvalidInput("A constant image cannot be registered: it shows nothing that could be matched.")
    threshold = values.mean()
    background, body = values[values <= threshold], values[values > threshold]
    share = BINS // 8
    knots = np.concatenate(
        [np.quantile(background, np.linspace(0, 1, share + 1))[:-1], np.quantile(body, np.linspace(0, 1, BINS - share))]
    )
    knots, position = np.unique(knots, return_index=True)
    return np.interp(values, knots, position).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Channel:
    """A pair of images at one resolution: the binned moving image with its focus, and what it is matched with."""

    moving_bins: np.ndarray
    moving: Image
    focus: np.ndarray | None
    onto: Target

    @classmethod
    def at_resolution(cls, fixed: Image, moving: Image, focus: np.ndarray | None, sigma_mm: float) -> Channel:
        """Smooth and bin both images; `focus` is a bool array on the moving image's grid, or None."""
        onto = Target(to_bins(smoothed(fixed, sigma_mm)), np.linalg.inv(fixed.grid.ijk_to_ras))
        return cls(to_bins(smoothed(moving, sigma_mm)).ravel(), moving, focus, onto)

    def sample(self, count: int, seed: int) -> Samples:
        """Draw voxels of the moving image at random, each once; half of them in the focus, where there is one."""
        rng = np.random.default_rng(seed)

        def draw(candidates: np.ndarray, number: int) -> np.ndarray:
            return rng.choice(candidates, min(number, candidates.size), replace=False)

        chosen = draw(np.arange(self.moving_bins.size), count if self.focus is None else count // 2)
        if self.focus is not None:
            chosen = np.concatenate([draw(np.flatnonzero(self.focus), count // 2), chosen])
        chosen.sort()  # neighbours in the one image are neighbours in the other: what is read next is near
        kji = np.stack(np.unravel_index(chosen, self.moving.grid.shape), -1)
        return Samples(self.moving.grid.to_ras(kji[:, ::-1]), np.rint(self.moving_bins[chosen]).astype(np.uint64))


def mutual_information(samples: Samples, onto: Target, poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """NMI and overlap of many poses.

    Parameters
    ----------
    samples : Samples
    onto : Target
    poses : array, shape (n, 4, 4)
        Each maps RAS points of the sampled image to RAS points of the target image.

    Returns
    -------
    nmi : array, shape (n,)
        0 where nothing overlaps.
    overlap : array, shape (n,)
        Share of the samples that fall inside the target image.
    """
    to_voxels = np.ascontiguousarray((onto.ras_to_ijk @ poses)[:, :3])
    if len(to_voxels) > 1:
        return _nmi_of_poses(samples.points, samples.bins, onto.bins, to_voxels)
    nmi, overlap = _nmi_of_pose(samples.points, samples.bins, onto.bins, to_voxels[0])  # two threads would only wait
    return np.array([nmi]), np.array([overlap])


@njit(parallel=True, nogil=True, cache=True)
def _nmi_of_poses(points, bins, volume, to_voxels):
    poses = to_voxels.shape[0]
    nmi, overlap = np.zeros(poses), np.zeros(poses)
    for pose in prange(poses):
        nmi[pose], overlap[pose] = _nmi_of_pose(points, bins, volume, to_voxels[pose])
    return nmi, overlap


@njit(nogil=True, cache=True)
def _nmi_of_pose(points, bins, volume, to_voxels):
    joint, inside = _joint_histogram(points, bins, volume.ravel(), volume.shape, to_voxels)
    return _normalised(joint), inside / points.shape[0]


@njit(nogil=True, cache=True, fastmath=True)
def _joint_histogram(points, bins, volume, shape, m):
    """Joint histogram by trilinear interpolation; each sample is shared between the two bins beside its value.

    Indices are flat and unsigned: numba then leaves out the wrapping of negative ones.
    """
    depth, height, width = shape
    row, plane = np.uint64(width), np.uint64(width * height)
    joint = np.zeros((BINS, BINS + 1))
    one = np.uint64(1)
    inside = 0
    for n in range(points.shape[0]):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        i = m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]
        j = m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]
        k = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
        if i < 0 or j < 0 or k < 0 or i > width - 1.001 or j > height - 1.001 or k > depth - 1.001:
            continue
        inside += 1
        i0, j0, k0 = np.uint64(i), np.uint64(j), np.uint64(k)
        a, b, c = i - i0, j - j0, k - k0
        at = k0 * plane + j0 * row + i0
        near = (volume[at] * (1 - a) + volume[at + one] * a) * (1 - b)
        near += (volume[at + row] * (1 - a) + volume[at + row + one] * a) * b
        at += plane
        far = (volume[at] * (1 - a) + volume[at + one] * a) * (1 - b)
        far += (volume[at + row] * (1 - a) + volume[at + row + one] * a) * b
        value = near * (1 - c) + far * c
        low = np.uint64(value)
        joint[bins[n], low] += 1 - (value - low)
        joint[bins[n], low + one] += value - low
    return joint, inside


@njit(nogil=True, cache=True)
def _normalised(joint):
    total = joint.sum()
    if total == 0:
        return 0.0
    rows, columns, both = 0.0, 0.0, 0.0
    for a in range(joint.shape[0]):
        mass = joint[a].sum()
        if mass > 0:
            rows -= mass / total * np.log(mass / total)
        for b in range(joint.shape[1]):
            if joint[a, b] > 0:
                both -= joint[a, b] / total * np.log(joint[a, b] / total)
    for b in range(joint.shape[1]):
        mass = joint[:, b].sum()
        if mass > 0:
            columns -= mass / total * np.log(mass / total)
    return (rows + columns) / both if both > 0 else 0.0
