"""The patient's body in an image: what is not air."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from TwinCore import Image, InvalidInput
from TwinCore.itk import to_sitk

SIGMA_MM = 3.0
DYNAMIC_RANGE = 1000.0
"""Values below the image's 90th percentile by more than this factor are all the same: background."""


def body(image: Image) -> np.ndarray:
    """The largest connected region brighter than the background, its inside filled.

    CT: above -300 HU. Other modalities: Otsu's threshold on the logarithm of the smoothed image, where a hot tumour is
    no further from muscle than muscle is from air, parts body and air; the skin is then put half-way between the air
    and the body's darker tissue (its lower quartile, such as fat in PET). Fat-suppressed MR is not suited: its fat is
    as dark as air.

    Parameters
    ----------
    image : Image

    Returns
    -------
    bool array, shape (k, j, i)

    Raises
    ------
    InvalidInput
        If nothing stands out from the background.
    """
    if image.modality == "CT":
        inside = image.array > -300.0
    else:
        smooth = ndimage.gaussian_filter(image.array.astype(np.float32), SIGMA_MM / image.grid.spacing[::-1])
        logarithm = np.log(np.maximum(smooth, np.percentile(smooth, 90) / DYNAMIC_RANGE))
        rough = sitk.GetArrayFromImage(sitk.OtsuThreshold(to_sitk(image.with_array(logarithm)), 0, 1)) > 0
        if rough.all() or not rough.any():
            raise InvalidInput(f"No body was found in {image.name!r}: nothing stands out from the background.")
        inside = smooth > (np.percentile(smooth[_core(rough, image)], 25) + np.median(smooth[~rough])) / 2
    inside = ndimage.binary_opening(inside)
    labels, count = ndimage.label(inside)
    if count == 0:
        raise InvalidInput(f"No body was found in {image.name!r}: nothing stands out from the background.")
    largest = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    return np.stack([ndimage.binary_fill_holes(plane) for plane in largest])


def _core(rough: np.ndarray, image: Image) -> np.ndarray:
    """The rough body without its blurred rim, which the logarithm widens by about 1.2 standard deviations."""
    depth = ndimage.distance_transform_edt(rough, sampling=image.grid.spacing[::-1])
    return depth > min(2.5 * SIGMA_MM, depth.max() / 2)
