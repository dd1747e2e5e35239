"""Planes through the patient as a radiologist looks at them, and images sampled on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from TwinCore import Grid, Image, LinearTransform, Segmentation, bounding_box, centroid, resample
from TwinCore.transform import Transform

STEP_MM = 1.0
LONGEST_TO_WIDEST = 1.25
"""A view is at most this much higher than the patient is wide: a whole-body scan is shown around the target."""

# Name -> RAS direction of the screen's right and down, and the letters at the left, right, top and bottom.
ORIENTATIONS = {
    "axial": ((-1, 0, 0), (0, -1, 0), "RLAP"),
    "coronal": ((-1, 0, 0), (0, 0, -1), "RLSI"),
    "sagittal": ((0, -1, 0), (0, 0, -1), "APSI"),
}


@dataclass(frozen=True, eq=False)
class Placed:
    """An image in its own grid, with its move into the reference frame (none: it is there already)."""

    image: Image
    transform: Transform | None = None


@dataclass(frozen=True, eq=False)
class Plane:
    """A rectangle in the reference frame, seen from the patient's feet, front or left side.

    Parameters
    ----------
    name : {"axial", "coronal", "sagittal"}
    grid : Grid
        One voxel thick; i runs to the right of the screen, j down it.
    """

    name: str
    grid: Grid

    @property
    def letters(self) -> str:
        """Patient directions at the left, right, top and bottom edge."""
        return ORIENTATIONS[self.name][2]

    @property
    def size_mm(self) -> tuple[float, float]:
        """Width and height."""
        return self.grid.shape[2] * self.grid.spacing[0], self.grid.shape[1] * self.grid.spacing[1]

    @property
    def position(self) -> str:
        """Where the plane cuts the patient, as "S 12 mm"."""
        axis = int(np.abs(self.grid.direction[:, 2]).argmax())
        place = float(self.grid.origin[axis])
        return f"{('R', 'A', 'S')[axis] if place >= 0 else ('L', 'P', 'I')[axis]} {abs(place):.0f} mm"

    def sample(self, placed: Placed) -> np.ndarray:
        """Values of an image on the plane, shape (down, right); NaN where the image does not reach."""
        image = _near(placed, self.grid)
        if image is None:
            return np.full(self.grid.shape[1:], np.nan, np.float32)
        return resample(image, self.grid, placed.transform, fill=np.nan).array[0]

    def sample_mask(self, mask: np.ndarray, grid: Grid) -> np.ndarray:
        """A mask on the plane, from 0 to 1: its edge is where this is 1/2."""
        return np.nan_to_num(self.sample(Placed(Image(mask.astype(np.float32), grid))))


def view_planes(box: np.ndarray, point: np.ndarray, names: Sequence[str] = tuple(ORIENTATIONS)) -> list[Plane]:
    """Planes through a point, each filling a box.

    Parameters
    ----------
    box : array, shape (2, 3)
        Lowest and highest corner in RAS, in mm.
    point : array, shape (3,)
        RAS mm.
    names : sequence of str
        Of `ORIENTATIONS`.
    """
    planes = []
    for name in names:
        right, down = np.array(ORIENTATIONS[name][:2], float)
        corner = np.array(point, float)
        size = []
        for direction in (right, down):
            axis = int(np.abs(direction).argmax())
            corner[axis] = box[1, axis]  # both directions run from high to low
            size.append(int((box[1, axis] - box[0, axis]) / STEP_MM) + 1)
        matrix = np.eye(4)
        matrix[:3, :3] = np.column_stack([right, down, np.cross(right, down)]) * STEP_MM
        matrix[:3, 3] = corner
        planes.append(Plane(name, Grid((1, size[1], size[0]), matrix)))
    return planes


def whole_view(anatomy: Placed, segmentation: Segmentation, target: str) -> tuple[np.ndarray, np.ndarray]:
    """Box of what the anatomy shows of the common grid, and the centre of the target: arguments of `view_planes`."""
    point = centroid(segmentation.mask(target), segmentation.grid)
    box = _span(segmentation.grid.corners())
    if anatomy.transform is None or isinstance(anatomy.transform, LinearTransform):
        move = anatomy.transform or LinearTransform.identity()
        shown = _span(move.push(anatomy.image.grid.corners()))
        common = np.stack([np.maximum(box[0], shown[0]), np.minimum(box[1], shown[1])])
        if (common[0] < point).all() and (point < common[1]).all():
            box = common
    longest = LONGEST_TO_WIDEST * max(box[1, :2] - box[0, :2])
    if box[1, 2] - box[0, 2] > longest:
        low = np.clip(point[2] - longest / 2, box[0, 2], box[1, 2] - longest)
        box = np.array([[*box[0, :2], low], [*box[1, :2], low + longest]])
    return box, point


def common_view(first: Placed, second: Placed, grid: Grid) -> np.ndarray:
    """Lowest and highest RAS corner of the part of a grid that two images show; of the whole grid if there is none."""
    ijk = np.stack(np.meshgrid(*(np.linspace(0, n - 1, 25) for n in grid.shape[::-1])), -1)
    points = grid.to_ras(ijk.reshape(-1, 3))
    shown = np.ones(len(points), bool)
    for placed in (first, second):
        at = placed.image.grid.to_ijk(points if placed.transform is None else placed.transform.pull(points))
        shown &= ((at >= -0.5) & (at <= np.array(placed.image.grid.shape[::-1]) - 0.5)).all(1)
    return _span(points[shown] if len(np.unique(points[shown], axis=0)) > 8 else points)


def target_view(segmentation: Segmentation, target: str, margin_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Box around the target with a margin, within the grid, and its centre: arguments of `view_planes`."""
    mask, grid = segmentation.mask(target), segmentation.grid
    whole, around = _span(grid.corners()), _span(grid.crop(*bounding_box(mask)).corners())
    box = np.stack([np.maximum(around[0] - margin_mm, whole[0]), np.minimum(around[1] + margin_mm, whole[1])])
    return box, centroid(mask, grid)


def _span(points: np.ndarray) -> np.ndarray:
    return np.stack([points.min(0), points.max(0)])


def _near(placed: Placed, grid: Grid) -> Image | None:
    """The part of an image that a plane touches, none if it misses it: a plane must not cost a copy of the volume."""
    if placed.transform is not None and not isinstance(placed.transform, LinearTransform):
        return placed.image
    corners = grid.corners() if placed.transform is None else placed.transform.pull(grid.corners())
    kji = placed.image.grid.to_ijk(corners)[:, ::-1]
    low = np.clip(np.floor(kji.min(0)).astype(int) - 1, 0, placed.image.grid.shape)
    high = np.clip(np.ceil(kji.max(0)).astype(int) + 2, 0, placed.image.grid.shape)
    return placed.image.crop(low, high) if (high > low).all() else None
