"""TwinPanel: the Qt parts that the three panels share; what they compute is in the libraries, not here."""

from .boxes import chosen_of, fill_box, fill_table
from .click_correction import ClickCorrection
from .display import overlay, show_anatomy
from .job_bar import JobBar
from .model_chooser import ModelChooser
from .nodes import box_of, from_text, made_by, newest_fused, points_of, segment_names, voxels_of
from .packages import ensure_packages, ensure_torch
from .parameter_form import ParameterForm
from .phantom import phantom_twin
from .segment_results import SegmentResults
from .twin_selector import TwinSelector, fit_height
from .twin_widget import TwinWidget
from .verdict_light import VerdictLight

__all__ = [
    "ClickCorrection",
    "JobBar",
    "ModelChooser",
    "ParameterForm",
    "SegmentResults",
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
    "made_by",
    "newest_fused",
    "overlay",
    "phantom_twin",
    "points_of",
    "segment_names",
    "show_anatomy",
    "voxels_of",
]
