"""The patient's body in an image: what is not air."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from TwinCore import Image, InvalidInput
from TwinCore.itk import to_sitk


def body(image: Image) -> np.ndarray:
    """The largest connected region brighter than the background, its inside filled.

    CT: above -300 HU. Other modalities: Otsu's threshold on the smoothed image, first clipped at its 90th percentile so
    that a hot tumour or organ does not take the threshold away from the skin.

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
        smooth = ndimage.gaussian_filter(image.array.astype(np.float32), 3.0 / image.grid.spacing[::-1])
        clipped = np.minimum(smooth, np.percentile(smooth, 90))
        inside = sitk.GetArrayFromImage(sitk.OtsuThreshold(to_sitk(image.with_array(clipped)), 0, 1)) > 0
    inside = ndimage.binary_opening(inside)
    labels, count = ndimage.label(inside)
    if count == 0:
        raise InvalidInput(f"No body was found in {image.name!r}: nothing stands out from the background.")
    largest = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    return np.stack([ndimage.binary_fill_holes(plane) for plane in largest])
