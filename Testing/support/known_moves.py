"""Registration cases of known truth: the MNI152 brain and, moved in a known way, the same brain in another contrast.

The truth is exact: a moving image shows, at each of its points, what lies where a known map takes that point in the
fixed image, and the inverse of this map is computed point by point.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from TwinApp.virtual_patient import brain_maps
from TwinCore import Grid, GridTransform, Image, LinearTransform, centroid, resample
from TwinCore.transform import Transform, parts

KINDS = ("rigid", "affine", "deformable")
CONTRASTS = {"T1": "MR", "T2-like": "MR", "CT-like": "CT"}
"""What the moving image may show, and the modality that it is then read as; the fixed image is T1."""

TURN_DEG = {"rigid": 8.0, "affine": 8.0, "deformable": 4.0}
SHIFT_MM = {"rigid": 10.0, "affine": 10.0, "deformable": 4.0}
STRETCH = 0.08
BEND_MM, WAVES_MM, FINE_SHARE = 3.6, (14.0, 7.0), 0.35
"""The warp: its mean length in the brain, the widths of its coarse and fine parts, and the fine one's share."""

MARGIN = 16
BEND_SPACING_MM = 2.0
SQUARINGS = 6
EVERY_NTH_VOXEL = 31


@dataclass(frozen=True, eq=False)
class KnownMove:
    """A pair of images and where points of the one are in the other.

    Parameters
    ----------
    fixed, moving : Image
    way : Transform
        The move of the fixed image into the frame of the moving one.
    points, there : array, shape (n, 3)
        Points of the brain in the fixed image, and where the moving image shows them; RAS mm.
    """

    fixed: Image
    moving: Image
    way: Transform
    points: np.ndarray
    there: np.ndarray

    def errors_mm(self, pull: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Distances between where a registration finds the points in the moving image and where they are."""
        return np.linalg.norm(pull(self.points) - self.there, axis=1)


def tissue_maps(thinning: int = 1) -> dict[str, Image]:
    """T1 (0 to 1), grey and white matter, fluid and the whole brain of MNI152 with room around, on a 1 mm grid.

    Thinned, each voxel is the mean of so many along each axis.
    """
    maps = {name: _padded(image) for name, image in brain_maps().items()}
    maps["t1"] = maps["t1"].with_array(maps["t1"].array / 255.0)
    brain = ndimage.binary_fill_holes(ndimage.binary_opening(maps["t1"].array > 0.02))
    fluid = np.clip(1 - maps["gm"].array - maps["wm"].array, 0, 1) * brain
    maps["csf"] = maps["t1"].with_array(fluid)
    maps["brain"] = maps["t1"].with_array(brain.astype(np.float32))
    return {name: thinned(image, thinning) for name, image in maps.items()}


def known_move(maps: Mapping[str, Image], kind: str, contrast: str, seed: int, thinning: int = 1) -> KnownMove:
    """One case: T1 of the maps, and the brain moved in a random way of a kind ("rigid", "affine", "deformable").

    The seed decides the move, which is the same for all contrasts, and the noise. Images are thinned once made.
    """
    way = random_way(maps["brain"], kind, np.random.default_rng([seed, KINDS.index(kind)]))
    grid = maps["t1"].grid
    moved = {name: resample(image, grid, way, "cubic" if name == "t1" else "linear") for name, image in maps.items()}
    noises = np.random.default_rng([seed, 100]).spawn(2)
    fixed = thinned(painted(maps, "T1", noises[0]), thinning)
    moving = thinned(painted(moved, contrast, noises[1]), thinning)
    points = maps["brain"].grid.to_ras(np.argwhere(maps["brain"].array > 0.5)[::EVERY_NTH_VOXEL, ::-1])
    return KnownMove(fixed, moving, way, points, whither(way, points))


def whither(way: Transform, points: np.ndarray) -> np.ndarray:
    """Where a move takes points, to 1e-3 mm.

    `Transform.push` needs a warp that nowhere stretches by two or more: half of each of its steps does for this one.
    """
    for move in parts(way):
        if isinstance(move, LinearTransform):
            points = move.push(points)
            continue
        there = points.copy()
        for _ in range(200):
            miss = points - move.pull(there)
            there += miss / 2
            if np.abs(miss).max() < 1e-3:
                break
        else:
            raise ValueError("The warp folds.")
        points = there
    return points


def random_way(brain: Image, kind: str, rng: np.random.Generator) -> Transform:
    """The move of the fixed image into the frame of the moving one, about the centre of the brain."""
    inside = brain.array > 0.5
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.deg2rad(TURN_DEG[kind]) * _direction(rng)).as_matrix()
    if kind == "affine":
        matrix[:3, :3] @= np.eye(3) + STRETCH * rng.uniform(-1, 1, (3, 3))
    centre = centroid(inside, brain.grid)
    matrix[:3, 3] = centre + SHIFT_MM[kind] * _direction(rng) - matrix[:3, :3] @ centre
    if kind != "deformable":
        return LinearTransform(matrix)
    return random_bend(brain, rng).then(LinearTransform(matrix))


def random_bend(brain: Image, rng: np.random.Generator) -> GridTransform:
    """A smooth invertible warp of the brain and its surroundings: the flow of a random stationary velocity."""
    grid = brain.grid.with_spacing(np.maximum(BEND_SPACING_MM, brain.grid.spacing))
    inside = resample(brain, grid).array > 0.5
    velocity = np.zeros((*grid.shape, 3), np.float32)
    for width, share in zip(WAVES_MM, (1.0, FINE_SHARE)):
        waves = [ndimage.gaussian_filter(rng.standard_normal(grid.shape), width / grid.spacing[::-1]) for _ in range(3)]
        velocity += share * np.stack(waves, -1) / np.abs(waves).max()
    near = ndimage.binary_dilation(inside, iterations=round(6 / grid.spacing.min()))
    velocity *= ndimage.gaussian_filter(near.astype(np.float32), 5 / grid.spacing[::-1])[..., None]
    velocity *= BEND_MM / np.linalg.norm(velocity[inside], axis=1).mean()
    return GridTransform(_flow(velocity, grid), grid)


def painted(maps: Mapping[str, Image], contrast: str, rng: np.random.Generator) -> Image:
    """The image that a scanner might make of tissue maps: T1, T2-like with a bias field, or CT-like with a skull."""
    t1, grey, white, fluid = (maps[name].array for name in ("t1", "gm", "wm", "csf"))
    noise = rng.standard_normal(t1.shape, np.float32)
    spacing = maps["t1"].grid.spacing[::-1]
    if contrast == "T1":
        array = t1 + 0.02 * noise
    elif contrast == "T2-like":
        z, y, x = np.meshgrid(*(np.linspace(0, 1, n, dtype=np.float32) for n in t1.shape), indexing="ij", sparse=True)
        bias = 1 + 0.2 * np.sin(3 * z + 2 * y) * np.cos(2 * x)
        texture = 0.075 * np.sin(9 * t1) * (grey + white)
        array = (0.95 * fluid + 0.6 * grey + 0.35 * white + texture) * bias + 0.03 * noise
    else:
        head = np.clip(grey + white + fluid, 0, 1)
        depth = ndimage.distance_transform_edt(head <= 0.05, sampling=spacing)
        hounsfield = 1000 * (head - 1) + 8 * fluid + 37 * grey + 28 * white
        hounsfield[(depth > 1) & (depth <= 6)] = 900.0
        array = ndimage.gaussian_filter(hounsfield, 0.6 / spacing) + 18 * ndimage.gaussian_filter(noise, 0.6)
    return Image(array.astype(np.float32), maps["t1"].grid, CONTRASTS[contrast], name=contrast)


def thinned(image: Image, times: int) -> Image:
    """The image with voxels that are the means of so many along each axis; what is left over at the end is cut off."""
    if times == 1:
        return image
    shape = np.array(image.grid.shape) // times
    inner = image.array[tuple(slice(0, n * times) for n in shape)]
    matrix = image.grid.ijk_to_ras @ np.diag([times, times, times, 1.0])
    matrix[:3, 3] = image.grid.to_ras([(times - 1) / 2] * 3)
    k, j, i = shape
    blocks = inner.reshape(k, times, j, times, i, times)
    return image.with_array(blocks.mean((1, 3, 5), dtype=np.float32), grid=Grid(tuple(shape), matrix))


def _padded(image: Image) -> Image:
    matrix = image.grid.ijk_to_ras.copy()
    matrix[:3, 3] = image.grid.to_ras([-MARGIN] * 3)
    array = np.pad(image.array, MARGIN)
    return image.with_array(array, grid=Grid(array.shape, matrix))


def _direction(rng: np.random.Generator) -> np.ndarray:
    vector = rng.standard_normal(3)
    return vector / np.linalg.norm(vector)


def _flow(velocity: np.ndarray, grid: Grid) -> np.ndarray:
    """Displacement (k, j, i, 3) of a stationary velocity's flow for one unit of time, RAS mm, by repeated doubling."""
    kji = np.indices(grid.shape, dtype=np.float32)
    to_kji = np.linalg.inv(grid.ijk_to_ras[:3, :3]).astype(np.float32)[::-1]
    u = velocity / 2**SQUARINGS
    for _ in range(SQUARINGS):
        at = kji + np.moveaxis(u @ to_kji.T, -1, 0)
        u = u + np.stack([ndimage.map_coordinates(u[..., c], at, order=1, mode="nearest") for c in range(3)], -1)
    return u
