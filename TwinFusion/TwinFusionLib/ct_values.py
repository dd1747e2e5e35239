"""Whether the values of a CT are Hounsfield units, and what of its grid the scanner saw.

By definition of the Hounsfield scale air is -1000 HU and water 0. Room air, lung and bowel gas show whether a CT keeps
to the one, and nearly all else in a body is within 250 HU of the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, signal

from TwinCore import Image

AIR_HU = -1000.0
_NEAR_HU = 150.0  # scatter lifts the air beside a limb to -880
_APART_HU = (700.0, 1200.0)  # from the peak of air to one of soft tissue
_LUNG_HU, _FAT_HU = -600.0, -250.0
_TISSUE_HU = 40.0  # muscle, liver, blood and brain
_OFFSETS = (1000.0, 1024.0, -1000.0, -1024.0)
_BIN_HU, _BLUR_HU, _LARGE = 10.0, 30.0, 0.08
_SAMPLES = 2_000_000
_BELOW_TISSUE_HU = -1500.0
_LEAST_PADDING = 0.002
_ROUND, _REACH = 0.02, 0.9
_ROUNDING = 1.5  # what resampling makes of one value


@dataclass(frozen=True)
class AirCheck:
    """What the histogram of a CT says of its unit.

    Parameters
    ----------
    level : float or None
        The lowest large peak: air, lung, or soft tissue where there is no air; None where there is no peak.
    report : str
        What is wrong, with the likely mistake; "" for nothing.
    offset : float
        What must be subtracted to get Hounsfield units; 0 where nothing is wrong or it cannot be told.
    """

    level: float | None
    report: str = ""
    offset: float = 0.0


def air_check(values: np.ndarray) -> AirCheck:
    """Check the values of a CT, without any padding outside its field of view, against those of air and soft tissue.

    A CT that was cropped inside the body, and so has no air, is not reported, nor one of bone or contrast agent alone.

    Parameters
    ----------
    values : array
        In what is said to be Hounsfield units.
    """
    if values.size and values.min() == 0 and values.max() == 255:
        return AirCheck(None, "its values are 0 to 255, the grey levels of a display window and not Hounsfield units")
    peaks = histogram_peaks(values)
    if peaks.size == 0:
        return AirCheck(None)
    level = float(peaks[0])
    tissue_above = ((peaks > level + _APART_HU[0]) & (peaks < level + _APART_HU[1])).any()
    if tissue_above and abs(level - AIR_HU) > _NEAR_HU and level > _FAT_HU or level < AIR_HU - _NEAR_HU:
        return _shifted(level, "air", AIR_HU)
    if 850 < level < 1250 and np.mean(values < 500) < 0.05:
        return _shifted(level, "soft tissue", _TISSUE_HU)
    if _LUNG_HU < level < _FAT_HU and np.mean(values < level - _NEAR_HU) < 0.01:
        return _shifted(level, "air", AIR_HU)
    return AirCheck(level)


def _shifted(level: float, what: str, right: float) -> AirCheck:
    """The report of a peak that is not where it belongs; corrected only by an offset that is known as a mistake."""
    found = f"its {what} is at {level:.0f} in place of {right:.0f} HU"
    offset = min(_OFFSETS, key=lambda known: abs(level - right - known))
    if abs(level - right - offset) > _NEAR_HU:
        return AirCheck(level, f"{found}; rescale slope or intercept (0028,1053 and 0028,1052) are probably wrong")
    if offset < 0:
        return AirCheck(level, f"{found}: the intercept ({offset:.0f}) was probably subtracted twice", offset)
    return AirCheck(level, f"{found}: stored values look like HU + {offset:.0f}, the intercept is missing", offset)


def histogram_peaks(values: np.ndarray) -> np.ndarray:
    """Where the large peaks of a CT's histogram are, in HU and rising.

    Bins of 10 HU, smoothed by 30 HU; large is a peak that stands out by 8 % of the highest one.
    """
    some = values.ravel()[:: max(values.size // _SAMPLES, 1)].astype(float)
    if some.size == 0:
        return np.empty(0)
    low, high = np.percentile(some, (0.02, 99.98))
    margin = 5 * _BLUR_HU  # so that a peak at the end of the range is one
    edges = np.arange(low - margin, high + margin + _BIN_HU, _BIN_HU)
    counts = ndimage.gaussian_filter1d(np.histogram(some, edges)[0].astype(float), _BLUR_HU / _BIN_HU)
    peaks, _ = signal.find_peaks(counts, prominence=_LARGE * counts.max())
    return (edges[peaks] + edges[peaks + 1]) / 2


def field_of_view(image: Image) -> np.ndarray | None:
    """What of a CT's grid the scanner saw; None where nothing tells otherwise than that it is all.

    Padding is one value that fills the corners of the slices: one that is no tissue's (-2000, -3024, -32768), 0 in a CT
    that shows air, or any other, such as -1024 or 0 where the intercept is missing, if what it leaves is round.

    Returns
    -------
    bool array, shape (k, j, i), or None
    """
    array = image.array
    corners = array[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    values, counts = np.unique(corners, return_counts=True)
    outside = np.zeros(array.shape, bool)
    for value in values[counts >= max(2, 0.03 * corners.size)].astype(float):
        padding = _corner_filling(np.abs(array - value) < _ROUNDING)
        if padding is not None:
            outside |= _padding(padding, value, array)
    if not outside.any():
        return None
    return ~(outside | _blurred_rim(outside, array))


def without_padding(image: Image) -> Image:
    """A CT with -1000 HU outside its field of view; the image itself where that fills the grid."""
    seen = field_of_view(image)
    return image if seen is None else air_outside(image, seen)


def air_outside(image: Image, seen: np.ndarray) -> Image:
    """A CT with -1000 HU outside a mask."""
    signed = image.array.dtype if image.array.dtype.kind in "if" else np.float32
    return image.with_array(np.where(seen, image.array, AIR_HU).astype(signed))


def _corner_filling(same: np.ndarray) -> np.ndarray | None:
    """The parts of a mask that are three voxels wide and reach a corner of a slice; None if they are too small."""
    wide = np.zeros(same.shape, bool)
    pairs = same[:, 2:] & same[:, 1:-1] & same[:, :-2]
    wide[:, 1:-1, 1:-1] = pairs[:, :, 2:] & pairs[:, :, 1:-1] & pairs[:, :, :-2]
    if np.count_nonzero(wide) < _LEAST_PADDING / 4 * same.size:
        return None
    labels, count = ndimage.label(same)
    chosen = np.zeros(count + 1, bool)
    chosen[np.intersect1d(np.unique(labels[wide]), np.unique(labels[:, [0, 0, -1, -1], [0, -1, 0, -1]]))] = True
    chosen[0] = False
    padding = chosen[labels]
    return padding if np.count_nonzero(padding) >= _LEAST_PADDING * same.size else None


def _padding(filling: np.ndarray, value: float, array: np.ndarray) -> np.ndarray | bool:
    """What of the corners' filling is padding; of a value that air may have, what leaves a round view in all slices."""
    if value < _BELOW_TISSUE_HU or abs(value) < 1 and np.mean(array[::2, ::2, ::2] < _LUNG_HU) > 0.01:
        return filling
    common = filling.mean(0) > 0.95
    if not _is_round(~common):
        return False
    if value > _LUNG_HU and not (histogram_peaks(array[:, ~common]) > value + _APART_HU[0]).any():
        return False  # not raised air, but the background of a masked organ
    return filling & common


def _is_round(seen: np.ndarray) -> bool:
    """Whether a plane region is an ellipse, but for where it is cut off along the axes, that reaches near the sides."""
    if seen.all() or not seen.any():
        return False
    whole = np.array(seen.shape)
    seen = seen[np.ix_(*(np.flatnonzero(seen.any(1 - axis)) for axis in range(2)))]
    if (np.array(seen.shape) < _REACH * whole).any():
        return False
    j, i = np.nonzero(seen & ~ndimage.binary_erosion(seen, border_value=1))
    if j.size < 8:
        return False
    # p i + q i^2 + r j + s j^2 = 1, and the distance from it to first order
    i, j = i / seen.shape[1] - 0.5 + 1e-3, j / seen.shape[0] - 0.5
    terms = np.stack([i, i**2, j, j**2], 1)
    p, q, r, s = fit = np.linalg.lstsq(terms, np.ones(i.size), rcond=None)[0]
    if not (q > 0 and s > 0):
        return False
    slope = np.hypot((p + 2 * q * i) / seen.shape[1], (r + 2 * s * j) / seen.shape[0])
    miss = float(np.sqrt(np.mean(((terms @ fit - 1) / slope) ** 2)))
    return miss < max(_ROUND * min(seen.shape) / 2, 0.75)


def _blurred_rim(outside: np.ndarray, array: np.ndarray) -> np.ndarray:
    """Neighbours of the padding that resampling mixed with it: lower than any air."""
    low = (array < AIR_HU - 2 * _NEAR_HU) & ~outside
    if low.any():  # dilation is slow, and what was not resampled has no such rim
        low &= ndimage.binary_dilation(outside, np.ones((3, 3, 3), bool), iterations=2)
    return low
