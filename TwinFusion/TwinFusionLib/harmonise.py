"""An image made fit to be compared with another: by its modality, with what of it counts and what was found wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from TwinCore import Image, Job
from TwinCore.units import HOUNSFIELD

from .bias_field import without_bias
from .ct_values import air_check, air_outside, field_of_view
from .intensity import foreground, normalised
from .ultrasound import echoes, sector, without_attenuation, without_speckle

_FEW_ECHOES = 0.1  # of the grid: wires in water, not tissue


@dataclass(frozen=True, eq=False)
class Harmonised:
    """An image to be compared with others in place of the one given.

    Parameters
    ----------
    image : Image
        On the same grid. CT: Hounsfield units, -1000 outside the field of view. MR: without its bias field, median 0
        and interquartile range 1 in the foreground. US: speckle smoothed, echoes against those around them. PET: none
        below 0.
    mask : bool array, shape (k, j, i), or None
        What of the grid the scanner saw; None for all.
    notes : tuple of str
        What was found and done, for people.
    warnings : tuple of str
        What is wrong with the image given.
    """

    image: Image
    mask: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def harmonise(image: Image, job: Job | None = None) -> Harmonised:
    """Make an image fit to be compared with another, as its modality needs it; the one given is not altered.

    >>> harmonise(ct).warnings                                         # doctest: +SKIP
    ("CT 'head' is not in Hounsfield units: its air is at 5 in place of -1000 HU: stored values look like ...",)

    Parameters
    ----------
    image : Image
        One channel, any modality; one without a modality is not changed.
    job : Job, optional

    Raises
    ------
    InvalidInput
        If an MR has no foreground, or an ultrasound image is constant.
    """
    ways = {"CT": harmonise_ct, "MR": harmonise_mr, "US": harmonise_us, "PT": harmonise_pet}
    way = ways.get(image.modality)
    return Harmonised(image) if way is None else way(image, job or Job())


def harmonise_ct(image: Image, job: Job | None = None) -> Harmonised:
    """A CT in Hounsfield units, -1000 outside its field of view: fast enough for every CT."""
    seen = field_of_view(image)
    check = air_check(image.array if seen is None else image.array[seen])
    notes, warnings = [], []
    if check.report:
        remedy = f" It was compared with {check.offset:.0f} subtracted; its own values stay." if check.offset else ""
        warnings.append(f"CT {image.name!r} is not in Hounsfield units: {check.report}.{remedy}")
    if check.offset:
        image = image.with_array(image.array.astype(np.float32) - np.float32(check.offset), unit=HOUNSFIELD)
    if seen is not None:
        notes.append(f"CT {image.name!r}: {100 * np.mean(~seen):.2g} % of its grid is outside the field of view.")
        image = air_outside(image, seen)
    return Harmonised(image, seen, tuple(notes), tuple(warnings))


def harmonise_mr(image: Image, job: Job | None = None) -> Harmonised:
    """An MR without its bias field, its foreground's median 0 and its interquartile range 1."""
    body = foreground(image)
    unbiased = without_bias(image, body, job)
    low, high = np.percentile(unbiased.field.array[body], (1, 99))
    note = f"MR {image.name!r}: a bias field of {low:.2f} to {high:.2f} was divided out."
    return Harmonised(normalised(unbiased.image, body), None, (note,))


def harmonise_us(image: Image, job: Job | None = None) -> Harmonised:
    """An ultrasound image with its speckle smoothed inside the sector, each echo against those around it."""
    seen = sector(image)
    if seen is None and np.mean(echoes(image)) < _FEW_ECHOES:
        return Harmonised(
            image,
            warnings=(f"US {image.name!r}: too few echoes to tell speckle and sector. It was compared as it is.",),
        )
    notes = [f"US {image.name!r}: speckle was smoothed, and each echo is compared with those around it."]
    if seen is not None:
        notes.append(f"US {image.name!r}: its sector fills {100 * seen.mean():.2g} % of the grid.")
    return Harmonised(without_attenuation(without_speckle(image, seen, job), seen), seen, tuple(notes))


def harmonise_pet(image: Image, job: Job | None = None) -> Harmonised:
    """A PET without values below 0, which filtered back projection and resampling leave and no activity has."""
    if image.array.min() >= 0:
        return Harmonised(image)
    share = 100 * np.mean(image.array < 0)
    note = f"PET {image.name!r}: {share:.2g} % of its values are below 0 and were set to 0 for the comparison."
    return Harmonised(image.with_array(np.maximum(image.array, 0)), None, (note,))
