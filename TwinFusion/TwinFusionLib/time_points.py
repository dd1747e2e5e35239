"""4D series: which images belong to which time point, and when each of these was.

Where several images lie at the same place, the first of `ORDER` that tells them apart at every place orders them there;
the n-th of each place make volume n.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

import numpy as np
from pydicom.dataset import Dataset

from TwinCore.dicom.file import number, numbers
from TwinCore.dicom.frames import plane_axes
from TwinCore.errors import InvalidInput

from .series import moment, start_of

SAME_PLACE_MM = 0.05
# What orders the images of one place in time: tags that count, and offsets with their unit in seconds.
COUNTERS = ("TemporalPositionIdentifier", "TemporalPositionIndex")
OFFSETS_S = {
    "TemporalPositionTimeOffset": 1.0,
    "NominalCardiacTriggerDelayTime": 1e-3,
    "TriggerTime": 1e-3,
    "FrameReferenceTime": 1e-3,
}
MOMENTS = ("FrameReference", "FrameAcquisition", "Acquisition")
# What makes images of one place differ in kind, not in time.
CONTRASTS = (
    "EchoTime",
    "EffectiveEchoTime",
    "InversionTime",
    "FlipAngle",
    "DiffusionBValue",
    "ComplexImageComponent",
    "ImageType",
    "FrameType",
    "KVP",
)


def time_points(headers: list[Dataset], name: str) -> list[np.ndarray]:
    """Indices of the images of each time point, in the order of time; one array with all where it is no 4D series.

    Raises
    ------
    InvalidInput
        If time points are incomplete, images of one place differ in contrast, or nothing orders them in time.
    """
    normal = plane_axes(numbers(headers[0], "ImageOrientationPatient", 6, name), name)[2]
    along = np.array([numbers(h, "ImagePositionPatient", 3, name) for h in headers]) @ normal
    order = np.argsort(along, kind="stable")
    places = np.split(order, np.flatnonzero(np.diff(along[order]) > SAME_PLACE_MM) + 1)
    counts = Counter(len(place) for place in places)
    usual = counts.most_common(1)[0][0]
    if usual == 1:
        return [np.arange(len(headers))]  # single images that are doubled are refused with the stack
    if len(counts) > 1:
        odd = next(place for place in places if len(place) != usual)
        raise InvalidInput(
            f"{name}: {len(odd)} images lie at {along[odd[0]]:.2f} mm along the stack and {usual} at the other places: "
            "time points are incomplete or doubled. Copy the whole series, or separate what is mixed."
        )
    _check_contrasts(headers, places, name)
    for keyword in (*COUNTERS, *OFFSETS_S, *MOMENTS):
        values = [_value(h, keyword, name) for h in headers]
        if all(None not in (at := [values[n] for n in place]) and len(set(at)) == usual for place in places):
            ranked = [sorted(place, key=lambda n: values[n]) for place in places]
            return [np.array(point) for point in zip(*ranked)]
    raise InvalidInput(
        f"{name}: {usual} images lie at each place and nothing tells them apart in time: the temporal position "
        "(0020,0100 or 0020,9128), trigger time (0018,1060), frame reference time (0054,1300) and acquisition time "
        "(0008,0032) are missing or equal. Separate them into series."
    )


def times_of(points: list[list[Dataset]], name: str) -> list[str | None]:
    """ISO time of each time point: its own where they differ, else the series' start and the offset from it."""
    starts = [_moment(headers) for headers in points]
    if None not in starts and len(set(starts)) == len(points):
        return [_iso(start, len(points)) for start in starts]
    start = start_of(header for headers in points for header in headers)
    offsets = _offsets_s(points, name)
    if start is None or offsets is None:
        return [_iso(start, 1)] if len(points) == 1 else [None] * len(points)
    return [_iso(start + timedelta(seconds=s), len(points)) for s in offsets]


def _check_contrasts(headers: list[Dataset], places: list[np.ndarray], name: str) -> None:
    for keyword in CONTRASTS:
        differ = any(len({str(headers[n].get(keyword, "")) for n in place}) > 1 for place in places)
        if differ:
            raise InvalidInput(
                f"{name}: images of one place differ in {keyword}: they are several contrasts, not time points. "
                "Separate them into series."
            )


def _value(header: Dataset, keyword: str, name: str):
    if keyword in MOMENTS:
        return moment(header, keyword)
    value = number(header, keyword, np.nan, name)
    return value if np.isfinite(value) else None


def _moment(headers: list[Dataset]) -> datetime | None:
    for of in MOMENTS:
        moments = [m for m in (moment(h, of) for h in headers) if m]
        if moments:
            return min(moments)
    return start_of(headers)


def _offsets_s(points: list[list[Dataset]], name: str) -> list[float] | None:
    for keyword, second in OFFSETS_S.items():
        offsets = [min(number(h, keyword, np.nan, name) for h in headers) * second for headers in points]
        if np.isfinite(offsets).all() and len(set(offsets)) == len(points) and np.abs(offsets).max() < 1e8:
            return offsets
    step = number(points[0][0], "TemporalResolution", np.nan, name) * 1e-3
    return [n * step for n in range(len(points))] if np.isfinite(step) and 0 < step < 1e6 else None


def _iso(moment: datetime | None, points: int) -> str | None:
    """Time points of a heartbeat are milliseconds apart; a single volume's time is told in seconds."""
    return None if moment is None else moment.isoformat(timespec="milliseconds" if points > 1 else "seconds")
