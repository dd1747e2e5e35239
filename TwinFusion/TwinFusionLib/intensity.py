"""The foreground of an image, and intensities on a scale that is the same for all images of one kind.

The intensities of MR have no unit: those of one tissue differ between scanners, coils and days. They are mapped by
landmarks of the foreground's histogram (Nyul, Udupa, Zhang 2000, IEEE Trans Med Imaging 19:143), here linearly, by its
quartiles: background and the tails, where lesions, vessels and artefacts are, then have no say.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from TwinCore import Image, InvalidInput

from .filters import at_resolution

SIGMA_MM = 3.0
_DARKEST = 0.01  # of the 90th percentile: all below is air


def foreground(image: Image) -> np.ndarray:
    """What is brighter than air, the holes in it filled: Otsu's threshold on the logarithm of the smoothed image.

    On the logarithm dark and bright tissue are nearer to each other than either is to air, and so are the parts of a
    body near to a coil and far from it.

    Parameters
    ----------
    image : Image
        MR or ultrasound; what is below 0 is taken for air.

    Returns
    -------
    bool array, shape (k, j, i)

    Raises
    ------
    InvalidInput
        If nothing stands out.
    """
    smooth = at_resolution(image, SIGMA_MM)
    top = np.percentile(smooth.array, 90)
    top = top if top > 0 else smooth.array.max()
    if not top > 0:
        raise InvalidInput(f"Image {image.name!r} shows nothing above 0: no foreground can be found.")
    logarithm = np.log(np.maximum(smooth.array, _DARKEST * top))
    bright = sitk.GetArrayFromImage(sitk.OtsuThreshold(sitk.GetImageFromArray(logarithm), 0, 1)) > 0
    labels, count = ndimage.label(bright)
    if count == 0:
        raise InvalidInput(f"Nothing in image {image.name!r} stands out from its background.")
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    bright = (sizes > 0.05 * sizes.max())[labels]
    filled = np.stack([ndimage.binary_fill_holes(plane) for plane in bright])
    return _spread(filled, image.grid.shape)


def _spread(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A mask of every n-th voxel on all of them, by the nearest."""
    for axis, size in enumerate(shape):
        step = -(-size // mask.shape[axis])
        nearest = np.minimum((np.arange(size) + step // 2) // step, mask.shape[axis] - 1)
        mask = mask.take(nearest, axis)
    return mask


def normalised(image: Image, mask: np.ndarray | None = None) -> Image:
    """The image shifted and scaled so that the foreground's median is 0 and its interquartile range 1; float32.

    >>> np.percentile(normalised(mr).array[foreground(mr)], (25, 50, 75))          # doctest: +SKIP
    array([-0.43,  0.  ,  0.57])

    Parameters
    ----------
    image : Image
    mask : bool array, shape (k, j, i), optional
        The foreground, where it is known.

    Raises
    ------
    InvalidInput
        If the foreground is empty or of one value.
    """
    inside = image.array[foreground(image) if mask is None else mask]
    if inside.size == 0:
        raise InvalidInput(f"Image {image.name!r}: the mask for its normalisation is empty.")
    low, median, high = np.percentile(inside, (25, 50, 75))
    if not high > low:
        raise InvalidInput(f"Image {image.name!r}: half of its foreground has one value ({median:g}).")
    return image.with_array(((image.array - np.float32(median)) / np.float32(high - low)).astype(np.float32), unit="1")
