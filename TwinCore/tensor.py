"""Images of symmetric tensors, such as those of diffusion: channels xx, xy, xz, yy, yz, zz in RAS."""

from __future__ import annotations

import numpy as np

from .errors import InvalidInput
from .image import Image

_PLACES = np.array([[0, 1, 2], [1, 3, 4], [2, 4, 5]])


def matrices(image: Image) -> np.ndarray:
    """The tensors of an image of six or nine channels as symmetric matrices, shape (k, j, i, 3, 3)."""
    channels = image.array.shape[3] if image.array.ndim == 4 else 1
    if channels not in (6, 9):
        raise InvalidInput(
            f"The diffusion tensor {image.name!r} must have six channels (xx, xy, xz, yy, yz, zz) or nine, not an "
            f"array of shape {image.array.shape}."
        )
    array = image.array.astype(float)
    if channels == 6:
        return array[..., _PLACES]
    whole = array.reshape(*array.shape[:3], 3, 3)
    return (whole + np.swapaxes(whole, -1, -2)) / 2


def turned(image: Image, matrix: np.ndarray) -> Image:
    """Tensors turned as a linear move turns what they lie in: by its rotation (Alexander and others 2001, IEEE
    Transactions on Medical Imaging 20:1131, finite strain).

    Parameters
    ----------
    image : Image
    matrix : array, shape (3, 3)
    """
    left, _, right = np.linalg.svd(matrix)
    rotation = left @ right
    tensors = rotation @ matrices(image) @ rotation.T
    row, column = np.triu_indices(3)
    return image.with_array(tensors[..., row, column].astype(np.float32))
