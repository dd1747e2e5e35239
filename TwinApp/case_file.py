"""Case files: a patient's images, outlines, target, model and questions in a small TOML file (docs/case_file.md)."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Literal

from pydantic import Field, model_validator

from TwinCore import InvalidInput, MissingInput
from TwinCore.guard import display_name
from TwinFusionLib.presets import ANYWHERE, BY_MODALITY, BY_PRESET
from TwinSimulateLib.fractionation import LATE_ALPHA_BETA_GY
from TwinSimulateLib.search_space import FRACTIONS
from TwinSimulateLib.tumour_observations import CORRELATION_MM

from .toml_file import Name, StrictTable, read_toml

DATA_VARIABLE = "DIGITALTWIN_DATA"

Point = tuple[float, float, float]
Box = tuple[Point, Point]


class Patient(StrictTable):
    """Whose twin it is; `virtual` for one that was made, not scanned."""

    name: Name
    virtual: bool = False


class ImageEntry(StrictTable):
    """One image: a volume file, a DICOM folder or a DICOM file."""

    name: Name
    path: Name
    modality: Literal["CT", "MR", "PT", "US"]
    unit: str | None = None
    time: str | float | None = None
    reference: bool = False
    frame: Name | None = None
    series_uid: str | None = None
    time_point: Annotated[int, Field(ge=0)] | Literal["all"] | None = None
    times_days: list[float] | None = None

    @model_validator(mode="after")
    def _over_time(self) -> ImageEntry:
        if self.time_point == "all" and self.reference:
            raise ValueError("a series over time cannot be the reference: choose one time_point of it")
        if self.times_days is not None and (
            self.time_point != "all" or sorted(set(self.times_days)) != self.times_days or not self.times_days
        ):
            raise ValueError('times_days are the increasing times of a series with time_point = "all"')
        return self


class OutlineEntry(StrictTable):
    """Outlines on an image: RTSTRUCT or SEG (`segments` lists names), or a label map (`segments`: label to name)."""

    path: Name
    image: Name
    segments: list[Name] | dict[str, Name] | None = None


class MapEntry(StrictTable):
    """A map that the model takes, such as a dose: not fused, but moved with the image in whose frame it lies."""

    name: Name
    path: Name
    image: Name | None = None
    unit: str | None = None


class FrameEntry(StrictTable):
    """What is chosen for the registration of one frame alone."""

    name: Name
    preset: str | None = None
    motion: str | None = None
    start: str | None = None
    landmarks_ras_mm: list[Point] | None = None
    landmarks_reference_ras_mm: list[Point] | None = None

    @model_validator(mode="after")
    def _pairs(self) -> FrameEntry:
        if (self.landmarks_ras_mm is None) != (self.landmarks_reference_ras_mm is None):
            raise ValueError("landmarks need both landmarks_ras_mm and landmarks_reference_ras_mm")
        return self


class Fusion(StrictTable):
    """How the images are brought together; 0 and the defaults leave it to the preset."""

    preset: str = BY_MODALITY
    motion: str = BY_PRESET
    start: str = ANYWHERE
    stiffness: float = 0.0
    finest_mm: float = 0.0
    spacing_mm: float = 0.0
    region_ras_mm: Box | None = None
    focus: Name | None = None
    inside: Name | None = None
    outside: Name | None = None
    stack: bool = False
    seed: int = Field(0, ge=0)
    frame: list[FrameEntry] = []


class Target(StrictTable):
    """The tumour: its segment, the PET rule it is compared with, and where its centroid is known to be."""

    name: Name
    pet_rule: str | None = None
    pet_search_ras_mm: Box | None = None
    centroid_reference_ras_mm: Point | None = None


class Anatomy(StrictTable):
    """Which images the surrounding tissue comes from."""

    body: Name | None = None
    brain: Name | None = None


class Search(StrictTable):
    """Which schedules to search for the best one that normal tissue bears as well as the standard."""

    standard: Name
    fractions: list[int] = list(FRACTIONS)
    a_week: list[int] = [5]
    start_days: list[int] = []
    alpha_beta_gy: float = LATE_ALPHA_BETA_GY
    sparing: float = 1.0
    organ: Name | None = None
    highest_dose_gy: float = 10.0
    objective: str = "burden"
    others: list[Name] = []


class Simulation(StrictTable):
    """The model and the questions put to it."""

    model: Name
    preset: Name
    horizon_days: int = Field(120, ge=1, le=3650)
    members: int = Field(48, ge=8, le=2000)
    seed: int = Field(0, ge=0)
    scenarios: list[Name] = ["none"]
    search: Search | None = None
    margins_mm: list[float] = []
    margins_day: float = Field(0, ge=0)


class ObservationEntry(StrictTable):
    """What a visit shows: a volume, given in mL or measured on a label map, or an image of the tumour.

    An outline is a label map, cellularity a map of it or of the ADC, uptake an image of a tracer: files in the frame
    of the image that is named, or else of the reference.
    """

    quantity: Literal["volume", "outline", "cellularity", "uptake"] = "volume"
    time_days: float | None = Field(None, ge=0)
    date: Name | None = None
    volume_ml: float | None = Field(None, gt=0)
    path: Name | None = None
    labels: list[int] | None = None
    image: Name | None = None
    threshold: float | None = Field(None, gt=0, lt=1)
    log_sd: float = Field(0.1, gt=0, le=2)
    unit: Literal["1", "mm2/s", "um2/s"] = "1"
    inside: Name | None = None
    noise_sd: float | None = Field(None, gt=0)
    correlation_mm: float = Field(CORRELATION_MM, ge=0, le=100)
    start: bool = False

    @model_validator(mode="after")
    def _of_its_kind(self) -> ObservationEntry:
        if self.quantity == "volume" and (self.volume_ml is None) == (self.path is None):
            raise ValueError("give either volume_ml or path")
        if self.quantity != "volume" and self.path is None:
            raise ValueError(f"an observation of {self.quantity} needs the path of its image")
        if (self.time_days is None) == (self.date is None):
            raise ValueError("say when the visit was: either date, as 2024-05-31, or time_days from the reference scan")
        allowed = {"quantity", "time_days", "date", "path", "image", "labels", *_KEYS[self.quantity]}
        useless = sorted(self.model_fields_set - allowed)
        if useless:
            raise ValueError(f"an observation of {self.quantity} has no {', '.join(useless)}")
        if self.unit != "1" and self.inside is None:
            raise ValueError("an ADC map needs inside, the outline in which it tells of the tumour")
        if self.quantity in ("cellularity", "uptake") and self.labels is not None and self.inside is None:
            raise ValueError("labels are those of the label map inside, which is not given")
        return self


_KEYS = {
    "volume": {"volume_ml", "threshold", "log_sd"},
    "outline": {"threshold", "log_sd"},
    "cellularity": {"unit", "inside", "noise_sd", "correlation_mm", "start"},
    "uptake": {"inside", "noise_sd", "correlation_mm"},
}
"""What an observation of each quantity can say beside when, where and on which labels."""


class Truth(StrictTable):
    """What is known of a virtual patient: moves image -> reference, the target's volume, parameters of the model."""

    volume_ml: float | None = None
    transforms: dict[str, list[list[float]]] = {}
    parameters: dict[str, float] = {}


class CaseFile(StrictTable):
    """A whole case, checked for form; the files that it names are read by `load_case`.

    Question and target are needed to run it, not to fuse its images.
    """

    question: Name | None = None
    data: str = "."
    patient: Patient
    image: Annotated[list[ImageEntry], Field(min_length=1)]
    outline: list[OutlineEntry] = []
    map: list[MapEntry] = []
    fusion: Fusion = Fusion()
    target: Target | None = None
    anatomy: Anatomy = Anatomy()
    simulation: Simulation | None = None
    observation: list[ObservationEntry] = []
    truth: Truth = Truth()

    @model_validator(mode="after")
    def _consistent(self) -> CaseFile:
        names = [image.name for image in self.image]
        if len(set(names)) != len(names):
            raise ValueError(f"two images have the same name: {', '.join(names)}")
        maps = [entry.name for entry in self.map]
        if len({*maps, *names}) != len(maps) + len(names):
            raise ValueError(f"a map has a name of its own, not that of another map or image: {', '.join(maps)}")
        if sum(image.reference for image in self.image) != 1:
            raise ValueError("exactly one image must have reference = true: it fixes the frame")
        single = [image.name for image in self.image if image.time_point != "all"]
        for used, where in [
            *((o.image, "outline.image") for o in self.outline),
            *((m.image, "map.image") for m in self.map),
            *((o.image, "observation.image") for o in self.observation),
            (self.anatomy.body, "anatomy.body"),
            (self.anatomy.brain, "anatomy.brain"),
            *((name, "truth.transforms") for name in self.truth.transforms),
        ]:
            if used is not None and used not in single:
                raise ValueError(f"{where} names the image {used!r}; there are: {', '.join(single)}")
        frames = list(dict.fromkeys(image.frame or image.name for image in self.image))
        in_reference = [
            i.name for i in self.image if (i.frame or i.name) == (self.reference.frame or self.reference.name)
        ]
        for observation in self.observation:
            if observation.start and observation.image is not None and observation.image not in in_reference:
                raise ValueError(
                    f"the start lies in the frame of {observation.image!r}, which is not that of the reference; "
                    f"there are: {', '.join(in_reference)}"
                )
        if sum(observation.start for observation in self.observation) > 1:
            raise ValueError("only one observation can be the start")
        for entry in self.fusion.frame:
            if entry.name not in frames:
                raise ValueError(f"fusion.frame names the frame {entry.name!r}; there are: {', '.join(frames)}")
        return self

    @property
    def reference(self) -> ImageEntry:
        return next(image for image in self.image if image.reference)


def read_case_file(path: str | Path) -> tuple[CaseFile, Path]:
    """A case file, checked for form, and the folder that its paths start from.

    That folder is the case's `data`, relative to the case file; the environment variable DIGITALTWIN_DATA takes its
    place where it is set and `data` is not ".".

    Raises
    ------
    MissingInput
        If there is no such file or data folder.
    InvalidInput
        If it is not TOML, or a key is missing, unknown or has a wrong value; the message names it.
    """
    path = Path(path)
    name, case = display_name(path.name), read_toml(path, CaseFile, "case file")
    folder = path.resolve().parent / case.data
    if case.data != "." and os.environ.get(DATA_VARIABLE):
        folder = Path(os.environ[DATA_VARIABLE])
    if not folder.is_dir():
        raise MissingInput(
            f"{name}: its data folder {display_name(case.data)!r} does not exist. Correct it, or set {DATA_VARIABLE}."
        )
    return case, folder.resolve()


def inside(folder: Path, entry: str) -> Path:
    """The path of a file that a case names, which must exist in the data folder and not lead out of it."""
    relative = PurePosixPath(entry)
    if relative.is_absolute() or PureWindowsPath(entry).is_absolute() or ".." in relative.parts:
        raise InvalidInput(
            f"The path {display_name(entry)!r} leaves the case's data folder: give it relative to that folder."
        )
    path = folder / relative
    if not path.exists():
        raise MissingInput(f"There is no {display_name(entry)!r} in the case's data folder.")
    return path
