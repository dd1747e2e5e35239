"""The one door to MRML: images, transforms, segmentations and results as nodes, and the twin that they belong to.

Importing it is cheap; `boot` brings in slicer-core, and says how to install it where it is missing.
"""

from .attributes import meaning, set_meaning
from .boot import boot, new_scene
from .equal import hash_of, snapshot
from .execute import PolledExecution, execute, execute_async, execute_polled
from .hierarchy import FOLDERS
from .results import (
    model_to_node,
    node_to_model,
    node_to_table,
    plot_to_node,
    table_to_node,
    text_of,
    text_to_node,
)
from .run import Run
from .segmentations import node_to_segmentation, segmentation_to_node
from .sequences import node_to_segmentations, node_to_sequence, segmentations_to_node, sequence_to_node
from .storage import load, save
from .surfaces import save_surface
from .transforms import node_to_transform, transform_to_node
from .twin import ROLES, Twin
from .volumes import check_volume, image_to_node, node_to_image

__all__ = [
    "FOLDERS",
    "ROLES",
    "PolledExecution",
    "Run",
    "Twin",
    "boot",
    "check_volume",
    "execute",
    "execute_async",
    "execute_polled",
    "hash_of",
    "image_to_node",
    "load",
    "meaning",
    "model_to_node",
    "new_scene",
    "node_to_image",
    "node_to_model",
    "node_to_segmentation",
    "node_to_segmentations",
    "node_to_sequence",
    "node_to_table",
    "node_to_transform",
    "plot_to_node",
    "save",
    "save_surface",
    "segmentation_to_node",
    "segmentations_to_node",
    "sequence_to_node",
    "set_meaning",
    "snapshot",
    "table_to_node",
    "text_of",
    "text_to_node",
    "transform_to_node",
]
