"""Which of several marks a voxel belongs to: the one that is nearest along ways that avoid edges.

Geodesic distance of images (Criminisi, Sharp, Blake 2008, ECCV, Lecture Notes in Computer Science 5302:99; Toivanen
1996, Pattern Recognition Letters 17:437): a step counts for its length and for the brightness that it crosses. The
distance is found by raster passes forth and back until nothing changes.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from TwinCore import InvalidInput, Job

MOST_ROUNDS = 30


def nearest_mark(
    values: np.ndarray, spacing, marks: np.ndarray, contrast: float, job: Job | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The mark that each voxel is nearest to, and how far it is.

    Parameters
    ----------
    values : array, shape (k, j, i)
        Brightness, finite; NaN where nothing may pass.
    spacing : three floats
        Along k, j, i, in mm.
    marks : int array, shape (k, j, i)
        1, 2, ... where the user has marked, 0 elsewhere.
    contrast : float
        Brightness that is as far as 1 mm.
    job : Job, optional

    Returns
    -------
    nearest : uint8 array, shape (k, j, i)
        0 where no mark can be reached.
    distance : float32 array, shape (k, j, i)
        In mm.

    Raises
    ------
    InvalidInput
        If nothing is marked.
    """
    if not (marks > 0).any():
        raise InvalidInput("Nothing is marked: click on what is wanted, and on what is not.")
    job = job or Job()
    scaled = np.asarray(values, np.float32) / np.float32(contrast)
    nearest = marks.astype(np.uint8)
    distance = np.where(nearest > 0, np.float32(0), np.float32(np.inf))
    steps = _half_of_neighbours()
    lengths = np.sqrt(((steps * np.asarray(spacing, np.float32)) ** 2).sum(1)).astype(np.float32)
    for _ in range(MOST_ROUNDS):
        job.checkpoint()
        changed = _pass(scaled, nearest, distance, steps, lengths, True)
        changed += _pass(scaled, nearest, distance, steps, lengths, False)
        if not changed:
            break
    return nearest, distance


def _half_of_neighbours() -> np.ndarray:
    """The 13 neighbours of a voxel that come before it in memory."""
    steps = np.array([(k, j, i) for k in (-1, 0, 1) for j in (-1, 0, 1) for i in (-1, 0, 1)])
    return steps[:13]


@njit(nogil=True, cache=True)
def _pass(values, nearest, distance, steps, lengths, forth):
    """One raster pass; the number of voxels that came nearer to a mark."""
    depth, height, width = values.shape
    changed = 0
    sign = 1 if forth else -1
    for kk in range(depth):
        k = kk if forth else depth - 1 - kk
        for jj in range(height):
            j = jj if forth else height - 1 - jj
            for ii in range(width):
                i = ii if forth else width - 1 - ii
                here = values[k, j, i]
                if np.isnan(here):
                    continue
                best, mark = distance[k, j, i], nearest[k, j, i]
                for n in range(steps.shape[0]):
                    a, b, c = k + sign * steps[n, 0], j + sign * steps[n, 1], i + sign * steps[n, 2]
                    if a < 0 or b < 0 or c < 0 or a >= depth or b >= height or c >= width:
                        continue
                    if distance[a, b, c] >= best:
                        continue
                    across = here - values[a, b, c]
                    through = distance[a, b, c] + np.sqrt(lengths[n] * lengths[n] + across * across)
                    if through < best:
                        best, mark = through, nearest[a, b, c]
                if best < distance[k, j, i]:
                    distance[k, j, i], nearest[k, j, i] = best, mark
                    changed += 1
    return changed
