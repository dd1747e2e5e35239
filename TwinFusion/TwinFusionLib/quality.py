"""Figures that tell how good a registration is, without knowing the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from TwinCore import Image, InvalidInput, Job, LinearTransform
from TwinCore.transform import Transform

from .linear import LinearResult
from .mutual_information import mutual_information
from .quality_blocks import agreement
from .quality_edges import edge_agreement
from .quality_fields import folding, largest_disagreement, uncertainty_map
from .quality_overlay import Overlay, lay_over, share_inside
from .quality_poses import standing

__all__ = ["Quality", "assess", "uncertainty_map"]

_NAN = float("nan")


@dataclass(frozen=True)
class Quality:
    """Figures of a registration; nan where there is nothing to tell one from.

    Parameters
    ----------
    nmi, nmi_before : float
        Normalised mutual information at the answer, and with the images' centres laid on each other.
    z_score, local_z : float
        Distance of the mutual information, in standard deviations, from its mean at poses 5 to 60 mm or degrees away,
        and 3 to 8 mm away.
    drift_mm, consistency_mm : float
        Mean distance over the body from the answer to the top of the measure, climbed from the answer, and from poses
        15 mm and 8 degrees away (median).
    mirrored : float
        Gain in similarity (NMI - 1) that the image reaches when mirrored left to right, as a share of its own.
    residual_mm, deficit, explained : float
        Of the images' parts: mean distance to their best match within 12 mm; how far they match below their best (0 at
        it, 1 like a shift at random); and share of the variance in them that the other image explains.
    edges, edge_gain : float
        Mean squared cosine between the images' gradients, and by how much it is above that 12 mm away.
    overlap : float
        Share of the moved image inside the fixed one.
    body_overlap : float
        Dice of the bodies within the common field of view.
    inverse_consistency_mm : float
        Mean distance over the body between points and where the way there, and another one back that is found with
        the fixed image moving, take them.
    jacobian_min, folding : float
        Of a deformation: least local change of volume, share of voxels where it folds.
    landmark_error_mm : float
        Root mean square distance of landmarks that belong together.
    spread_mm : float
        Largest disagreement of the repeats over the body in the common field of view.
    runner_up : float
        Gain of the best clearly different pose, as a share of the answer's.
    group : str
        Which registrations it is compared with: of pairs with PET, whose blur makes every measure fall more slowly with
        the distance ("PET"), of CT with another modality, which sees little of soft tissue ("CT"), of both together
        ("CT and PET"), or of the other pairs ("other").
    """

    nmi: float = _NAN
    nmi_before: float = _NAN
    z_score: float = _NAN
    local_z: float = _NAN
    drift_mm: float = _NAN
    consistency_mm: float = _NAN
    mirrored: float = _NAN
    residual_mm: float = _NAN
    deficit: float = _NAN
    explained: float = _NAN
    edges: float = _NAN
    edge_gain: float = _NAN
    overlap: float = _NAN
    body_overlap: float = _NAN
    inverse_consistency_mm: float = _NAN
    jacobian_min: float = _NAN
    folding: float = _NAN
    landmark_error_mm: float = _NAN
    spread_mm: float = _NAN
    runner_up: float = _NAN
    group: str = "other"


def assess(
    fixed: Image,
    moving: Image,
    transform: Transform,
    *,
    repeats: Sequence[Transform] = (),
    fixed_mask: np.ndarray | None = None,
    moving_mask: np.ndarray | None = None,
    landmarks: tuple[np.ndarray, np.ndarray] | None = None,
    linear: LinearResult | None = None,
    seed: int = 0,
    job: Job | None = None,
) -> Quality:
    """Measure a registration on the images themselves, smoothed to 3 mm, in a fraction of a second.

    >>> judge(assess(ct, mr, result.transform, repeats=result.repeats, linear=result)).grade       # doctest: +SKIP
    'good'

    Parameters
    ----------
    fixed, moving : Image
    transform : Transform
        moving -> fixed, RAS mm.
    repeats : sequence of Transform
        Answers from other samples.
    fixed_mask, moving_mask : bool array, optional
        What counts of each image, on its grid.
    landmarks : pair of arrays, shape (n, 3), optional
        Points of the fixed and of the moving image, RAS mm, that belong together.
    linear : LinearResult, optional
        What a rigid or affine registration said of itself.
    seed : int
        Of the random samples and poses.
    job : Job, optional

    Returns
    -------
    Quality
        Where the images hardly meet, little more than `overlap` is known.

    Raises
    ------
    InvalidInput
        If a mask is not on its image's grid, or landmarks are not pairs of points.
    """
    job = job or Job()
    for image, mask in ((fixed, fixed_mask), (moving, moving_mask)):
        if mask is not None and mask.shape != image.grid.shape:
            raise InvalidInput(f"The mask of image {image.name!r} is not on the image's grid.")
    least_volume, folded = folding(transform)
    figures: dict[str, Any] = {
        "overlap": share_inside(fixed, moving, transform, moving_mask),
        "jacobian_min": least_volume,
        "folding": folded,
        "landmark_error_mm": _NAN if landmarks is None else _landmark_error(transform, *landmarks),
        "runner_up": _NAN if linear is None else float(linear.runner_up),
        "group": _group(fixed, moving),
    }
    job.checkpoint()
    overlay = lay_over(fixed, moving, transform, fixed_mask, moving_mask)
    if overlay is None:
        return Quality(**figures)
    points = overlay.body_points()
    if len(repeats) > 1:
        figures["spread_mm"] = largest_disagreement(repeats, points)
    figures["body_overlap"] = _dice(overlay)
    job.checkpoint()
    stands = standing(overlay, seed, job)
    job.checkpoint()
    parts = agreement(overlay)
    edges, edge_gain = edge_agreement(overlay)
    return Quality(
        **figures,
        **vars(stands),
        **vars(parts),
        nmi_before=_before(overlay, fixed, moving, seed) if linear is None else float(linear.nmi_before),
        edges=edges,
        edge_gain=edge_gain,
    )


def _group(fixed: Image, moving: Image) -> str:
    modalities = (fixed.modality, moving.modality)
    present = [name for name, here in (("CT", modalities.count("CT") == 1), ("PET", "PT" in modalities)) if here]
    return " and ".join(present) or "other"


def _before(overlay: Overlay, fixed: Image, moving: Image, seed: int) -> float:
    """NMI of the same samples with the images' centres laid on each other."""
    shift = fixed.grid.centre - moving.grid.centre
    centred = lay_over(fixed, moving, LinearTransform(np.block([[np.eye(3), shift[:, None]], [np.zeros(3), 1]])))
    if centred is None:
        return _NAN
    return float(mutual_information(centred.samples(seed), centred.target(), np.eye(4)[None])[0][0])


def _landmark_error(transform: Transform, fixed, moving) -> float:
    fixed, moving = np.asarray(fixed, float), np.asarray(moving, float)
    if fixed.shape != moving.shape or fixed.ndim != 2 or fixed.shape[1] != 3 or not len(fixed):
        raise InvalidInput(f"Landmarks must be pairs of RAS points, not {fixed.shape} with {moving.shape}.")
    if isinstance(transform, LinearTransform):
        miss = transform.push(moving) - fixed
    else:  # by the pull, which needs no inverse
        miss = transform.pull(fixed) - moving
    return float(np.sqrt((miss**2).sum(-1).mean()))


def _dice(overlay: Overlay) -> float:
    """Dice of the bodies in the common view; nan where one of them fills it, so that no outline is seen."""
    one, other = (body[overlay.seen] for body in overlay.bodies)
    if not (one.any() and other.any()) or max(one.mean(), other.mean()) > 0.97:
        return _NAN
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))
