"""Where a treatment acts: dose, oxygen, drug and cavity of a patient, on the grids that tumours grow on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from TwinCore import Grid, Image, InvalidInput, bounding_box, resample
from TwinCore.units import GRAY, NO_UNIT

from .model import Anatomy
from .numerics.diffusion import ReactionDiffusion
from .oxygen import dose_shares
from .radiotherapy import Schedule, survival
from .surgery import Surgery

if TYPE_CHECKING:
    from .tumour_stage import Stage

Share = np.ndarray | float


@dataclass(frozen=True, eq=False)
class StageMaps:
    """What a treatment finds on one stage; a number where it is the same everywhere.

    Parameters
    ----------
    relative_dose : array, shape (k, j, i), or float
        Dose as a multiple of the prescribed one.
    hypoxic, hypoxic_factor : arrays, shape (k, j, i), or floats
        Share of the cells that take the dose by this factor only.
    delivery : array, shape (k, j, i), or float
        Drug as a multiple of its mean over the tumour.
    resected : array, shape (k, j, i), optional
        The cavity of surgery, where the anatomy has one.
    """

    stage: Stage
    relative_dose: Share
    hypoxic: Share
    hypoxic_factor: Share
    delivery: Share
    resected: np.ndarray | None

    def survivors(self, schedule: Schedule, member: Mapping[str, float]) -> Share:
        """Share of the cells that survive one fraction."""
        dose, response = schedule.dose_gy * self.relative_dose, (member["alpha"], member["alpha_beta"])
        oxic = survival(dose, *response)
        if isinstance(self.hypoxic, float) and self.hypoxic == 0.0:
            return oxic
        return oxic + self.hypoxic * (survival(dose * self.hypoxic_factor, *response) - oxic)

    def cavity(self, surgery: Surgery) -> np.ndarray:
        """The voxels that surgery empties."""
        distance = self.stage.distance_mm
        if surgery.extent < 1:
            inside = distance[distance <= 0]
            return distance <= np.quantile(inside, surgery.extent)
        if surgery.margin_mm is None and self.resected is not None:
            return self.resected
        return distance <= (surgery.margin_mm or 0.0)

    def without(self, domain: np.ndarray, surgery: Surgery) -> ReactionDiffusion:
        """The equation on what surgery leaves of a domain: nothing crosses the cavity.

        Raises
        ------
        InvalidInput
            If it leaves nothing.
        """
        left = domain & ~self.cavity(surgery)
        if not left.any():
            raise InvalidInput(f"Treatment {surgery.name!r} leaves no tissue round the tumour.")
        return self.stage.on_domain(left)


class TreatmentMaps:
    """The maps of one anatomy, made for each stage when first asked for.

    Parameters
    ----------
    anatomy : Anatomy
        Used where they are there: the images "dose" (Gy of a whole plan, of which only the shape counts: the median in
        the tumour is what is prescribed, as ICRU 83 has it), "hypoxia" (`oxygen.dose_shares`) and "drug_delivery"
        (relative, its mean in the tumour made 1), and the tissue "resection".

    Raises
    ------
    InvalidInput
        If an image is not in its unit, is below 0, or is 0 all over the tumour.
    """

    def __init__(self, anatomy: Anatomy):
        self._anatomy = anatomy
        images = anatomy.images
        self._dose = self._scaled("dose", np.median, GRAY) if "dose" in images else None
        self._delivery = self._scaled("drug_delivery", np.mean) if "drug_delivery" in images else None
        self._hypoxia = images.get("hypoxia")
        self._made: dict[Stage, StageMaps] = {}

    def on(self, stage: Stage) -> StageMaps:
        """The maps on a stage."""
        if stage not in self._made:
            self._made[stage] = self._make(stage)
        return self._made[stage]

    def _make(self, stage: Stage) -> StageMaps:
        grid = stage.grid
        hypoxic: Share
        factor: Share
        hypoxic, factor = (0.0, 1.0) if self._hypoxia is None else self._hypoxic(self._hypoxia, grid)
        resected = None
        if "resection" in self._anatomy.tissues:
            mask = Image(np.asarray(self._anatomy.tissues["resection"], np.float32), self._anatomy.grid)
            resected = resample(mask, grid).array >= 0.5
        return StageMaps(
            stage,
            1.0 if self._dose is None else resample(self._dose, grid).array,
            hypoxic,
            factor,
            1.0 if self._delivery is None else resample(self._delivery, grid, fill=1.0).array,
            resected,
        )

    def _hypoxic(self, hypoxia: Image, grid: Grid) -> tuple[Share, Share]:
        """As `dose_shares` has it; beyond the image no cell is hypoxic."""
        dose_shares(hypoxia.array, hypoxia.unit)
        known = resample(hypoxia, grid, fill=np.nan).array
        inside = ~np.isnan(known)
        share, factor = dose_shares(np.where(inside, known, 0.0), hypoxia.unit)
        return share * inside, factor

    def _scaled(self, name: str, middle, unit: str | None = None) -> Image:
        """An image over its median or mean in the tumour."""
        image, tumour = self._anatomy.images[name], np.asarray(self._anatomy.tissue("tumour")) >= 0.5
        if unit is not None and image.unit != unit:
            raise InvalidInput(f"The image {name!r} must be in {unit}, not in {image.unit!r}.")
        if not np.isfinite(image.array).all() or image.array.min() < 0:
            raise InvalidInput(f"The image {name!r} must be finite and not below 0.")
        low, high = bounding_box(tumour)
        box = tuple(slice(a, b) for a, b in zip(low, high))
        inside = resample(image, self._anatomy.grid.crop(low, high)).array[tumour[box]]
        if not middle(inside) > 0:
            raise InvalidInput(f"The image {name!r} is 0 in the tumour: is it of this patient, in this frame?")
        return replace(image, array=(image.array / middle(inside)).astype(np.float32), unit=NO_UNIT)
