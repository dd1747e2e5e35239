"""What a model says of itself before anything is computed: its presets, its parameters and what it needs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from TwinCore import Parameter
from TwinCore.units import GRAY, MILLIMETRE_OF_MERCURY, NO_UNIT


@dataclass(frozen=True)
class Requirement:
    """A segment or an image that a model needs."""

    kind: str
    """"segment" or "image"."""
    name: str
    meaning: str
    optional: bool = False
    """Whether the model does without."""
    units: tuple[str, ...] = ()
    """Of an image, those that its values may be in (UCUM); none given: any."""


BARRIER = Requirement("segment", "barrier", "falx and tentorium, which no cell crosses", optional=True)
DIFFUSION_TENSOR = Requirement(
    "image",
    "diffusion_tensor",
    "diffusion tensors in RAS (xx, xy, xz, yy, yz, zz, or all nine by rows), along which cells spread",
    optional=True,
)
CELLULARITY = Requirement(
    "image",
    "cellularity",
    "density of tumour cells at the reference scan, 0 to 1, from which the model then starts within the outline",
    optional=True,
    units=(NO_UNIT,),
)
DOSE = Requirement("image", "dose", "total dose of the plan, in Gy", units=(GRAY,))
TREATMENT = (
    replace(DOSE, meaning="dose of a plan, which scenarios scale to what they prescribe", optional=True),
    Requirement(
        "image",
        "hypoxia",
        "hypoxic share of the cells, or their oxygen in mmHg, by which radiation kills less",
        optional=True,
        units=(NO_UNIT, MILLIMETRE_OF_MERCURY),
    ),
    Requirement("image", "drug_delivery", "relative delivery of a drug", optional=True, units=(NO_UNIT,)),
    Requirement("segment", "resection", "what surgery cuts out", optional=True),
)
"""Where a treatment acts, if it is not the same everywhere."""


@dataclass(frozen=True)
class Declaration:
    """The parameters of a model under one preset, and what it needs."""

    parameters: tuple[Parameter, ...]
    requires: tuple[Requirement, ...]
