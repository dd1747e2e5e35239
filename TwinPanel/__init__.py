"""TwinPanel: the Qt parts that the three panels share; what they compute is in the libraries, not here."""

from .job_bar import JobBar
from .nodes import box_of, segment_names
from .packages import ensure_packages
from .parameter_form import ParameterForm
from .phantom import phantom_twin
from .twin_selector import TwinSelector, fit_height
from .twin_widget import TwinWidget
from .verdict_light import VerdictLight

__all__ = [
    "JobBar",
    "ParameterForm",
    "TwinSelector",
    "TwinWidget",
    "VerdictLight",
    "box_of",
    "ensure_packages",
    "fit_height",
    "phantom_twin",
    "segment_names",
]
