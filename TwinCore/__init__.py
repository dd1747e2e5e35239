"""TwinCore: the vocabulary that TwinFusion, TwinSegment and TwinSimulate share."""

from .errors import InvalidInput, JobCancelled, MissingInput, MissingPackage, NotResolved, TwinError
from .grid import Grid
from .image import Image, bounding_box, centroid
from .job import Job, Progress
from .parameter import LogNormal, Parameter
from .results import Quantity, Table
from .segmentation import Segment, Segmentation
from .transform import CompositeTransform, GridTransform, LinearTransform, resample

__version__ = "0.1.0"

__all__ = [
    "CompositeTransform",
    "Grid",
    "GridTransform",
    "Image",
    "InvalidInput",
    "Job",
    "JobCancelled",
    "LinearTransform",
    "LogNormal",
    "MissingInput",
    "MissingPackage",
    "NotResolved",
    "Parameter",
    "Progress",
    "Quantity",
    "Segment",
    "Segmentation",
    "Table",
    "TwinError",
    "bounding_box",
    "centroid",
    "resample",
]
