"""TwinPanel: the Qt parts that the three panels share; what they compute is in the libraries, not here."""

from .boxes import chosen_of, fill_box, fill_table
from .click_correction import ClickCorrection
from .compare import Compare
from .display import overlay, set_layout, show_anatomy, show_chart
from .frames_table import FramesTable
from .frames_table import Row as ImageRow
from .job_bar import JobBar
from .live_preview import LivePreview
from .model_chooser import ModelChooser
from .model_question import ModelQuestion
from .nodes import (
    box_of,
    from_text,
    inputs_over_time,
    made_by,
    measured_ml,
    newest_fused,
    points_of,
    segment_names,
    size_of,
    voxels_of,
)
from .packages import ensure_packages, ensure_torch
from .parameter_form import ParameterForm
from .phantom import phantom_twin
from .points import new_points, place_points, watch_points
from .row_table import RowTable
from .sample_data import load_virtual_patient, register_sample_data
from .segment_results import SegmentResults
from .simulation_results import SimulationResults
from .twin_selector import TwinSelector, fit_height
from .twin_widget import TwinWidget
from .verdict_light import VerdictLight

__all__ = [
    "ClickCorrection",
    "Compare",
    "FramesTable",
    "ImageRow",
    "JobBar",
    "LivePreview",
    "ModelChooser",
    "ModelQuestion",
    "ParameterForm",
    "RowTable",
    "SegmentResults",
    "SimulationResults",
    "TwinSelector",
    "TwinWidget",
    "VerdictLight",
    "box_of",
    "chosen_of",
    "ensure_packages",
    "ensure_torch",
    "fill_box",
    "fill_table",
    "fit_height",
    "from_text",
    "inputs_over_time",
    "load_virtual_patient",
    "made_by",
    "measured_ml",
    "newest_fused",
    "new_points",
    "overlay",
    "phantom_twin",
    "place_points",
    "points_of",
    "register_sample_data",
    "segment_names",
    "set_layout",
    "show_anatomy",
    "show_chart",
    "size_of",
    "voxels_of",
    "watch_points",
]
