"""Images made for the tests, with known moves between them."""

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from TwinCore import Grid, Image, LinearTransform, resample

SHAPE = (44, 52, 48)


def head(seed: int = 3) -> np.ndarray:
    """An asymmetric object with inner structure: densities 0 to 1 on a 4 mm grid."""
    k, j, i = np.indices(SHAPE)
    inside = ((k - 22) / 17) ** 2 + ((j - 25) / 21) ** 2 + ((i - 23) / 17) ** 2 < 1
    texture = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(SHAPE), 3)
    texture = (texture - texture.min()) / np.ptp(texture)
    ball = ((k - 28) ** 2 + (j - 18) ** 2 + (i - 30) ** 2) < 30
    return np.where(inside, 0.3 + 0.5 * texture + 0.4 * ball, 0.0).astype(np.float32)


def pair(move: LinearTransform, seed: int = 3) -> tuple[Image, Image]:
    """A fixed image, and a moving one of inverted, non-linear contrast on its own grid, whose truth is `move`."""
    grid = Grid.isotropic(SHAPE, 4.0, (-92, -100, -84))
    density = Image(head(seed), grid, "MR", name="fixed")
    rng = np.random.default_rng(seed)
    moving_grid = Grid(SHAPE, np.linalg.inv(move.matrix) @ grid.ijk_to_ras)
    moved = resample(density, moving_grid, LinearTransform(np.linalg.inv(move.matrix)))
    contrast = np.where(moved.array > 0.05, 1.5 - moved.array**2, 0.0) + 0.02 * rng.standard_normal(SHAPE)
    # on a grid of its own, not simply the fixed one moved
    oblique = Grid(SHAPE, moving_grid.ijk_to_ras @ _shift(0.37, -0.21, 0.45))
    moving = resample(Image(contrast.astype(np.float32), moving_grid, "MR", name="moving"), oblique)
    fixed = density.with_array(density.array + 0.01 * rng.standard_normal(SHAPE).astype(np.float32))
    return fixed, moving


def _shift(*ijk: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = ijk
    return matrix


def rigid(degrees, axis, shift) -> LinearTransform:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.deg2rad(degrees) * np.array(axis) / np.linalg.norm(axis)).as_matrix()
    matrix[:3, 3] = shift
    return LinearTransform(matrix)


def mean_error_mm(found: LinearTransform, truth: LinearTransform, moving: Image) -> float:
    points = moving.grid.corners()
    return float(np.linalg.norm(found.push(points) - truth.push(points), axis=1).mean())
