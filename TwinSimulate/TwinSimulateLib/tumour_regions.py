"""What images would show of a tumour: oedema, an enhancing rim and a necrotic core, by thresholds of the density."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

REGIONS = {1: "oedema", 2: "enhancing rim", 3: "necrotic core"}
"""Labels, from the outside in: FLAIR or T2 shows all of them, T1 with gadolinium the last two."""
THRESHOLDS = ("oedema_threshold", "detection_threshold", "necrosis_threshold")


def regions(density: np.ndarray, member: Mapping[str, float]) -> np.ndarray | None:
    """The label of each voxel, 0 where nothing shows; None if the tumour's preset does not tell them apart.

    Parameters
    ----------
    density : array, shape (k, j, i)
    member : mapping of str to float
        With the thresholds.

    Returns
    -------
    array of uint8, shape (k, j, i), or None
        A key of `REGIONS`.
    """
    if not all(name in member for name in THRESHOLDS):
        return None
    labels = np.zeros(density.shape, np.uint8)
    for name in THRESHOLDS:
        labels += density >= member[name]
    return labels
