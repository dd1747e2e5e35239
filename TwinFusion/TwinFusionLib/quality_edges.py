"""Whether the edges of two registered images lie on each other: normalised gradient fields.

Haber, Modersitzki 2006, MICCAI, LNCS 4191:726: the squared cosine between the two gradients, here weighed by their
lengths, does not ask which side of an edge is bright.
"""

from __future__ import annotations

import itertools

import numpy as np

from .quality_overlay import Overlay

AWAY = 3
"""The images are also compared when shifted by so many voxels: 12 mm."""


def edge_agreement(overlay: Overlay) -> tuple[float, float]:
    """Mean squared cosine between the two images' gradients, and the same less that of the images 12 mm apart.

    Returns
    -------
    here, gain : float
        `here` is 1/3 for unrelated images, 1 for edges that lie on each other everywhere; nan where no edges are seen.
    """
    fixed, moving = (_normals(image) for image in overlay.on_grid())
    here = _agreement(fixed, moving)
    shifts = [s for s in itertools.product((-AWAY, 0, AWAY), repeat=3) if sum(map(bool, s)) in (1, 3)]
    apart = [_agreement(*_shifted(fixed, moving, shift)) for shift in shifts]
    return here, here - float(np.nanmean(apart)) if np.isfinite(apart).any() else float("nan")


def _normals(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit gradients (3, k, j, i) and their weights (k, j, i), which are 0 beside voxels that are not seen."""
    slopes = np.stack(np.gradient(image))
    length = np.sqrt((slopes**2).sum(0))
    seen = image >= 0
    for axis in range(3):
        for step in (-1, 1):
            seen &= np.roll(image, step, axis) >= 0
    return slopes / np.maximum(length, 1e-3), np.where(seen, length, 0)


def _agreement(fixed, moving) -> float:
    weights = fixed[1] * moving[1]
    total = float(weights.sum())
    return float((weights * (fixed[0] * moving[0]).sum(0) ** 2).sum()) / total if total > 0 else float("nan")


def _shifted(fixed, moving, shift):
    """The parts of both that meet when one is shifted by whole voxels."""
    one, other = (tuple(slice(max(way * s, 0), min(way * s, 0) or None) for s in shift) for way in (1, -1))
    return [(normals[(slice(None), *box)], weights[box]) for (normals, weights), box in ((fixed, one), (moving, other))]
