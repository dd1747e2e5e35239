"""Body, bone, lungs, airways, fat and muscle of a CT, by Hounsfield units and by what hangs together."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from TwinCore import Grid, Image, InvalidInput, Job
from TwinCore.units import HOUNSFIELD

from ..body import body

FAT_HU, MUSCLE_HU = (-190.0, -30.0), (-29.0, 150.0)
"""The bands of body-composition studies (Mitsiopoulos and others 1998, J Appl Physiol 85:115; Aubrey and others 2014,
Acta Physiol 210:489)."""

BONE_HU, DENSE_BONE_HU = 130.0, 250.0
"""Bone is what exceeds the first and hangs together with something that exceeds the second."""

AIR_HU, GAS_HU = -400.0, -930.0
"""Air inside the body; and below the second it is gas rather than lung, which has blood in it."""

LEAST_LUNG_ML, LEAST_CUT_LUNG_ML, LEAST_BONE_ML = 200.0, 5.0, 0.5
"""Smaller pools of air are bowel, and smaller dense spots calcifications; a lung that the image cuts off above may be
small."""

MARROW_MM, VESSEL_MM = 6.0, 5.0
TOUCH = 2
"""Voxels of bronchial wall between an airway and its lung."""

LEAK = 2.0
"""An airway that grows by more than this factor at once has leaked into the lung (Mori and others 2000, IEEE Trans Med
Imaging 19:103)."""

PRESETS = {
    "body": "what is not air or table",
    "bone": "cortical bone, and the marrow that it encloses",
    "lung": "both lungs with their vessels, without the airways",
    "airway": "trachea and the bronchi that can be followed",
    "fat": f"{FAT_HU[0]:g} to {FAT_HU[1]:g} HU inside the body",
    "muscle": f"{MUSCLE_HU[0]:g} to {MUSCLE_HU[1]:g} HU inside the body, organs included",
}


def ct_tissues(ct: Image, job: Job | None = None) -> dict[str, np.ndarray]:
    """The tissues of `PRESETS` of which there is something.

    >>> masks = ct_tissues(ct)                                       # doctest: +SKIP

    Parameters
    ----------
    ct : Image
        In Hounsfield units.
    job : Job, optional

    Returns
    -------
    dict of str to bool array, shape (k, j, i)

    Raises
    ------
    InvalidInput
        If the image is not a CT in Hounsfield units, or shows no body.
    """
    if ct.modality != "CT" or ct.unit != HOUNSFIELD:
        raise InvalidInput(f"Image {ct.name!r} is {ct.modality} in {ct.unit!r}: these presets need a CT in HU.")
    job = job or Job()
    inside = body(ct)
    job.report(0.2, "body")
    airway, lung = _air(ct, inside)
    job.report(0.7, "lungs")
    bone = bones(ct, inside)
    job.report(0.9, "bone")
    soft = inside & ~bone & ~lung & ~airway
    masks = {
        "body": inside,
        "bone": bone,
        "lung": lung,
        "airway": airway,
        "fat": soft & _within(ct.array, FAT_HU),
        "muscle": ndimage.binary_opening(soft & _within(ct.array, MUSCLE_HU)),
    }
    return {name: mask for name, mask in masks.items() if mask.any()}


def bones(ct: Image, inside: np.ndarray) -> np.ndarray:
    """Bone with its marrow: dense voxels, what hangs together with them, and what they enclose in a plane."""
    weak = inside & (ct.array > BONE_HU)
    labels, count = ndimage.label(weak)
    if count == 0:
        return weak
    volume = np.bincount(labels.ravel()) * ct.grid.voxel_volume_ml
    dense = np.bincount(labels.ravel(), ct.array.ravel() > DENSE_BONE_HU) > 0
    keep = dense & (volume > LEAST_BONE_ML)
    keep[0] = False
    bone = keep[labels]
    closed = _closed(bone, MARROW_MM, ct.grid)
    return np.stack([ndimage.binary_fill_holes(plane) for plane in closed]) & inside & (ct.array > FAT_HU[0])


def _air(ct: Image, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Airways and lungs: the air inside the body, without gas in the bowel."""
    air = inside & (ct.array < AIR_HU)
    airway = _airway(ct, air)
    labels, count = ndimage.label(air & ~ndimage.binary_dilation(airway))
    lung = np.zeros_like(air)
    if count:
        volume = np.bincount(labels.ravel()) * ct.grid.voxel_volume_ml
        cut = np.isin(np.arange(count + 1), _top_plane(labels, ct.grid))
        for number in np.flatnonzero(volume > np.where(cut, LEAST_CUT_LUNG_ML, LEAST_LUNG_ML)):
            if number and np.median(ct.array[labels == number]) > GAS_HU:
                lung |= labels == number
        if not (lung & ndimage.binary_dilation(airway, iterations=TOUCH)).any():
            airway = np.zeros_like(air)  # gas in the bowel
        lung = _closed(lung, VESSEL_MM, ct.grid) & inside & ~airway
    return airway, lung


def _top_plane(volume: np.ndarray, grid: Grid) -> np.ndarray:
    """The axial plane nearest to the head."""
    axis = int(np.abs(grid.direction[2]).argmax())
    return np.take(volume, -1 if grid.direction[2, axis] > 0 else 0, 2 - axis)


def _airway(ct: Image, air: np.ndarray) -> np.ndarray:
    """Grown down from the trachea, under the highest threshold at which it does not leak into the lung."""
    seed = _trachea(ct, air)
    if seed is None:
        return np.zeros_like(air)
    grown, last = np.zeros_like(air), 0
    for threshold in range(-980, -800, 20):
        labels, _ = ndimage.label(air & (ct.array < threshold))
        here = labels[seed]
        if here == 0:
            continue
        more = labels == here
        size = int(more.sum())
        if last and size > LEAK * last:
            break
        grown, last = more, size
    return ndimage.binary_dilation(grown, mask=air) if last else grown


def _trachea(ct: Image, air: np.ndarray) -> tuple[int, int, int] | None:
    """A voxel of the trachea: a round pool of air near the middle of an axial plane, in three planes in a row."""
    axis = int(np.abs(ct.grid.direction[2]).argmax())  # of i, j, k, the one that runs up and down
    planes = np.moveaxis(air, 2 - axis, 0)
    values = np.moveaxis(ct.array, 2 - axis, 0)
    if ct.grid.direction[2, axis] > 0:  # from the head down
        planes, values, order = planes[::-1], values[::-1], -1
    else:
        order = 1
    others = [n for n in range(3) if n != axis]
    pixel = float(np.prod(ct.grid.spacing[others]))
    before: tuple[np.ndarray, int] | None = None
    for number, plane in enumerate(planes):
        spot = _round_pool(plane, values[number], pixel)
        if spot is None:
            before = None
            continue
        row = 1 if before is None or np.linalg.norm(spot - before[0]) * pixel**0.5 > 8 else before[1] + 1
        if row == 3:
            at = list(np.rint(spot).astype(int))
            at.insert(2 - axis, number if order == 1 else len(planes) - 1 - number)
            seed = (int(at[0]), int(at[1]), int(at[2]))
            return seed if air[seed] else None
        before = (spot, row)
    return None


def _round_pool(plane: np.ndarray, values: np.ndarray, pixel_mm2: float) -> np.ndarray | None:
    """Centre of the round pool of gas nearest to the middle of a plane, of the size of a trachea."""
    labels, count = ndimage.label(plane)
    best, place = np.inf, None
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        pool = labels[box] == number
        area, (height, width) = pool.sum() * pixel_mm2, np.array(pool.shape) * pixel_mm2**0.5
        fills = pool.sum() / pool.size
        if 60 < area < 700 and max(height, width) < 2.0 * min(height, width) and fills > 0.55:
            centre = np.array(ndimage.center_of_mass(labels == number))
            offset = abs(centre[1] / plane.shape[1] - 0.5)
            if offset < min(best, 0.15) and values[labels == number].mean() < -800:
                best, place = offset, centre
    return place


def _within(values: np.ndarray, band: tuple[float, float]) -> np.ndarray:
    return (values >= band[0]) & (values <= band[1])


def _closed(mask: np.ndarray, radius_mm: float, grid: Grid) -> np.ndarray:
    """Gaps narrower than twice the radius closed, by distances in mm."""
    if not mask.any():
        return mask
    spacing = grid.spacing[::-1]
    wide = ndimage.distance_transform_edt(~mask, sampling=spacing) <= radius_mm
    return ndimage.distance_transform_edt(wide, sampling=spacing) > radius_mm
